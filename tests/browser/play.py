"""What the acceptance scenarios are played with: people's jobs on the real stack, which end with
the test, and the dashboard in one of its homes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Locator, Page

from tests.browser.conftest import Accounts, Hosted
from tests.conftest import TERMINAL, RpcError, until
from tests.services.airflow_support import database

Home = Literal["airflow", "alone"]
ROOMS = {"airflow": "/plugin/ee2-jobs", "alone": ""}
SLEEP = "ee2_test.sleep"
LONG_S = 600
# For what the engine and the pool do; a machine may be slow.
PATIENCE_S = 60.0


WSID = 48_399


@dataclass
class Play:
    """One test's part of the stack. lasting: a running job by user, which goes on from one test to
    the next: a pool may take a quarter of a minute to start one."""

    hosted: Hosted
    home: Home
    lasting: dict[str, str]
    _jobs: list[tuple[str, str]] = field(default_factory=list)
    _batches: list[tuple[str, str]] = field(default_factory=list)
    _undo: list[tuple[str, str]] = field(default_factory=list)

    def url(self, path: str) -> str:
        """The address of a page of the dashboard in this home."""
        stack = self.hosted.accounts.stack
        if self.home == "airflow":
            return f"{stack.airflow_url}{ROOMS['airflow']}{path}"
        return f"{stack.rpc_url}/dashboard{path}"

    @property
    def api(self) -> str:
        """The path of the REST API as pages of this home call it."""
        path = urlsplit(self.hosted.accounts.stack.rpc_url).path
        return f"{path}{'' if self.home == 'airflow' else '/dashboard'}/api/v1"

    def open(self, path: str, user: str = "ana", **how: Any) -> Page:
        """A page of the dashboard in a window of its own, with that user signed in."""
        if self.home == "airflow":
            return self.hosted.airflow(ROOMS["airflow"] + path, user, **how)
        return self.hosted.alone(path, user, **how)

    def rest(self, verb: str, path: str, user: str = "root", **body: Any) -> dict[str, Any]:
        """An answer of the REST API, which has to be a good one."""
        answer = httpx.request(
            verb, f"{self.hosted.accounts.stack.rpc_url}/api/v1{path}", timeout=PATIENCE_S,
            headers={"Authorization": self.hosted.accounts.own[user]}, json=body or None,
        )  # fmt: skip
        assert answer.status_code < 300, f"{verb} {path}: {answer.text}"
        return dict(answer.json())

    def ee2(self, method: str, *params: Any, user: str = "ana") -> Any:
        """A call of execution_engine2."""
        accounts = self.hosted.accounts
        return accounts.stack.ee2(method, *params, token=accounts.own[user])

    def submit(self, method: str = SLEEP, user: str = "ana", wsid: int = 0, **params: Any) -> str:
        """A job; without parameters one that sleeps for longer than any test takes."""
        given = params or {"seconds": LONG_S}
        call = {"method": method, "params": [given], **({"wsid": wsid} if wsid else {})}
        job = str(self.ee2("run_job", call, user=user))
        self._jobs.append((job, user))
        return job

    def batch(self, jobs: list[dict[str, Any]], user: str = "ana") -> str:
        """A batch of jobs; its id."""
        made = str(self.ee2("run_job_batch", jobs, {}, user=user)["batch_id"])
        self._batches.append((made, user))
        return made

    def status(self, job: str, user: str = "ana") -> str:
        """The engine's word for a job's state."""
        return str(self.ee2("get_job_status", {"job_id": job}, user=user)["status"])

    def wait(self, job: str, *statuses: str, user: str = "ana") -> None:
        """Until the job is in one of the states."""
        until(
            lambda: self.status(job, user) in statuses or None, PATIENCE_S,
            lambda: f"job {job} to be {' or '.join(statuses)}, not {self.status(job, user)}",
        )  # fmt: skip

    def cancel(self, job: str, user: str = "ana") -> None:
        """Ends a job behind the dashboard's back."""
        self.ee2("cancel_job", {"job_id": job}, user=user)

    def set(self, path: str, user: str = "root", **body: Any) -> None:
        """Sets a limit, until the end of the test or `unset`."""
        self.undo(path)
        self.rest("PUT", path, user, **body)

    def undo(self, path: str, user: str = "root") -> None:
        """What is set at that path (by a page, say) goes with the end of the test."""
        self._undo.append((path, user))

    def unset(self, path: str, user: str = "root") -> None:
        """Takes what is set there away."""
        self.rest("DELETE", path, user)
        self._undo = [one for one in self._undo if one != (path, user)]

    def running(self, user: str = "ana", wsid: int = 0) -> str:
        """A running job of that user, in that narrative; the one of the test before if it runs."""
        job = self.lasting.get(user)
        if job is None or self.status(job, user) != "running":
            job = self.lasting[user] = self.submit(user=user, wsid=wsid)
            self.wait(job, "running", user=user)
        return job

    def one_runs_one_waits(self) -> tuple[str, str]:
        """Two jobs of ana, whose limit is 1: the first runs, the second is queued."""
        self.set("/limits/users/ana", places=1, reason="acceptance")
        running, queued = self.running(), self.submit()
        self.wait(queued, "queued")
        return running, queued

    def bens_job_for_all(self) -> str:
        """A running job of ben in a narrative that ana may read."""
        self.share({"ana": "r"}, name="Phages, shared by ben", owner="ben", public=False)
        return self.running("ben", WSID)

    def share(self, acl: dict[str, str], **more: Any) -> None:
        """Says who else may read ben's narrative."""
        with database(self.hosted.accounts.stack) as db:
            narrative: Any = {"_id": WSID}
            db.ee2_workspaces.update_one(narrative, {"$set": {"acl": acl, **more}}, upsert=True)

    def clean_jobs(self) -> None:
        """Ends what still runs, but for `lasting`."""
        mine = [(job, user) for job, user in self._jobs if job != self.lasting.get(user)]
        for job, user in [*self._batches, *mine]:
            with contextlib.suppress(RpcError):  # it has ended
                self.cancel(job, user)
        for job, user in mine:
            self.wait(job, *TERMINAL, user=user)
        self._batches.clear()
        self._jobs.clear()

    def clean(self) -> None:
        """Ends what still runs, but for `lasting`, and takes limits away."""
        for path, user in self._undo:
            with contextlib.suppress(AssertionError):
                self.rest("DELETE", path, user)
        self.clean_jobs()


def clean_up(accounts: Accounts, lasting: dict[str, str]) -> None:
    """After the last test."""
    for user, job in lasting.items():
        with contextlib.suppress(RpcError):  # it has ended
            accounts.stack.ee2("cancel_job", {"job_id": job}, token=accounts.own[user])
    with database(accounts.stack) as db:
        narrative: Any = {"_id": WSID}
        db.ee2_workspaces.delete_one(narrative)


def row_of(page: Page, job: str) -> Locator:
    """The row of a job in whatever table it stands."""
    return page.locator(f"[data-row='{job}']").first


def section(page: Page, title: str) -> Locator:
    """A titled part of a page."""
    return page.get_by_role("region", name=title, exact=True)
