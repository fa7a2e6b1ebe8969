"""What the methods work with: the engine, who asks, and what this process remembers of jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from bson import ObjectId
from pymongo.errors import PyMongoError

from api_bridge.envelope import DIALECTS
from ee2_jobs import silent
from ee2_jobs.browse.since import ListChanges
from ee2_jobs.call_counts import CallCounts
from ee2_jobs.checks import find_job
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, NotAuthenticated
from ee2_jobs.feed import Feed
from ee2_jobs.identity import Caller, Identity
from ee2_jobs.model import TERMINAL, Document, job_oid
from ee2_jobs.store import Store
from ee2_jobs.waiting import Waiting

ANYBODY = Caller("")
FACTS = {"user": 1, "wsid": 1, "authstrat": 1, "submission": 1, "batch_id": 1, "shared": 1,
         "by_job": 1}  # fmt: skip
_MAX_REMEMBERED = 50_000


class Memory:
    """What this process remembers of jobs: what never changes, and how long their logs were; and
    how many calls it has answered.

    A runner of KBase's asks twice a second per running job, nearly always about nothing: with this
    an empty `add_job_logs` touches no database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._facts: dict[str, Document] = {}
        self._log_lines: dict[str, int] = {}
        self._seen: set[str] = set()
        self.calls = CallCounts(store)

    async def facts(self, job_id: Any) -> Document:
        """Owner, workspace, submission and batch of a job; InvalidInput or NotFound as find_job."""
        job = self._facts.get(job_id) if isinstance(job_id, str) else None
        if job is None:
            job = await find_job(self._store, job_oid(job_id), FACTS)
            self.note_facts(job)
        return job

    def known(self, job_id: Any) -> Document | None:
        """The same if this process has seen the job, without a look-up. With whom the job was
        shared then may have changed since."""
        return self._facts.get(job_id) if isinstance(job_id, str) else None

    def note_facts(self, job: Document) -> None:
        """Remember a record that was read with the projection FACTS."""
        _remember(self._facts, str(job["_id"]), job)

    def log_lines(self, job_id: str) -> int | None:
        """How many lines the job's log had when this process last wrote to it; None if never."""
        return self._log_lines.get(job_id)

    def note_log_lines(self, job_id: str, count: int) -> None:
        """The job's log has `count` lines now. It never shrinks, so an answer that was overtaken by
        another changes nothing."""
        _remember(self._log_lines, job_id, max(count, self._log_lines.get(job_id, 0)))

    def note_seen(self, job_id: str | None) -> None:
        """The job with this id was heard of: it called with its own token. None: it was a user."""
        if job_id is not None:
            self._seen.add(job_id)

    async def flush_seen(self) -> None:
        """Put on the records who was heard of since the last call, and that somebody listens."""
        seen, self._seen = self._seen, set()
        try:
            await silent.note_seen(self._store, seen)
        except PyMongoError:
            self._seen |= seen
            raise


def _remember(kept: dict[str, Any], key: str, value: Any) -> None:
    if len(kept) >= _MAX_REMEMBERED:
        for old in list(islice(kept, _MAX_REMEMBERED // 2)):
            del kept[old]
    kept[key] = value


@dataclass(frozen=True)
class Service:
    """The ports that the methods work with; one per process."""

    engine: Engine
    identity: Identity
    memory: Memory
    waiting: Waiting
    feed: Feed
    changes: ListChanges = field(default_factory=ListChanges)


@dataclass(frozen=True)
class Method:
    """One method of the wire.

    call: `call(service, caller, *params)`.
    takes: the JSON types of the positional parameters; `object` for any.
    auth: whether a token is needed; without one (or with `none`) the caller is ANYBODY.
    job_token: whether a job's own token may call it: never, until the job has ended, or always.
    audited: whether a call with `as_admin`, or every call, goes into the audit of what
    administrators changed.
    values: what it returns is the only element of `result`, all of it (several values), or nothing
    (null, which KBase's clients take for "no value").
    on_trouble: `on_trouble(service, params)` is answered instead of an error while MongoDB is away.
    waits: it may take long, and is cancelled if the client goes away.
    """

    call: Callable[..., Awaitable[Any]]
    takes: tuple[type, ...] = ()
    auth: Literal["none", "optional", "required"] = "required"
    job_token: Literal["never", "live", "always"] = "never"
    audited: Literal["no", "as_admin", "always"] = "no"
    values: Literal["one", "many", "none"] = "one"
    on_trouble: Callable[[Service, list[Any]], Any] | None = None
    waits: bool = False


Submit = Callable[[Service, Caller, list[Any], Mapping[str, Any]], Awaitable[str]]
"""How an app whose work the engine does itself is submitted by `Module._method_submit`:
`submit(service, caller, params, context)` with the method's own parameters and the call's
`context` (service_ver, call_stack, ...); returns the id of the job that stands for the call."""


def bare_token(header: str | None, module: str = "execution_engine2") -> str:
    """The token of an Authorization header. KBase sends it bare; a scheme word before it is
    tolerated. NotAuthenticated with the text of the module's service if there is no header."""
    if header is None:
        if DIALECTS.get(module) == "python":
            raise NotAuthenticated(
                f"Authentication required for {module} but no authentication header was passed"
            )
        raise NotAuthenticated(
            "Token validation failed: Authorization is required for this method but no "
            "credentials were provided"
        )
    scheme, blank, token = header.strip().partition(" ")
    if blank and scheme.lower() in ("bearer", "oauth"):
        return token.strip()
    return header.strip()


async def authenticate(
    service: Service, header: str | None, method: Method, name: str
) -> Caller:
    """Who makes this call; NotAuthenticated, or Denied if a job's token may not make it."""
    if method.auth == "none":
        return ANYBODY
    module = name.partition(".")[0]
    if method.auth == "optional":
        try:
            return await service.identity.caller(bare_token(header, module))
        except NotAuthenticated:
            return ANYBODY
    caller = await service.identity.caller(bare_token(header, module))
    if caller.job is not None and method.job_token != "always":
        if method.job_token == "never":
            raise Denied(f"The token of job {caller.job} may not be used for {name}")
        await require_live(service, caller.job)
    return caller


async def require_live(service: Service, job_id: str) -> None:
    """Denied if the job has ended: its token is then good for its log and its end only."""
    job = await service.engine.store.job_states.get(ObjectId(job_id))
    if job is not None and job["status"] in TERMINAL:
        raise Denied(f"The token of job {job_id} is no longer valid: the job is {job['status']}")
