"""Records of jobs as the engine writes them, made up, the same ones at every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

Document = dict[str, Any]
ATTACK = '<img src=x onerror="window.attacked=1">'
"""Whatever shows this as markup sets `window.attacked`."""
CLUSTER = "ee2@condor.example.org"
_CODES = {
    1: (
        "staging file {n} is empty",
        "Sample sheet row {n}: the barcode is not in the run",
        "bowtie2-align exited with value 137: out of memory at read {n}",
        "Reference genome 48213/{n}/1 has no sequence",
    ),
    3: ("The job ran longer than its time limit of 4 h",),
    4: ("The app ended without an output",),
    5: ("The token of the user has expired",),
    6: ("No machine of bigmem has {n} cores",),
}  # fmt: skip


@dataclass(frozen=True)
class App:
    """An app of the made-up catalog. run_s: how long it usually runs. fails: how often, 0 to 1."""

    module: str
    method: str
    title: str
    run_s: float
    fails: float
    group: str = "njs"
    cpus: int = 4
    memory_mb: int = 8000

    @property
    def id(self) -> str:
        """As job records name it."""
        return f"{self.module}/{self.method}"

    @property
    def name(self) -> str:
        """As it is called."""
        return f"{self.module}.{self.method}"


APPS = (
    App("kb_Bowtie2", "align_reads", "Align reads with Bowtie2", 1500, 0.06),
    App("kb_uploadmethods", "import_fastq", "Import FASTQ reads from staging", 240, 0.12),
    App("kb_SPAdes", "run_SPAdes", "Assemble reads with SPAdes", 9000, 0.15, "bigmem", 16, 96000),
    App("kb_trimmomatic", "run_trimmomatic", "Trim reads with Trimmomatic", 700, 0.03),
    App("kb_fastqc", "run_fastqc", "Assess read quality with FastQC", 180, 0.01, "njs", 2, 2000),
    App("RAST_SDK", "annotate_genome", "Annotate a genome with RASTtk", 2600, 0.08),
    App("kb_Msuite", "run_checkM", "Assess genome quality with CheckM", 5200, 0.05, "bigmem", 8,
        64000),
    App("fba_tools", "run_flux_balance_analysis", "Run flux balance analysis", 90, 0.04),
)  # fmt: skip
NAMES = {app.name: app for app in APPS}


class Records:
    """Makes records. now_s: what counts as now."""

    def __init__(self, now_s: float, seed: int = 20261123) -> None:
        self.now_s = now_s
        self.random = random.Random(seed)
        self._made = 0

    def oid(self, at_s: float) -> ObjectId:
        """A new id, made at that time; rises with each call."""
        self._made += 1
        return ObjectId(int(at_s).to_bytes(4, "big") + b"seeds" + self._made.to_bytes(3, "big"))

    def job(
        self, user: str, app: App, status: str, made_s: float, wsid: int | None = None, *,
        wait_s: float | None = None, run_s: float | None = None, code: int | None = None,
        **more: Any,
    ) -> Document:  # fmt: skip
        """A record. wait_s, run_s: by chance if not given; what is live has waited or runs until
        now. more: fields that replace or join the others; `params` goes into the input."""
        rnd, oid = self.random, self.oid(made_s)
        number = self._made
        wait_s = rnd.lognormvariate(4, 1.4) if wait_s is None else wait_s
        run_s = app.run_s * rnd.lognormvariate(0, 0.6) if run_s is None else run_s
        params = more.pop("params", None) or [self._params(app, wsid)]
        job: Document = {
            "_id": oid, "user": user, "authstrat": "kbaseworkspace", "status": status,
            "updated": made_s, "batch_job": False, "child_jobs": [], "retry_ids": [],
            "retry_saved_toggle": False, "scheduler_type": "condor", "priority": 0,
            "submission": str(oid), "role": "submit", "stage": "submit", "index": 0, "try": 1,
            "time_limit_s": 86400, "job_input": self._input(app, wsid, params, number),
        }  # fmt: skip
        if wsid is not None:
            job["wsid"] = wsid
        if status not in ("created", "estimating"):
            job |= {"queued": made_s + 0.4, "scheduler_id": f"{4700 + number}.0"}
        if status == "estimating":
            job["estimating"] = made_s + 0.2
        if status in ("running", "completed", "error", "terminated"):
            self._started(job, app, made_s + wait_s)
        if status in ("completed", "error", "terminated"):
            job["finished"] = job["updated"] = min(made_s + wait_s + run_s, self.now_s - 5)
            self._end(job, app, status, code)
        job.update(more)
        return job

    def _params(self, app: App, wsid: int | None) -> Document:
        rnd = self.random
        return {
            "workspace_name": f"ana:narrative_{wsid}", "output_name": f"{app.method}_output",
            "input_refs": [f"{wsid or 48213}/{rnd.randint(2, 60)}/1" for _ in range(2)],
            "quality_score": "phred33", "preset": "very-sensitive", "trim5": 0, "trim3": 0,
            "advanced": {"seed": rnd.randint(1, 999), "keep_unaligned": False},
        }  # fmt: skip

    def _input(self, app: App, wsid: int | None, params: Any, number: int) -> Document:
        found: Document = {
            "method": app.name, "app_id": app.id, "service_ver": "c0ffee", "params": params,
            "requested_release": "release",
            "source_ws_objects": params[0].get("input_refs", []),
            "requirements": {
                "clientgroup": app.group, "cpu": app.cpus, "memory": app.memory_mb, "disk": 30,
            },
            "narrative_cell_info": {
                "run_id": f"run-{number}", "cell_id": f"cell-{number % 97}", "tag": "release",
            },
        }  # fmt: skip
        if wsid is not None:
            found["wsid"] = wsid
        return found

    def _started(self, job: Document, app: App, at_s: float) -> None:
        host = f"{'big' if app.group == 'bigmem' else 'node'}{self.random.randint(1, 6)}"
        job["running"] = job["updated"] = min(at_s, self.now_s)
        job["seen"] = self.now_s
        job["claim"] = {
            "id": "secret", "host": host, "at": job["running"], "starts": 1,
            "scheduler_id": job["scheduler_id"],
        }  # fmt: skip
        job["where"] = {
            "host": host, "slot": f"slot1_{self.random.randint(1, 9)}@{host}", "group": app.group,
            "cluster": CLUSTER, "route": "pool", "batch_id": job["scheduler_id"],
        }  # fmt: skip

    def _end(self, job: Document, app: App, status: str, code: int | None) -> None:
        rnd, wall_s = self.random, max(0.0, job["finished"] - job["running"])
        job["usage"] = {
            "cpu_user_s": round(wall_s * rnd.uniform(0.4, 0.9) * app.cpus, 1),
            "cpu_system_s": round(wall_s * 0.05, 1), "wall_s": round(wall_s, 1),
            "peak_memory_mb": rnd.randint(200, app.memory_mb), "exit_code": 0,
        }  # fmt: skip
        if status == "error":
            code = rnd.choices((1, 3, 4, 5, 6), (80, 8, 5, 2, 5))[0] if code is None else code
            message = rnd.choice(_CODES[code]).format(n=rnd.randint(1, 99))
            job |= {"error_code": code, "errormsg": message, "error": error(code, message)}
            job["usage"]["exit_code"] = 1
        elif status == "terminated":
            by = rnd.choice(("user", "user", "admin"))
            job["terminated_code"] = 1 if by == "admin" else 0
            who = "root" if by == "admin" else job["user"]
            job["ended_by"] = {"kind": by, "user": who}
            if by == "admin":
                job["ended_by"]["reason"] = "The node is taken down for repair"
        else:
            ref = f"{job.get('wsid') or 48213}/{rnd.randint(100, 999)}/1"
            report = {"report_name": f"report_{job['_id']}", "report_ref": ref}
            job["job_output"] = {"version": "1.1", "id": str(job["_id"]), "result": [report]}

    def status(self, app: App) -> str:
        """How a job of the app ended, by chance."""
        return self.random.choices(
            ("completed", "error", "terminated"), (1 - app.fails - 0.04, app.fails, 0.04)
        )[0]

    def batch(
        self, user: str, app: App, made_s: float, wsid: int, states: Sequence[str],
        change: Callable[[int, Document], None] | None = None,
    ) -> list[Document]:  # fmt: skip
        """A batch: its parent, then its children in these states. change: what makes child number
        n different from the others."""
        parent_id = str(self.oid(made_s))
        children = []
        for n, state in enumerate(states):
            params = [{"reads": f"{wsid}/{n + 2}/1", "sample": f"S{n:04d}", "k": 21 + n % 3 * 5}]
            wait_s = 20 + n * 0.4 + self.random.uniform(0, 30)
            run_s = app.run_s * self.random.lognormvariate(0, 0.3)
            if state == "running":
                wait_s = self.now_s - made_s - self.random.uniform(30, 900)
            child = self.job(
                user, app, state, made_s, wsid, wait_s=wait_s, run_s=run_s, code=1, params=params,
                batch_id=parent_id, submission=parent_id, index=n, priority=-1,
            )  # fmt: skip
            if change is not None:
                change(n, child)
            children.append(child)
        return [self.parent(parent_id, user, made_s, wsid, children), *children]

    def parent(
        self, batch_id: str, user: str, made_s: float, wsid: int, children: Sequence[Document]
    ) -> Document:
        """The record of a batch itself."""
        return {
            "_id": ObjectId(batch_id), "user": user, "authstrat": "kbaseworkspace",
            "status": "created", "updated": made_s, "batch_job": True, "wsid": wsid,
            "child_jobs": [str(child["_id"]) for child in children], "retry_ids": [],
            "retry_saved_toggle": False,
            "job_input": {
                "method": "batch", "app_id": "batch", "service_ver": "batch", "wsid": wsid,
                "source_ws_objects": [], "narrative_cell_info": {},
            },
        }  # fmt: skip


def error(code: int, message: str) -> Document:
    """A job's error as KBase's apps tell it."""
    trace = "".join(
        f'  File "/kb/module/lib/app/{name}.py", line {line}, in {name}\n    {name}(params)\n'
        for name, line in (("server", 210), ("align", 88), ("stage", 41))
    )
    return {
        "code": code, "name": "Server error", "message": message,
        "error": f"Traceback (most recent call last):\n{trace}ValueError: {message}",
    }  # fmt: skip


def submission(job: Document, children: int = 1, shape: str = "ee2_run") -> Document:
    """The submission that runs a job or, of a parent, the batch."""
    made_s = job["_id"].generation_time.timestamp()
    found: Document = {
        "_id": str(job["_id"]), "user": job["user"], "kind": "run", "shape": shape, "tries": {},
        "status": "ended" if job.get("finished") else "started", "accepted": made_s, "starts": 1,
        "on_child_error": "continue",
    }  # fmt: skip
    if job.get("finished"):
        found["ended"] = job["finished"]
    if job["batch_job"]:
        found["batch_id"] = str(job["_id"])
        if children > 1000:
            found["window"] = 400
    return found
