"""The REST API: what differs between the logs of two jobs."""

from __future__ import annotations

import random
import time

import pytest
from bson import ObjectId

from ee2_jobs.page.compare_log import MAX_LINES, differences
from tests.services.rest_support import get, refused
from tests.services.rpc_support import Bridge


def log(bridge: Bridge, *lines: str) -> str:
    job = bridge.job()
    if lines:
        bridge.call("add_job_logs", {"job_id": job}, [{"line": line} for line in lines])
    return job


@pytest.fixture(scope="module")
def pair(bridge: Bridge) -> str:
    same = [f"step {n} of the same" for n in range(20)]
    first = log(bridge, "2026-11-22 10:00:01 begins", *same, "staging file is empty")
    second = log(bridge, "2026-11-23 11:30:59 begins", *same, "<b>done</b>")
    return f"{first},{second}"


def test_what_differs(bridge: Bridge, pair: str) -> None:
    found = get(bridge, "/compare/log", ids=pair)
    first, second = pair.split(",")
    side = {"count": 22, "from": 0, "to": 22, "cut": False}
    assert found["jobs"] == [{"id": first, **side}, {"id": second, **side}]
    assert not found["same"] and found["part"] == "last"
    begin, end = found["hunks"]
    assert [line["sign"] for line in begin] == ["-", "+", " ", " ", " "]
    assert end[-2:] == [
        {"sign": "-", "a": 21, "b": None, "text": "staging file is empty"},
        {"sign": "+", "a": None, "b": 21, "text": "<b>done</b>"},
    ]
    loose = get(bridge, "/compare/log", ids=pair, loose=1)["hunks"]
    assert len(loose) == 1 and loose[0] == end


def test_only_a_part(bridge: Bridge, pair: str) -> None:
    last = get(bridge, "/compare/log", ids=pair, lines=5)
    assert [(s["from"], s["to"], s["cut"]) for s in last["jobs"]] == [(17, 22, True)] * 2
    assert [(line["sign"], line["a"]) for line in last["hunks"][0]][-2:] == [("-", 21), ("+", None)]
    first = get(bridge, "/compare/log", ids=pair, lines=5, part="first")
    assert first["hunks"][0][0]["a"] == 0 and first["jobs"][0]["to"] == 5


def test_logs_that_are_empty_or_the_same(bridge: Bridge) -> None:
    empty, other = log(bridge), log(bridge)
    found = get(bridge, "/compare/log", ids=f"{empty},{other}")
    assert found["same"] and found["hunks"] == [] and found["jobs"][0]["count"] == 0
    one, two = log(bridge, "x"), log(bridge, "x")
    assert get(bridge, "/compare/log", ids=f"{one},{two}")["same"]


def test_bad_input_and_rights(bridge: Bridge, pair: str) -> None:
    first = pair.split(",")[0]
    for ids in (first, f"{first},{first}", f"{pair},{ObjectId()}", "", "x,y"):
        assert refused(bridge, "/compare/log", ids=ids)[0] == 400
    for more in ({"lines": 0}, {"lines": MAX_LINES + 1}, {"part": "middle"}):
        assert refused(bridge, "/compare/log", ids=pair, **more)[0] == 400
    theirs = log(bridge, "secret")
    status, text = refused(bridge, "/compare/log", ids=f"{theirs},{ObjectId()}", who="bob")
    assert status == 404 and theirs in text
    assert refused(bridge, "/compare/log", ids=pair, who="bob")[0] == 404


def test_the_worst_logs_take_no_long_time() -> None:
    rng = random.Random(1)
    worst = 0.0
    for words in (1, 2, 30, 400, 2000):
        a, b = ([f"line {rng.randrange(words)}" for _ in range(MAX_LINES)] for _ in range(2))
        began = time.perf_counter()
        differences(a, b)
        worst = max(worst, time.perf_counter() - began)
    assert worst < 3, f"{worst:.1f} s"
