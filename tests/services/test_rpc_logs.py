"""Logs over the wire: numbering, paging, times, old logs, many writers, trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId

from tests.services.conftest import Mongod, free_port
from tests.services.rpc_support import Bridge, RpcError


def add(bridge: Bridge, job: str, *texts: str) -> int:
    answer = bridge.call("add_job_logs", {"job_id": job}, [{"line": t} for t in texts])
    assert set(answer) == {"success", "line_number"} and answer["success"] is True
    return int(answer["line_number"])


def get(bridge: Bridge, job: str, **options: Any) -> tuple[list[int], int, int]:
    answer = bridge.call("get_job_logs", {"job_id": job, **options})
    assert set(answer) == {"lines", "last_line_number", "count"}
    return [n["linepos"] for n in answer["lines"]], answer["last_line_number"], answer["count"]


def test_lines_are_stamped_and_numbered(bridge: Bridge) -> None:
    job = bridge.job()
    with pytest.raises(RpcError, match=f"^Cannot find job log with id: {job}$"):
        bridge.call("get_job_logs", {"job_id": job})
    assert add(bridge, job) == 0
    assert get(bridge, job) == ([], 0, 0)
    before_ms = int(time.time() * 1000)
    lines = [{"line": "a\n", "is_error": 0}, {"line": "\x1b[1mb", "is_error": 1}]
    assert bridge.call("add_job_logs", {"job_id": job}, lines) == {
        "success": True, "line_number": 2
    }  # fmt: skip
    stored = bridge.call("get_job_logs", {"job_id": job})["lines"]
    stamps = [line.pop("ts") for line in stored]
    assert all(type(ts) is int and before_ms <= ts <= time.time() * 1000 + 1 for ts in stamps)
    assert stored == [
        {"line": "a\n", "linepos": 0, "is_error": 0},
        {"line": "\x1b[1mb", "linepos": 1, "is_error": 1},
    ]
    assert type(stored[1]["is_error"]) is int
    assert add(bridge, job) == 2


def test_time_and_error_forms(bridge: Bridge) -> None:
    job = bridge.job()
    ms = 1700000000123
    forms = [ms, ms / 1000, str(ms), str(ms / 1000), "2023-11-14T22:13:20.123+00:00"]
    flags = [1, True, "1", 2, "x", None, 10**400, 0.0]
    lines = [{"line": "t", "ts": ts} for ts in forms]
    lines += [{"line": "e", "is_error": flag, "ts": 1} for flag in flags]
    odd = [10**400, -5, "never", 1e300, [], True]
    lines += [{"line": "now", "ts": ts} for ts in odd]
    bridge.call("add_job_logs", {"job_id": job}, lines)
    stored = bridge.call("get_job_logs", {"job_id": job})["lines"]
    assert [n["ts"] for n in stored[:5]] == [ms] * 5
    assert [n["is_error"] for n in stored[5:13]] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert all(abs(n["ts"] / 1000 - time.time()) < 60 for n in stored[13:])


def test_paging_says_what_the_client_holds(bridge: Bridge) -> None:
    """`skip_lines: N` = "I hold the first N lines"; `last_line_number` = how many it then holds."""
    job = bridge.job()
    assert add(bridge, job, *"01234567") == 8
    assert get(bridge, job) == (list(range(8)), 8, 8)
    assert get(bridge, job, skip_lines=1) == (list(range(1, 8)), 8, 8)
    assert get(bridge, job, skip_lines=8) == ([], 8, 8)
    assert get(bridge, job, skip_lines=80) == ([], 8, 8)
    assert get(bridge, job, limit=2) == ([0, 1], 2, 8)
    assert get(bridge, job, skip_lines=2, limit=3) == ([2, 3, 4], 5, 8)
    assert get(bridge, job, offset=6) == ([6, 7], 8, 8)
    assert get(bridge, job, skip_lines=None, offset=6) == (list(range(8)), 8, 8)
    assert get(bridge, job, skip_lines="7", limit=0) == ([7], 8, 8)
    text = "^Please provide only one of skip_lines or offset$"
    with pytest.raises(RpcError, match=text):
        bridge.call("get_job_logs", {"job_id": job, "skip_lines": 1, "offset": 1}, who="bob")
    for bad in (-1, 1.5, "x", True, [1]):
        for field in ("skip_lines", "limit"):
            with pytest.raises(RpcError, match=f"^{field} must be a whole number from 0 on"):
                bridge.call("get_job_logs", {"job_id": job, field: bad})


@pytest.mark.parametrize("held_by", ["number of lines", "last_line_number"])
def test_a_poller_gets_every_line_once(bridge: Bridge, held_by: str) -> None:
    """Both ways that clients page: the Narrative sends how many lines it holds, others send back
    the last_line_number. With EE2's own rule the first loses a line at each poll (rule C-13)."""
    job = bridge.job()
    held: list[str] = []
    skip = 0
    for new in (["a", "b", "c", "d"], ["e", "f", "g"], [], ["h"]):
        add(bridge, job, *new)
        answer = bridge.call("get_job_logs", {"job_id": job, "skip_lines": skip, "limit": 100})
        held += [line["line"] for line in answer["lines"]]
        skip = len(held) if held_by == "number of lines" else answer["last_line_number"]
    assert held == list("abcdefgh")


def test_lines_that_are_none(bridge: Bridge) -> None:
    job = bridge.job()
    for lines, text in (
        ([{"line": "good"}, {"text": "x"}], "lines index 1 must be a mapping with a string 'line'"),
        ([{"line": 5}], "lines index 0 must be"),
        (["text"], "lines index 0 must be"),
        (None, "lines must be a list"),
    ):
        with pytest.raises(RpcError, match=text):
            bridge.call("add_job_logs", {"job_id": job}, lines)
    with pytest.raises(RpcError, match="Cannot find job log"):
        bridge.call("get_job_logs", {"job_id": job})
    assert add(bridge, job, "good") == 1
    with pytest.raises(RpcError, match="lines must be a list"):
        bridge.call("add_job_logs", {"job_id": job}, None)


def test_text_that_utf_8_cannot_hold(bridge: Bridge) -> None:
    job = bridge.job()
    body = (
        b'{"version":"1.1","id":"1","method":"execution_engine2.add_job_logs","params":[{"job_id":"'
        + job.encode() + rb'"},[{"line":"a\ud800\u0000\ud83d\ude00"}]]}'
    )
    assert bridge.post(body, bridge.tokens["alice"]).json()["result"][0]["success"] is True
    line = bridge.call("get_job_logs", {"job_id": job})["lines"][0]["line"]
    assert line == "a?\0\U0001f600"


def test_very_long_lines_and_many_at_once(bridge: Bridge) -> None:
    job = bridge.job()
    assert add(bridge, job, *["x" * 1_200_000] * 3) == 3
    assert add(bridge, job, *[str(n) for n in range(2500)]) == 2503
    answer = bridge.call("get_job_logs", {"job_id": job, "skip_lines": 2, "limit": 3})
    assert [len(n["line"]) for n in answer["lines"]] == [1_000_000 + len(" … (line cut)"), 1, 1]
    assert get(bridge, job, skip_lines=2501) == ([2501, 2502], 2503, 2503)


def test_logs_that_ee2_wrote(bridge: Bridge) -> None:
    job = bridge.job()
    bridge.db.ee2_logs.insert_one(
        {"_id": ObjectId(job), "updated": 1.0, "original_line_count": 2, "stored_line_count": 2,
         "lines": [{"line": "old 1", "linepos": 1, "error": True, "ts": 1700000000.5},
                   {"line": "old 2", "linepos": 2, "error": False, "ts": 0}]}
    )  # fmt: skip
    answer = bridge.call("get_job_logs", {"job_id": job})
    assert answer["lines"] == [
        {"line": "old 1", "linepos": 0, "is_error": 1, "ts": 1700000000500},
        {"line": "old 2", "linepos": 1, "is_error": 0},
    ]
    assert add(bridge, job) == 2
    assert add(bridge, job, "new") == 3
    assert get(bridge, job, skip_lines=1) == ([1, 2], 3, 3)
    assert bridge.db.ee2_logs.find_one({"_id": ObjectId(job)})["stored_line_count"] == 2


def test_eight_writers_to_one_new_log(bridge: Bridge) -> None:
    job = bridge.job()

    def write(writer: int) -> None:
        for n in range(50):
            add(bridge, job, *[f"{writer}/{n}/{i}" for i in range(10)])

    threads = [threading.Thread(target=write, args=(w,)) for w in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = bridge.call("get_job_logs", {"job_id": job})["lines"]
    assert [n["linepos"] for n in lines] == list(range(4000))
    assert len({n["line"] for n in lines}) == 4000
    mine = [n["line"] for n in lines if n["line"].startswith("3/")]
    assert mine == [f"3/{n}/{i}" for n in range(50) for i in range(10)]


def test_a_batch_of_lines_sent_twice_at_once_is_stored_once(bridge: Bridge) -> None:
    """A runner that saw no answer sends the batch again while the first is still under way."""
    job = bridge.job()
    claim = "0" * 32
    bridge.call("ee2_runner.claim", {"job_id": job, "claim": claim}, who=job)
    texts = []
    for n in range(30):
        lines = [{"line": f"{n}/{i}"} for i in range(90)]
        texts += [line["line"] for line in lines]
        told = {"job_id": job, "claim": claim, "key": f"k{n}", "lines": lines}
        threads = [
            threading.Thread(target=bridge.call, args=("ee2_runner.report", told),
                             kwargs={"who": job})
            for _ in range(4)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    stored = bridge.call("get_job_logs", {"job_id": job})["lines"]
    assert [line["line"] for line in stored] == texts
    assert [line["linepos"] for line in stored] == list(range(len(texts)))


def test_an_empty_append_touches_no_database(bridge: Bridge) -> None:
    job = bridge.job()
    add(bridge, job, "a")
    admin = bridge.db.client.admin
    add(bridge, job)

    def queries() -> int:
        counters = admin.command("serverStatus")["opcounters"]
        return int(counters["query"] + counters["insert"] + counters["update"])

    before = queries()
    for _ in range(20):
        assert add(bridge, job) == 1
    # Other programs may use this server; 20 calls that did would be seen.
    assert queries() - before < 20


@pytest.fixture
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, Mongod]]:
    """A bridge on a mongod of its own, which the test may stop."""
    mongod = Mongod(tmp_path_factory.mktemp("frail"))
    mongod.start()
    bridge = Bridge(
        f"{mongod.uri}&serverSelectionTimeoutMS=500",
        tmp_path_factory.mktemp("artifacts"),
        free_port(),
    )
    bridge.start()
    yield bridge, mongod
    mongod.start()
    bridge.stop()
    mongod.stop()


def test_while_mongodb_is_away(frail: tuple[Bridge, Mongod]) -> None:
    """A runner's lines are not stored, which it is told; it is not ended by an error (rule C-14).
    Everything else says that it may be tried again, and works again afterwards."""
    bridge, mongod = frail
    job, other = bridge.job(), bridge.job()
    assert add(bridge, job, "a") == 1
    mongod.stop()
    line = [{"line": "b"}]
    started = time.monotonic()
    not_stored = {"success": False, "line_number": 1}
    assert bridge.call("add_job_logs", {"job_id": job}, line) == not_stored
    assert bridge.call("add_job_logs", {"job_id": job}, []) == {"success": True, "line_number": 1}
    not_stored = {"success": False, "line_number": -1}
    assert bridge.call("add_job_logs", {"job_id": other}, line, who=other) == not_stored
    for method in ("check_job_canceled", "check_job", "cancel_job"):
        with pytest.raises(RpcError, match="^The job database does not answer") as caught:
            bridge.call(method, {"job_id": job})
        assert (caught.value.code, caught.value.name) == (-32603, "Internal error")
    assert time.monotonic() - started < 60
    mongod.start()
    deadline = time.monotonic() + 30
    while bridge.call("add_job_logs", {"job_id": job}, line)["success"] is False:
        assert time.monotonic() < deadline
    assert get(bridge, job) == ([0, 1], 2, 2)
