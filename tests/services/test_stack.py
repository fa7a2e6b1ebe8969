"""The embedded stack itself: start, a second start, crashes, stop.

It is the stack of the session, whose services these tests kill: by the names of the files they come
after all others on it. Each goes on where the one before it has stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pymongo
import pytest
from pymongo.errors import OperationFailure

from ee2_cli import airflow, htcondor, job_commands, processes, stack, user_commands
from ee2_cli.keys import load_keys
from ee2_cli.settings import REPO, StackError, StackSettings
from ee2_jobs.catalog import read_app
from ee2_jobs.errors import InvalidInput, NotFound
from tests.conftest import Stack, free_ports, left_running

SERVICES = ["mongod", "htcondor", "api-server", "scheduler", "dag-processor", "triggerer"]


@pytest.fixture(scope="module")
def settings(stack: Stack) -> StackSettings:
    return stack.settings


@pytest.fixture(scope="module")
def moved(settings: StackSettings) -> StackSettings:
    """The same stack with MongoDB on another port."""
    return settings.model_copy(update={"mongo_port": free_ports(1)[0]})


def pids(settings: StackSettings) -> dict[str, int | None]:
    return {s.name: s.pid for s in stack.status(settings).services}


def wait_for_health(settings: StackSettings, since: str = "") -> None:
    deadline = time.monotonic() + 90
    while waiting := airflow.not_healthy(airflow.health(settings), since):
        assert time.monotonic() < deadline, f"not healthy: {waiting}"
        time.sleep(0.5)


def test_first_start_brings_up_every_part(settings: StackSettings) -> None:
    state = stack.status(settings)
    assert [s.name for s in state.services] == SERVICES
    assert state.is_up
    health = httpx.get(f"{state.airflow_url}/api/v2/monitor/health").json()
    for part in ("metadatabase", "scheduler", "triggerer", "dag_processor"):
        assert health[part]["status"] == "healthy"
    login = {"username": state.airflow_user, "password": state.airflow_password}
    assert httpx.post(f"{state.airflow_url}/auth/token", json=login).status_code == 201
    assert state.mongo_uri
    with pymongo.MongoClient(state.mongo_uri) as client:
        with client.start_session() as session, session.start_transaction():
            client.ee2.test_stack.insert_one({"_id": 1}, session=session)
        client.ee2.test_stack.drop()
    htcondor.wait_ready(stack.pool_config(settings), timeout_s=5)


def test_airflow_keeps_a_write_ahead_log(settings: StackSettings) -> None:
    with closing(sqlite3.connect(settings.var_dir / "airflow" / "airflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_everything_listens_on_the_loopback_only(settings: StackSettings) -> None:
    stack_pids = {p.pid for p in processes.of_stack(settings.var_dir)}
    addresses = {
        c.laddr.ip
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.pid in stack_pids
    }
    assert addresses == {"127.0.0.1"}


def test_mongodb_lets_nobody_in_without_the_password(settings: StackSettings) -> None:
    address = f"mongodb://127.0.0.1:{settings.mongo_port}/?directConnection=true"
    with pymongo.MongoClient(address) as client, pytest.raises(OperationFailure, match="auth"):
        client.ee2.ee2_jobs.find_one()


def test_secrets_are_closed_to_the_jobs(settings: StackSettings) -> None:
    closed = ("secrets", "etc", "log", "airflow", "artifacts", "mongo", "run")
    for name in closed:
        assert stat.S_IMODE((settings.var_dir / name).stat().st_mode) == 0o700, name
    keys = load_keys(settings.var_dir)
    config = str(stack.pool_config(settings).config_file)
    daemons = []
    for p in psutil.process_iter():
        try:
            environment = p.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get("CONDOR_CONFIG") == config:
            daemons.append(p.name())
            texts = [*environment.values(), *p.cmdline()]
            assert not {keys.ee2_secret_key, keys.mongo_password} & set(texts)
            assert processes.MARK not in environment
    assert "condor_schedd" in daemons


def test_second_start_changes_nothing_and_is_quick(settings: StackSettings) -> None:
    before, began = pids(settings), time.monotonic()
    stack.up(settings)
    assert time.monotonic() - began < 20, "a start takes longer"
    assert pids(settings) == before


def test_a_changed_app_is_registered_without_a_restart(
    settings: StackSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("airflow.cfg", "requirements.txt"):
        shutil.copy(REPO / name, tmp_path)
    for name in ("apps", "runner"):
        shutil.copytree(REPO / name, tmp_path / name)
    (tmp_path / "apps" / "ee2_test" / "methods.py").write_text("print('changed')\n")
    monkeypatch.setattr(stack, "REPO", tmp_path)
    before = pids(settings)
    uri = stack.up(settings).mongo_uri
    assert pids(settings) == before
    changed = read_app(tmp_path / "apps" / "ee2_test")
    with pymongo.MongoClient(uri) as client:
        found = client.ee2.ee2_apps.find({"module": "ee2_test"}, {"current": 1, "git_commit": 1})
        versions = {app["git_commit"]: app["current"] for app in found}
    assert versions == {
        changed.git_commit: True,
        read_app(REPO / "apps" / "ee2_test").git_commit: False,
    }
    copy = settings.var_dir / "share" / "apps" / "ee2_test" / "methods.py"
    assert copy.read_text() == "print('changed')\n"


def test_apps_and_workspaces_from_the_command_line(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EE2_VAR", str(settings.var_dir))
    monkeypatch.setenv("EE2_MONGO_PORT", str(settings.mongo_port))
    job_commands.apps()
    assert " kb_Bowtie2.align_reads " in capsys.readouterr().out
    user_commands.add_workspace(70, "admin", public=True)
    with pytest.raises(InvalidInput, match="There is a workspace 70 already"):
        user_commands.add_workspace(70, "admin")
    user_commands.share_workspace(70, "admin", "w")
    with pymongo.MongoClient(stack.status(settings).mongo_uri) as client:
        before = client.ee2.ee2_workspaces.count_documents({})
        for refused in (
            lambda: user_commands.add_workspace(80, "nobody"),
            lambda: user_commands.share_workspace(70, "nobody", "r"),
            lambda: user_commands.share_workspace(80, "admin", "r"),
        ):
            with pytest.raises(NotFound, match="There is no (user 'nobody': add it|workspace 80)"):
                refused()
        found = list(client.ee2.ee2_workspaces.find({"_id": 70}, {"created": 0, "name": 0}))
        assert client.ee2.ee2_workspaces.count_documents({}) == before
    assert found == [{"_id": 70, "owner": "admin", "acl": {"admin": "w"}, "public": True}]


def test_a_user_can_log_in_to_airflow(settings: StackSettings) -> None:
    keys = load_keys(settings.var_dir)
    assert airflow.add_user(settings, keys, "wilma", "a password of wilma")
    assert not airflow.add_user(settings, keys, "wilma", "another one")
    login = {"username": "wilma", "password": "a password of wilma"}
    answer = httpx.post(f"{settings.airflow_url}/auth/token", json=login)
    assert answer.status_code == 201
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    plugins = httpx.get(f"{settings.airflow_url}/api/v2/plugins", headers=bearer)
    assert plugins.status_code == 200, "EE2User cannot see plugin pages"
    pools = httpx.get(f"{settings.airflow_url}/api/v2/connections", headers=bearer)
    assert pools.status_code == 403
    runs = httpx.get(f"{settings.airflow_url}/api/v2/dags/~/dagRuns", headers=bearer)
    assert runs.status_code == 403 or runs.json()["dag_runs"] == [], "runs of others are shown"


def test_one_service_is_restarted(settings: StackSettings) -> None:
    before = pids(settings)
    stack.restart(settings, "dag-processor")
    after = pids(settings)
    assert after.pop("dag-processor") != before.pop("dag-processor")
    assert after == before


def test_start_after_a_crash_of_the_supervisor(
    settings: StackSettings, moved: StackSettings
) -> None:
    """What it left is taken down first; and MongoDB follows a new port."""
    before = pids(settings)
    supervisor_pid = int((settings.var_dir / "run" / "supervisord.pid").read_text())
    os.kill(supervisor_pid, signal.SIGKILL)
    os.kill(before["api-server"] or 0, signal.SIGKILL)
    os.kill(before["mongod"] or 0, signal.SIGKILL)  # leaves its lock file
    state = stack.up(moved)
    assert state.is_up
    assert state.mongo_uri and str(moved.mongo_port) in state.mongo_uri
    with pymongo.MongoClient(state.mongo_uri) as client:
        assert client.ee2.ee2_users.find_one({"_id": "admin"}) is not None
    assert not set(pids(settings).values()) & set(before.values())
    commands = [" ".join(p.cmdline()) for p in processes.of_stack(settings.var_dir)]
    assert sum("mongod --config" in c for c in commands) == 1
    assert sum("airflow scheduler" in c for c in commands) == 1
    wait_for_health(settings)


def test_stop_after_a_crash_leaves_nothing(moved: StackSettings) -> None:
    """So does a stop without one, which is looked at wherever tests stop a stack."""
    assert len(left_running(moved.var_dir)) >= len(SERVICES)
    supervisor_pid = int((moved.var_dir / "run" / "supervisord.pid").read_text())
    os.kill(supervisor_pid, signal.SIGKILL)
    stack.down(moved)
    assert left_running(moved.var_dir) == []
    assert not stack.status(moved).is_up
    stack.down(moved)  # once more is harmless


def test_a_taken_port_is_named_with_its_setting(settings: StackSettings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.mongo_port)),
        pytest.raises(StackError) as e,
    ):
        stack.up(settings)
    assert f"Port {settings.mongo_port} is used by" in str(e.value)
    assert f"(process {os.getpid()}): set EE2_MONGO_PORT to another one" in str(e.value)
    assert left_running(settings.var_dir) == []
