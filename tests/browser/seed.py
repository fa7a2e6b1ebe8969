"""The database that pages are tested on: the same people, jobs and troubles at every run.

`seed` fills an empty database and answers with the names of what tests look for. Everything is told
relative to now, so that what runs, runs. What is not jobs is in `seed_pool.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ee2_jobs import logs
from ee2_jobs.artifacts import Artifact, Artifacts
from ee2_jobs.browse import batch_ends
from ee2_jobs.catalog import App as CatalogApp
from ee2_jobs.catalog import AppRequirements, Method
from ee2_jobs.engine import Engine
from ee2_jobs.identity import add_user, hash_token
from ee2_jobs.workspaces import create_workspace, remove_workspace, share_workspace
from tests.browser import seed_jobs, seed_pool
from tests.browser.seed_jobs import (
    BENS_OWN,
    BENS_SHARED,
    CHOS_COURSE,
    DELETED,
    HOSTILE,
    LONG,
    MARINE,
    OTHER,
    RIGHT_TO_LEFT,
    SOIL,
    Found,
)
from tests.browser.seed_records import APPS, ATTACK, Document, Records, submission

USERS: dict[str, tuple[str, ...]] = {"ana": (), "ben": (), "cho": (), "root": ("admin",)}
LONG_WORD = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 6
LOG_LINES, MARKED_LINE, MARKED_WORD = 100_000, 73_412, "zebrafinch"
_WORKSPACES = (
    (SOIL, "ana", "Soil metagenomes, June"), (MARINE, "ana", "Marine isolates 2026"),
    (HOSTILE, "ana", f"{ATTACK} </script> & \"quoted\" 'title'"),
    (RIGHT_TO_LEFT, "ana", "\u202egnp.exe \u05e0\u05e8\u05d8\u05d9\u05d1\u202c end"),
    (LONG, "ana", LONG_WORD), (OTHER, "ana", "Rhizosphere time series"),
    (BENS_SHARED, "ben", "Phage study, shared by ben"), (BENS_OWN, "ben", "Ben's own things"),
    (CHOS_COURSE, "cho", "Course: assembly for beginners"), (DELETED, "ana", "An old try"),
)  # fmt: skip
REPORT = f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>Alignment report</title>
<style>body{{font:16px sans-serif;margin:2rem}}td,th{{padding:.3rem 1rem;text-align:left}}</style>
</head><body><h1>Alignment report</h1><p id="said">This page was made by the app.</p>
<table><tr><th>sample</th><th>aligned</th></tr><tr><td>S0001</td><td>97.2 %</td></tr>
<tr><td>S0002</td><td>91.8 %</td></tr></table>{ATTACK}
<script>document.getElementById("said").textContent = "This page runs its own script.";
try {{ window.parent.attacked = 2; window.parent.document.title = "attacked"; }} catch (e) {{}}
</script></body></html>"""


@dataclass
class Seeded:
    """What there is. jobs and batches: ids by what is special about them. database: its `uri` and
    `name`, where it is served."""

    tokens: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    batches: dict[str, str] = field(default_factory=dict)
    anas_live: list[str] = field(default_factory=list)
    database: dict[str, str] = field(default_factory=dict)


def token_of(user: str) -> str:
    """The token of a user: the same at every run, so that a browser stays signed in."""
    return hash_token(f"seeded token of {user}")[:40]


async def seed(engine: Engine, finished: int = 2000, others: int = 1500) -> Seeded:
    """Fill the engine's empty database. finished: how many ended jobs ana has, over a year; others:
    how many all others have."""
    store, records = engine.store, Records(time.time())
    for user, roles in USERS.items():
        await add_user(store, user, user.capitalize(), roles)
        key = hash_token(token_of(user))
        await store.tokens.insert_one(
            {"_id": key, "user": user, "name": "seeded", "created": records.now_s}
        )
    await _add_workspaces(engine)
    await _add_apps(engine)
    found = Found()
    jobs = seed_jobs.history(records, finished, others)
    jobs += seed_jobs.live(records, found)
    jobs += seed_jobs.troubles(records, found)
    jobs += seed_jobs.batches(records, found)
    for start in range(0, len(jobs), 5000):
        await store.jobs.insert_many(jobs[start : start + 5000], ordered=False)
    of_note = {str(job["_id"]) for job in [*found.jobs.values(), *found.batches.values()]}
    await store.submissions.insert_many(
        [
            submission(job, children=len(job["child_jobs"]))
            for job in jobs
            if "batch_id" not in job
            and ("finished" not in job or str(job["_id"]) in of_note)
        ]
    )
    await _write_logs(engine, records, found, jobs)
    await _write_report(engine, found)
    await batch_ends.settle_all(store)
    await seed_pool.fill(engine, records, found, jobs)
    return Seeded(
        tokens={user: token_of(user) for user in USERS},
        jobs={name: str(job["_id"]) for name, job in found.jobs.items()},
        batches={name: str(job["_id"]) for name, job in found.batches.items()},
        anas_live=[str(job["_id"]) for job in found.anas_live],
    )


async def _add_workspaces(engine: Engine) -> None:
    store = engine.store
    for wsid, owner, title in _WORKSPACES:
        await create_workspace(store, wsid, owner, title)
    await share_workspace(store, BENS_SHARED, "ana", "r")
    await share_workspace(store, CHOS_COURSE, "ana", "w")
    await remove_workspace(store, DELETED)


async def _add_apps(engine: Engine) -> None:
    modules: dict[str, dict[str, Method]] = {}
    for app in APPS:
        needs = AppRequirements(cpus=app.cpus, memory_mb=app.memory_mb, client_group=app.group)
        command = ("python3", f"{app.method}.py")
        method = Method(
            title=app.title, command=command, requirements=needs,
            parameters={"preset": "How exact the alignment is"},
        )  # fmt: skip
        modules.setdefault(app.module, {})[app.method] = method
    for module, methods in modules.items():
        described = CatalogApp(
            module=module, version="1.4.2", git_commit="c0ffee", folder=module, methods=methods,
            owners=("cho",) if module == "fba_tools" else (),
        )  # fmt: skip
        await engine.store.apps.insert_one(
            {**described.model_dump(mode="json"), "current": True}
        )


async def _write_logs(
    engine: Engine, records: Records, found: Found, jobs: Sequence[Document]
) -> None:
    for name, make in _LOGS.items():
        job = found.jobs[name]
        await logs.append(engine.store, job["_id"], make(job))
    for job in jobs:
        if job["status"] == "running" and "batch_id" not in job:
            await logs.append(engine.store, job["_id"], _running_log(job, records.now_s))
    failed = [job for job in jobs if job["status"] == "error" and "batch_id" in job]
    for job in failed[:20]:
        await logs.append(engine.store, job["_id"], _short_log(job))


def _line(job: Document, n: int, text: str, is_error: bool = False) -> logs.Line:
    return logs.Line(text, is_error, job["running"] + n * 0.02)


def _failed_log(job: Document) -> list[logs.Line]:
    """3,000 lines in colours; what went wrong stands in line 2,990."""
    lines = []
    for n in range(2990):
        text = f"\x1b[32mINFO\x1b[0m  read pair {n * 417}: \x1b[1maligned\x1b[0m"
        if n % 400 == 399:
            text = f"\x1b[33mWARN\x1b[0m  read pair {n * 417}: low quality, \x1b[4mtrimmed\x1b[0m"
        if n % 500 == 77:
            text = f"\rprogress \x1b[36m{n // 30}%\x1b[0m\x1b[K"
        lines.append(_line(job, n, text))
    lines.append(_line(job, 2990, f"\x1b[1;31mERROR\x1b[0m {job['errormsg']}", True))
    lines += [_line(job, 2991, text, True) for text in job["error"]["error"].splitlines()]
    lines.append(_line(job, 3000, "The app ended with exit code 1"))
    return lines


def _long_log(job: Document) -> list[logs.Line]:
    return [
        logs.Line(
            f"[{n:06d}] contig {n * 7 % 90_001} extended"
            + (f" past the {MARKED_WORD} repeat" if n == MARKED_LINE else ""),
            n % 9973 == 9972, job["running"] + n * 0.05,
        )
        for n in range(LOG_LINES)
    ]  # fmt: skip


def _hostile_log(job: Document) -> list[logs.Line]:
    texts = (
        ATTACK, "</script><script>window.attacked=1</script>", "<!-- <b>bold?</b> &amp; &#60;",
        "\x1b]8;;javascript:window.attacked=1\x07click me\x1b]8;;\x07 after a link of a terminal",
        "\x1b]0;a title\x07text after a title", "\x1b[2J\x1b[H\x1b[?25ltext after clearing",
        "\x1b[31mred without an end", "back\b\b\b\bspace, a bell \x07 and a null \x00 here",
        "right to left: \u202etxt.exe\u202c and back", "zero\u200bwidth, half \ufffd letter",
        "javascript:window.attacked=1", "{{constructor.constructor('window.attacked=1')()}}",
        "W" * 6000, "tabs\tand\tmore\ttabs", "", "   leading blanks stay", "last line",
    )
    return [_line(job, n, text, n in (0, 6)) for n, text in enumerate(texts)]


def _running_log(job: Document, now_s: float) -> list[logs.Line]:
    count = min(400, max(0, int(now_s - job["running"]) // 3))
    return [
        logs.Line(f"step {n}: {n * 1250} reads done", False, job["running"] + n * 3)
        for n in range(count)
    ]


def _short_log(job: Document) -> list[logs.Line]:
    last = [_line(job, 2, job["errormsg"], True)]
    return [_line(job, 0, "begins"), _line(job, 1, "reads the sample sheet"), *last]


_LOGS: dict[str, Any] = {
    "failed": _failed_log, "long_log": _long_log, "hostile": _hostile_log,
    "report": lambda job: [_line(job, n, f"sample S{n:04d} aligned") for n in range(300)],
    "retried_1": _short_log, "retried_2": _short_log, "over_limit": _short_log,
    "no_output": lambda job: [],
}  # fmt: skip


async def _write_report(engine: Engine, found: Found) -> None:
    """The report of KBase's kind: an object that names objects and a page, and the page itself."""
    job = found.jobs["report"]
    job_id = str(job["_id"])
    artifacts = Artifacts(engine.settings.artifacts_url)
    for name, text in (("report.html", REPORT), (f"{ATTACK[:20]}.txt".replace("/", "_"), "hello")):
        async def chunks(text: str = text) -> AsyncIterator[bytes]:
            yield text.encode()

        await artifacts.write(Artifact(job["submission"], job_id, name), chunks())
    for name, ref, kind, data in seed_jobs.report_objects(job):
        wsid, number, version = (int(part) for part in ref.split("/"))
        await engine.store.objects.insert_one(
            {
                "_id": ref, "wsid": wsid, "object": number, "version": version, "user": "ana",
                "name": name, "type": kind, "data": data, "meta": {"ee2_job": job_id},
                "saved": job["finished"],
            }
        )  # fmt: skip
