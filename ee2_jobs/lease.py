"""One at a time among processes: a lease in MongoDB that its holder renews."""

from __future__ import annotations

import os
import socket
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from ee2_jobs.model import now_s
from ee2_jobs.store import Store

# Longer than any pause of a process that lives, and of a clock that is wrong.
HOLD_S = 30.0


class Lease:
    """The right to do what `name` says, kept in `store.marks`. A holder that dies loses it after
    `hold_s`. It prevents double work, not harm: what it guards must bear two at once."""

    def __init__(self, store: Store, name: str, hold_s: float = HOLD_S) -> None:
        self._store = store
        self._id = f"lease.{name}"
        self._hold_s = hold_s
        self._holder = f"{socket.gethostname()}.{os.getpid()}.{uuid4().hex[:8]}"

    async def take(self) -> bool:
        """Take the lease, or renew it; False while another holds it."""
        now = now_s()
        free = [{"holder": self._holder}, {"until": {"$lt": now}}]
        try:
            await self._store.marks.update_one(
                {"_id": self._id, "$or": free},
                {"$set": {"holder": self._holder, "until": now + self._hold_s}},
                upsert=True,
            )
        except DuplicateKeyError:
            return False
        return True

    async def release(self) -> None:
        """Let another have it at once; nothing if this one does not hold it."""
        await self._store.marks.delete_one({"_id": self._id, "holder": self._holder})
