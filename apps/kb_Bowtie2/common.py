"""What the three methods of the app share: input, output, files and the programs they run."""
from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = "/usr/share/doc/bowtie2/examples"
DEFAULTS = {
    "reads_1": f"{EXAMPLES}/reads/reads_1.fq.gz",
    "reads_2": f"{EXAMPLES}/reads/reads_2.fq.gz",
    "reference": f"{EXAMPLES}/reference/lambda_virus.fa.gz",
}
ARTIFACTS = Path("artifacts")


class AppError(Exception):
    """The job cannot be done; the message is for the job's owner."""


def main(method: Callable[[Any], dict[str, Any]]) -> None:
    """Runs `method` on the first parameter of input.json and writes output.json."""
    params = json.loads(Path("input.json").read_text())["params"]
    try:
        output: dict[str, Any] = {"version": "1.1", "result": [method(params[0] if params else {})]}
    except AppError as error:
        print(error, file=sys.stderr)
        output = {"error": {"code": -32000, "name": "kb_Bowtie2", "message": str(error),
                            "error": ""}}
    Path("output.json").write_text(json.dumps(output))
    sys.exit("error" in output)


def input_file(params: Any, name: str) -> Path:
    """Returns the file that the parameter `name` gives, or the example file."""
    if not isinstance(params, dict):
        raise AppError("The parameters must be an object such as {\"reads_1\": ..., "
                       "\"reads_2\": ..., \"reference\": ...}.")
    path = params.get(name) or DEFAULTS[name]
    if not isinstance(path, str):
        raise AppError(f"The parameter {name} must be the path of a file, not {path!r}.")
    if not os.path.isfile(path):
        hint = " (install Debian's bowtie2-examples)" if path.startswith(EXAMPLES) else ""
        raise AppError(f"{name}: there is no file {path} on this node{hint}.")
    return Path(path)


def open_text(path: Path) -> Any:
    """Opens a text file, unpacking it if it is gzipped."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def run(*argv: str) -> str:
    """Runs a program and returns what it printed; its messages go to the log."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    except FileNotFoundError:
        raise AppError(f"The program {argv[0]} is not installed on this node.") from None
    except subprocess.CalledProcessError as error:
        name = " ".join(argv[:2]) if argv[0] == "samtools" else argv[0]
        raise AppError(f"{name} failed with exit code {error.returncode}; see the log.") from None
    return done.stdout.decode()


def build_index(reference: Path, folder: Path) -> list[Path]:
    """Builds bowtie2's index of a FASTA file in `folder`; returns its files."""
    plain = Path("tmp/reference.fa")
    with open_text(reference) as packed, open(plain, "wb") as file:
        shutil.copyfileobj(packed, file)
    run("bowtie2-build", "--quiet", "--threads", "1", str(plain), str(folder / "index"))
    return sorted(folder.glob("index.*.bt2*"))


def flagstat(alignment: Path) -> dict[str, Any]:
    """Returns samtools' counts over a BAM file, with their names in samtools' words."""
    counts: dict[str, dict[str, Any]] = json.loads(
        run("samtools", "flagstat", "-O", "json", str(alignment)))
    return counts["QC-passed reads"]
