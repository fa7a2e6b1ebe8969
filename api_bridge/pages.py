"""What the engine shows to a signed-in browser: the jobs of a submission, and their logs; and the
addresses at which the engine's own chores have the outbox emptied, and ask who triggered a run.

The dashboard has taken the place of the page: what asks for it is sent there. Where the dashboard
is not built, and for what it has no page for, the page is shown as it is: plain, without a script.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from api_bridge.dashboard import PREFIX as DASHBOARD
from api_bridge.errors import TROUBLE, http_status_of, is_trouble, unexpected
from ee2_jobs import action_runs, logs
from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError, NotAuthenticated, NotFound
from ee2_jobs.identity import Caller, is_engine_token
from ee2_jobs.legacy import batchapp
from ee2_jobs.model import Document, job_oid
from ee2_jobs.rights import Level, permitted
from ee2_jobs.submissions import jobs_of, overdue

_RIGHTS = ("user", "wsid", "authstrat", "shared")
PAGE_JOBS = 500
PAGE_LINES = 5000
# A call starts its submission itself; only what has waited longer is the outbox's.
OVERDUE_S = 10.0

Viewer = Callable[[Request], Awaitable[Caller | None]]
"""Who is signed in with the browser and may look at EE2's pages; None if nobody."""

RunUser = Callable[[str, str], Awaitable[tuple[str, bool] | None]]
"""Who triggered the run with these ids (of its DAG and its own) by hand, and whether that is an
administrator; None if nobody did."""

JobUrl = Callable[[str, str], str | None]
"""The address in Airflow's dashboard of `jobs` or `batches`, and an id; None if it is not built."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2rem;max-width:80rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;"
    "vertical-align:top}.completed{color:#17692b}.error{color:#a5171c}"
)


class Pages:
    """The routes. engine: gives the Engine of this process. run_url: the address of a submission's
    DAG run, from the DAG's and the submission's id. job_url: see there; None: no dashboard."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        viewer: Viewer,
        run_url: Callable[[str, str], str],
        run_user: RunUser,
        job_url: JobUrl | None = None,
    ) -> None:
        self._engine = engine
        self._viewer = viewer
        self._run_url = run_url
        self._run_user = run_user
        self._job_url = job_url

    def routes(self) -> list[Route]:
        """For the application that `app.create_app` makes."""
        return [
            Route("/ee2/jobs/{submission}", self._answer(self._jobs), methods=["GET"]),
            Route("/ee2/jobs/{submission}/{job}/log", self._answer(self._log), methods=["GET"]),
            Route("/ee2/outbox", self._answer(self._outbox), methods=["POST"]),
            Route("/ee2/run_user", self._answer(self._user_of_run), methods=["GET"]),
        ]

    def _answer(
        self, page: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await page(request)
            except Exception as e:
                status = http_status_of(e)
                text = str(e)
                if status == 500:
                    text = unexpected(e, "pages")
                elif is_trouble(e) and not isinstance(e, EngineError):
                    text = TROUBLE
                return PlainTextResponse(text, status)

        return answer

    def _for_chores(self, request: Request) -> Engine:
        engine = self._engine()
        token = request.headers.get("authorization", "")
        if not is_engine_token(engine.settings.secret_key, token):
            raise NotAuthenticated("Only the engine's own chores may do this")
        return engine

    async def _user_of_run(self, request: Request) -> Response:
        self._for_chores(request)
        asked = request.query_params
        found = await self._run_user(asked.get("dag_id", ""), asked.get("run_id", ""))
        name, is_admin = found or (None, False)
        return JSONResponse({"user": name, "is_admin": is_admin})

    async def _outbox(self, request: Request) -> Response:
        engine = self._for_chores(request)
        ids = [s["_id"] for s in await overdue(engine.store, OVERDUE_S)]
        engine.orchestrator.start(ids)
        # The end of some batches needs the ports of this process.
        await batchapp.settle_due(engine)
        await action_runs.resume(engine)
        return JSONResponse({"starting": len(ids)})

    async def _submission(
        self, request: Request, caller: Caller | None
    ) -> tuple[Engine, Document]:
        """The submission of the request's path, if the viewer may read its jobs."""
        engine = self._engine()
        if caller is None:
            raise NotAuthenticated("Sign in to Airflow as a user who may see EE2 Jobs, then reload")
        submission_id = str(job_oid(request.path_params["submission"]))
        submission = await engine.store.submissions.find_one({"_id": submission_id})
        # Retries that were asked for together may be of several workspaces: all must be readable.
        kinds: list[Document] = [
            {"$match": {"submission": submission_id}},
            {"$group": {"_id": {k: f"${k}" for k in _RIGHTS}, "job": {"$first": "$_id"}}},
        ]
        found = await (await engine.store.jobs.aggregate(kinds)).to_list()
        jobs: list[Document] = [{**row["_id"], "_id": row["job"]} for row in found]
        asked = [job["_id"] for job in jobs] or [submission_id]
        held = jobs if caller.can_admin_read else (
            await permitted(engine, caller, jobs, Level.READ, asked)
        )
        if submission is None or not jobs or len(held) < len(jobs):
            raise NotFound(f"There is no submission {submission_id}")
        return engine, submission

    async def _jobs(self, request: Request) -> Response:
        caller = await self._viewer(request)
        asked = str(job_oid(request.path_params["submission"]))
        if caller is None and self._address("jobs", asked):
            # With a token one can sign in there.
            root = request.scope.get("root_path", "")
            return RedirectResponse(f"{root}{DASHBOARD}/jobs/{asked}", 303)
        engine, submission = await self._submission(request, caller)
        skip = _whole_number(request.query_params.get("skip"))
        jobs, counts = await jobs_of(engine.store, submission["_id"], skip, PAGE_JOBS)
        address = None
        if submission.get("batch_id"):
            address = self._address("batches", submission["batch_id"])
        elif jobs and sum(counts.values()) == 1:  # retries asked for together are several
            address = self._address("jobs", str(jobs[0]["_id"]))
        if address is not None:
            return RedirectResponse(address, 303)
        run = self._run_url(submission["shape"], submission["_id"])
        return HTMLResponse(_page(submission, jobs, counts, skip, run), headers=_HEADERS)

    def _address(self, kind: str, job_id: str) -> str | None:
        return self._job_url(kind, job_id) if self._job_url is not None else None

    async def _log(self, request: Request) -> Response:
        engine, submission = await self._submission(request, await self._viewer(request))
        oid = job_oid(request.path_params["job"])
        job = await engine.store.jobs.find_one({"_id": oid, "submission": submission["_id"]})
        if job is None:
            raise NotFound(f"There is no job {oid} of submission {submission['_id']}")
        skip = _whole_number(request.query_params.get("skip"))
        page = await logs.read(engine.store, job["_id"], skip, PAGE_LINES)
        lines = [line.text for line in page.lines]
        shown = skip + len(lines)
        if shown < page.count:
            lines.append(f"… {page.count - shown} more lines: add ?skip={shown} to the address")
        return PlainTextResponse("\n".join(lines) + "\n", headers=_HEADERS)


def _whole_number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _page(
    submission: Document, jobs: list[Document], counts: dict[str, int], skip: int, run_url: str
) -> str:
    total = sum(counts.values())
    states = ", ".join(f"{n} {escape(state)}" for state, n in sorted(counts.items()))
    rows = "\n".join(_row(submission["_id"], job) for job in jobs)
    more = ""
    if skip + len(jobs) < total:
        more = f'<p><a href="?skip={skip + len(jobs)}">the next {PAGE_JOBS} of {total}</a></p>'
    waits = f"<p>Not started yet: {escape(str(e))}</p>" if (e := submission.get("error")) else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>EE2 jobs of {submission["_id"]}</title>
<style>{_STYLE}</style>
<h1>Jobs of {escape(submission["shape"])}</h1>
<p>Submission {submission["_id"]} of {escape(submission["user"])}, {escape(submission["status"])};
<a href="{escape(run_url)}">its run in Airflow</a></p>{waits}
<p>{total} jobs: {states}</p>
<table><tr><th>stage<th>#<th>job<th>app<th>state<th>message<th>in HTCondor<th>host<th>updated<th>log
{rows}</table>{more}"""


def _row(submission_id: str, job: Document) -> str:
    state = job["status"]
    again = " (run again)" if job.get("superseded") else ""
    log = f'<a href="{submission_id}/{job["_id"]}/log">log</a>'
    cells: list[Any] = [
        escape(job.get("stage", "")),
        job.get("index", ""),
        job["_id"],
        escape(job.get("job_input", {}).get("method", "")),
        f'<span class="{escape(state)}">{escape(state)}</span>{again}',
        escape(job.get("errormsg", "")),
        escape(job.get("scheduler_id", "")),
        escape((job.get("claim") or {}).get("host") or ""),
        datetime.fromtimestamp(job["updated"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
        log,
    ]
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)
