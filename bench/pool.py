"""What runs beside EE2 in the same pool: HTCondor's own condor_submit and DAGMan."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from bench.engine import Engine
from ee2_cli import stack
from ee2_cli.settings import StackError

# What a job of ee2_test.true asks for, and like it without copying files.
_JOB = """universe = vanilla
executable = /bin/true
should_transfer_files = IF_NEEDED
transfer_executable = False
request_cpus = 1
request_memory = 100MB
request_disk = 1GB
"""
TUNED = {
    "DAGMAN_USER_LOG_SCAN_INTERVAL": 1,
    "DAGMAN_SUBMIT_DELAY": 0,
    "DAGMAN_MAX_SUBMITS_PER_INTERVAL": 200,
    "DAGMAN_MAX_JOBS_IDLE": 1000,
}
_POLL_S = 0.01
_TERMINATED = b"\n005 ("
_FAILED = (b"\n012 (", b"\n009 (")


@dataclass(frozen=True)
class DagTimes:
    """Of one run of DAGMan, s: until the last node's job had ended, and until DAGMan itself had."""

    last_job_s: float
    dagman_s: float


def plain_s(engine: Engine, count: int) -> float:
    """Submit `count` jobs with one condor_submit; how long until all have ended, s."""
    with _folder(engine) as folder:
        log = folder / "jobs.log"
        description = folder / "jobs.sub"
        description.write_text(f"{_JOB}log = {log}\nqueue {count}\n")
        began = time.perf_counter()
        engine.pool_tool("condor_submit", "-terse", str(description), cwd=folder)
        return _wait_ends(log, count) - began


def dagman(engine: Engine, children: int, *, tuned: bool) -> DagTimes:
    """Run a diamond 1 - children - 1 with DAGMan."""
    with _folder(engine) as folder:
        (folder / "job.sub").write_text(f"{_JOB}log = {folder / 'jobs.log'}\nqueue\n")
        names = [f"B{n}" for n in range(children)]
        lines = [f"JOB {name} job.sub" for name in ("A", *names, "C")]
        lines += [f"PARENT A CHILD {' '.join(names)}", f"PARENT {' '.join(names)} CHILD C"]
        (folder / "diamond.dag").write_text("\n".join(lines) + "\n")
        arguments = ["-notification", "never"]
        if tuned:
            settings = "".join(f"{name} = {value}\n" for name, value in TUNED.items())
            (folder / "tuned.conf").write_text(settings)
            arguments += ["-config", "tuned.conf"]
        env = {"_CONDOR_SEC_TOKEN_DIRECTORY": str(folder / "token")}
        began = time.perf_counter()
        engine.pool_tool("condor_submit_dag", *arguments, "diamond.dag", cwd=folder, env=env)
        nodes_log = folder / "diamond.dag.nodes.log"
        last_job = _wait_ends(nodes_log, children + 2)
        ended = _wait_ends(folder / "diamond.dag.dagman.log", 1)
        return DagTimes(last_job - began, ended - began)


def _wait_ends(log: Path, count: int, timeout_s: float = 300) -> float:
    """Return when a user log tells of so many ended jobs; the time, by time.perf_counter."""
    deadline = time.perf_counter() + timeout_s
    while time.perf_counter() < deadline:
        # The first event is not one of an end, so each of these stands after a line's end.
        text = log.read_bytes() if log.exists() else b""
        if text.count(_TERMINATED) >= count:
            return time.perf_counter()
        for event in _FAILED:
            if event in text:
                raise StackError(f"A job was held or removed: {text[text.index(event) :][:300]!r}")
        time.sleep(_POLL_S)
    raise StackError(f"Jobs of the pool have not ended after {timeout_s:.0f} s; see {log}")


@contextmanager
def _folder(engine: Engine) -> Iterator[Path]:
    """A folder that the pool's account can write to, with a copy of the engine's token for DAGMan,
    which runs as that account."""
    account = engine.settings.pool_user
    stage = engine.settings.var_dir / "stage"
    folder = Path(mkdtemp(prefix="bench-", dir=stage))
    try:
        folder.chmod(0o2770)
        token = folder / "token"
        token.mkdir(mode=0o700)
        for file in stack.pool_config(engine.settings).token_dir.iterdir():
            shutil.copyfile(file, token / file.name)
            (token / file.name).chmod(0o600)
        if engine.settings.is_root:
            for path in (folder, token, *token.iterdir()):
                shutil.chown(path, account, account)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
