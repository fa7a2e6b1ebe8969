"""Telling other services what the outbox holds: execution statistics and messages of changes.

What was told is deleted; what was not stays, with the reason, and is tried again for as long as it
takes. Both kinds are told **at least once**: neither the Catalog nor Kafka nor a webhook can tell a
repetition from something new, and a process that dies after it has sent and before it has noted
that sends once more; the other order would lose what is sent in that moment. Between such deaths
statistics go out once per job: the job's record notes when (`told`), and that is looked at before.

Messages go out in the order of the changes. While their destination is away all of them wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

from bson import ObjectId

from ee2_jobs.catalog import Catalog, ExecStats
from ee2_jobs.errors import InvalidInput
from ee2_jobs.messages import Kind
from ee2_jobs.model import Document, now_s
from ee2_jobs.store import Store

EVENTS_AT_ONCE = 200
STATS_AT_ONCE = 40
STATS_IN_PARALLEL = 8
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
LONGEST_ASIDE_S = 3600.0
# What could not be told for so long is worth a warning to people.
LATE_S = 86_400.0
_MOST_LETTERS = 500


class Refused(Exception):
    """The destination says that it will never take what it got, as it is."""


class Publisher(Protocol):
    """The port to whoever wants to know of changes of state."""

    async def publish(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Tell these messages, in this order. It returns when all of them are taken for good, and
        raises if that is not certain of all: Refused if they will never be, any other exception if
        it may work later. All are then told again."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


@dataclass
class Delivery:
    """What one call of `deliver` did, over both kinds. more: whether there is more to tell now.
    errors: why something was not told, a sentence per kind."""

    told: int = 0
    more: bool = False
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Waiting:
    """What of a kind is still to be told: how many, and of how many the destination wants nothing
    (they are tried every now and then). since_s: when the oldest change was. error: the last
    reason, if there is trouble."""

    kind: Kind
    count: int
    refused: int
    since_s: float | None
    error: str | None

    @property
    def late(self) -> bool:
        """Whether somebody should look after it."""
        return self.since_s is not None and now_s() - self.since_s > LATE_S


Failures = dict[str, Exception]
_Send = Callable[[Sequence[Document]], Coroutine[Any, Any, Failures]]


async def deliver(store: Store, catalog: Catalog, publisher: Publisher) -> Delivery:
    """Tell what is due, a batch of each kind; call it again while there is `more`."""

    async def stats(batch: Sequence[Document]) -> Failures:
        return await _tell_stats(store, catalog, batch)

    async def events(batch: Sequence[Document]) -> Failures:
        return await _tell_events(publisher, batch)

    delivery = Delivery()
    await asyncio.gather(
        _deliver(store, "stats", STATS_AT_ONCE, stats, delivery),
        _deliver(store, "event", EVENTS_AT_ONCE, events, delivery),
    )
    return delivery


async def _deliver(
    store: Store, kind: Kind, at_once: int, send: _Send, delivery: Delivery
) -> None:
    mark_id = f"outbox.{kind}"
    mark = await store.marks.find_one({"_id": mark_id}) or {}
    now = now_s()
    if mark.get("next", 0.0) > now:
        return
    batch = await (
        store.outbox.find({"kind": kind, "next": None}).sort("_id", 1).limit(at_once).to_list()
    )
    again = {"kind": kind, "next": {"$lte": now}}
    batch += await store.outbox.find(again).sort("next", 1).limit(at_once // 4).to_list()
    if not batch:
        return
    failures = await send(batch)
    sent = [one["_id"] for one in batch if one["_id"] not in failures]
    if sent:
        await store.outbox.delete_many({"_id": {"$in": sent}})
        delivery.told += len(sent)
        delivery.more = delivery.more or len(batch) >= at_once
    if failures:
        error = next(iter(failures.values()))
        delivery.errors.append(f"{_NAMES[kind]}: {_text(error)}")
    if failures and not sent and not all(_is_refusal(e) for e in failures.values()):
        # The destination is away; nothing overtakes what waits.
        tries = mark.get("tries", 0)
        pause_s = _pause_s(tries, LONGEST_PAUSE_S)
        await store.marks.update_one(
            {"_id": mark_id},
            {
                "$set": {"next": now_s() + pause_s, "tries": tries + 1, "error": _text(error)},
                "$setOnInsert": {"since": now},
            },
            upsert=True,
        )
        return
    if mark:
        await store.marks.delete_one({"_id": mark_id})
    for one in batch:
        if one["_id"] in failures:
            await _set_aside(store, one, failures[one["_id"]])


async def _set_aside(store: Store, one: Document, error: Exception) -> None:
    """What is refused while others are taken waits by itself, and does not hold up the others."""
    tries = one.get("tries", 0)
    pause_s = _pause_s(tries, LONGEST_ASIDE_S)
    await store.outbox.update_one(
        {"_id": one["_id"]},
        {"$set": {"next": now_s() + pause_s, "tries": tries + 1, "error": _text(error)}},
    )


async def _tell_events(publisher: Publisher, batch: Sequence[Document]) -> Failures:
    try:
        await publisher.publish([one["body"] for one in batch])
    except Refused as e:
        if len(batch) == 1:
            return {batch[0]["_id"]: e}
        # One of them will be the culprit.
        failures: Failures = {}
        for n, one in enumerate(batch):
            failed = await _tell_events(publisher, [one])
            failures |= failed
            if failed and not isinstance(failed[one["_id"]], Refused):
                return failures | {later["_id"]: failed[one["_id"]] for later in batch[n:]}
        return failures
    except Exception as e:
        return {one["_id"]: e for one in batch}
    return {}


async def _tell_stats(store: Store, catalog: Catalog, batch: Sequence[Document]) -> Failures:
    ids = [ObjectId(one["job"]) for one in batch]
    found = store.jobs.find({"_id": {"$in": ids}, "told": {"$exists": True}}, {"_id": 1})
    known = {str(job["_id"]) async for job in found}
    failures: Failures = {}
    slots = asyncio.Semaphore(STATS_IN_PARALLEL)

    async def tell(one: Document) -> None:
        async with slots:
            try:
                await catalog.log_exec_stats(ExecStats(**one["body"]))
            except Exception as e:
                failures[one["_id"]] = e

    await asyncio.gather(*(tell(one) for one in batch if one["job"] not in known))
    told = [i for i, one in zip(ids, batch, strict=True) if one["_id"] not in failures]
    await store.jobs.update_many(
        {"_id": {"$in": told}, "told": {"$exists": False}}, {"$set": {"told": now_s()}}
    )
    return failures


async def waiting(store: Store) -> list[Waiting]:
    """What is still to be told, by kind."""
    found = []
    for kind in get_args(Kind):
        mark = await store.marks.find_one({"_id": f"outbox.{kind}"}) or {}
        oldest = await store.outbox.find_one({"kind": kind}, sort=[("at", 1)])
        refused: Document = {"kind": kind, "next": {"$gt": 0}}
        last = await store.outbox.find_one(refused, sort=[("next", -1)])
        found.append(
            Waiting(
                kind,
                await store.outbox.count_documents({"kind": kind}),
                await store.outbox.count_documents(refused),
                oldest["at"] if oldest else None,
                mark.get("error") or (last["error"] if last else None),
            )
        )
    return found


_NAMES: dict[Kind, str] = {"stats": "execution statistics", "event": "changes of state"}


def sentence(one: Waiting) -> str:
    """A line for people."""
    since = f", the oldest for {(now_s() - one.since_s) / 3600:.1f} h" if one.since_s else ""
    refused = f"; {one.refused} of them were refused" if one.refused else ""
    reason = f": {one.error}" if one.error else ""
    return f"{one.count} {_NAMES[one.kind]} wait to be told{since}{refused}{reason}"


def _is_refusal(error: Exception) -> bool:
    """Whether what was told is the trouble, and not whom it was told."""
    return isinstance(error, Refused | InvalidInput)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_LETTERS]


def _pause_s(tries: int, longest_s: float) -> float:
    """Doubled with each try, a little at random."""
    pause_s: float = min(FIRST_PAUSE_S * 2.0 ** min(tries, 30), longest_s)
    return pause_s * random.uniform(0.8, 1.2)
