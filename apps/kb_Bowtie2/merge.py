"""Merges the chunks' alignments and reports counts and coverage."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from common import ARTIFACTS, AppError, flagstat, main, run
from report import Reference, render

MAX_BINS = 480
MAX_PICTURES = 6


def merge(parts: list[str], merged: Path) -> None:
    """Merges sorted BAM files into one, and indexes it."""
    if len(parts) == 1:
        shutil.copyfile(parts[0], merged)
    else:
        Path("tmp/parts").write_text("\n".join(parts) + "\n")
        run("samtools", "merge", "-f", "-c", "-p", "-b", "tmp/parts", "-o", str(merged))
    run("samtools", "index", str(merged))


def coverage(merged: Path) -> list[Reference]:
    """Returns each reference sequence with its coverage; the longest ones with a curve."""
    rows = [line.split("\t") for line in run("samtools", "coverage", str(merged)).splitlines()[1:]]
    rows.sort(key=lambda row: -int(row[2]))
    references = []
    for number, row in enumerate(rows):
        name, length = row[0], int(row[2])
        size = -(-length // MAX_BINS)
        bins = [0.0] * -(-length // size)
        if number < MAX_PICTURES:
            for line in run("samtools", "depth", "-a", "-r", name, str(merged)).splitlines():
                _, position, depth = line.split("\t")
                bins[(int(position) - 1) // size] += int(depth)
            widths = [min(size, length - i * size) for i in range(len(bins))]
            bins = [total / width for total, width in zip(bins, widths, strict=True)]
        references.append(Reference(
            name=name, length_bp=length, covered_bp=int(row[4]), mean_depth=float(row[6]),
            bin_bp=size, depths=bins if number < MAX_PICTURES else []))
    return references


def merge_alignments(params: Any) -> dict[str, Any]:
    """Returns the merged alignment and the report (artifacts), and the main figures."""
    children = params.get("children") if isinstance(params, dict) else None
    if not isinstance(children, list) or not children:
        raise AppError("merge_alignments needs the list 'children' of a split-aggregate run.")
    done = [child for child in children if child.get("result")]
    for child in children:
        if child not in done:
            print(f"Chunk {child['index']} (job {child['job_id']}) is left out: "
                  f"{child.get('error') or child['status']}")
    if not done:
        raise AppError(f"None of the {len(children)} chunks was aligned; the first one says: "
                       f"{children[0].get('error') or children[0]['status']}")
    merged = ARTIFACTS / "merged.bam"
    print(f"Merging {len(done)} of {len(children)} alignments", flush=True)
    merge([child["result"][0]["alignment"] for child in done], merged)
    counts = flagstat(merged)
    references = coverage(merged)
    length = sum(reference.length_bp for reference in references)
    mean = sum(reference.mean_depth * reference.length_bp for reference in references) / length
    covered = sum(reference.covered_bp for reference in references) / length
    (ARTIFACTS / "report.html").write_text(
        render(children, counts, references, mean, covered), encoding="utf-8")
    return {
        "report": "artifact:report.html", "alignment": "artifact:merged.bam",
        "alignment_index": "artifact:merged.bam.bai", "flagstat": counts,
        "reads": counts["primary"], "aligned": counts["primary mapped"],
        "mean_coverage": round(mean, 3), "covered_fraction": round(covered, 6),
        "chunks": len(children), "chunks_failed": len(children) - len(done),
    }


if __name__ == "__main__":
    main(merge_alignments)
