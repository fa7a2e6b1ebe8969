"""Aligns paired reads to a reference with bowtie2, in one thread, and sorts by position."""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from common import ARTIFACTS, AppError, build_index, flagstat, input_file, main


def index_prefix(params: dict[str, Any]) -> str:
    """Returns bowtie2's name of the given index, or of one built from the reference."""
    files: list[str] = params.get("index") or []
    if not files:
        reference = input_file(params, "reference")
        print(f"Building the index of {reference.name}", flush=True)
        folder = Path("tmp/index")
        folder.mkdir()
        files = [str(path) for path in build_index(reference, folder)]
    first = next((path for path in files if ".1.bt2" in path and ".rev." not in path), None)
    if first is None:
        raise AppError("The parameter index must list the files of a bowtie2 index.")
    return first[:first.rindex(".1.bt2")]


def align(reads_1: Path, reads_2: Path, index: str, alignment: Path) -> None:
    """Runs bowtie2 and writes the sorted BAM file; bowtie2's summary goes to the log."""
    sort = ["samtools", "sort", "-m", "256M", "-T", "tmp/sort", "-o", str(alignment)]
    command = ["bowtie2", "-x", index, "-1", str(reads_1), "-2", str(reads_2)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as aligner, \
                subprocess.Popen(sort, stdin=aligner.stdout) as sorter:
            assert aligner.stdout and aligner.stderr
            aligner.stdout.close()  # so that bowtie2 ends if samtools does
            for line in aligner.stderr:
                print(line.decode("utf-8", "replace").rstrip("\n"), flush=True)
    except FileNotFoundError as error:
        raise AppError(f"The program {error.filename} is not installed on this node.") from None
    for name, process in (("samtools sort", sorter), ("bowtie2", aligner)):
        if process.returncode:
            raise AppError(f"{name} failed with exit code {process.returncode}; see the log.")


def align_reads(params: Any) -> dict[str, Any]:
    """Returns the alignment (an artifact) and its counts."""
    reads_1, reads_2 = input_file(params, "reads_1"), input_file(params, "reads_2")
    chunk = params.get("chunk")
    name = "alignment.bam" if chunk is None else f"chunk_{int(chunk):03d}.bam"
    align(reads_1, reads_2, index_prefix(params), ARTIFACTS / name)
    counts = flagstat(ARTIFACTS / name)
    return {"alignment": f"artifact:{name}", "chunk": chunk, "reads": counts["primary"],
            "aligned": counts["primary mapped"], "properly_paired": counts["properly paired"]}


if __name__ == "__main__":
    main(align_reads)
