"""docs/dashboard.md names the test of each feature: those tests have to be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMED = re.findall(r"\[(test_\w+)\]\((\S+?\.py)\)", (DOCS / "dashboard.md").read_text())


@pytest.mark.parametrize(("name", "file"), sorted(set(NAMED)))
def test_the_named_test_is_there(name: str, file: str) -> None:
    path = (DOCS / file).resolve()
    assert path.is_file()
    assert name == path.stem or f"def {name}(" in path.read_text()


def test_every_row_has_a_test() -> None:
    rows = [r for r in (DOCS / "dashboard.md").read_text().splitlines() if r.startswith("| ")][1:]
    assert len(rows) == 47
    assert all("](../tests/browser/" in row for row in rows)
