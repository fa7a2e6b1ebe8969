"""A clock that tests put forward, and stores of their own for the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bson import ObjectId

from ee2_jobs.store import Store
from kbase_services.http import Patience

SECRET = "k" * 32
# Retries as in production, but without waiting for them.
QUICK = Patience(connect_s=1, read_s=2, wait_s=0.001, wait_max_s=0.002)


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def forward(self, seconds: float) -> None:
        self.now_s += seconds


@asynccontextmanager
async def open_store(mongo_uri: str) -> AsyncIterator[Store]:
    """A store on a database of its own, dropped at the end."""
    store = Store(mongo_uri, f"test_{ObjectId()}")
    try:
        yield store
    finally:
        await store.client.drop_database(store.db.name)
        await store.close()
