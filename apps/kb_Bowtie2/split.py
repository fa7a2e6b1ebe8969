"""Cuts paired reads into chunks, in order, and builds the reference's index for all of them."""
from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from common import ARTIFACTS, AppError, build_index, input_file, main, open_text

MAX_CHUNKS = 10_000


def count_reads(path: Path) -> int:
    """Returns the number of reads in a FASTQ file of four lines a read."""
    with open_text(path) as file:
        first = file.read(1)
        if first not in (b"@", b""):
            raise AppError(f"{path} is not a FASTQ file: it does not start with '@'.")
        lines = sum(1 for _ in file)
    if lines % 4:
        raise AppError(f"{path} is cut off: {lines} lines are not a whole number of reads.")
    return lines // 4


def cut(path: Path, sizes: list[int], mate: int) -> list[str]:
    """Writes a file of `sizes[i]` reads for each chunk; returns the names in artifacts/."""
    names = []
    with open_text(path) as file:
        for index, size in enumerate(sizes):
            names.append(f"chunk_{index:03d}_{mate}.fq")
            with open(ARTIFACTS / names[-1], "wb") as chunk:
                chunk.writelines(islice(file, size * 4))
    return names


def split_reads(params: Any) -> dict[str, Any]:
    """Returns the parameters of one align_reads job for each chunk."""
    reads_1, reads_2 = input_file(params, "reads_1"), input_file(params, "reads_2")
    reference = input_file(params, "reference")
    chunks = params.get("chunks", 8)
    if isinstance(chunks, bool) or not isinstance(chunks, int) or not 1 <= chunks <= MAX_CHUNKS:
        raise AppError(f"The parameter chunks must be a whole number from 1 to {MAX_CHUNKS}, "
                       f"not {chunks!r}.")
    pairs = count_reads(reads_1)
    others = count_reads(reads_2)
    if pairs != others:
        raise AppError(f"{reads_1.name} has {pairs} reads and {reads_2.name} has {others}: "
                       "the files are not a pair.")
    if not pairs:
        raise AppError(f"{reads_1.name} has no reads.")
    chunks = min(chunks, pairs)
    sizes = [pairs // chunks + (index < pairs % chunks) for index in range(chunks)]
    print(f"Cutting {pairs} read pairs into {chunks} chunks of {sizes[-1]} to {sizes[0]} pairs")
    names_1, names_2 = cut(reads_1, sizes, 1), cut(reads_2, sizes, 2)
    print(f"Building the index of {reference.name}", flush=True)
    index_files = [f"artifact:{path.name}" for path in build_index(reference, ARTIFACTS)]
    return {"children": [
        {"params": [{"chunk": number, "reads_1": f"artifact:{name_1}",
                     "reads_2": f"artifact:{name_2}", "index": index_files}]}
        for number, (name_1, name_2) in enumerate(zip(names_1, names_2, strict=True))
    ]}


if __name__ == "__main__":
    main(split_reads)
