"""The command line without a running stack: settings, help, messages."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ee2_cli import airflow, processes, stack
from ee2_cli.install import missing_packages
from ee2_cli.keys import load_keys
from ee2_cli.services import Service, Supervisor, with_environment, write_environment
from ee2_cli.settings import REPO, StackError, load_settings
from ee2_jobs.errors import InvalidInput


def ee2(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EE2_")}
    return subprocess.run(
        [sys.executable, "-m", "ee2_cli", *arguments],
        env={**clean, "TERMINAL_WIDTH": "100", **environment},
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    done = ee2("--help")
    assert done.returncode == 0
    for command in (
        "demo up down status restart test bench apps run batch jobs result get logs cancel retry "
        "share user token workspace import"
    ).split():
        assert f" {command} " in done.stdout
    code = "import sys; import ee2_cli.main; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=REPO, text=True).split()
    for heavy in ("airflow", "pymongo", "pydantic", "httpx", "psutil", "htcondor2"):
        assert heavy not in loaded


def test_each_wrong_setting_is_named() -> None:
    done = ee2("status", EE2_AIRFLOW_PORT="no", EE2_MONGO_PORT="70000", EE2_DATABASE="oracle")
    assert done.returncode == 1
    for name in ("EE2_AIRFLOW_PORT", "EE2_MONGO_PORT", "EE2_DATABASE"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ee2.env"
    file.write_text("EE2_AIRFLOW_PORTS=1\n")
    with pytest.raises(StackError, match="EE2_AIRFLOW_PORTS: there is no such setting"):
        load_settings(_env_file=file)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ee2.env"
    file.write_text("EE2_MONGO_PORT=1111\nEE2_CONDOR_PORT=2222\n")
    monkeypatch.delenv("EE2_CONDOR_PORT", raising=False)
    monkeypatch.setenv("EE2_MONGO_PORT", "3333")
    settings = load_settings(_env_file=file)
    assert (settings.mongo_port, settings.condor_port) == (3333, 2222)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the pool as another account")
def test_a_state_folder_that_the_pool_cannot_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    settings = load_settings(var=tmp_path / "closed" / "var")
    with pytest.raises(StackError, match="Set EE2_VAR to a folder"):
        _ = settings.var_dir


def test_status_of_a_stack_that_was_never_started_makes_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to the pool's account
        Path(folder).chmod(0o755)
        var = Path(folder) / "var"
        done = ee2("status", "--json", EE2_VAR=str(var))
        assert not var.exists()
    assert done.returncode == 3
    state = json.loads(done.stdout)
    assert {s["state"] for s in state["services"]} == {"stopped"}
    assert state["rpc_url"] == "http://127.0.0.1:8080/services/ee2"
    assert state["mongo_uri"] is None


@pytest.mark.parametrize(
    "command",
    ["token create wilma", "user add wilma", "workspace add 5 --owner wilma",
     "workspace share 5 wilma r", "apps", "jobs", "retry 5f0c0000000000000000aaaa",
     "result 5f0c0000000000000000aaaa", "import ujs --from mongodb://127.0.0.1:1/",
     "import ee2 --in-place"],
)  # fmt: skip
def test_what_needs_a_stack_says_that_there_is_none_and_makes_nothing(command: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        done = ee2(*command.split(), EE2_VAR=f"{folder}/var")
        assert os.listdir(folder) == []
    assert done.returncode == 1
    assert done.stderr == "ee2: The stack was never started: start it with ./ee2 up\n"


def test_a_wrong_engine_setting_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def started(*_: object) -> None:
        pytest.fail("went on")

    monkeypatch.setattr(stack.mongo, "prepare", started)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        settings = load_settings(var=Path(folder) / "var", database="sqlite")
        monkeypatch.setenv("AIRFLOW__EE2__CLIENT_GROUPS", "groups-of-nobody.yaml")
        with pytest.raises(InvalidInput, match="client groups /groups-of-nobody.yaml cannot be"):
            stack.up(settings)
        monkeypatch.delenv("AIRFLOW__EE2__CLIENT_GROUPS")
        monkeypatch.setenv("AIRFLOW__EE2__MAX_BODY_MB", "0")
        with pytest.raises(InvalidInput, match=r"\[ee2\] max_body_mb: "):
            stack.up(settings)


def test_engine_settings_are_the_files_with_the_variables_before_them() -> None:
    given = {
        "AIRFLOW__EE2__SECRET_KEY": "k" * 32,
        "AIRFLOW__EE2__CLIENT_GROUPS": str(REPO / "client_groups.yaml"),
        "AIRFLOW__EE2__ARTIFACT_DAYS": "3",
        "AIRFLOW__CORE__EXECUTOR": "none of our business",
    }
    settings = airflow.engine_settings(given)
    assert settings.artifact_days == 3
    assert settings.rpc_url == "http://127.0.0.1:8080/services/ee2"  # from airflow.cfg
    with pytest.raises(InvalidInput, match=r"\[ee2\] secret_key: Field required"):
        airflow.engine_settings({k: v for k, v in given.items() if "SECRET" not in k})


def test_images_get_nothing_that_git_leaves_out() -> None:
    def names(file: str) -> set[str]:
        lines = (REPO / file).read_text().splitlines()
        return {x.removeprefix("**/").strip("/") for x in lines if x and not x.startswith("#")}

    assert names(".gitignore") | {".git"} <= names(".dockerignore")


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    first = load_keys(tmp_path)
    assert load_keys(tmp_path) == first
    files = list((tmp_path / "secrets").iterdir())
    assert len(files) == len({f.read_text() for f in files}) == 7
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_environment_file_keeps_every_character(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    value = """it's "a" $HOME `id` \\ % ; &\nnext"""
    write_environment(file, {"EE2_TEST": value})
    assert file.stat().st_mode & 0o777 == 0o600
    code = "import os, sys; sys.stdout.write(os.environ['EE2_TEST'])"
    command = with_environment(file, sys.executable, "-c", code)
    assert subprocess.check_output(command, text=True) == value


def test_port_owner_names_the_program() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert processes.port_owner(port) is not None  # bound, not listening: no name
        server.listen()
        assert f"(process {os.getpid()})" in str(processes.port_owner(port))
    assert processes.port_owner(port) is None


def test_only_marked_processes_are_ended(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    marked = {**os.environ, processes.MARK: str(tmp_path)}
    ours = [
        subprocess.Popen(sleep, env=marked),
        subprocess.Popen([sys.executable, "-c", stubborn], env=marked),
    ]
    other = subprocess.Popen(sleep, env={**marked, processes.MARK: f"{tmp_path}2"}, cwd=tmp_path)
    try:
        time.sleep(0.3)  # the stubborn one sets its handler
        assert {p.pid for p in processes.of_stack(tmp_path)} == {p.pid for p in ours}
        processes.end_all(tmp_path, grace_s=1)
        assert [p.wait(5) for p in ours] == [-15, -9]
        assert other.poll() is None
    finally:
        for p in (*ours, other):
            p.kill()
            p.wait()


def test_supervisor_runs_below_a_very_long_folder(tmp_path: Path) -> None:
    var = tmp_path / ("long" * 30)
    for name in ("etc", "run", "log"):
        (var / name).mkdir(parents=True)
    supervisor = Supervisor(var)
    service = Service("sleeper", ("sleep", "60"))
    supervisor.configure([service])
    assert supervisor.states([service])[0].state == "stopped"
    supervisor.start()
    try:
        supervisor.start_services(["sleeper"])
        supervisor.start_services(["sleeper"])  # already started: nothing
        assert supervisor.states([service])[0].state in ("starting", "running")
        pid = supervisor.states([service])[0].pid
        supervisor.stop_services(["sleeper"])
        assert supervisor.states([service])[0].state == "stopped"
        assert pid and not Path(f"/proc/{pid}").exists()
    finally:
        supervisor.shutdown()
    assert processes.of_stack(var) == []


def test_missing_packages_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {"bowtie2", "samtools"} <= set(missing_packages(load_settings(database="sqlite")))
