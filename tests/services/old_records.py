"""Databases of the old services as they wrote them: one record per kind, or many alike; and a
target for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from ee2_jobs.engine import Engine
from ee2_jobs.legacy.imports import run
from ee2_jobs.legacy.imports.report import Report
from ee2_jobs.legacy.imports.source import connect
from ee2_jobs.store import Store
from tests.services.engines import close_engine, open_engine

Doc = dict[str, Any]
BORN_S = 1_520_139_967  # 2018-03-04
# One job per row of `legacy-apis` 8.3 (and what came of it).
KINDS = ("created", "queued", "running", "completed", "error", "canceled", "canceled_by_other")


def oid(number: int) -> ObjectId:
    """The id of the n-th old job."""
    return ObjectId(f"{BORN_S:08x}{number:016x}")


def at(seconds: float) -> datetime:
    """A MongoDB date, so many seconds after the jobs' creation."""
    return datetime.fromtimestamp(BORN_S + seconds, UTC)


def ujs_row(number: int, kind: str) -> Doc:
    """A row of UJS's `jobstate`, of a job that NJS ran."""
    base: Doc = {
        "_id": oid(number), "user": "alice", "created": at(0), "updated": at(0),
        "authstrat": "kbaseworkspace", "authparam": "7", "meta": [{"k": "run_id", "v": "r1"}],
    }  # fmt: skip
    if kind == "created":
        return base
    base |= {
        "service": "alice", "desc": "queued", "progtype": "none", "prog": 0, "maxprog": None,
        "status": "queued", "started": at(1), "updated": at(60), "estcompl": None,
        "complete": False, "error": False, "errormsg": None, "results": None, "shared": [],
    }  # fmt: skip
    ends: dict[str, Doc] = {
        "running": {"status": "in-progress"},
        "completed": {"complete": True, "status": "done", "results": {}},
        "error": {"complete": True, "error": True, "status": "no luck", "errormsg": "trace"},
        "canceled": {"complete": True, "status": "canceled by user", "canceledby": "alice"},
        "canceled_by_other": {"complete": True, "status": "canceled by user", "canceledby": "bob"},
    }
    return base | ends.get(kind, {})


def njs_row(number: int, kind: str) -> Doc:
    """The row of NJS's `exec_tasks` that goes with it."""
    created_ms = BORN_S * 1000 + 500
    row: Doc = {
        "ujs_job_id": str(oid(number)), "creation_time": created_ms, "task_id": f"{number}.0",
        "scheduler_type": "condor",
        "job_input": {
            "method": "m.f", "service_ver": "c0ffee", "requested_release": "release",
            "params": [{"n": number, "a%2eb": {"%24x": "50%25"}}], "wsid": 7, "app_id": "m/f",
            "meta": {"run_id": "r1"}, "rpc_context": {"run_id": "r1"}, "source_ws_objects": [],
        },
    }  # fmt: skip
    if kind in ("created", "queued"):
        return row
    row |= {"exec_start_time": created_ms + 30_000, "queue_time": 30_000}
    error = {"name": "E", "code": -1, "message": "no luck", "error": "trace"}
    outputs: dict[str, Doc] = {
        "completed": {"version": "1.1", "id": "0", "result": [{"r%2es": number}]},
        "error": {"error": error},
        "canceled": {"is_canceled": 1, "is_cancelled": 1},
        "canceled_by_other": {"is_canceled": 1, "is_cancelled": 1},
    }
    if kind in outputs:
        row |= {"job_output": outputs[kind], "finish_time": created_ms + 59_000}
    return row


def njs_log(number: int, lines: int) -> Doc:
    """The row of NJS's `exec_logs`."""
    return {
        "ujs_job_id": str(oid(number)), "original_line_count": lines, "stored_line_count": lines,
        "lines": [
            {"line_pos": i, "line": f"line {i}", "is_error": i % 3 == 2} for i in range(lines)
        ],
    }  # fmt: skip


def ee2_job(number: int, status: str = "completed", **fields: Any) -> Doc:
    """A record as EE2 writes it (`ee2-api` 4.1, 4.2)."""
    ended = status in ("completed", "error", "terminated")
    return {
        "_id": oid(number), "user": "alice", "authstrat": "kbaseworkspace", "wsid": 7,
        "status": status, "updated": BORN_S + 60.25, "queued": BORN_S + 1.5,
        **({} if status in ("created", "queued") else {"running": BORN_S + 30.5}),
        **({"finished": BORN_S + 60.25} if ended else {}),
        "batch_job": False, "scheduler_type": "condor", "scheduler_id": str(number),
        "job_input": {
            "wsid": 7, "method": "m.f", "params": [{"n": number}], "service_ver": "c0ffee",
            "app_id": "m/f", "source_ws_objects": [],
            "requirements": {"clientgroup": "njs", "cpu": 4, "memory": 2000, "disk": 30},
            "narrative_cell_info": {"run_id": "r", "token_id": "t", "tag": "release",
                                    "cell_id": "c"},
        },
        **({"job_output": {"version": "1.1", "id": str(oid(number)), "result": [number]}}
           if status == "completed" else {}),
        **({"condor_job_ads": {"RemoteUserCpu": 1.5, "JobStatus": None}} if ended else {}),
        "child_jobs": [], "retry_ids": [], "retry_saved_toggle": False, **fields,
    }  # fmt: skip


def ee2_log(number: int, lines: int, first: int = 0) -> Doc:
    """A log as EE2 writes it (`ee2-api` 4.4); early releases counted lines from 1."""
    return {
        "_id": oid(number), "updated": BORN_S + 60.5, "original_line_count": lines,
        "stored_line_count": lines,
        "lines": [
            {"line": f"line {i}", "linepos": first + i, "error": i % 3 == 2, "ts": BORN_S + i + 0.5}
            for i in range(lines)
        ],
    }  # fmt: skip


def fill_ee2(database: Database[Doc]) -> None:
    """Records as EE2 wrote them over the years."""
    from_njs = {
        "_id": oid(10), "user": "alice", "authstrat": "DEFAULT", "status": "error", "updated": 9.5,
        "running": 0, "msg": "error queued", "error_code": 0, "scheduler_type": "awe",
        "errormsg": "no", "error": "no", "job_output": {"error": {"message": "no"}},
    }  # fmt: skip
    unknown = {"method": "UNKNOWN", "service_ver": "UNKNOWN", "app_id": "UNKNOWN", "wsid": -1,
               "params": "UNKNOWN"}  # fmt: skip
    states = ("completed", "error", "terminated", "created", "queued", "running", "estimating")
    database.ee2_jobs.insert_many(
        [
            *(ee2_job(i, status) for i, status in enumerate(states)),
            from_njs, ee2_job(11, job_input=unknown, authstrat="execution_engine"),
            ee2_job(12, "created", batch_job=True, child_jobs=[str(oid(0))]),
            ee2_job(13, error={"message": "m", "code": 1, "name": "n", "error": None}),
        ]
    )  # fmt: skip
    database.ee2_logs.insert_many(
        [ee2_log(0, 5), ee2_log(1, 5, first=1),
         {"_id": oid(2), "updated": 1.5, "original_line_count": 0, "stored_line_count": 0},
         # Two appends at once: positions twice, counts too low.
         {**ee2_log(13, 6), "stored_line_count": 4, "original_line_count": 4}]
    )  # fmt: skip


def fill_old_services(client: MongoClient[Doc], prefix: str, jobs: int = 0) -> None:
    """Databases <prefix>_ujs and <prefix>_njs: a job of each kind, or so many completed ones."""
    kinds = ["completed"] * jobs if jobs else list(KINDS)
    ujs, njs = client[f"{prefix}_ujs"], client[f"{prefix}_njs"]
    for chunk in _chunks(kinds):
        ujs.jobstate.insert_many([ujs_row(i, k) for i, k in chunk])
        njs.exec_tasks.insert_many([njs_row(i, k) for i, k in chunk])
        njs.exec_logs.insert_many([njs_log(i, 6) for i, _ in chunk])
    njs.exec_tasks.create_index("ujs_job_id", unique=True)


def _chunks(kinds: list[str], size: int = 5000) -> Iterator[list[tuple[int, str]]]:
    numbered = list(enumerate(kinds))
    for i in range(0, len(numbered), size):
        yield numbered[i : i + size]


def contents(database: Database[Doc], but: tuple[str, ...] = ()) -> dict[str, list[Doc]]:
    """All documents of a database by collection, in the order of their ids."""
    names = [n for n in sorted(database.list_collection_names()) if n not in but]
    return {n: list(database[n].find().sort("_id", 1)) for n in names}


class Old:
    """Old databases <target>_ujs, _njs and _ee2, and the engine whose database is the target."""

    def __init__(self, uri: str, engine: Engine) -> None:
        self.uri, self.engine, self.store = uri, engine, engine.store
        self.client: MongoClient[Doc] = MongoClient(uri)
        self.target: Database[Doc] = self.client[engine.store.db.name]

    def database(self, kind: str) -> Database[Doc]:
        """The old database of a service."""
        return self.client[f"{self.target.name}_{kind}"]

    async def run(
        self,
        kind: run.Kind,
        store: Store | None = None,
        progress: run.Progress = run.no_progress,
        **options: Any,
    ) -> dict[str, Report]:
        """Import it; options: fields of run.Options."""
        source = connect(self.uri, self.database(kind).name)
        try:
            chosen = run.Options(**options)
            return await run.run(store or self.store, source, kind, chosen, progress)
        finally:
            await source.close()


@asynccontextmanager
async def opened(uri: str) -> AsyncIterator[Old]:
    """Old databases, which are dropped afterwards, and a target."""
    engine = await open_engine(uri)
    old = Old(uri, engine)
    yield old
    for name in old.client.list_database_names():
        if name.startswith(f"{old.target.name}_"):
            old.client.drop_database(name)
    await close_engine(engine, uri)
    old.client.close()


def counts(report: Report) -> tuple[int, int, int, int]:
    """Rows read, made, here already, left out."""
    out = sum(f.count for f in report.left_out.values())
    return report.read, report.made, report.already_here, out
