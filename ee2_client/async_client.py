"""The client, to be awaited. `sync_client.py` is made from this file by `make_sync.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ee2_client import progress as bars
from ee2_client.async_connection import AsyncConnection
from ee2_client.errors import EngineError, MethodNotFound, NoResult, NotFound, WaitedTooLong
from ee2_client.values import (
    ENDED,
    Batch,
    BatchState,
    JobState,
    LogLine,
    Progress,
    Retried,
    state_of,
    time_of,
)

MAX_WAIT_JOBS = 1000
_WAIT_S = 25.0  # one wait_for_jobs; shorter than what proxies give a request
_LOG_PAGE = 5000
_LOG_PAUSE_S = 1.0
_FIRST_POLL_S, _LONGEST_POLL_S = 1.0, 5.0
_LARGE = ["job_input", "job_output", "condor_job_ads"]


class AsyncClient(AsyncConnection):
    """Calls with one token. Keep it open for several calls; it is a context manager.

    url, token: by default the variables EE2_URL and EE2_TOKEN. timeout_s: for one answer.
    patience_s: for so long a call is repeated while the server does not answer, if it is safe to
    repeat: one that only asks, or cancels, or has certainly not arrived. What starts jobs is never
    sent twice. as_admin: ask and act as an administrator; jobs are still started as oneself. hint:
    is added to the message when the server does not answer. transport: httpx's, for tests.

    All methods raise EngineError or what is below it.
    """

    # Starting jobs

    async def run_job(
        self, method: str, params: Any = (), *, wsid: int | None = None, **fields: Any
    ) -> str:
        """Start one job of an app (`Module.method`); its id. params: what the app gets, usually a
        list. fields: `app_id`, `service_ver`, `meta`, `source_ws_objects` and the others of
        docs/api.md."""
        job = _job(method, params, wsid, fields)
        return str(await self.call("run_job", job))

    async def run_job_batch(
        self, jobs: Sequence[Mapping[str, Any]], *, wsid: int | None = None, **fields: Any
    ) -> Batch:
        """Start a batch: one job per mapping `{"method", "params", …}`, without `wsid`. fields of
        the batch: `aggregate`, `on_child_error`, `meta`."""
        options = {"wsid": wsid, **fields}
        answer = await self.call("run_job_batch", [dict(job) for job in jobs], options)
        return Batch(answer["batch_id"], tuple(answer["child_job_ids"]))

    async def run_split_aggregate(
        self, method: str, params: Any = (), *, wsid: int | None = None, **fields: Any
    ) -> str:
        """Start a split-process-aggregate run as the app declares it; the batch's id. params: the
        split's. fields: `split`, `children`, `aggregate`, `on_child_error` to do it otherwise."""
        if "children" in fields and not params:
            run = {"method": method, "wsid": wsid, **fields}
        else:
            run = _job(method, params, wsid, fields)
        return str(await self.call("run_split_aggregate", run))

    # Asking

    async def check_job(self, job_id: str, *, exclude_fields: Sequence[str] = ()) -> JobState:
        """A job's record; NotFound if there is none for this user."""
        state = (await self.check_jobs([job_id], exclude_fields=exclude_fields))[job_id]
        if state is None:
            raise NotFound(f"There is no job {job_id} that you may read")
        return state

    async def check_jobs(
        self, job_ids: Sequence[str], *, exclude_fields: Sequence[str] = ()
    ) -> dict[str, JobState | None]:
        """Records by id; None for a job that is not there, or not for this user."""
        if not job_ids:
            return {}
        answer = await self._ask(
            "check_jobs",
            job_ids=list(job_ids),
            exclude_fields=list(exclude_fields),
            return_list=0,
        )
        return {job_id: state_of(answer.get(job_id)) for job_id in job_ids}

    async def check_job_batch(
        self, batch_id: str, *, exclude_fields: Sequence[str] = ()
    ) -> BatchState:
        """A batch's parent and its children; NotFound if there is none for this user."""
        answer = await self._ask(
            "check_job_batch", job_id=batch_id, exclude_fields=list(exclude_fields)
        )
        parent = state_of(answer["batch_jobstate"])
        if parent is None:
            raise NotFound(f"There is no batch {batch_id} that you may read")
        return BatchState(parent, tuple(state_of(c) for c in answer["child_jobstates"]))

    async def status(self, job_id: str) -> str:
        """The state of a job, as a word."""
        return str((await self._ask("get_job_status", job_id=job_id))["status"])

    async def logs(
        self, job_id: str, *, follow: bool = False, skip_lines: int = 0
    ) -> AsyncGenerator[LogLine, None]:
        """The lines of a job's log after the first `skip_lines`. follow: until the job ends."""
        held = skip_lines
        while True:
            # Asked before the lines, so that the last lines are not missed.
            ended = not follow or await self.status(job_id) in ENDED
            news = await self._log_page(job_id, held)
            for line in news:
                yield line
                held = line.number + 1
            if not news and ended:
                return
            if not news:
                await asyncio.sleep(_LOG_PAUSE_S)

    async def _log_page(self, job_id: str, held: int) -> list[LogLine]:
        # One line less than held: for KBase's EE2 the number is that of the last line held, not
        # how many they are. Here it costs one line that is dropped.
        page = {"job_id": job_id, "skip_lines": max(held - 1, 0), "limit": _LOG_PAGE}
        try:
            answer = await self._ask("get_job_logs", **page)
        except EngineError as e:
            if "Cannot find job log" not in e.message:
                raise
            return []  # no line yet
        return [
            LogLine(line["line"], line["linepos"], bool(line["is_error"]), time_of(line.get("ts")))
            for line in answer["lines"]
            if line["linepos"] >= held
        ]

    # Waiting

    async def wait(
        self,
        job_ids: str | Sequence[str],
        *,
        timeout_s: float | None = None,
        progress: bool = False,
    ) -> dict[str, Progress]:
        """Wait until jobs and batches (1000 at most) have ended; how, by id.

        timeout_s: WaitedTooLong if they have not by then; None: however long it takes. progress:
        show a bar meanwhile (on standard error; needs the package rich). A failed job is no error:
        look at `end`, or ask for the result.
        """
        with bars.shown(progress) as show:
            async with aclosing(self.changes(job_ids, timeout_s=timeout_s)) as views:
                async for view in views:
                    show(view)
        return view

    async def changes(
        self, job_ids: str | Sequence[str], *, timeout_s: float | None = None
    ) -> AsyncGenerator[dict[str, Progress], None]:
        """How jobs and batches stand: now, and after each change, until all have ended. Raises
        WaitedTooLong, and NotFound if one of them is not there for this user."""
        ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        if not 0 < len(ids) <= MAX_WAIT_JOBS:
            raise ValueError(f"1 to {MAX_WAIT_JOBS} ids can be waited for, not {len(ids)}")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        since: str | None = None
        poll_s = _FIRST_POLL_S
        polls = False
        last = None
        while True:
            left_s = _WAIT_S if deadline is None else max(deadline - time.monotonic(), 0)
            if not polls:
                try:
                    view, since = await self._waited(ids, since, min(left_s, _WAIT_S))
                except MethodNotFound:  # KBase's EE2
                    polls = True
            if polls:
                view = await self._polled(ids)
            if view != last:
                yield view
                last, poll_s = view, _FIRST_POLL_S
            if all(p.end for p in view.values()):
                return
            if deadline is not None and time.monotonic() >= deadline:
                live = [job_id for job_id, p in view.items() if not p.end]
                raise WaitedTooLong(
                    f"After {timeout_s:g} s {len(live)} of {len(ids)} have not ended: "
                    f"{', '.join(live[:5])}{' …' if len(live) > 5 else ''}"
                )
            if polls:
                await asyncio.sleep(min(poll_s, left_s))
                poll_s = min(poll_s * 1.3, _LONGEST_POLL_S)

    async def _waited(
        self, ids: list[str], since: str | None, timeout_s: float
    ) -> tuple[dict[str, Progress], str]:
        wait = {"job_ids": ids, "since": since, "timeout_s": timeout_s, **self._rights}
        answer = await self.call(
            "wait_for_jobs", wait, safe=True, timeout_s=timeout_s + self._timeout_s
        )
        states = answer["job_states"]
        _require_all([i for i in ids if "job_id" not in states[i]])
        return {i: Progress.read(states[i]) for i in ids}, answer["since"]

    async def _polled(self, ids: list[str]) -> dict[str, Progress]:
        jobs = await self.check_jobs(ids, exclude_fields=_LARGE)
        _require_all([i for i, job in jobs.items() if job is None])
        children = [c for job in jobs.values() if job and job.batch_job for c in job.child_jobs]
        states = await self.check_jobs(children, exclude_fields=_LARGE)
        view = {}
        for job_id, job in jobs.items():
            if job is not None:
                of_it = [s for s in (states.get(c) for c in job.child_jobs) if s is not None]
                view[job_id] = Progress.of(job, of_it)
        return view

    # Results

    async def result(self, job_id: str) -> Any:
        """What a job's app returned; of a batch, what its aggregate did. NoResult with the reason
        if there is nothing."""
        job = await self.check_job(job_id, exclude_fields=["job_input"])
        name = f"Job {job_id}"
        if job.batch_job:
            aggregate = job.stage_jobs.get("aggregate")
            if aggregate is None:
                raise NoResult(
                    f"Batch {job_id} has no aggregate. Its jobs have results of their own: their "
                    "ids are its child_jobs",
                    job.status,
                )
            job = await self.check_job(aggregate, exclude_fields=["job_input"])
            name = f"The aggregate of batch {job_id}, job {aggregate},"
        if not job.ended:
            raise NoResult(f"{name} has no result yet: it is {job.status}", job.status)
        if job.status != "completed":
            how = "failed" if job.status == "error" else "was cancelled"
            why = f": {job.error_message}" if job.error_message else ""
            raise NoResult(f"{name} {how}{why}", job.status)
        if "result" not in (job.job_output or {}):
            raise NoResult(f"{name} has completed; its app returns no result", job.status)
        return (job.job_output or {})["result"]

    # Steering

    async def cancel(self, job_id: str, *, terminated_code: int | None = None) -> None:
        """Cancel a job, or a batch with all its jobs. What has ended stays as it is."""
        code = {} if terminated_code is None else {"terminated_code": terminated_code}
        await self._ask("cancel_job", job_id=job_id, **code)

    async def cancel_by_status(self, batch_id: str, states: Sequence[str]) -> list[str]:
        """Cancel the children of a batch that are in one of the states; their ids."""
        which = {"job_id": batch_id, "status_list": list(states), **self._rights}
        return list(await self.call("cancel_batch_jobs_by_status", which) or ())

    async def retry(self, job_ids: str | Sequence[str]) -> list[Retried]:
        """Run jobs again that failed or were cancelled; one answer per job, in order."""
        ids = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        return _retried(await self.call("retry_jobs", {"job_ids": ids, **self._rights}))

    async def retry_by_status(
        self, batch_id: str, states: Sequence[str] = ("error", "terminated")
    ) -> list[Retried]:
        """Run the children of a batch again that ended in one of the states; one answer per job."""
        which = {"job_id": batch_id, "status_list": list(states), **self._rights}
        return _retried(await self.call("retry_batch_jobs_by_status", which))

    async def share(
        self, job_id: str, users: str | Sequence[str], *, manage: bool | None = None
    ) -> None:
        """Let users read a job that belongs to no workspace; manage: also cancel it, run it again
        and lower its priority, or no longer. None: who may do so already still may."""
        names = [users] if isinstance(users, str) else list(users)
        right = {True: {"right": "manage"}, False: {"right": "read"}, None: {}}[manage]
        await self._ask("share_job", job_id=job_id, users=names, **right)

    async def unshare(self, job_id: str, users: str | Sequence[str]) -> None:
        """Take that back."""
        names = [users] if isinstance(users, str) else list(users)
        await self._ask("unshare_job", job_id=job_id, users=names)


def _job(
    method: str, params: Any, wsid: int | None, fields: Mapping[str, Any]
) -> dict[str, Any]:
    given = list(params) if isinstance(params, tuple) else params
    return {"method": method, "params": given, "wsid": wsid, **fields}


def _retried(answers: Any) -> list[Retried]:
    return [Retried(a["job_id"], a.get("retry_id"), a.get("error")) for a in answers or ()]


def _require_all(missing: Sequence[str]) -> None:
    if missing:
        raise NotFound(f"There are no jobs with these ids that you may read: {', '.join(missing)}")
