"""What a run has done with each row, and what it could not translate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ee2_jobs.model import Document

FIRST_IDS = 20


@dataclass
class Finding:
    """One reason: how many rows it concerns, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, row_id: str) -> None:
        """Count a row."""
        self.count += 1
        if len(self.first) < FIRST_IDS:
            self.first.append(row_id)


@dataclass
class Report:
    """The account of one collection, from the beginning of its run, restarts included.

    read: rows seen. made: written here (dry run: would be). already_here: left as they are here.
    left_out: rows that could not be translated, by reason. notes: rows that were translated, and
    what had to be decided or was lost, by reason.
    """

    read: int = 0
    made: int = 0
    already_here: int = 0
    left_out: dict[str, Finding] = field(default_factory=dict)
    notes: dict[str, Finding] = field(default_factory=dict)

    def leave_out(self, row_id: Any, reason: str) -> None:
        """Note a row that was not translated."""
        self.left_out.setdefault(reason, Finding()).add(str(row_id))

    def note(self, row_id: Any, reasons: Iterable[str]) -> None:
        """Note what was decided about a row that was translated."""
        for reason in reasons:
            self.notes.setdefault(reason, Finding()).add(str(row_id))

    def as_document(self) -> Document:
        """As JSON, and as a mark stores it. Reasons are values, not keys: they may hold dots."""
        return {
            "read": self.read,
            "made": self.made,
            "already_here": self.already_here,
            "left_out": _listed(self.left_out),
            "notes": _listed(self.notes),
        }

    @classmethod
    def from_document(cls, stored: Document) -> Report:
        """The report that `as_document` made."""
        return cls(
            read=stored["read"],
            made=stored["made"],
            already_here=stored["already_here"],
            left_out=_findings(stored["left_out"]),
            notes=_findings(stored["notes"]),
        )


def _listed(findings: dict[str, Finding]) -> list[Document]:
    return [{"reason": r, "count": f.count, "first": f.first} for r, f in findings.items()]


def _findings(stored: list[Document]) -> dict[str, Finding]:
    return {f["reason"]: Finding(f["count"], list(f["first"])) for f in stored}
