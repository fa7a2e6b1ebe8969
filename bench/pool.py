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
# A warning about a log in /tmp would be an error; that is where a stack of a trial may be.
ALWAYS = {"DAGMAN_USE_STRICT": 0}
_POLL_S = 0.02
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
        settings = ALWAYS | (TUNED if tuned else {})
        lines = [f"{name} = {value}" for name, value in settings.items()]
        (folder / "dagman.conf").write_text("\n".join(lines) + "\n")
        token = f"_CONDOR_SEC_TOKEN_DIRECTORY={folder / 'token'}"
        arguments = ("-notification", "never", "-config", "dagman.conf", "-insert_env", token)
        began = time.perf_counter()
        engine.pool_tool("condor_submit_dag", *arguments, "diamond.dag", cwd=folder)
        dagman_log = folder / "diamond.dag.dagman.log"
        last_job = _wait_ends(folder / "diamond.dag.nodes.log", children + 2, dagman_log)
        return DagTimes(last_job - began, _wait_ends(dagman_log, 1) - began)


def _wait_ends(log: Path, count: int, dagman: Path | None = None, timeout_s: float = 300) -> float:
    """Return when a user log tells of so many ended jobs; the time, by time.perf_counter. dagman:
    the log of the DAGMan that submits them."""
    deadline = time.perf_counter() + timeout_s
    while time.perf_counter() < deadline:
        # The first event is not one of an end, so each of these stands after a line's end.
        text = _read(log)
        if text.count(_TERMINATED) >= count:
            return time.perf_counter()
        if dagman is not None and _TERMINATED in _read(dagman) and text == _read(log):
            out = dagman.with_name("diamond.dag.dagman.out").read_text().splitlines()
            errors = " ".join(line for line in out if "ERROR" in line)
            raise StackError(f"DAGMan ended before its jobs: {errors or out[-1]}")
        for event in _FAILED:
            if event in text:
                raise StackError(f"A job was held or removed: {text[text.index(event) :][:300]!r}")
        time.sleep(_POLL_S)
    raise StackError(f"Jobs of the pool have not ended after {timeout_s:.0f} s; see {log}")


def _read(log: Path) -> bytes:
    return log.read_bytes() if log.exists() else b""


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
