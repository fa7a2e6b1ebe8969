"""The collections in MongoDB and their indexes.

`ee2_jobs` and `ee2_logs` are EE2's own; the others are ours. Adopting an EE2 database means calling
`ensure_indexes`: indexes are added, nothing is rewritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from ee2_jobs.batched import BatchedReader

T = TypeVar("T")


class Store:
    """The engine's database. One per process and event loop; close it with `close`."""

    def __init__(
        self, uri: str, database: str | None = None, *, password: str | None = None
    ) -> None:
        """password: for a URI with a user and none."""
        given: dict[str, Any] = {} if password is None else {"password": password}
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            uri, serverSelectionTimeoutMS=5000, tz_aware=False, **given
        )
        self.db = self.client.get_database(database) if database else (
            self.client.get_default_database("ee2")
        )
        self.jobs = self._collection("ee2_jobs")
        self.job_states = BatchedReader(
            self.jobs, ("status", "user", "wsid", "authstrat", "shared")
        )
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

    def _collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        return self.db[name]

    async def transaction(self, body: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Run `body(session)` in one transaction; all of it is stored or nothing."""
        async with self.client.start_session() as session:
            return await session.with_transaction(body)

    async def ensure_indexes(self) -> None:
        """Add what the engine's queries need; harmless when repeated."""
        await self.jobs.create_indexes(
            [
                # Counts of live jobs are answered from this index alone.
                IndexModel(
                    [
                        ("submission", ASCENDING),
                        ("stage", ASCENDING),
                        ("status", ASCENDING),
                        ("try", ASCENDING),
                    ]
                ),
                # The counts of a batch are answered from this index alone.
                IndexModel(
                    [
                        ("batch_id", ASCENDING),
                        ("role", ASCENDING),
                        ("status", ASCENDING),
                        ("superseded", ASCENDING),
                        ("abandoned", ASCENDING),
                    ]
                ),
                IndexModel([("user", ASCENDING), ("_id", DESCENDING)]),
                IndexModel([("wsid", ASCENDING), ("_id", DESCENDING)]),
                IndexModel([("status", ASCENDING), ("_id", DESCENDING)]),
                IndexModel([("scheduler_id", ASCENDING)]),
                IndexModel([("retry_parent", ASCENDING)], sparse=True),
                IndexModel(
                    [("shared", ASCENDING), ("_id", DESCENDING)],
                    partialFilterExpression={"shared": {"$exists": True}},
                ),
                IndexModel([("job_input.parent_job_id", ASCENDING)], sparse=True),
                # What was cancelled before it was in the pool keeps the flag: hence the second key.
                IndexModel(
                    [("remove", ASCENDING), ("scheduler_id", ASCENDING)],
                    partialFilterExpression={"remove": True},
                ),
            ]
        )
        await self.jobs.create_indexes(
            [
                IndexModel(
                    [("reprioritise", ASCENDING), ("scheduler_id", ASCENDING)],
                    partialFilterExpression={"reprioritise": True},
                )
            ]
        )
        await self.log_buckets.create_indexes(
            [IndexModel([("job", ASCENDING), ("base", ASCENDING)], unique=True)]
        )
        await self.submissions.create_indexes(
            [
                IndexModel([("status", ASCENDING), ("accepted", ASCENDING)]),
                IndexModel(
                    [("report_due", ASCENDING)], partialFilterExpression={"report_due": True}
                ),
            ]
        )
        await self.tokens.create_indexes([IndexModel([("user", ASCENDING)])])
        await self.user_state.create_indexes(
            [
                IndexModel(
                    [
                        ("user", ASCENDING),
                        ("service", ASCENDING),
                        ("auth", ASCENDING),
                        ("key", ASCENDING),
                    ],
                    unique=True,
                )
            ]
        )
        await self.outbox.create_indexes(
            [
                IndexModel([("kind", ASCENDING), ("next", ASCENDING), ("_id", ASCENDING)]),
                IndexModel([("kind", ASCENDING), ("at", ASCENDING)]),
            ]
        )
        await self.legacy.create_indexes(
            [
                IndexModel([("awe_job_id", ASCENDING)], sparse=True),
                IndexModel([("deleted", ASCENDING)], sparse=True),
            ]
        )
        await self.audit.create_indexes(
            [
                IndexModel([("target", ASCENDING), ("at", DESCENDING)]),
                IndexModel([("who", ASCENDING), ("at", DESCENDING)]),
            ]
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
