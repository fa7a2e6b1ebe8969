"""Jobs that leave the engine's pool: by HTCondor-C to a second pool, which has a schedd, a token
signing key and a trust domain of its own. To the user they look like any other job."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ee2_cli import htcondor
from ee2_jobs.catalog import App, AppRequirements, Method
from ee2_jobs.client_groups import ClientGroup, ClientGroups
from ee2_jobs.engine import Engine
from ee2_jobs.model import StageName
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators.condor import submit as submit_module
from ee2_operators.condor.events import Kind
from ee2_operators.condor.outcome import outcome
from ee2_operators.condor.pool import Cluster, Pool
from ee2_operators.condor.routes import GridRoute, grid_route
from ee2_operators.condor.submit import StageSubmission
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from ee2_operators.teller import Teller
from ee2_operators.watcher import Watcher
from tests.services.conftest import free_port
from tests.services.rpc_support import SECRET, Bridge
from tests.services.test_pool import Stage, stage

__all__ = ["stage"]  # a fixture
RUNNER = Path(__file__).parents[2] / "runner" / "ee2_runner.py"
FIGURES = {"cpus": 1, "memory_mb": 50, "disk_gb": 1}
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def other(pool_config: htcondor.PoolConfig) -> Iterator[htcondor.PoolConfig]:
    """The second pool. The first one's schedd has a token for it, as an administrator gives it."""
    base = Path(tempfile.mkdtemp(prefix="ee2-test-other-"))
    base.chmod(0o755)
    cfg = htcondor.PoolConfig(
        pool_config.prefix, base / "pool", free_port(), pool_config.user, trust_domain="other.local"
    )
    htcondor.configure(cfg)
    token = pool_config.local_dir / "tokens.d" / "other"
    token.write_text((cfg.token_dir / "engine").read_text())
    token.chmod(0o600)
    if pool_config.user:
        account = pwd.getpwnam(pool_config.user)
        os.chown(token, account.pw_uid, account.pw_gid)
    master = subprocess.Popen(htcondor.master_command(cfg))
    try:
        htcondor.wait_ready(cfg)
        yield cfg
    finally:
        master.send_signal(getattr(signal, f"SIG{htcondor.STOP_SIGNAL}"))
        master.wait(60)
        htcondor.kill_orphans(cfg)
        token.unlink(missing_ok=True)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def groups(other: htcondor.PoolConfig) -> ClientGroups:
    """Three groups: in our pool, in the second one, and where nobody answers."""
    schedd = asked(other, "condor_status", "-schedd", "-af", "Name").strip()
    collector = f"127.0.0.1:{other.port}"
    return ClientGroups.model_validate(
        {
            "default": "near",
            "groups": {
                "near": FIGURES,
                "far": {**FIGURES, "route": "other"},
                "gone": FIGURES,
            },
            "routes": {"other": {"condor": {"schedd": schedd, "pool": collector}}},
        }
    )


@pytest.fixture(scope="module")
def route(groups: ClientGroups) -> GridRoute:
    return grid_route("other", groups.routes["other"])


def asked(cfg: htcondor.PoolConfig, *command: str) -> str:
    """What one of HTCondor's tools says of a pool."""
    env = htcondor.client_environment(cfg)
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def queue(cfg: htcondor.PoolConfig) -> list[str]:
    """The job ids in a pool's queue."""
    return asked(cfg, "condor_q", "-allusers", "-af", "EE2_JOB_ID").split()


async def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while not (value := await asyncio.to_thread(condition)):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.2)
    return value


class RoutedBridge(Bridge):
    """A server whose app `w` runs `sleep`, in the group that its method is named after."""

    client_groups: ClientGroups

    async def _make_engine(self) -> Engine:
        engine = await super()._make_engine()
        methods = {
            f"{group}_{seconds}": Method(
                command=("sh", "-c", f"echo in {group}; sleep {seconds}"),
                output="none",
                requirements=AppRequirements(client_group=group),
            )
            for group in self.client_groups.groups
            for seconds in (0, 300)
        }
        app = App(module="w", version="1", git_commit="c0ffee", methods=methods)
        await engine.store.apps.insert_one({**app.model_dump(mode="json"), "current": True})
        return replace(engine, groups=self.client_groups)


@pytest.fixture
def server(
    mongo_uri: str, tmp_path: Path, stage_folder: Path, groups: ClientGroups
) -> Iterator[RoutedBridge]:
    bridge = RoutedBridge(mongo_uri, tmp_path, free_port(), stage_dir=str(stage_folder))
    bridge.client_groups = groups
    bridge.start()
    yield bridge
    bridge.stop()


@pytest_asyncio.fixture
async def parts(
    server: RoutedBridge, pool: Pool, mongo_uri: str, stage_folder: Path, groups: ClientGroups
) -> AsyncIterator[Parts]:
    runner = stage_folder / "ee2_runner.py"
    shutil.copy(RUNNER, runner)
    runner.chmod(0o755)
    settings = Settings(
        rpc_url=server.url, secret_key=SECRET, stage_dir=str(stage_folder), apps_dir="/apps",
        artifacts_url="/tmp/a", client_groups="", runner=str(runner),
    )  # fmt: skip
    store = Store(mongo_uri, server.database)
    yield Parts(settings, groups, store, pool, Watcher(store, pool), Teller(store, settings))
    await store.close()


async def test_a_stage_by_two_routes(
    server: RoutedBridge, parts: Parts, pool_config: htcondor.PoolConfig, pool: Pool,
    other: htcondor.PoolConfig, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From admission to end: one batch in two pools, its trigger killed between the two submits, a
    limit, a cancellation, logs, and where each job ran."""
    jobs = [{"method": f"w.{name}", "wsid": None} for name in ("far_0", "near_0", "far_300")]
    ids = server.call("run_job_batch", [{k: v for k, v in j.items() if v} for j in jobs], {})
    far, near, long = ids["child_job_ids"]
    server.db.ee2_limits.insert_one({"_id": "user:alice", "kind": "user", "places": 0})
    this = StageTry(server.started.ids[-1], StageName.SUBMIT, 1)

    submitted: list[str] = []
    submit = pool.submit

    async def counted(submission: StageSubmission) -> Cluster:
        if len(submitted) == 1:
            submitted.append("killed")
            raise asyncio.CancelledError
        submitted.append(submission.route.name if submission.route else "pool")
        return await submit(submission)

    monkeypatch.setattr(pool, "submit", counted)
    with pytest.raises(asyncio.CancelledError):
        await run_stage(parts, this, log)
    # Its mark says that the second submit may have come through: nobody waits for that here.
    server.db.ee2_submissions.update_one(
        {"_id": this.submission_id}, {"$unset": {"tries.submit.1.begun": ""}}
    )
    running = asyncio.create_task(run_stage(parts, this, log))

    def waits() -> bool:
        return all(server.record(j).get("scheduler_id") for j in ids["child_job_ids"])

    await until(waits, 90, "all three to be in the queue")
    assert submitted == ["other", "killed", "pool"]
    clusters = {j: server.record(j)["scheduler_id"].partition(".")[0] for j in (far, near, long)}
    assert clusters[far] == clusters[long] != clusters[near]
    await asyncio.sleep(1)
    assert {server.record(j)["status"] for j in (far, near, long)} == {"queued"}
    assert queue(other) == []

    server.db.ee2_limits.delete_one({"_id": "user:alice"})
    await until(lambda: server.record(long)["status"] == "running", 120, "the far job to run")
    assert long in queue(other) and near not in queue(other)
    server.call("cancel_job", {"job_id": long})
    end = await asyncio.wait_for(running, 120)
    assert "2 of 3" in end.message

    records = {j: server.record(j) for j in (far, near, long)}
    assert [records[j]["status"] for j in (far, near, long)] == [
        "completed", "completed", "terminated"]  # fmt: skip
    for job_id, place, group in ((far, "other", "far"), (near, "pool", "near")):
        where = records[job_id]["where"]
        assert (where["route"], where["group"], where["host"]) == (
            place, group, os.uname().nodename)  # fmt: skip
        assert where["slot"].startswith("slot1") and where["cluster"]
        assert ("batch_id" in where) == (place == "other")
        assert records[job_id]["scheduler_id"].partition(".")[0] == clusters[job_id]
        lines = server.call("get_job_logs", {"job_id": job_id, "skip_lines": 0})["lines"]
        assert f"in {group}" in [line["line"] for line in lines]
        assert "where" not in server.call("check_job", {"job_id": job_id})
    assert records[near]["where"]["slot"]

    def gone() -> bool:
        return not set(queue(pool_config) + queue(other)) & {far, near, long}

    await until(gone, 120, "both queues to forget the jobs")


async def test_a_group_or_route_that_is_no_more_is_the_jobs_error(
    server: RoutedBridge, parts: Parts, groups: ClientGroups
) -> None:
    ids = server.call("run_job_batch", [{"method": f"w.{g}_0"} for g in ("near", "gone")], {})
    near, gone = ids["child_job_ids"]
    left = {name: g for name, g in groups.groups.items() if name != "gone"}
    less = replace(parts, groups=groups.model_copy(update={"groups": left}))
    this = StageTry(server.started.ids[-1], StageName.SUBMIT, 1)
    end = await asyncio.wait_for(run_stage(less, this, log), 120)
    assert "1 of 2" in end.message and server.record(near)["status"] == "completed"
    assert server.record(gone)["error_code"] == 6
    assert "client group 'gone' has been taken out" in server.record(gone)["errormsg"]

    job_id = server.call("run_job", {"method": "w.far_0"})
    none = replace(parts, groups=groups.model_copy(update={"routes": {}}))
    this = StageTry(server.started.ids[-1], StageName.SUBMIT, 1)
    await asyncio.wait_for(run_stage(none, this, log), 60)
    assert "route 'other' of their client group" in server.record(job_id)["errormsg"]


async def test_what_a_group_requires_is_compared_as_a_whole(
    pool: Pool, stage: Any, pool_config: htcondor.PoolConfig
) -> None:
    def needs(**requires: Any) -> str:
        return str(ClientGroup(cpus=1, memory_mb=1, disk_gb=1, requires=requires)
                   .machine_requirements())  # fmt: skip

    fits = stage("true", requirements=needs(OpSys=["WINDOWS", "LINUX"], HasFileTransfer=True))
    wrong = [
        stage("true", requirements=needs(OpSys=value)) for value in ("LINU", "LINUXX", "linux")
    ]
    for each in (*wrong, fits):
        await pool.submit(each.sub)
    await fits.until(pool, Kind.ENDED)
    ads = await pool.live([each.sub.key for each in wrong])
    assert [ad["JobStatus"] for ad in ads] == [1, 1, 1]
    for each in wrong:
        await pool.remove(each.sub.key, "test over")
    # A machine of several groups has a list of them in its attribute.
    for value, result in (("njs, bigmem", "1"), ("bigmem,njs", "1"), ("njs,bigmemlong", "0")):
        text = needs(X="bigmem").replace("TARGET.X", f'"{value}"')
        assert asked(pool_config, "condor_status", "-limit", "1", "-af", text).strip() in (
            result, "true" if result == "1" else "false"), text  # fmt: skip


async def test_limits_signals_and_exits_are_told_as_at_home(
    pool: Pool, stage: Any, route: GridRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_module, "TIME_LIMIT_MARGIN_S", 0)
    monkeypatch.setattr(submit_module, "MAX_STARTS", 2)
    slow = stage("sleep", time_limit_s=2)
    large, failed, killed = stage("memory", memory_mb=1), stage("fail"), stage("die")
    again, away = stage("unreachable"), stage("true")
    dead = replace(route, words={**route.words, "grid_resource": "condor nobody 127.0.0.1:9"})
    routed: list[Stage] = [slow, large, failed, killed, again]
    try:
        for each in (*routed, away):
            each.sub = replace(each.sub, route=dead if each is away else route)
            await pool.submit(each.sub)
            key, since_s = each.sub.key, time.time() - 60
            assert await pool.find(key, since_s) is None
            assert await pool.find(key, since_s, 1, "other") is not None
        (event,) = await failed.until(pool, Kind.ENDED)
        assert event.details["exit_code"] == 3
        (event,) = await killed.until(pool, Kind.ENDED)
        assert event.details["signal"] == signal.SIGKILL
        (event,) = await again.until(pool, Kind.ENDED)
        assert event.details["exit_code"] == 75
        (event,) = await slow.until(pool, Kind.HELD)
        assert outcome(event).error_code == 3
        (event,) = await large.until(pool, Kind.HELD)
        assert "memory" in outcome(event).message
        (event,) = await away.until(pool, Kind.AWAY)
        assert not outcome(event).ended and "127.0.0.1:9" in outcome(event).message
        assert [ad["JobStatus"] for ad in await pool.live([away.sub.key])] == [1]
    finally:
        for each in (*routed, away):
            await pool.remove(each.sub.key, "test over")
