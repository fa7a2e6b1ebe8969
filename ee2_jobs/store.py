"""The collections in MongoDB and their indexes.

`ee2_jobs` and `ee2_logs` are EE2's own; the others are ours. Adopting an EE2 database means running
the migrations (`migrations.py`): indexes are added, nothing is rewritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from ee2_jobs.batched import BatchedReader
from ee2_jobs.id_counts import IdCounts

T = TypeVar("T")


class Store:
    """The engine's database. One per process and event loop; close it with `close`."""

    def __init__(
        self, uri: str, database: str | None = None, *, password: str | None = None
    ) -> None:
        """password: for a URI with a user and none."""
        given: dict[str, Any] = {} if password is None else {"password": password}
        if "serverselectiontimeoutms" not in uri.lower():  # else what is given here would count
            given["serverSelectionTimeoutMS"] = 5000
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            uri, tz_aware=False, **given
        )
        self.db = self.client.get_database(database) if database else (
            self.client.get_default_database("ee2")
        )
        self.jobs = self._collection("ee2_jobs")
        self.job_states = BatchedReader(
            self.jobs, ("status", "user", "wsid", "authstrat", "shared", "by_job")
        )
        self.id_counts = IdCounts(self.jobs)
        self.old_logs = self._collection("ee2_logs")
        self.log_buckets = self._collection("ee2_log_buckets")
        self.submissions = self._collection("ee2_submissions")
        self.shapes = self._collection("ee2_shapes")
        self.users = self._collection("ee2_users")
        self.tokens = self._collection("ee2_tokens")
        self.workspaces = self._collection("ee2_workspaces")
        self.apps = self._collection("ee2_apps")
        # What records of the old services need and EE2's do not have; one per job, same id.
        self.legacy = self._collection("ee2_legacy")
        # Rows of NJS that an import read before the rows of UJS they belong to.
        self.import_waiting = self._collection("ee2_import_waiting")
        self.user_state = self._collection("ee2_user_state")
        self.objects = self._collection("ee2_objects")
        self.exec_stats = self._collection("ee2_exec_stats")
        self.audit = self._collection("ee2_audit")
        # What has to be told to other services, and how far the stream of changes was read.
        self.outbox = self._collection("ee2_outbox")
        self.marks = self._collection("ee2_marks")
        # What administrators set: limits, and what is paused or drained.
        self.limits = self._collection("ee2_limits")
        self.controls = self._collection("ee2_controls")
        # The pool as it was seen last, and every half minute for a month.
        self.snapshots = self._collection("ee2_snapshots")
        self.samples = self._collection("ee2_samples")
        # Statistics by day.
        self.daily = self._collection("ee2_daily")
        # Actions on many jobs at once, and what came of them.
        self.actions = self._collection("ee2_actions")
        # What users note on jobs for themselves, and how they want the pages.
        self.page_settings = self._collection("ee2_page_settings")
        self.tags = self._collection("ee2_tags")
        # Messages to people, and who wants which.
        self.notices = self._collection("ee2_notices")
        self.watches = self._collection("ee2_watches")
        self.notice_settings = self._collection("ee2_notice_settings")
        # How many calls the API has answered, by the minute.
        self.calls = self._collection("ee2_calls")
        self.migrations = self._collection("ee2_migrations")
        # The daily reports on the engine's health.
        self.health = self._collection("ee2_health")

    def _collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        return self.db[name]

    async def transaction(self, body: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Run `body(session)` in one transaction; all of it is stored or nothing."""
        async with self.client.start_session() as session:
            return await session.with_transaction(body)

    async def ensure_indexes(self) -> None:
        """Bring the database into the form that the engine needs (`migrations.py`); harmless when
        repeated."""
        from ee2_jobs.migrations import migrate

        await migrate(self)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
