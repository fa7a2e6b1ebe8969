"""The pool client against a real HTCondor pool."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ee2_cli import htcondor
from ee2_operators.condor import submit as submit_module
from ee2_operators.condor.events import Kind, PoolEvent, from_ad
from ee2_operators.condor.outcome import outcome
from ee2_operators.condor.pool import (
    Cluster,
    Pool,
    PoolAddress,
    PoolUnavailable,
    SubmitRefused,
)
from ee2_operators.condor.submit import (
    StageJob,
    StageKey,
    StageSubmission,
    files_dir,
    log_path,
    stderr_path,
    ticket_path,
)

RUNNERS = {
    "true": "exit 0",
    "arguments": 'echo "$# $1 $2 $(cat)" >&2; exit 0',
    "environment": "env >&2; command -v python3 >&2; exit 0",
    "sleep": "exec sleep 600",
    "fail": "exit 3",
    "die": "kill -KILL $$",
    "unreachable": "exit 75",
    "unreachable-once": 'test -e "$PWD/$1.seen" && exit 0; touch "$PWD/$1.seen"; exit 75',
    "memory": "exec python3 -c 'import time; x = b\"x\" * 300_000_000; time.sleep(600)'",
    "graceful": "trap 'echo bye >&2; exit 0' TERM; sleep 600 & wait",
}


@dataclass
class Stage:
    """A stage to submit, and what was read of its log."""

    sub: StageSubmission
    events: list[PoolEvent]
    log: dict[str, int | None]

    async def until(
        self, pool: Pool, kind: Kind, count: int = 1, timeout_s: float = 180
    ) -> list[PoolEvent]:
        """Read the log until there are `count` events of `kind`."""
        end = time.monotonic() + timeout_s
        while True:
            new, self.log = await pool.events(self.log)
            self.events += new
            found = [event for event in self.events if event.kind is kind]
            if len(found) >= count:
                return found
            seen = [(event.kind, dict(event.details)) for event in self.events]
            assert time.monotonic() < end, f"no {count} x {kind} after {timeout_s} s: {seen}"
            await asyncio.sleep(0.1)

    def stderr(self, index: int = 0) -> str:
        job_id = self.sub.jobs[index].job_id
        return Path(stderr_path(self.sub.stage_dir, self.sub.key, job_id)).read_text()


@pytest.fixture
def stage(stage_folder: Path) -> Any:
    """Makes stages, each in a folder that the pool's account can write to."""
    folder = stage_folder
    made = 0

    def make(runner: str, count: int = 1, **job: Any) -> Stage:
        nonlocal made
        made += 1
        program = folder / f"runner-{runner}"
        program.write_text(f"#!/bin/sh\n{RUNNERS.get(runner, '')}\n")
        program.chmod(0o755)
        if runner == "missing":
            program.unlink()
        key = StageKey(os.urandom(12).hex(), "submit", 1)
        jobs = tuple(StageJob(os.urandom(12).hex(), **job) for _ in range(count))
        sub = StageSubmission(
            key, jobs, str(program), "http://127.0.0.1:1/services/ee2", str(folder), "alice"
        )
        files = Path(files_dir(sub.stage_dir, key))
        files.mkdir()
        files.chmod(0o2775)
        for entry in jobs:
            Path(ticket_path(sub.stage_dir, key, entry.job_id)).write_text(f"token-{entry.job_id}")
        return Stage(sub, [], {log_path(sub.stage_dir, key): None})

    return make


async def test_thousand_jobs_are_one_cluster_each_with_its_own_arguments(
    pool: Pool, stage: Any
) -> None:
    many = stage("arguments", 1000, memory_mb=10)
    before = time.monotonic()
    cluster = await pool.submit(many.sub)
    assert time.monotonic() - before < 15
    assert (cluster.first_proc, cluster.count) == (0, 1000)
    try:
        ended = await many.until(pool, Kind.ENDED, 40)
        for event in ended[:40]:
            job_id = many.sub.jobs[event.proc].job_id
            said = many.stderr(event.proc).strip()
            assert said == f"2 {job_id} {many.sub.rpc_url} token-{job_id}"
        queued = await pool.live([many.sub.key])
        assert queued and len(queued) <= 960
        for ad in queued:
            assert ad["EE2_JOB_ID"] == many.sub.jobs[ad["ProcId"]].job_id
            assert ad["ClusterId"] == cluster.cluster_id
    finally:
        await pool.remove(many.sub.key, "test over")
    assert not [ad for ad in await pool.live([many.sub.key]) if ad["JobStatus"] in (1, 2, 5)]


async def test_priorities_are_changed_in_the_queue(pool: Pool, stage: Any) -> None:
    waiting = stage("true", 3, requirements="false", priority=-5)
    cluster = await pool.submit(waiting.sub)
    try:
        first, second, _ = cluster.scheduler_ids()
        await pool.set_priority([first, second, f"{cluster.cluster_id}.77"], 12)
        ads = await pool.live([waiting.sub.key])
        assert {ad["ProcId"]: ad["JobPrio"] for ad in ads} == {0: 12, 1: 12, 2: -5}
        await pool.set_priority([f"{cluster.cluster_id}.77"], 3)  # all have left the queue
    finally:
        await pool.remove(waiting.sub.key, "test over")


async def test_a_stage_is_found_again_in_the_queue_and_in_the_history(
    pool: Pool, stage: Any, address: PoolAddress
) -> None:
    since = time.time()
    running = stage("sleep", 2)
    assert await pool.find(running.sub.key, since) is None
    cluster = await pool.submit(running.sub)
    async with Pool(address) as another:
        assert await another.find(running.sub.key, since) == cluster
        other_try = StageKey(running.sub.key.submission_id, "submit", 2)
        assert await another.find(other_try, since) is None
        assert await pool.remove(other_try, "the other try") == 0
        assert await pool.remove([cluster.scheduler_ids()[0]], "one of two") == 1
        assert await pool.remove(running.sub.key, "the rest") >= 1
        await running.until(pool, Kind.REMOVED, 2)
        assert await another.find(running.sub.key, since) == cluster
    ads = await pool.ended([running.sub.key], since)
    assert {ad["EE2_JOB_ID"] for ad in ads} == {job.job_id for job in running.sub.jobs}
    event = from_ad(ads[0])
    assert event and outcome(event).status == "terminated"


async def test_jobs_use_the_programs_of_the_machine_and_get_no_environment_of_ours(
    pool: Pool, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EE2_TEST_SECRET", "do not tell")
    one = stage("environment")
    await pool.submit(one.sub)
    await one.until(pool, Kind.ENDED)
    assert "python3" in one.stderr()
    assert "_CONDOR_SCRATCH_DIR=" in one.stderr()
    assert "do not tell" not in one.stderr() and "token-" not in one.stderr()


async def test_exit_codes_and_signals_are_told(pool: Pool, stage: Any) -> None:
    fine, failed, killed = stage("true"), stage("fail"), stage("die")
    for each in (fine, failed, killed):
        await pool.submit(each.sub)
    (event,) = await fine.until(pool, Kind.ENDED)
    assert (event.details["exit_code"], outcome(event).status) == (0, None)
    (event,) = await failed.until(pool, Kind.ENDED)
    assert (event.details["exit_code"], outcome(event).error_code) == (3, 1)
    (event,) = await killed.until(pool, Kind.ENDED)
    assert event.details["signal"] == signal.SIGKILL
    assert "SIGKILL" in outcome(event).message
    since = time.time() - 60
    (ad,) = await pool.ended([killed.sub.key], since)
    again = from_ad(ad)
    assert again and outcome(again) == outcome(event)


async def test_a_runner_that_cannot_reach_the_server_runs_again(pool: Pool, stage: Any) -> None:
    once = stage("unreachable-once")
    await pool.submit(once.sub)
    (event,) = await once.until(pool, Kind.ENDED)
    assert event.details["exit_code"] == 0
    kinds = [event.kind for event in once.events]
    assert kinds.count(Kind.STARTED) == 2 and Kind.EVICTED in kinds


async def test_it_does_not_run_again_for_ever(
    pool: Pool, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_module, "MAX_STARTS", 3)
    never = stage("unreachable")
    await pool.submit(never.sub)
    (event,) = await never.until(pool, Kind.ENDED)
    assert (event.details["exit_code"], outcome(event).error_code) == (75, 2)
    assert [event.kind for event in never.events].count(Kind.STARTED) == 3


async def test_missing_runner_and_missing_ticket_are_the_installations_fault(
    pool: Pool, stage: Any
) -> None:
    no_ticket, no_program = stage("true"), stage("missing")
    job_id = no_ticket.sub.jobs[0].job_id
    Path(ticket_path(no_ticket.sub.stage_dir, no_ticket.sub.key, job_id)).unlink()
    for each in (no_ticket, no_program):
        await pool.submit(each.sub)
    (event,) = await no_program.until(pool, Kind.HELD)
    assert (event.details["hold_code"], event.details["hold_subcode"]) == (6, 2)
    assert "could not be started" in outcome(event).message
    (event,) = await no_ticket.until(pool, Kind.HELD)
    assert "ticket" in outcome(event).message
    for each in (no_ticket, no_program):
        assert await pool.remove(each.sub.key, "held") == 1


async def test_time_limit_and_memory_are_kept(
    pool: Pool, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_module, "TIME_LIMIT_MARGIN_S", 0)
    slow, large = stage("sleep", time_limit_s=2), stage("memory", memory_mb=1)
    for each in (slow, large):
        await pool.submit(each.sub)
    (event,) = await slow.until(pool, Kind.HELD)
    assert outcome(event).error_code == 3
    (event,) = await large.until(pool, Kind.HELD)
    assert outcome(event).ended and "memory" in outcome(event).message
    (ad,) = await pool.live([large.sub.key])
    held = from_ad(ad)
    assert held and outcome(held) == outcome(event)
    for each in (slow, large):
        assert await pool.remove(each.sub.key, "held") == 1


async def test_a_removed_job_has_time_to_say_goodbye(pool: Pool, stage: Any) -> None:
    polite = stage("graceful")
    await pool.submit(polite.sub)
    await polite.until(pool, Kind.STARTED)
    await asyncio.sleep(0.5)
    assert await pool.remove(polite.sub.key, "test") == 1
    (event,) = await polite.until(pool, Kind.REMOVED)
    assert outcome(event).status == "terminated"
    assert outcome(event).message.startswith("test")
    end = time.monotonic() + 60
    while polite.stderr() != "bye\n":
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def test_reading_a_log_goes_on_where_it_stopped(
    pool: Pool, stage: Any, address: PoolAddress
) -> None:
    some = stage("true", 20, memory_mb=10)
    assert await pool.events(some.log) == ([], some.log)
    await pool.submit(some.sub)
    await some.until(pool, Kind.STARTED, 3)
    async with Pool(address) as after_restart:
        await some.until(after_restart, Kind.ENDED, 20)
        nothing_new, _ = await after_restart.events(some.log)
        everything, _ = await after_restart.events({path: None for path in some.log})
    assert nothing_new == []
    assert everything == some.events
    assert len({event.proc for event in everything if event.kind is Kind.ENDED}) == 20


async def test_what_the_pool_has(pool: Pool, stage: Any) -> None:
    idle = await pool.resources()
    assert idle.machines == 1 and idle.cpus >= 1 and idle.memory_mb > 0
    busy = stage("sleep", 2)
    await pool.submit(busy.sub)
    await busy.until(pool, Kind.STARTED, 2)
    end = time.monotonic() + 90
    while (await pool.resources()).cpus_busy < 2:
        assert time.monotonic() < end
        await asyncio.sleep(0.5)
    await pool.remove(busy.sub.key, "test over")


async def test_a_bad_requirement_is_refused_and_leaves_nothing(pool: Pool, stage: Any) -> None:
    bad = stage("true", requirements="(((")
    with pytest.raises(SubmitRefused):
        await pool.submit(bad.sub)
    assert await pool.live([bad.sub.key]) == []


async def test_without_the_token_nothing_is_shown(
    pool_config: htcondor.PoolConfig, address: PoolAddress, tmp_path: Path
) -> None:
    without = PoolAddress(address.host, address.port, str(tmp_path))
    async with Pool(without) as stranger:
        with pytest.raises(PoolUnavailable):
            await stranger.live()
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam("daemon")
    for arguments in (["condor_q", "-allusers"], ["condor_status"], ["condor_rm", "-all"]):
        done = subprocess.run(
            arguments,
            env=htcondor.client_environment(pool_config),
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )
        assert done.returncode != 0, done.stdout


async def test_a_schedd_that_hangs_does_not_hang_us(
    pool_config: htcondor.PoolConfig, address: PoolAddress, stage: Any
) -> None:
    one = stage("true")
    schedd = _daemon(pool_config, "condor_schedd")
    async with Pool(address, call_timeout_s=1.5) as pool:
        await pool.live()
        os.kill(schedd, signal.SIGSTOP)
        try:
            before = time.monotonic()
            results = await asyncio.gather(
                pool.live(), pool.submit(one.sub), pool.events(one.log), return_exceptions=True
            )
            assert time.monotonic() - before < 15
        finally:
            os.kill(schedd, signal.SIGCONT)
        assert isinstance(results[0], PoolUnavailable) and isinstance(results[1], PoolUnavailable)
        assert results[2] == ([], one.log)
        # The half-made submit is gone, and the next one finds new helpers.
        pool.call_timeout_s = 20
        assert await pool.find(one.sub.key, time.time() - 60) is None
        cluster = await pool.submit(one.sub)
        assert cluster.count == 1
        await one.until(pool, Kind.ENDED)


def _daemon(cfg: htcondor.PoolConfig, name: str) -> int:
    setting = f"CONDOR_CONFIG={cfg.config_file}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == name[:15] and setting in (
                folder / "environ"
            ).read_bytes():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"{name} does not run")


async def test_a_cancelled_call_does_not_confuse_the_next(pool: Pool) -> None:
    await pool.live()
    call = asyncio.create_task(pool.live())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await pool.resources()).machines == 1


def test_helpers_die_with_their_process(address: PoolAddress) -> None:
    program = (
        "import asyncio\n"
        "from ee2_operators.condor.pool import Pool, PoolAddress\n"
        "async def main():\n"
        f"    pool = Pool({address!r})\n"
        "    await pool.live()\n"
        "    print(pool._asks._process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    helper = int(parent.stdout.readline())
    assert Path(f"/proc/{helper}").exists()
    parent.kill()
    parent.wait()
    end = time.monotonic() + 60
    while Path(f"/proc/{helper}").exists() and not _is_zombie(helper):
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_scheduler_ids_are_in_the_order_of_the_jobs() -> None:
    assert Cluster(7, 0, 3).scheduler_ids() == ["7.0", "7.1", "7.2"]
