"""Use case: cancel or retry many jobs at once, on the server, in the background.

Documents in `ee2_actions`: the action itself {_id, user, key, digest, action, as_admin, reason,
words, total, done, skipped, failed, state (`running`, `done`), open (while it runs), created,
finished (s), audit, expires}, and its jobs in chunks {_id: "ACTION.NUMBER", of, n, ids, state
(`todo`, `done`), tries, done, skipped, failed: [{id, reason}], expires}. Which jobs they are is
settled when the action is accepted, and so is that the caller may do it.

Each chunk is done once: its results are written in one transaction with what it does, or what it
does can be told from the records. So whoever finds an open action without a worker goes on with it
(`action_runs.py`): after a restart of the server, say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bson import ObjectId
from pymongo.errors import DuplicateKeyError, ExecutionTimeout

from ee2_jobs import action_runs, audit, user_tokens
from ee2_jobs.browse.query import Part, Reach, Sort, branches, too_slow
from ee2_jobs.browse.scope import picked
from ee2_jobs.browse.words import WORDS, Filter, parse
from ee2_jobs.cancel import MAX_REASON_LETTERS
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound, TooMany, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, Document, StageName, job_oid, now_s, to_ms
from ee2_jobs.page.batch import load_batch
from ee2_jobs.page.values import json_bytes
from ee2_jobs.retry import RETRYABLE
from ee2_jobs.rights import Level, denied, enough, not_found, require_admin, rights_in

MAX_JOBS = 100_000
MAX_OPEN = 10  # of a user; two calls at the same moment may both be the last
_RETRY_AFTER_S = 10
KEEP_DAYS = 30
_CHUNK = 1000
_MAX_KEY_LETTERS = 100
_RESOLVE_MS = 15_000
_ITEMS = 500  # of a page of results, about
_FIELDS = ("user", "wsid", "authstrat", "shared", "managers", "status", "batch_job", "batch_id",
           "running", "finished", "updated", "job_input.method", "job_input.app_id",
           "job_input.requirements.cpu", "retry_parent", "role")

Kind = Literal["cancel", "retry"]
_STATES: dict[Kind, tuple[str, ...]] = {"cancel": LIVE, "retry": RETRYABLE}
_DONE_TO = {"cancel": "cancelled", "retry": "retried"}


@dataclass(frozen=True)
class Request:
    """What is asked for, checked in itself. Either ids or words. sort: what `from` and `to` among
    the words speak of, as in the lists."""

    action: Kind
    ids: tuple[ObjectId, ...] | None
    words: Mapping[str, str]
    sort: Sort
    reason: str | None
    as_admin: bool
    key: str | None = None
    expect: int | None = None


@dataclass(frozen=True)
class Chosen:
    """The jobs of a request: those it is for, and those it is not for, each with the reason."""

    jobs: Sequence[Document]
    refused: Sequence[tuple[str, str]]


def parse_request(
    caller: Caller,
    *,
    action: Any,
    ids: Any = None,
    words: Mapping[str, Any] | None = None,
    sort: Sort = "created",
    reason: Any = None,
    as_admin: bool = False,
    key: Any = None,
    expect: Any = None,
) -> Request:
    """InvalidInput, and Denied for `as_admin` without the role. A word that no list knows is an
    error here: a filter with a slip of the pen must not end other jobs than were meant."""
    if action not in _STATES:
        raise InvalidInput("action must be cancel or retry")
    if (ids is None) == (words is None):
        raise InvalidInput("Give either filter or ids")
    oids: tuple[ObjectId, ...] | None = None
    given: dict[str, str] = {}
    if ids is not None:
        if not 0 < len(ids) <= MAX_JOBS:
            raise InvalidInput(f"ids must be 1 to {MAX_JOBS} ids of jobs")
        oids = tuple(dict.fromkeys(job_oid(one) for one in ids))
    if words is not None:
        unknown = sorted(set(words) - set(WORDS))
        if unknown:
            raise InvalidInput(f"filter: there is no word {unknown[0][:60]}: {', '.join(WORDS)}")
        given = {k: str(v) for k, v in words.items() if v is not None and str(v).strip()}
        if not given:
            raise InvalidInput("filter: give at least one word, such as status=live")
        parse(given)
    text = reason.strip() if isinstance(reason, str) else ""
    if len(text) > MAX_REASON_LETTERS:
        raise InvalidInput(f"reason: at most {MAX_REASON_LETTERS} letters")
    if as_admin:
        require_admin(caller, Level.WRITE)
        require_reason(text)
    if key is not None and not 0 < len(key) <= _MAX_KEY_LETTERS:
        raise InvalidInput(f"key must have 1 to {_MAX_KEY_LETTERS} letters")
    return Request(action, oids, given, sort, text or None, as_admin, key, expect)


def require_reason(reason: str | None) -> None:
    """InvalidInput for an administrator who gives none."""
    if not reason or not reason.strip():
        raise InvalidInput(
            "reason: say why: with as_admin it is required, and the jobs' owner is shown it"
        )


async def choose(engine: Engine, caller: Caller, request: Request) -> Chosen:
    """The jobs, with the caller's rights looked at. A filter finds what it can be done to only."""
    if request.ids is not None:
        jobs = await _load(engine, request.ids)
    else:
        jobs = await _matching(engine, caller, request)
    return await _allowed(engine, caller, request, jobs)


async def _load(engine: Engine, ids: Sequence[ObjectId]) -> list[Document]:
    found: dict[ObjectId, Document] = {}
    for start in range(0, len(ids), _CHUNK):
        query = {"_id": {"$in": list(ids[start : start + _CHUNK])}}
        async for job in engine.store.jobs.find(query, list(_FIELDS), batch_size=_CHUNK):
            found[job["_id"]] = job
    return [found[oid] for oid in ids if oid in found]


async def _matching(engine: Engine, caller: Caller, request: Request) -> list[Document]:
    sought = parse(request.words)
    possible = frozenset(_STATES[request.action]) & (sought.statuses or frozenset(LIVE + RETRYABLE))
    if not possible:
        states = ", ".join(_STATES[request.action])
        done_to = _DONE_TO[request.action]
        raise InvalidInput(f"filter: status must be one that can be {done_to}: {states}")
    # A batch's own record stays `created`: only who means all that is live means it, too.
    batches_too = request.action == "cancel" and possible == frozenset(LIVE)
    reach = Reach(
        "action", [await _part(engine, caller, request, sought)],
        picked=await picked(engine, caller, sought, as_admin=request.as_admin),
    )  # fmt: skip
    titled = await engine.workspaces.titled(caller, sought.q) if sought.q else []
    jobs: dict[ObjectId, Document] = {}
    for branch in branches(
        reach,
        replace(sought, statuses=possible),
        request.sort,
        now_s=now_s(),
        titled=titled,
        live_batches=None if batches_too else [],
    ):
        query = branch.query
        if not batches_too:
            query = {"$and": [query, {"batch_job": {"$ne": True}}]}
        # A list by stars or of runs shows these; there is a newer attempt.
        if reach.picked is not None or sought.runs:
            query = {"$and": [query, {"superseded": None}]}
        found = engine.store.jobs.find(query, list(_FIELDS), batch_size=_CHUNK)
        try:
            async for job in found.max_time_ms(_RESOLVE_MS).limit(MAX_JOBS + 1):
                jobs[job["_id"]] = job
        except ExecutionTimeout:
            raise too_slow(sought) from None
        if len(jobs) > MAX_JOBS:
            raise InvalidInput(
                f"filter: more than {MAX_JOBS} jobs match: do it in parts, by from and to"
            )
    return [jobs[oid] for oid in sorted(jobs)]


async def _part(engine: Engine, caller: Caller, request: Request, sought: Filter) -> Part:
    """What the filter may reach: the batch or the workspace it names, if the caller may read it;
    all jobs, for administrators as such; else the caller's own."""
    if sought.batch is not None:
        await load_batch(engine, caller, sought.batch, as_admin=request.as_admin)
        return Part({"batch_id": sought.batch}, "batch")
    if request.as_admin:
        return Part({}, "all")
    if sought.ws is not None:
        rights = await engine.workspaces.permissions(caller, [sought.ws])
        if rights.get(sought.ws, "n") != "n":
            return Part({"wsid": sought.ws, "authstrat": "kbaseworkspace"}, "ws")
    return Part({"user": caller.user}, "user")


async def _allowed(
    engine: Engine, caller: Caller, request: Request, jobs: Sequence[Document]
) -> Chosen:
    asked = request.ids or ()
    held: dict[str, str] = {}
    parents: dict[str, str] = {}
    if not request.as_admin:
        held = await rights_in(engine, caller, jobs, asked)
        if request.action == "retry":
            of = {job["batch_id"] for job in jobs if job.get("batch_id")}
            above = await _load(engine, [ObjectId(b) for b in of if ObjectId.is_valid(b)])
            parents = await rights_in(engine, caller, above)
    chosen: list[Document] = []
    refused: list[tuple[str, str]] = []
    readable = {str(job["_id"]) for job in jobs} if request.as_admin else set(held)
    refused += [(str(one), str(not_found(one))) for one in asked if str(one) not in readable]
    for job in jobs:
        job_id, batch_id = str(job["_id"]), job.get("batch_id")
        if job_id not in readable:
            continue
        may = request.as_admin or enough(held[job_id], Level.MANAGE)
        if may and batch_id and request.action == "retry" and not request.as_admin:
            may = enough(parents.get(batch_id), Level.MANAGE)
        if not may:
            refused.append((job_id, str(denied(caller, job_id))))
        elif job["status"] not in _STATES[request.action]:
            refused.append((job_id, action_runs.ended_text(job["status"])))
        elif request.action == "retry" and (why := _never_retried(job)) is not None:
            refused.append((job_id, why))
        else:
            chosen.append(job)
    return Chosen(chosen, refused)


def _never_retried(job: Document) -> str | None:
    """Why a job that failed is nothing that `retry` would run again; None: it may."""
    if job.get("role") == StageName.SPLIT.value:
        return "it is the split step of its batch: start the batch again"
    if "job_input" not in job:
        return "another service ran it: start it again there"
    return None


async def accept(engine: Engine, caller: Caller, request: Request) -> str:
    """Take the action on, and begin with it; its id. The same key of the same user is the same
    action: nothing is done again. WrongState if the number of jobs is far from `expect`; TooMany if
    MAX_OPEN actions of the user go on."""
    digest = _digest(request)
    known = await _known(engine, caller, request, digest)
    if known is not None:
        return known
    mine = {"open": True, "user": caller.user}
    if await engine.store.actions.count_documents(mine, limit=MAX_OPEN) >= MAX_OPEN:
        raise TooMany(
            f"{MAX_OPEN} actions of {caller.user} are not done yet: wait until one is, or name "
            "more jobs in one action",
            _RETRY_AFTER_S,
        )
    found = await choose(engine, caller, request)
    _require_expected(request, len(found.jobs))
    oid, now = ObjectId(), now_s()
    expires = datetime.now(UTC) + timedelta(days=KEEP_DAYS)
    chunks = _chunks(oid, found, expires)
    for chunk in chunks:
        await engine.store.actions.insert_one(chunk)
    document: Document = {
        "_id": oid, "user": caller.user, "roles": sorted(caller.roles), "digest": digest,
        "action": request.action, "as_admin": request.as_admin, "reason": request.reason,
        "words": dict(request.words), "total": len(found.jobs) + len(found.refused), "done": 0,
        "skipped": 0, "failed": len(found.refused), "state": "running", "open": True,
        "created": now, "expires": expires, **user_tokens.sealed(engine.settings, caller),
    }  # fmt: skip
    if request.key is not None:
        document["key"] = request.key
    if request.as_admin:
        targets = [str(job["_id"]) for job in found.jobs]
        what = f"rest.actions.{request.action}"
        document["audit"] = await audit.begin(
            engine.store, caller.user, what, targets, request.reason
        )
    try:
        await engine.store.actions.insert_one(document)
    except DuplicateKeyError:  # the same call at the same moment
        await engine.store.actions.delete_many({"of": oid})
        if request.as_admin:
            await audit.end(engine.store, document["audit"], error="the same was asked for twice")
        return str(await _known(engine, caller, request, digest))
    action_runs.start(engine, oid)
    return str(oid)


def _digest(request: Request) -> str:
    parts = [request.action, [str(one) for one in request.ids or ()], dict(request.words),
             request.sort, request.as_admin]  # fmt: skip
    return hashlib.blake2b(json_bytes(parts), digest_size=12).hexdigest()


async def _known(engine: Engine, caller: Caller, request: Request, digest: str) -> str | None:
    if request.key is None:
        return None
    query = {"user": caller.user, "key": request.key}
    known = await engine.store.actions.find_one(query, {"digest": 1})
    if known is None:
        return None
    if known["digest"] != digest:
        raise WrongState(
            f"key: it was used for another action, {known['_id']}: take a new key for each"
        )
    return str(known["_id"])


def _require_expected(request: Request, count: int) -> None:
    expect = request.expect
    if expect is not None and abs(expect - count) > max(2, expect // 10):
        raise WrongState(
            f"{count} jobs would be {_DONE_TO[request.action]}, and {expect} were expected: look "
            "at the list again. Nothing was done"
        )


def _chunks(oid: ObjectId, found: Chosen, expires: datetime) -> list[Document]:
    """The chunks: first those that say why jobs were refused, which are done."""
    chunks: list[Document] = []

    def add(**fields: Any) -> None:
        number = len(chunks)
        chunks.append(
            {
                "_id": f"{oid}.{number:05d}", "of": oid, "n": number, "expires": expires,
                "tries": 0, "done": 0, "skipped": [], "failed": [], **fields,
            }
        )  # fmt: skip

    for start in range(0, len(found.refused), _CHUNK):
        part = found.refused[start : start + _CHUNK]
        failed = [{"id": job_id, "reason": reason} for job_id, reason in part]
        add(ids=[], state="done", failed=failed)
    for start in range(0, len(found.jobs), _CHUNK):
        add(ids=[job["_id"] for job in found.jobs[start : start + _CHUNK]], state="todo")
    return chunks


async def read(
    engine: Engine, caller: Caller, action_id: Any, *, start: int = 0, as_admin: bool = False
) -> Document:
    """How an action stands: {id, action, state, total, done, skipped: {count, items}, failed:
    {count, items}, next, ...}. The items (id and reason) come in pages: `next` is the `start` of
    the next one, null at the end. For who asked for it, and for administrators as such."""
    if as_admin:
        require_admin(caller, Level.READ)
    oid = job_oid(action_id)
    action = await engine.store.actions.find_one({"_id": oid, "of": None})
    if action is None or not (as_admin or action["user"] == caller.user):
        raise NotFound(f"There is no action {oid}: actions are forgotten after {KEEP_DAYS} days")
    skipped: list[Document] = []
    failed: list[Document] = []
    following = None
    query = {"of": oid, "n": {"$gte": start}, "state": "done"}
    fields = {"n": 1, "skipped": 1, "failed": 1}
    async for chunk in engine.store.actions.find(query, fields).sort("_id", 1):
        if len(skipped) + len(failed) >= _ITEMS:
            following = chunk["n"]
            break
        skipped += chunk["skipped"]
        failed += chunk["failed"]
    return {
        "id": str(oid),
        "action": action["action"],
        "state": action["state"],
        "user": action["user"],
        "as_admin": action["as_admin"],
        "reason": action["reason"],
        "filter": action["words"] or None,
        "total": action["total"],
        "done": action["done"],
        "skipped": {"count": action["skipped"], "items": skipped},
        "failed": {"count": action["failed"], "items": failed},
        "next": following,
        "created": to_ms(action["created"]),
        "finished": to_ms(action["finished"]) if action.get("finished") else None,
    }
