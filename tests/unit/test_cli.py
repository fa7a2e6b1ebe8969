"""The command line without a running stack: settings, help, messages, and what it shows of jobs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from ee2_cli import airflow, job_commands, processes, stack
from ee2_cli.install import missing_packages
from ee2_cli.keys import load_keys
from ee2_cli.services import Service, Supervisor, with_environment, write_environment
from ee2_cli.settings import REPO, StackError, load_settings
from ee2_cli.show import View, artifacts_in, result_of
from ee2_jobs.catalog import LocalCatalog
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
        "user token workspace"
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
     "result 5f0c0000000000000000aaaa"],
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


def batch(status: str = "created", counts: dict[str, int] | None = None, **stages: str) -> View:
    state: dict[str, Any] = {"batch_job": True, "status": status, "child_counts": counts or {}}
    return View(state, {name: {"status": s} for name, s in stages.items()})


@pytest.mark.parametrize(
    ("view", "end"),
    [
        (batch(split="running", aggregate="created"), None),
        (batch(split="completed"), None),  # the children are about to be made
        (batch(split="error", aggregate="terminated"), "error"),
        (batch(counts={"completed": 3, "running": 1}), None),
        (batch(counts={"completed": 4}), "completed"),
        (batch(counts={"completed": 3, "error": 1}), "error"),
        (batch(counts={"completed": 3, "error": 1}, aggregate="completed"), "completed"),
        (batch(counts={"completed": 4}, aggregate="queued"), None),
        (batch("terminated", {"terminated": 4}), "terminated"),
        (View({"batch_job": False, "status": "running"}, {}), None),
        (View({"batch_job": False, "status": "error"}, {}), "error"),
    ],
)
def test_when_a_submission_has_ended(view: View, end: str | None) -> None:
    assert view.end == end


def test_stages_are_shown_in_order() -> None:
    view = batch(counts={"running": 2, "completed": 1}, aggregate="created", split="completed")
    assert [name for name in view.steps()] == ["split", "process", "aggregate"]
    assert view.steps()["process"].plain == "2 running, 1 completed"


def aggregated(**aggregate: Any) -> View:
    view = batch(counts={"completed": 1}, aggregate="")
    view.state["job_id"] = "b1"  # type: ignore[index]
    return View(view.state, {"aggregate": {"job_id": "a1", **aggregate}})


def single(**job: Any) -> View:
    return View({"batch_job": False, "job_id": "j1", **job}, {})


def test_the_result_of_a_batch_is_that_of_its_aggregate() -> None:
    output = {"version": "1.1", "result": [{"sum": 3}]}
    assert result_of(aggregated(status="completed", job_output=output)) == [{"sum": 3}]
    assert result_of(single(status="completed", job_output={"result": None})) is None


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (single(status="queued"), "Job j1 has no result yet: it is queued"),
        (single(status="error", errormsg="no reads"), "Job j1 failed: no reads"),
        (single(status="terminated"), "Job j1 was cancelled"),
        (single(status="completed", job_output={}), "Job j1 has completed; its app returns no"),
        (aggregated(status="created"), "aggregate of batch b1, job a1, has no result yet"),
        (aggregated(status="error", errormsg="bad sum"), "batch b1, job a1, failed: bad sum"),
        (View(aggregated().state, {}), "Batch b1 has no aggregate. Its jobs have results"),
    ],
)
def test_why_there_is_no_result(view: View, says: str) -> None:
    with pytest.raises(StackError, match=says):
        result_of(view)


def test_artifacts_are_found_wherever_a_result_names_them() -> None:
    result = [{"report": "artifact:1/2/r.html", "n": 3, "files": [["artifact:1/2/x"], "y"]}, None]
    assert artifacts_in(result) == ["artifact:1/2/r.html", "artifact:1/2/x"]


class Engine:
    """In place of the client: gives the answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, *call: Any) -> Any:
        self.calls.append(call)
        return self.answers.pop(0)

    def download(self, artifact: str, target: Path, *, as_admin: bool) -> Path:
        self.calls.append((artifact, target, as_admin))
        return target


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    monkeypatch.setattr(job_commands, "_engine", lambda: fake)
    return fake


def test_jobs_are_retried_together_and_batches_by_their_jobs(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers = [
        {"b": {"batch_job": True}, "j": {"batch_job": False}, "k": [], "c": {"batch_job": True}},
        [{"job_id": "j", "retry_id": "j2"}, {"job_id": "k", "error": "Cannot find k"}],
        [{"job_id": "b1", "retry_id": "b2"}],
        [],
    ]
    with pytest.raises(typer.Exit):
        job_commands.retry(["b", "j", "k", "c"])
    ended = {"status_list": ["error", "terminated"], "as_admin": 1}
    assert engine.calls[1:] == [
        ("retry_jobs", {"job_ids": ["j", "k"], "as_admin": 1}),
        ("retry_batch_jobs_by_status", {"job_id": "b", **ended}),
        ("retry_batch_jobs_by_status", {"job_id": "c", **ended}),
    ]
    shown = capsys.readouterr()
    assert shown.out == "j j2\nb1 b2\n"
    assert shown.err == "Batch c: no job of it can be retried\nCannot find k\n"


def test_a_file_that_is_there_is_overwritten_only_by_force(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = f"artifact:{'a' * 24}/{'b' * 24}/folder/report.html"
    job_commands.get(artifact)
    Path("report.html").touch()
    for target in (None, tmp_path, tmp_path / "report.html"):
        with pytest.raises(StackError, match="report.html exists: name another file"):
            job_commands.get(artifact, target)
    job_commands.get(artifact, tmp_path, force=True)
    job_commands.get(artifact.removeprefix("artifact:"), Path("other"))
    assert [str(target) for _, target, _ in engine.calls] == [
        "report.html", f"{tmp_path}/report.html", "other",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="'x' is not an artifact's name"):
        job_commands.get("artifact:x")


def test_follow_ends_with_the_result_and_how_to_fetch_its_files(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    output = {"result": [{"report": "artifact:1/2/r.html"}]}
    job = single(status="completed", job_output=output).state
    engine.answers = ["j1", {"batch_jobstate": job}, "j1", {"batch_jobstate": single(**{
        **job, "job_output": {}}).state}]  # fmt: skip
    job_commands.run("m.f", follow=True)
    shown = capsys.readouterr()
    job_id, result = shown.out.split("\n", 1)
    assert (job_id, json.loads(result)) == ("j1", output["result"])
    assert shown.err.endswith("To fetch it: ./ee2 get artifact:1/2/r.html\n")
    job_commands.run("m.f", follow=True)
    assert capsys.readouterr().out == "j1\n"


async def test_the_catalog_lists_its_apps_where_one_is_not_there() -> None:
    class Apps:
        names: list[str] = []

        async def find_one(self, *_: object) -> None: ...

        async def count_documents(self, *_: object, **__: object) -> int:
            return 0

        async def distinct(self, *_: object) -> list[str]:
            return self.names

    store: Any = SimpleNamespace(apps=Apps())
    texts = {0: "has: none$", 2: "has: app00, app01$", 23: "app18, app19, and 3 more$"}
    for count, text in texts.items():
        Apps.names = [f"app{i:02}" for i in reversed(range(count))]
        with pytest.raises(InvalidInput, match=f"There is no app 'x'; this service .*{text}"):
            await LocalCatalog(store).app("x", None)
