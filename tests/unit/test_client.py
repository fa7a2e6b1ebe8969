"""The Python client against an HTTP transport of our own: what it repeats, and what it makes of
answers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import ee2_client
from ee2_client import (
    AsyncClient,
    Client,
    EngineError,
    NoResult,
    NotAuthenticated,
    NotFound,
    Unavailable,
    WaitedTooLong,
    async_client,
    make_sync,
    sync_client,
    wire,
)

URL = "http://ee2.example/services/ee2"


class Server:
    """Answers calls by method name: with a value, an error (a mapping with `code`), an exception
    of httpx's, an httpx.Response, or a list of these to be used in turn."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, list[Any]]] = []
        self.headers: list[httpx.Headers] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = json.loads(request.content)
        self.headers.append(request.headers)
        name = call["method"].removeprefix("execution_engine2.")
        self.calls.append((name, call["params"]))
        missing = {"code": -32601, "name": "Method not found", "message": f"no {name}"}
        answer = self.answers.get(name, missing)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if isinstance(answer, dict) and "code" in answer:
            return httpx.Response(500, json={"version": "1.1", "error": answer, "id": call["id"]})
        return httpx.Response(200, json={"version": "1.1", "result": [answer], "id": call["id"]})


Make = Callable[..., Client]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(wire, "_LONGEST_PAUSE_S", 0.002)
    for module in (sync_client, async_client):
        monkeypatch.setattr(module, "_FIRST_POLL_S", 0.001)
        monkeypatch.setattr(module, "_LOG_PAUSE_S", 0.001)


@pytest.fixture
def make() -> Iterator[Make]:
    clients: list[Client] = []

    def client(server: Server, **options: Any) -> Client:
        options = {"token": "secret", "patience_s": 0.05, **options}
        clients.append(Client(URL, transport=httpx.MockTransport(server), **options))
        return clients[-1]

    yield client
    for c in clients:
        c.close()


TROUBLE = {"code": -32603, "name": "Internal error", "message": "The database does not answer"}
CUT = httpx.ReadError("cut off")


@pytest.mark.parametrize("bad", [TROUBLE, CUT, httpx.Response(503), httpx.ConnectError("refused")])
def test_what_only_asks_is_repeated(make: Make, bad: Any) -> None:
    server = Server(get_job_status=[bad, bad, {"status": "running"}])
    assert make(server, patience_s=5).status("j") == "running"
    assert len(server.calls) == 3


@pytest.mark.parametrize("bad", [TROUBLE, CUT, httpx.Response(502), httpx.ReadTimeout("late")])
def test_a_submission_that_may_have_arrived_is_not_repeated(make: Make, bad: Any) -> None:
    for name, submit in (
        ("run_job", lambda c: c.run_job("m.f")),
        ("run_job_batch", lambda c: c.run_job_batch([{"method": "m.f"}])),
        ("run_split_aggregate", lambda c: c.run_split_aggregate("m.f")),
        ("retry_jobs", lambda c: c.retry("j")),
        ("retry_batch_jobs_by_status", lambda c: c.retry_by_status("j")),
    ):
        server = Server(**{name: [bad, "never"]})
        with pytest.raises(Unavailable, match="may have arrived all the same"):
            submit(make(server, patience_s=5))
        assert server.names() == [name]


def test_a_submission_that_was_not_sent_is(make: Make) -> None:
    refused = httpx.ConnectError("refused")
    server = Server(run_job=[refused, "j1"])
    assert make(server, patience_s=5).run_job("m.f", [1], wsid=3, app_id="m/f") == "j1"
    job = {"method": "m.f", "params": [1], "wsid": 3, "app_id": "m/f"}
    assert server.calls == [("run_job", [job])] * 2


def test_patience_begins_with_the_first_failure(make: Make) -> None:
    """A wait that was cut after longer than that is taken up again."""

    class Slow(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if not self.calls:
                time.sleep(0.2)
            return super().__call__(request)

    server = Slow(get_job_status=[CUT, {"status": "running"}])
    assert make(server, patience_s=0.1).status("j") == "running"


def test_patience_ends(make: Make) -> None:
    server = Server(get_job_status=httpx.ConnectError("refused"))
    with pytest.raises(Unavailable, match=r"engine at http://ee2\S+ does not answer \(refused\)"):
        make(server).status("j")
    assert len(server.calls) > 2
    with pytest.raises(Unavailable, match="Start it"):
        make(server, patience_s=0, hint="Start it").status("j")


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ({"code": -32000, "name": "Server error", "message": "Missing input parameter: x"},
         EngineError, "Missing input"),
        ({"code": -32000, "name": "Server error", "message": "Token validation failed: no"},
         NotAuthenticated, "Token validation"),
        ({"code": -32000, "name": "Server error", "message": "Cannot find job with ids: ['j']"},
         NotFound, "Cannot find"),
        (httpx.Response(404, text="<html>"), EngineError, "HTTP status 404 and no JSON-RPC"),
        (httpx.Response(302, headers={"location": "http://other"}), EngineError, "status 302"),
        (httpx.Response(200, json=["x"]), EngineError, "no JSON-RPC"),
    ],
)  # fmt: skip
def test_errors(make: Make, answer: Any, kind: type[EngineError], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        make(Server(get_job_status=answer)).status("j")
    assert type(caught.value) is kind
    if isinstance(answer, dict):
        assert (caught.value.code, caught.value.name) == (answer["code"], answer["name"])


def test_address_and_token_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EE2_URL", "EE2_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EngineError, match="set EE2_URL"):
        Client()
    with pytest.raises(EngineError, match="must begin with http"):
        Client("ee2.example/services")
    no = {"code": -32000, "name": "Server error", "message": "Authentication required for x"}
    server = Server(ver="1", get_job_status=no)
    monkeypatch.setenv("EE2_URL", URL + "/")
    with Client(transport=httpx.MockTransport(server)) as client:
        with pytest.raises(NotAuthenticated, match="set EE2_TOKEN"):
            client.status("j")
    monkeypatch.setenv("EE2_TOKEN", "from-there\n")
    with Client(transport=httpx.MockTransport(server)) as client:
        assert client.call("ver") == "1"
    assert "authorization" not in server.headers[0]
    assert server.headers[1]["authorization"] == "from-there"


def test_the_token_shows_nowhere(make: Make) -> None:
    client = make(Server(get_job_status=CUT))
    with pytest.raises(Unavailable) as caught:
        client.status("j")
    texts = [repr(client), str(client), repr(client._http.headers), repr(caught.value)]
    assert not any("secret" in text for text in texts)
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pickle.dumps(client)


RECORD = {"job_id": "j", "status": "completed", "batch_job": False, "created": 1_700_000_000_000,
          "user": "u", "errormsg": None, "new": 1,
          "job_output": {"result": [{"n": 1}]}}  # fmt: skip


def test_states(make: Make) -> None:
    hidden = {"failure": "No read permissions for k", "check_job_error": True}
    client = make(Server(check_jobs={"j": RECORD, "k": hidden, "l": []}))
    states = client.check_jobs(["j", "k", "l"])
    assert states["k"] is None and states["l"] is None
    job = states["j"]
    assert job is not None and job.ended and job.record["new"] == 1
    assert job.created is not None and job.created.isoformat() == "2023-11-14T22:13:20+00:00"
    assert client.check_jobs([]) == {}
    with pytest.raises(NotFound, match="no job k"):
        client.check_job("k")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"status": "queued"}, "Job j has no result yet: it is queued"),
        ({"status": "error", "errormsg": "no reads"}, "Job j failed: no reads"),
        ({"status": "terminated"}, "Job j was cancelled"),
        ({"status": "completed", "job_output": {}}, "Job j has completed; its app returns no"),
        ({"batch_job": True, "stage_jobs": {}}, "Batch j has no aggregate. Its jobs have results"),
        ({"batch_job": True, "stage_jobs": {"aggregate": "a"}}, "of batch j, job a, failed: sum"),
    ],
)
def test_why_there_is_no_result(make: Make, record: dict[str, Any], says: str) -> None:
    aggregate = {"job_id": "a", "status": "error", "errormsg": "sum"}
    server = Server(check_jobs=[{"j": {**RECORD, **record}}, {"a": aggregate}])
    with pytest.raises(NoResult, match=says):
        make(server).result("j")


def test_results(make: Make) -> None:
    batch = {**RECORD, "batch_job": True, "stage_jobs": {"aggregate": "a"}}
    assert make(Server(check_jobs={"j": RECORD})).result("j") == [{"n": 1}]
    assert make(Server(check_jobs=[{"j": batch}, {"a": RECORD}])).result("j") == [{"n": 1}]


def standing(end: str | None, **more: Any) -> dict[str, Any]:
    return {"job_id": "j", "status": end or "running", "end": end, "batch_job": False, **more}


def test_wait_asks_again_with_the_word_of_the_last_answer(make: Make) -> None:
    answers = [
        {"since": word, "timed_out": 0, "job_states": {"j": standing(end)}}
        for word, end in (("a", None), ("b", None), ("c", "error"))
    ]
    server = Server(wait_for_jobs=answers)
    done = make(server, as_admin=True).wait("j")
    assert done["j"].end == "error"
    asked = [params[0] for _, params in server.calls]
    assert [p["since"] for p in asked] == [None, "a", "b"]
    assert asked[0]["as_admin"] is True and 0 < asked[0]["timeout_s"] <= 60


def test_wait_gives_up_and_refuses(make: Make) -> None:
    answer = {"since": "a", "timed_out": 1, "job_states": {"j": standing(None)}}
    with pytest.raises(WaitedTooLong, match="After 0 s 1 of 1 have not ended: j"):
        make(Server(wait_for_jobs=answer)).wait("j", timeout_s=0)
    hidden = {"failure": "No read permissions for j", "check_job_error": True}
    with pytest.raises(NotFound, match="ids that you may read: j"):
        make(Server(wait_for_jobs={"since": "", "job_states": {"j": hidden}})).wait("j")
    with pytest.raises(ValueError, match="1 to 1000 ids"):
        make(Server()).wait([])


def test_wait_polls_a_server_without_the_method(make: Make) -> None:
    """As KBase's EE2: no wait_for_jobs, no counts on a batch."""
    parent = {"job_id": "b", "status": "created", "batch_job": True, "child_jobs": ["c", "d"]}

    def child(job_id: str, status: str) -> dict[str, Any]:
        return {"job_id": job_id, "status": status, "batch_job": False}

    server = Server(
        check_jobs=[
            {"b": parent},
            {"c": child("c", "running"), "d": child("d", "completed")},
            {"b": parent},
            {"c": child("c", "completed"), "d": child("d", "completed")},
        ]
    )
    views = list(make(server).changes("b"))
    assert [v["b"].end for v in views] == [None, "completed"]
    assert views[0]["b"].child_counts == {"completed": 1, "running": 1}
    assert server.names() == ["wait_for_jobs", *["check_jobs"] * 4]


def lines(*numbers: int) -> dict[str, Any]:
    found = [{"line": f"l{n}", "linepos": n, "is_error": n % 2, "ts": 1000} for n in numbers]
    return {"lines": found, "last_line_number": 0, "count": 9}


def test_logs_follow_to_the_end_and_lose_no_line(make: Make) -> None:
    no_log = {"code": -32000, "name": "Server error", "message": "Cannot find job log with id: j"}
    server = Server(
        get_job_status=[{"status": s} for s in ("queued", "running", "running", "completed")],
        get_job_logs=[no_log, lines(0, 1), lines(1, 2), lines(2)],
    )
    found = list(make(server).logs("j", follow=True))
    assert [(line.number, line.text, line.is_error) for line in found] == [
        (0, "l0", False), (1, "l1", True), (2, "l2", False),
    ]  # fmt: skip
    # one less than what it holds: EE2 takes the number of the last line held
    asked = [params[0]["skip_lines"] for name, params in server.calls if name == "get_job_logs"]
    assert asked == [0, 0, 1, 2]


async def test_the_asynchronous_client_does_the_same() -> None:
    server = Server(
        wait_for_jobs=[TROUBLE, {"since": "a", "job_states": {"j": standing("completed")}}],
        get_job_logs=[lines(0, 1), lines()],
        check_jobs={"j": RECORD},
        run_job=CUT,
    )
    transport = httpx.MockTransport(server)
    async with AsyncClient(URL, "t", patience_s=5, transport=transport) as client:
        assert (await client.wait("j"))["j"].end == "completed"
        assert [line.text async for line in client.logs("j")] == ["l0", "l1"]
        assert await client.result("j") == [{"n": 1}]
        with pytest.raises(Unavailable, match="may have arrived"):
            await client.run_job("m.f")
    assert server.names().count("run_job") == 1


def test_progress_as_lines(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    batch = {"batch_job": True, "child_counts": {"running": 2, "completed": 1},
             "stages": {"aggregate": "created", "split": "completed"}}  # fmt: skip
    ended = {**batch, "child_counts": {"completed": 3}}
    answers = [
        {"since": "a", "job_states": {"j": standing(None, **batch)}},
        {"since": "b", "job_states": {"j": standing("completed", **ended)}},
    ]
    make(Server(wait_for_jobs=answers)).wait("j", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first.endswith("split: completed, process: 2 running, 1 completed, aggregate: created")
    assert "process: 3 completed" in second


def test_progress_on_a_terminal() -> None:
    from rich.console import Console

    from ee2_client import Progress
    from ee2_client.progress import shown

    console = Console(force_terminal=True, width=80, record=True, highlight=False)
    with shown(True, console) as show:
        show({f"j{n}": Progress(f"j{n}", "running", None) for n in range(3)})
    text = console.export_text()
    assert "3 jobs" in text and "3 running" in text and "━" in text
    with shown(True, console) as show:
        show({"j": Progress("j", "error", "error")})
    assert "job" in console.export_text()


@pytest.mark.parametrize("name", sorted(make_sync.FILES))
def test_the_synchronous_client_is_made_from_the_other(name: str) -> None:
    folder = Path(ee2_client.__file__).parent
    assert (folder / make_sync.FILES[name]).read_text() == make_sync.sync_text(name), (
        "run: python ee2_client/make_sync.py"
    )


def test_it_imports_httpx_and_nothing_else_of_others() -> None:
    code = (
        "import sys, ee2_client; "
        "print([m for m in ('pydantic', 'pymongo', 'airflow', 'ee2_jobs', 'orjson') "
        "if m in sys.modules])"
    )
    root = Path(ee2_client.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
