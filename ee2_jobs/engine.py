"""What the use cases need, in one value; and the port to what runs submissions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ee2_jobs.catalog import Catalog
from ee2_jobs.client_groups import ClientGroups, GroupsFile
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_jobs.workspaces import Workspaces


class Orchestrator(Protocol):
    """The port to what runs submissions (Airflow, handed in by the top floor)."""

    def start(self, submission_ids: Sequence[str]) -> None:
        """Have accepted submissions started soon. Returns at once and never raises: what is not
        started now is started later from the outbox."""
        ...


class NoOrchestrator:
    """Starts nothing: for programs that only read or administrate."""

    def start(self, submission_ids: Sequence[str]) -> None:
        """See the port."""


@dataclass(frozen=True)
class Engine:
    """The ports and settings that use cases work with."""

    store: Store
    settings: Settings
    groups: GroupsFile | ClientGroups
    catalog: Catalog
    workspaces: Workspaces
    orchestrator: Orchestrator = field(default_factory=NoOrchestrator)
