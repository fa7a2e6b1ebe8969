"""Tells other services what changed: keeps the outbox filled from the changes, and empties it.

One per process, in the background of the triggerer, beside the watcher; of several processes one
works at a time. It is not the body of an Airflow run: a run that lasts would be examined by the
scheduler at each of its loops, which costs more than all the telling (ADR 15). The scheduled run
of `ee2_outbox` sees to it that this is alive, and says what waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from ee2_jobs.catalog import Catalog
from ee2_jobs.changes import ChangeReader
from ee2_jobs.lease import HOLD_S, Lease
from ee2_jobs.outbox import Publisher, deliver
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators.background import Background
from ee2_operators.patience import Patience
from kbase_services.ports import open_ports
from kbase_services.publish import open_publisher

log = logging.getLogger(__name__)

RENEW_S = HOLD_S / 3
# How long nothing is looked for while nothing changes: what waits for a second try, say.
LOOK_S = 10.0


class Teller(Background):
    """See the module. Belongs to one event loop. `problem`: why it does not work now, for people;
    that a destination does not take what it is told is no problem of this kind."""

    name = "teller"

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._settings = settings
        self._lease = Lease(store, "outbox")
        self._filled = asyncio.Event()
        self._patience = Patience(log)

    async def _work_on(self) -> None:
        while True:
            try:
                await self._work()
            except Exception as e:
                cause = e.exceptions[0] if isinstance(e, ExceptionGroup) else e
                self.problem = f"{type(cause).__name__}: {cause}"
                await self._patience.wait(cause)

    async def _work(self) -> None:
        """Read and tell, for as long as this process holds the lease and nothing fails."""
        while not await self._lease.take():
            self._fine()
            await asyncio.sleep(RENEW_S)
        reader = publisher = ports = None
        try:
            publisher = open_publisher(self._settings)
            ports = open_ports(self._settings, self._store)
            reader = ChangeReader(self._store, events=self._settings.notify != "none")
            async with asyncio.TaskGroup() as both:
                reading = both.create_task(self._read(reader))
                telling = both.create_task(self._tell(ports.catalog, publisher))
                await reading  # returns when another process has taken over
                telling.cancel()
        finally:
            for part in (reader, publisher, ports):
                if part is not None:
                    await part.aclose()
            await self._lease.release()

    async def _read(self, reader: ChangeReader) -> None:
        renewed = time.monotonic()
        while True:
            if await reader.step():
                self._filled.set()
            self._fine()
            if time.monotonic() - renewed > RENEW_S:
                if not await self._lease.take():
                    return
                renewed = time.monotonic()

    async def _tell(self, catalog: Catalog, publisher: Publisher) -> None:
        said: list[str] = []
        while True:
            self._filled.clear()
            delivery = await deliver(self._store, catalog, publisher)
            if delivery.errors and delivery.errors != said:
                log.warning("Not told yet, to be tried again: %s", "; ".join(delivery.errors))
            said = delivery.errors or said
            if not delivery.more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), LOOK_S)

    def _fine(self) -> None:
        self._patience.over()
        self.problem = None
