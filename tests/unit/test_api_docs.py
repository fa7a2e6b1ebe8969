"""docs/api.md is what the code renders, and says something of every method."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from api_bridge.describe import api_page
from api_bridge.methods import METHODS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_code() -> None:
    assert (DOCS / "api.md").read_text() == api_page(), (
        "run: python -m api_bridge.describe > docs/api.md"
    )


def test_every_method_has_its_section() -> None:
    headings = re.findall(r"^### (\S+)$", api_page(), re.MULTILINE)
    assert sorted(headings) == sorted(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_what_it_does(name: str) -> None:
    text = inspect.getdoc(METHODS[name].call)
    assert text and len(text) > 5, f"{name} needs a docstring"


@pytest.mark.parametrize(
    "name", sorted(n for n in METHODS if n.startswith(("execution_engine2.", "ee2_runner.")))
)
def test_fields_are_named(name: str) -> None:
    """Of a mapping, what it may hold; of what is returned, its form."""
    method = METHODS[name]
    text = inspect.getdoc(method.call) or ""
    if dict in method.takes:
        assert "Fields" in text or "- `" in text
        if method.values != "none" and name != "ee2_runner.finish":
            assert "Result:" in text


def test_the_links_lead_somewhere() -> None:
    page = api_page()
    anchors = {_anchor(h) for h in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        path, _, anchor = target.partition("#")
        if path:
            assert (DOCS / path).exists(), target
            found = re.findall(r"^#+ (.+)$", (DOCS / path).read_text(), re.MULTILINE)
            assert not anchor or anchor in {_anchor(h) for h in found}, target
        else:
            assert anchor in anchors, target


def _anchor(heading: str) -> str:
    kept = (c for c in heading.lower() if c.isalnum() or c in " -_")
    return "".join(kept).strip().replace(" ", "-")
