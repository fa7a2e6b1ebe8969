"""A million realistic records, the same ones at every run: users, batches, workspaces, endings.

Three years of work of 2,000 users, the busiest ("ana") with one record in 25; two records of five
are children of batches of 10 to 10,000. Records look as the engine writes them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

Document = dict[str, Any]

USERS = 2000
APPS = 60
YEARS_S = 3 * 365 * 86400
ANA = "ana"
CHUNK = 5000
# Workspaces of ana with a known number of jobs, and a batch with a known number of children.
WORKSPACES = {1: 1000, 2: 10_000}
_MODULES = (
    "kb_Bowtie2", "kb_hisat2", "MEGAHIT", "kb_SPAdes", "kb_uploadmethods", "RAST_SDK", "fba_tools",
    "kb_fastqc", "kb_trimmomatic", "kb_deseq", "kb_stringtie", "kb_phylogenomics",
)  # fmt: skip
_ERRORS = (
    (1, 70, "Error in app: the input {n} could not be read: unexpected end of file at line {n}"),
    (3, 8, "The job ran longer than its limit of {n} s"),
    (2, 8, "Job held by the pool: memory usage exceeded request of {n} MB"),
    (4, 6, "The app ended without an output"),
    (5, 3, "The token of the user has expired"),
    (6, 5, "Submission failed: no machine has {n} cpus"),
)


@dataclass(frozen=True)
class Data:
    """What was loaded: how many records, when the newest was made, the batch that has a tenth of
    them (10,000 at most), its child that is to have a long log, and how long it took, s."""

    count: int
    now_s: float
    big_batch: str
    long_log: str
    seconds: float


@dataclass
class _App:
    app_id: str
    method: str
    run_s: float
    group: str
    params: list[Document]
    fails: float


@dataclass
class _Writer:
    """Makes records. Time rises from record to record, so ids do."""

    random: random.Random
    at_s: float
    counter: int = 0
    apps: list[_App] = field(default_factory=list)

    def oid(self) -> ObjectId:
        self.counter += 1
        return ObjectId(
            int(self.at_s).to_bytes(4, "big") + b"bench" + (self.counter % 2**24).to_bytes(3, "big")
        )


def load(
    client: MongoClient[Document],
    database: str,
    count: int,
    now_s: float | None = None,
    span_s: float = YEARS_S,
) -> Data:
    """Fill an empty database's `ee2_jobs` and `ee2_workspaces`. now_s: when the newest records were
    made, span_s: how long after the oldest; the newest are live."""
    db = client[database]
    end_s = time.time() if now_s is None else now_s
    began = time.perf_counter()
    chunk: list[Document] = []
    big: Document = {}
    for job in _records(count, end_s, span_s):
        chunk.append(job)
        if len(job["child_jobs"]) == min(10_000, count // 10):
            big = job
        if len(chunk) == CHUNK:
            db.ee2_jobs.insert_many(chunk, ordered=False)
            chunk = []
    if chunk:
        db.ee2_jobs.insert_many(chunk, ordered=False)
    _workspaces(db)
    batch, child = str(big["_id"]), big["child_jobs"][0]
    return Data(count, end_s, batch, child, time.perf_counter() - began)


def _workspaces(db: Database[Document]) -> None:
    """ana has workspaces 1 to 40 and may read a hundred more."""
    db.ee2_workspaces.insert_many(
        {
            "_id": wsid, "name": f"ws{wsid}", "owner": ANA if wsid <= 40 else f"u{wsid % USERS}",
            "acl": {ANA: "r"} if 40 < wsid <= 140 else {}, "public": False,
        }
        for wsid in range(1, 2001)
    )  # fmt: skip


def _records(count: int, end_s: float, span_s: float) -> Iterator[Document]:
    """`count` records, from the oldest to the newest."""
    rnd = random.Random(20260701)
    make = _Writer(rnd, end_s - span_s)
    make.apps = [_app(rnd, i) for i in range(APPS)]
    users = [f"u{i}" for i in range(1, USERS)]
    shares = [1 / (i + 8) for i in range(1, USERS)]
    weights = [1 / (i + 3) for i in range(APPS)]
    sizes = (10, 20, 50, 100, 200, 500, 1000)
    often = (30, 25, 20, 12, 8, 3, 2)
    step_s = span_s / count
    left_ws = dict(WORKSPACES)
    done = 0
    big_at = count // 2
    live = min(5000, count // 50)
    while done < count:
        make.at_s = min(end_s, end_s - span_s + done * step_s)
        user = ANA if rnd.random() < 0.04 else rnd.choices(users, shares)[0]
        app = rnd.choices(make.apps, weights)[0]
        is_live = count - done <= live
        size = 0
        if big_at and done >= big_at:
            size, user, big_at = min(10_000, count // 10), ANA, 0
        elif rnd.random() < 0.008:
            size = rnd.choices(sizes, often)[0]
        if size and done + size + 1 <= count:
            parent, children = _batch(make, user, app, size, is_live)
            yield parent
            yield from children
            done += size + 1
            continue
        wsid = _wsid(rnd, user)
        if user == ANA and left_ws:
            wsid = next(iter(left_ws))
            left_ws[wsid] -= 1
            if not left_ws[wsid]:
                del left_ws[wsid]
        yield _job(make, user, wsid, app, is_live)
        done += 1


def _wsid(rnd: random.Random, user: str) -> int | None:
    if user == ANA:
        return rnd.randint(3, 40)
    if rnd.random() < 0.05:
        return None
    return 41 + (int(user[1:]) * 7 + rnd.randint(0, 5)) % 1960


def _app(rnd: random.Random, i: int) -> _App:
    module, name = _MODULES[i % len(_MODULES)], f"run_app_{i}"
    params: Document = {
        "workspace_name": f"someone:narrative_{i}", "output_name": f"app_{i}_output",
        "input_refs": [f"{1000 + i}/{j}/1" for j in range(4)], "quality_score": "phred33",
        "alignment_type": "end-to-end", "preset_options": "very-sensitive", "trim5": 0, "trim3": 0,
        "description": "as set in the narrative's cell " * rnd.randint(1, 4),
        "advanced": {f"option_{j}": rnd.random() for j in range(rnd.randint(2, 6))},
    }  # fmt: skip
    group = "bigmem" if i % 11 == 10 else "njs"
    return _App(
        f"{module}/{name}", f"{module}.{name}", rnd.lognormvariate(6, 1.3), group, [params],
        rnd.choice((0.02, 0.05, 0.1, 0.3)),
    )  # fmt: skip


def _batch(
    make: _Writer, user: str, app: _App, size: int, is_live: bool
) -> tuple[Document, list[Document]]:
    parent_id = make.oid()
    wsid = _wsid(make.random, user)
    children = [
        _job(make, user, wsid, app, is_live, batch=(str(parent_id), i)) for i in range(size)
    ]
    parent: Document = {
        "_id": parent_id, "user": user, "authstrat": "kbaseworkspace", "status": "created",
        "updated": make.at_s, "batch_job": True, "child_jobs": [str(c["_id"]) for c in children],
        "retry_ids": [], "retry_saved_toggle": False,
        "job_input": {"method": "batch", "app_id": "batch", "service_ver": "batch",
                      "source_ws_objects": [], "narrative_cell_info": {}},
    }  # fmt: skip
    if wsid is not None:
        parent["wsid"] = wsid
    return parent, children


def _job(
    make: _Writer, user: str, wsid: int | None, app: _App, is_live: bool,
    batch: tuple[str, int] | None = None,
) -> Document:  # fmt: skip
    rnd, oid = make.random, make.oid()
    index = batch[1] if batch else 0
    job: Document = {
        "_id": oid, "user": user, "authstrat": "kbaseworkspace", "batch_job": False,
        "child_jobs": [], "retry_ids": [], "retry_saved_toggle": False, "scheduler_type": "condor",
        "scheduler_id": f"{make.counter}.{index}", "submission": batch[0] if batch else str(oid),
        "role": "submit", "stage": "submit", "index": index, "try": 1,
        "priority": -1 if batch else 0,
        "job_input": {
            "method": app.method, "app_id": app.app_id, "requested_release": "release",
            "service_ver": f"{hash_of(app.app_id):040x}", "params": app.params,
            "source_ws_objects": app.params[0]["input_refs"],
            "requirements": {"clientgroup": app.group, "cpu": 4, "memory": 8000, "disk": 30},
            "narrative_cell_info": {"run_id": f"run-{make.counter}", "token_id": "token",
                                    "tag": "release", "cell_id": f"cell-{make.counter % 97}"},
        },
    }  # fmt: skip
    if wsid is not None:
        job["wsid"] = job["job_input"]["wsid"] = wsid
    if batch:
        job["batch_id"] = batch[0]
    made = make.at_s
    wait_s, run_s = rnd.lognormvariate(3.5, 1.8), app.run_s * rnd.lognormvariate(0, 0.8)
    job["queued"] = made + 0.4
    if is_live:
        job["status"] = rnd.choices(("running", "queued", "created"), (30, 68, 2))[0]
        job["updated"] = made
        if job["status"] == "running":
            job["running"] = job["updated"] = made + 5
            job["claim"] = {"id": "c", "host": f"node{index % 40}", "at": made + 5, "starts": 1}
        return job
    job["running"] = made + wait_s
    job["finished"] = job["updated"] = made + wait_s + run_s
    job["claim"] = {"id": "c", "host": f"node{index % 40}", "at": made + wait_s, "starts": 1}
    _end(job, app, rnd, run_s)
    return job


def hash_of(text: str) -> int:
    """The same number at every run (Python's own hash is another each time)."""
    return int.from_bytes(random.Random(text).randbytes(20), "big")


def _end(job: Document, app: _App, rnd: random.Random, run_s: float) -> None:
    """How the job ended: 4 of 5 completed, the rest in error or cancelled."""
    job["usage"] = {
        "cpu_user_s": round(run_s * 2.1, 3), "cpu_system_s": round(run_s * 0.1, 3),
        "wall_s": round(run_s, 3), "peak_memory_mb": rnd.randint(100, 7900), "exit_code": 0,
    }  # fmt: skip
    lot = rnd.random()
    if lot < app.fails:
        code, _, text = rnd.choices(_ERRORS, [share for _, share, _ in _ERRORS])[0]
        message = text.format(n=rnd.randint(1, 9999))
        job |= {"status": "error", "error_code": code, "errormsg": message}
        job["error"] = {
            "code": code, "name": "Server error", "message": message,
            "error": "Traceback (most recent call last):\n" + '  File "app.py", line 1, in x\n' * 5,
        }
    elif lot < app.fails + 0.08:
        job |= {"status": "terminated", "terminated_code": 0 if lot * 1000 % 4 > 1 else 1}
    else:
        report = f"{job.get('wsid', 9)}/{rnd.randint(1, 999)}/1"
        result = {"report_name": f"report_{job['_id']}", "report_ref": report, "obj_ref": report}
        job |= {"status": "completed"}
        job["job_output"] = {"version": "1.1", "id": str(job["_id"]), "result": [result]}


def empty(client: MongoClient[Document], names: Sequence[str]) -> None:
    """Drop databases."""
    for name in names:
        client.drop_database(name)
