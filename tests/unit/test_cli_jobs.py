"""What the command line shows of jobs and their results, and what it asks the server for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import typer

from ee2_cli import job_commands
from ee2_cli.settings import StackError
from ee2_cli.show import artifacts_in
from ee2_client import Client
from ee2_jobs.catalog import LocalCatalog
from ee2_jobs.errors import InvalidInput


def test_artifacts_are_found_wherever_a_result_names_them() -> None:
    result = [{"report": "artifact:1/2/r.html", "n": 3, "files": [["artifact:1/2/x"], "y"]}, None]
    assert artifacts_in(result) == ["artifact:1/2/r.html", "artifact:1/2/x"]


class Engine:
    """A server behind the real client: gives the answers in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.calls.append((request.url.path, dict(request.url.params)))
            return httpx.Response(200, content=b"data")
        call = json.loads(request.content)
        self.calls.append((call["method"].split(".")[1], *call["params"]))
        return httpx.Response(200, json={"version": "1.1", "result": [self.answers.pop(0)]})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    transport = httpx.MockTransport(fake)
    monkeypatch.setattr(
        job_commands, "_engine",
        lambda: Client("http://ee2/rpc", "t", as_admin=True, transport=transport),
    )  # fmt: skip
    return fake


def state(job_id: str, **more: Any) -> dict[str, Any]:
    return {"job_id": job_id, "status": "completed", "batch_job": False, **more}


def test_jobs_are_retried_together_and_batches_by_their_jobs(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = {i: state(i, batch_job=True) for i in ("b", "c")}
    engine.answers = [
        {**batches, "j": state("j"), "k": []},
        [{"job_id": "j", "retry_id": "j2"}, {"job_id": "k", "error": "Cannot find k"}],
        [{"job_id": "b1", "retry_id": "b2"}],
        [],
    ]
    with pytest.raises(typer.Exit):
        job_commands.retry(["b", "j", "k", "c"])
    ended = {"status_list": ["error", "terminated"], "as_admin": True}
    assert engine.calls[1:] == [
        ("retry_jobs", {"job_ids": ["j", "k"], "as_admin": True}),
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
    ref = f"{'a' * 24}/{'b' * 24}/folder/report.html"
    job_commands.get(f"artifact:{ref}")
    Path("report.html").write_bytes(b"old")
    for target in (None, tmp_path, tmp_path / "report.html"):
        with pytest.raises(StackError, match="report.html exists: name another file"):
            job_commands.get(f"artifact:{ref}", target)
    assert Path("report.html").read_bytes() == b"old"
    job_commands.get(f"artifact:{ref}", tmp_path, force=True)
    job_commands.get(ref, Path("other"))
    assert Path("report.html").read_bytes() == Path("other").read_bytes() == b"data"
    assert engine.calls == [(f"/rpc/artifacts/{ref}", {"as_admin": "true"})] * 3
    with pytest.raises(InvalidInput, match='"x" is not an artifact'):
        job_commands.get("artifact:x")


def test_wait_ends_with_the_result_and_how_to_fetch_its_files(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    output = {"result": [{"report": "artifact:1/2/r.html"}]}
    standing = {"since": "w", "job_states": {"j1": state("j1", end="completed")}}
    for given in (output, {}):
        job = {"j1": state("j1", job_output=given)}
        engine.answers += ["j1", standing, job, job]
    job_commands.run("m.f", "[1]", wsid=7, wait=True)
    name, job = engine.calls[0]
    assert name == "run_job" and job.items() >= {"method": "m.f", "params": [1], "wsid": 7}.items()
    shown = capsys.readouterr()
    job_id, result = shown.out.split("\n", 1)
    assert (job_id, json.loads(result)) == ("j1", output["result"])
    assert "job: completed" in shown.err
    assert shown.err.endswith("To fetch it: ./ee2 get artifact:1/2/r.html\n")
    job_commands.run("m.f", wait=True)
    assert capsys.readouterr().out == "j1\n"


def test_a_failed_batch_says_why_and_ends_with_1(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    standing = {"b1": state("b1", status="created", end="error", batch_job=True,
                            child_counts={"completed": 1, "error": 2},
                            stages={"aggregate": "error"})}  # fmt: skip
    parent = state("b1", status="created", batch_job=True, stage_jobs={"aggregate": "a1"})
    engine.answers = [
        {"batch_id": "b1", "child_job_ids": ["c1"]},
        {"since": "w", "job_states": standing},
        {"b1": parent},
        {"a1": state("a1", status="error", errormsg="bad [sum]")},
    ]
    with pytest.raises(typer.Exit):
        job_commands.batch("m.f", "[[1]]", aggregate="report", wait=True)
    options = {"wsid": None, "aggregate": {"recipe": "report"}}
    assert engine.calls[0] == ("run_job_batch", [{"method": "m.f", "params": [1]}], options)
    shown = capsys.readouterr()
    assert shown.out == "b1\n"
    assert "process: 1 completed, 2 error, aggregate: error" in shown.err
    assert shown.err.endswith("a1: bad [sum]\n")


def test_jobs_are_shared_and_no_longer_shared(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answers = [None, ["fred", "wilma"], None, ["wilma"], [], None, ["wilma"]]
    job_commands.share("j", ["wilma", "fred"])
    job_commands.share("j", ["fred"], remove=True)
    job_commands.share("j", None)
    job_commands.share("j", ["wilma"], manage=True)
    with pytest.raises(typer.BadParameter, match="every right"):
        job_commands.share("j", ["wilma"], remove=True, manage=False)
    shared = ("get_job_shared", {"job_id": "j", "as_admin": 1})
    assert engine.calls == [
        ("share_job", {"job_id": "j", "users": ["wilma", "fred"], "as_admin": 1}),
        shared,
        ("unshare_job", {"job_id": "j", "users": ["fred"], "as_admin": 1}),
        shared,
        shared,
        ("share_job", {"job_id": "j", "users": ["wilma"], "as_admin": 1, "right": "manage"}),
        shared,
    ]
    told = (
        "Shared with fred, wilma\nShared with wilma\nShared with nobody\nShared with wilma\n"
    )
    assert capsys.readouterr().out == told


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
