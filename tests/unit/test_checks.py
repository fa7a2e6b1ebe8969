"""The linters: clean, as a test, so that one command checks everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_nothing_to_complain_about(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_registry_and_no_machine_is_named() -> None:
    """Registries come from the machine's own configuration; paths of a machine help nobody else."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    registries = ["pypi" + ".org", "python" + "hosted", "npm" + "js.org", "deb.deb" + "ian.org"]
    words = [*registries, "/wo" + "rk/main"]
    wrong = [
        f"{name}: {word}"
        for name in names
        if name and (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(errors="replace")
    ]
    assert not wrong
