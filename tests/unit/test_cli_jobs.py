"""What the command line shows of jobs and their results, and what it asks the server for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from ee2_cli import job_commands
from ee2_cli.settings import StackError
from ee2_cli.show import View, artifacts_in, result_of
from ee2_jobs.catalog import LocalCatalog
from ee2_jobs.errors import InvalidInput


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
