"""The pool, for asyncio code: calls to HTCondor that cannot block the loop and always end.

Each call goes to one of three helper processes, so that a long submit does not hold up the
watcher's questions, and a schedd that hangs does not hold up the reading of logs. A helper that
overruns the time of a call is killed; the next call gets a new one (0.1 s).
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ee2_operators.condor.events import PoolEvent, from_log
from ee2_operators.condor.outcome import ENGINE_REASON
from ee2_operators.condor.submit import (
    HELD_BACK_SUBCODE,
    WAITS,
    StageKey,
    StageSubmission,
    by_route,
    describe,
    of_round,
    pool_time_limit_s,
)

HELPER = Path(__file__).with_name("helper.py")
CALL_S = 20.0
SUBMIT_S_PER_JOB = 0.01  # ten times what was measured, for a busy machine
REPLY_BYTES = 1 << 28
EVENTS_PER_CALL = 5000

# What an ad has to have for `events.from_ad`, and the ids of ours.
_AD = (
    "ClusterId ProcId JobStatus EE2_SUBMISSION EE2_STAGE EE2_TRY EE2_JOB_ID EnteredCurrentStatus"
    " HoldReason HoldReasonCode HoldReasonSubCode RemoveReason ExitCode ExitBySignal ExitSignal"
    " NumJobStarts JobPrio RemoteHost LastRemoteHost EE2_ROUND EE2_ROUTE GridJobId"
).split()
# What the admission has to know of a job.
_PLACE = (
    "ClusterId ProcId JobStatus JobPrio EE2_USER EE2_LEVEL EE2_GROUP EE2_WINDOW EE2_WINDOW_PLACES"
).split()


class PoolError(Exception):
    """HTCondor did not do what was asked; the message is for people."""


class PoolUnavailable(PoolError):
    """The pool did not answer, or not in time. What was asked may or may not have been done."""


class PoolRefused(PoolError):
    """The pool answered, and said no."""


class SubmitRefused(PoolRefused):
    """HTCondor did not take the stage; nothing of it is in the queue."""


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Where a pool is and what opens it: the connection `ee2_condor` as a value.

    host, port: the collector's. schedd: its name, None for the only one.
    trust_domain, filesystem_domain: as in the pool's own configuration; the second one decides
    whether files are shared with the nodes, and is the first one where it is None.
    """

    host: str
    port: int
    token_directory: str
    schedd: str | None = None
    trust_domain: str = "ee2.local"
    filesystem_domain: str | None = None

    def environment(self) -> dict[str, str]:
        """HTCondor's configuration of a client, as environment variables."""
        settings = {
            "COLLECTOR_HOST": f"{self.host}:{self.port}",
            "SEC_TOKEN_DIRECTORY": self.token_directory,
            "SEC_CLIENT_AUTHENTICATION": "REQUIRED",
            "SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
            "UID_DOMAIN": self.trust_domain,
            "TRUST_DOMAIN": self.trust_domain,
            "FILESYSTEM_DOMAIN": self.filesystem_domain or self.trust_domain,
        }
        environment = {f"_CONDOR_{name}": value for name, value in settings.items()}
        environment["CONDOR_CONFIG"] = "ONLY_ENV"
        if self.schedd:
            environment["EE2_SCHEDD"] = self.schedd
        return environment


@dataclass(frozen=True, slots=True)
class Cluster:
    """A stage in the pool: its jobs are `cluster_id.first_proc` and the following, in order."""

    cluster_id: int
    first_proc: int
    count: int

    def scheduler_ids(self) -> list[str]:
        """The pool's ids of the stage's jobs, in the order they were submitted in."""
        procs = range(self.first_proc, self.first_proc + self.count)
        return [f"{self.cluster_id}.{proc}" for proc in procs]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the pool has and how much of it is in use now."""

    machines: int
    cpus: int
    cpus_busy: int
    memory_mb: int
    memory_busy_mb: int


class _Helper:
    """One helper process, one call at a time; whoever comes meanwhile waits in line."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._line = asyncio.Lock()
        self._ids = itertools.count(1)

    async def call(self, name: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        async with self._line:
            try:
                async with asyncio.timeout(timeout_s):
                    known = self._process
                    reply = await self._exchange(name, arguments)
                    if known and _not_begun(reply):
                        # It had a session with daemons that have been restarted since.
                        await self.kill()
                        reply = await self._exchange(name, arguments)
            except TimeoutError:
                await self.kill()
                raise PoolUnavailable(
                    f"HTCondor did not answer within {timeout_s:.0f} s ({name})."
                    " Is the pool's schedd running?"
                ) from None
            except BaseException:
                await self.kill()  # its reply must not be taken for the next call's
                raise
            error = reply.get("error")
            if error is None:
                return reply["ok"]
            if error["kind"] == "refused":
                raise PoolRefused(f"HTCondor refused ({name}): {error['message']}")
            await self.kill()
            raise PoolUnavailable(f"HTCondor cannot be reached: {error['message']}")

    async def _exchange(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the modules beside the helper must not shadow others
                str(HELPER),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=REPLY_BYTES,
                env={**os.environ, **self._environment},
            )
        process = self._process
        assert process.stdin and process.stdout
        request = {"id": next(self._ids), "call": name, "args": arguments}
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            await self.kill()
            raise PoolUnavailable(f"The process that speaks to HTCondor died ({name}).")
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _not_begun(reply: Mapping[str, Any]) -> bool:
    """Whether a call failed before HTCondor heard what was asked."""
    error = reply.get("error")
    return (
        error is not None
        and error["kind"] == "unavailable"
        and any(words in error["message"] for words in ("Failed to connect", "session"))
    )


class Pool:
    """An HTCondor pool. Belongs to the event loop that it is first used in; `close` it.

    Every method raises PoolUnavailable when HTCondor does not answer in time and PoolRefused when
    it says no. Helpers die with the thread that started them, so use it from the main thread.
    """

    def __init__(self, address: PoolAddress, call_timeout_s: float = CALL_S) -> None:
        self.address = address
        self.call_timeout_s = call_timeout_s
        environment = address.environment()
        self._submits = _Helper(environment)
        self._asks = _Helper(environment)
        self._logs = _Helper(environment)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the helper processes; a call that waits for one raises PoolUnavailable."""
        for helper in (self._submits, self._asks, self._logs):
            await helper.kill()

    async def submit(self, submission: StageSubmission) -> Cluster:
        """Put a stage into the queue, all of its jobs or none.

        SubmitRefused: nothing is in the queue. PoolUnavailable: it may be there; look with `find`.
        """
        description, items = describe(submission)
        timeout_s = self.call_timeout_s + SUBMIT_S_PER_JOB * len(items)
        arguments = {"description": description, "items": items}
        try:
            reply = await self._submits.call("submit", arguments, timeout_s)
        except PoolRefused as problem:
            raise SubmitRefused(str(problem)) from None
        return Cluster(**reply)

    async def find(
        self, key: StageKey, since_s: float, round_number: int = 1, route: str | None = None
    ) -> Cluster | None:
        """The cluster of a round of a stage by a route, if it was submitted at or after `since_s`
        (seconds since the epoch).

        Looks into the queue, then into the history of the jobs that have left it since then.
        """
        names = ["ClusterId", "TotalSubmitProcs"]
        constraint = f"{key.constraint()} && {of_round(round_number)} && {by_route(route)}"
        arguments: dict[str, Any] = {"constraint": constraint, "projection": names}
        ads = await self._ask("query", {**arguments, "limit": 1})
        if not ads:
            ads = await self._ask("history", {**arguments, "since_s": int(since_s), "match": 1})
        if not ads:
            return None
        return Cluster(ads[0]["ClusterId"], 0, ads[0]["TotalSubmitProcs"])

    async def remove(self, what: StageKey | Sequence[str], reason: str) -> int:
        """Remove a stage's jobs, or the jobs with these pool ids; the number of those removed.

        Jobs that are not in the queue (any more) are no error.
        """
        if not isinstance(what, StageKey) and not what:
            return 0
        jobs = what.constraint() if isinstance(what, StageKey) else list(what)
        arguments = {"action": "Remove", "jobs": jobs, "reason": ENGINE_REASON + reason}
        removed: int = await self._ask("act", arguments)
        return removed

    async def set_priority(self, jobs: Sequence[str], priority: int) -> None:
        """Change the priority of the jobs with these pool ids; those that left are no error."""
        # By constraint: a list of ids is refused as a whole when one of them has left the queue.
        await self._ask(
            "edit", {"jobs": _these(jobs), "attribute": "JobPrio", "value": str(priority)}
        )

    async def set_time_limit(self, jobs: Sequence[str], limit_s: int | None) -> None:
        """Change the time limit of the jobs with these pool ids, waiting or running (None: none of
        their own); those that left are no error."""
        value = str(pool_time_limit_s(limit_s))
        await self._ask(
            "edit", {"jobs": _these(jobs), "attribute": "EE2_TIME_LIMIT_S", "value": value}
        )

    async def admitted(self, scope: str) -> list[dict[str, Any]]:
        """Ads of the jobs in the queue that do not wait for admission; see admission.QueuedJob.
        scope: ClassAd expression of the jobs that are meant."""
        constraint = f"EE2_SUBMISSION =!= undefined && ({scope}) && !{WAITS}"
        ads: list[dict[str, Any]] = await self._ask(
            "query", {"constraint": constraint, "projection": _PLACE}
        )
        return ads

    async def waiting(self, but_not: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Ads of the jobs that wait for admission, but not those that one of these ClassAd
        expressions is true for."""
        others = "".join(f" && ({one}) =!= True" for one in but_not)
        constraint = f"EE2_SUBMISSION =!= undefined && {WAITS}{others}"
        ads: list[dict[str, Any]] = await self._ask(
            "query", {"constraint": constraint, "projection": _PLACE}
        )
        return ads

    async def anybody_waits(self) -> bool:
        """Whether any job waits for admission."""
        constraint = f"EE2_SUBMISSION =!= undefined && {WAITS}"
        arguments = {"constraint": constraint, "projection": ["ProcId"], "limit": 1}
        return bool(await self._ask("query", arguments))

    async def hold_back(self, scheduler_ids: Sequence[str], reason: str) -> int:
        """Let idle jobs wait for admission (again); the number of those that were idle still. What
        a node has been given meanwhile is left alone."""
        arguments = {
            "action": "Hold",
            "jobs": f"JobStatus == 1 && ({_these(scheduler_ids)})",
            "reason": ENGINE_REASON + reason,
            "subcode": HELD_BACK_SUBCODE,
        }
        held: int = await self._ask("act", arguments)
        return held

    async def release(self, scheduler_ids: Sequence[str], reason: str) -> int:
        """Let jobs on hold go; the number of those that were. Others are no error."""
        arguments = {"action": "Release", "jobs": list(scheduler_ids), "reason": reason}
        released: int = await self._ask("act", arguments)
        return released

    async def live(self, keys: Iterable[StageKey] | None = None) -> list[dict[str, Any]]:
        """Ads of the jobs in the queue, of these stages or of all of ours; see events.from_ad."""
        constraint = _any_of(keys)
        ads: list[dict[str, Any]] = await self._ask(
            "query", {"constraint": constraint, "projection": _AD}
        )
        return ads

    async def held(self, limit: int) -> list[dict[str, Any]]:
        """Ads of jobs that are on hold and do not wait for admission, at most so many; see
        events.from_ad."""
        constraint = f"EE2_SUBMISSION =!= undefined && JobStatus == 5 && !{WAITS}"
        arguments = {"constraint": constraint, "projection": _AD, "limit": limit}
        ads: list[dict[str, Any]] = await self._ask("query", arguments)
        return ads

    async def idle(self, longer_than_s: float, limit: int) -> list[dict[str, Any]]:
        """Ads of jobs that have been ready to start for longer than that, at most so many. The
        time that a job waited for admission or on hold does not count."""
        constraint = (
            "EE2_SUBMISSION =!= undefined && JobStatus == 1"
            f" && time() - EnteredCurrentStatus > {int(longer_than_s)}"
        )
        arguments = {"constraint": constraint, "projection": _AD, "limit": limit}
        ads: list[dict[str, Any]] = await self._ask("query", arguments)
        return ads

    async def ended(self, keys: Iterable[StageKey] | None, since_s: float) -> list[dict[str, Any]]:
        """Ads of the jobs that left the queue at or after `since_s`, of these stages or of all."""
        arguments = {"constraint": _any_of(keys), "projection": _AD, "since_s": int(since_s)}
        ads: list[dict[str, Any]] = await self._ask("history", arguments)
        return ads

    async def events(
        self, logs: Mapping[str, int | None]
    ) -> tuple[list[PoolEvent], dict[str, int | None]]:
        """New events of user logs, and where to go on: pass the second value to the next call.

        logs: path -> the place that the last call gave, None for a log that was not read yet. A log
        that does not exist yet has no events. At most EVENTS_PER_CALL of each log are given.
        """
        arguments = {"logs": dict(logs), "limit": EVENTS_PER_CALL}
        reply = await self._logs.call("events", arguments, self.call_timeout_s)
        found = [event for raw in reply["events"] if (event := from_log(raw))]
        return found, reply["offsets"]

    async def resources(self) -> Resources:
        """Cores and memory of the pool, and how much of both is in use."""
        names = (
            "Machine SlotType State PartitionableSlot Cpus Memory TotalSlotCpus TotalSlotMemory"
        ).split()
        ads = await self._ask("machines", {"projection": names})
        cpus = cpus_busy = memory_mb = memory_busy_mb = 0
        for ad in ads:
            if ad.get("PartitionableSlot"):  # what its dynamic slots have is missing from it
                cpus += ad["TotalSlotCpus"]
                cpus_busy += ad["TotalSlotCpus"] - ad["Cpus"]
                memory_mb += ad["TotalSlotMemory"]
                memory_busy_mb += ad["TotalSlotMemory"] - ad["Memory"]
            elif ad.get("SlotType") != "Dynamic":
                busy = ad.get("State") == "Claimed"
                cpus += ad["Cpus"]
                cpus_busy += ad["Cpus"] * busy
                memory_mb += ad["Memory"]
                memory_busy_mb += ad["Memory"] * busy
        machines = len({ad["Machine"] for ad in ads})
        return Resources(machines, cpus, cpus_busy, memory_mb, memory_busy_mb)

    async def picture(
        self,
        job_names: Sequence[str],
        slot_names: Sequence[str],
        groups: Mapping[str, str | None],
    ) -> dict[str, Any]:
        """Jobs, slots and users of one moment; see `helper.picture`. groups: by name, the ClassAd
        expression that a group's machines meet, None for any machine."""
        arguments = {
            "constraint": "EE2_JOB_ID =!= undefined",
            "projection": list(job_names),
            "slot_projection": list(slot_names),
            "groups": dict(groups),
        }
        found: dict[str, Any] = await self._ask("picture", arguments)
        return found

    async def _ask(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return await self._asks.call(name, arguments, self.call_timeout_s)


def _these(scheduler_ids: Sequence[str]) -> str:
    """ClassAd expression that is true for the jobs with these pool ids."""
    procs: dict[int, list[int]] = {}
    for job in scheduler_ids:
        cluster, _, proc = job.partition(".")
        procs.setdefault(int(cluster), []).append(int(proc or 0))
    # Each job of the queue is held against all of it, so rows of jobs are named by their ends.
    of_cluster = []
    for cluster_id, found in procs.items():
        rows: list[list[int]] = []
        for proc_id in sorted(found):
            if rows and proc_id <= rows[-1][1] + 1:
                rows[-1][1] = proc_id
            else:
                rows.append([proc_id, proc_id])
        of_rows = " || ".join(f"ProcId >= {first} && ProcId <= {last}" for first, last in rows)
        of_cluster.append(f"(ClusterId == {cluster_id} && ({of_rows}))")
    return " || ".join(of_cluster) or "false"


def _any_of(keys: Iterable[StageKey] | None) -> str:
    if keys is None:
        return "EE2_SUBMISSION =!= undefined"
    return " || ".join(key.constraint() for key in keys) or "False"
