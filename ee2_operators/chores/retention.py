"""Deletes by age what jobs leave: logs, artifacts, the files of ended stages, the logs of tasks."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from ee2_jobs import retention
from ee2_jobs.artifacts import Artifacts
from ee2_jobs.submissions import with_live_jobs
from ee2_operators import airflow_internals
from ee2_operators.chores.common import MOST, Done, Work, tally

DAY_S = 86_400.0
MOST_LOGS = 100_000
AT_ONCE = 1000


async def run(work: Work) -> Done:
    """See the module; the ages are settings."""
    settings = work.parts.settings
    logs = await retention.expire_logs(
        work.parts.store,
        days=settings.log_days,
        days_failed=settings.log_days_failed,
        in_time=work.in_time,
        most=MOST_LOGS,
        dry_run=work.dry_run,
    )
    artifacts = await _artifacts(work)
    before_s = time.time() - settings.artifact_days * DAY_S
    files = await _stage_files(work, before_s)
    runs = await asyncio.to_thread(
        _old_runs, airflow_internals.log_folder(), before_s, work.in_time, work.dry_run
    )
    counts = [
        (logs.jobs, "log(s) of jobs deleted"),
        (artifacts, "submission(s)' artifacts deleted"),
        (files, "file(s) and folders of ended stages deleted"),
        (runs, "log(s) of runs deleted"),
    ]
    more = logs.more or not work.in_time() or max(artifacts, files, runs) >= MOST
    return Done(tally(counts), sum(n for n, _ in counts), more)


async def _artifacts(work: Work) -> int:
    """Where a job failed they are kept longer, and as long as one still runs."""
    settings, store = work.parts.settings, work.parts.store
    artifacts = Artifacts(settings.artifacts_url)
    failed_s = time.time() - max(settings.artifact_days, settings.artifact_days_failed) * DAY_S
    old = await artifacts.older_than(settings.artifact_days, in_time=work.in_time)
    left, count = iter(old.items()), 0
    while count < MOST and (some := dict(islice(left, AT_ONCE))) and work.in_time():
        keep = await retention.kept(store, some, failed=False)
        recent = [one for one, newest_s in some.items() if newest_s > failed_s]
        keep |= await retention.kept(store, recent, failed=True)
        gone = [one for one in some if one not in keep]
        if not work.dry_run:
            await artifacts.delete(gone)
        count += len(gone)
    return count


async def _stage_files(work: Work, before_s: float) -> int:
    folder = Path(work.parts.settings.stage_dir)
    old = await asyncio.to_thread(lambda: list(_older(folder, before_s)))
    live = await with_live_jobs(work.parts.store, list({p.name[:24] for p in old}))
    old = [path for path in old if path.name[:24] not in live][:MOST]
    if not work.dry_run:
        await asyncio.to_thread(_delete, old)
    return len(old)


def _older(folder: Path, before_s: float) -> Iterator[Path]:
    """What in a folder was last changed before that."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before_s:
                yield path


def _delete(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _old_runs(
    logs: Path, before_s: float, in_time: Callable[[], bool], dry_run: bool
) -> int:
    """Delete the log folders of runs (dag_id=…/run_id=…) in which nothing is newer than that."""
    gone = 0
    for run in islice(_ended_runs(logs, before_s, in_time), MOST):
        if not dry_run:
            shutil.rmtree(run, ignore_errors=True)
        gone += 1
    return gone


def _ended_runs(logs: Path, before_s: float, in_time: Callable[[], bool]) -> Iterator[Path]:
    for run in logs.glob("dag_id=*/run_id=*"):
        if not in_time():
            return
        with contextlib.suppress(FileNotFoundError):
            if all(p.stat().st_mtime < before_s for p in (run, *run.rglob("*"))):
                yield run
