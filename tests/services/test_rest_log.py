"""The REST API of logs: pages, following, searching, downloading."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from bson import ObjectId

from tests.services.rest_support import get, refused, request
from tests.services.rpc_support import Bridge

ANSI = "\x1b[31mred\x1b[0m <b>&amp;</b> =1+1 😀"


@pytest.fixture
def job(bridge: Bridge) -> str:
    """alice's, in workspace 7."""
    return bridge.job()


def fill(bridge: Bridge, job: str, count: int, text: str = "line {n}") -> None:
    for start in range(0, count, 500):
        lines = [
            {"line": text.format(n=n), "is_error": int(n % 100 == 7), "ts": 1_700_000_000_000 + n}
            for n in range(start, min(start + 500, count))
        ]
        bridge.call("add_job_logs", {"job_id": job}, lines)


def old_log(bridge: Bridge, job: str, count: int) -> None:
    """As EE2 stored it."""
    lines = [{"line": f"old {n}", "linepos": n + 1, "error": n == 3, "ts": 1.7e9 + n}
             for n in range(count)]  # fmt: skip
    bridge.db.ee2_logs.insert_one(
        {"_id": ObjectId(job), "original_line_count": count, "stored_line_count": count,
         "lines": lines}
    )  # fmt: skip


def numbers(page: Any) -> list[int]:
    return [line["n"] for line in page["lines"]]


def test_pages(bridge: Bridge, job: str) -> None:
    fill(bridge, job, 1300)
    page = get(bridge, f"/jobs/{job}/log", limit=3, **{"from": 249})
    assert page["lines"][0] == {"n": 249, "t": 1_700_000_000_249, "err": False, "text": "line 249"}
    assert numbers(page) == [249, 250, 251] and page["next"] == 252 and page["count"] == 1300
    assert page["note"] is None and page["status"] == "created"
    assert numbers(get(bridge, f"/jobs/{job}/log", tail=2)) == [1298, 1299]
    assert numbers(get(bridge, f"/jobs/{job}/log")) == list(range(1300))
    assert numbers(get(bridge, f"/jobs/{job}/log", **{"from": 900})) == list(range(900, 1300))
    behind = get(bridge, f"/jobs/{job}/log", **{"from": 5000})
    assert behind["lines"] == [] and behind["next"] == 1300
    everything = [get(bridge, f"/jobs/{job}/log", limit=97, **{"from": n}) for n in
                  range(0, 1300, 97)]  # fmt: skip
    assert [n for page in everything for n in numbers(page)] == list(range(1300))
    for wrong in ({"limit": 0}, {"limit": 10**6}, {"from": -1}, {"from": "x"}, {"wait": 1000},
                  {"tail": 0}, {"wait": "nan"}, {"full": 1, "limit": 100}):  # fmt: skip
        assert refused(bridge, f"/jobs/{job}/log", **wrong)[0] == 400, wrong


def test_long_lines_are_cut_until_asked_for(bridge: Bridge, job: str) -> None:
    long = "é" * 10_000
    bridge.call("add_job_logs", {"job_id": job}, [{"line": long}, {"line": ANSI}])
    cut, plain = get(bridge, f"/jobs/{job}/log")["lines"]
    assert len(cut["text"]) == 4096 and cut["cut"] == 10_000
    assert plain["text"] == ANSI and "cut" not in plain
    [whole] = get(bridge, f"/jobs/{job}/log", limit=1, full=1)["lines"]
    assert whole["text"] == long and "cut" not in whole
    fill(bridge, job, 4000, "x" * 4000)
    page = get(bridge, f"/jobs/{job}/log", limit=5000)
    assert 100 < len(page["lines"]) < 600 and page["next"] == len(page["lines"])
    assert numbers(get(bridge, f"/jobs/{job}/log", tail=5000))[-1] == 4001


def test_logs_that_ee2_wrote(bridge: Bridge, job: str) -> None:
    old_log(bridge, job, 10)
    assert numbers(get(bridge, f"/jobs/{job}/log", limit=3, **{"from": 8})) == [8, 9]
    bridge.call("add_job_logs", {"job_id": job}, [{"line": "new 10"}, {"line": "new 11"}])
    page = get(bridge, f"/jobs/{job}/log", limit=3, **{"from": 8})
    assert [line["text"] for line in page["lines"]] == ["old 8", "old 9", "new 10"]
    assert numbers(get(bridge, f"/jobs/{job}/log", tail=1)) == [11]
    assert [m["n"] for m in get(bridge, f"/jobs/{job}/log/errors")["matches"]] == [3]
    found = get(bridge, f"/jobs/{job}/log/search", q="1")
    assert [m["n"] for m in found["matches"]] == [1, 10, 11]
    raw = request(bridge, "GET", f"/jobs/{job}/log/raw").text.splitlines()
    assert len(raw) == 12 and raw[9:] == ["old 9", "new 10", "new 11"]


def test_why_a_log_is_empty(bridge: Bridge, job: str) -> None:
    jobs = bridge.db.ee2_jobs

    def note(**fields: Any) -> str:
        jobs.update_one({"_id": ObjectId(job)}, {"$set": fields})
        return str(get(bridge, f"/jobs/{job}/log")["note"])

    assert note() == "Queued: no output yet"
    assert note(status="running") == "Running, nothing printed so far"
    assert note(status="completed") == "This job printed nothing"
    assert note(log_expired=1_700_000_000.0) == "Log expired on 2023-11-14"


def test_search(bridge: Bridge, job: str) -> None:
    fill(bridge, job, 600)
    bridge.call("add_job_logs", {"job_id": job}, [
        {"line": ANSI}, {"line": "a.b (c) [Disk FULL] 😀 disk full"},
        {"line": "x" * 5000 + "needle"}, {"line": "two\nlines"}, {"line": ""},
    ])

    def found(**params: Any) -> Any:
        return get(bridge, f"/jobs/{job}/log/search", **params)

    assert [m["n"] for m in found(q="LINE 59")["matches"]] == [59, *range(590, 600)]
    assert found(q="LINE 59", case=1)["total"] == 0
    assert [m["n"] for m in found(q=r"^line [12]7$", regex=1)["matches"]] == [17, 27]
    assert found(q="a.b (c)")["total"] == 1 and found(q="a.b (c)", regex=1)["total"] == 0
    [match] = found(q="disk full")["matches"]
    units = match["text"].encode("utf-16-le")
    assert [units[2 * a : 2 * b].decode("utf-16-le") for a, b in match["marks"]] == [
        "Disk FULL", "disk full",
    ]
    [match] = found(q="needle")["matches"]
    assert match["n"] == 602 and len(match["text"]) < 300 and match["text"].startswith("… x")
    assert [match["text"][a:b] for a, b in match["marks"]] == ["needle"]
    assert [m["n"] for m in found(q="lines$", regex=1)["matches"]] == [603]
    assert found(q=r"two\s+lines", regex=1)["total"] == 0, "a match is within a line"
    assert found(q="x*", regex=1)["total"] == 605, "what matches nothing matches every line"
    page = found(q="line", limit=10, **{"from": 20})
    assert [m["n"] for m in page["matches"]] == list(range(20, 30))
    assert page["total"] == 601 and page["exact"] and page["next"] == 30
    assert found(q="line 7", err=1)["total"] == 1
    errors = get(bridge, f"/jobs/{job}/log/errors", limit=2, **{"from": 8})
    assert [m["n"] for m in errors["matches"]] == [107, 207] and errors["total"] == 6
    assert errors["next"] == 208 and errors["matches"][0]["err"]
    assert get(bridge, f"/jobs/{bridge.job()}/log/search", q="x")["total"] == 0


@pytest.mark.parametrize(
    ("pattern", "place"),
    [("(ab", 1), ("ab**", 3), ("x[z-a]", 3), ("a\\", 2), ("a(?=b)", 2), (r"a\1", 2), ("a)(", 1),
     ("(x{1000}){1000}", 10)],
)  # fmt: skip
def test_what_is_no_pattern(bridge: Bridge, job: str, pattern: str, place: int) -> None:
    status, text = refused(bridge, f"/jobs/{job}/log/search", q=pattern, regex=1)
    assert status == 400 and "q is not a regular expression" in text
    if pattern != "(x{1000}){1000}":
        assert f"at letter {place}" in text, text
    assert get(bridge, f"/jobs/{job}/log/search", q=pattern)["total"] == 0


def test_a_cruel_pattern_takes_no_time(bridge: Bridge, job: str) -> None:
    bridge.call("add_job_logs", {"job_id": job}, [{"line": "a" * 900_000 + "!"}])
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){20}x", "(a?){30}a{30}x", "(a*)*b"):
        began = time.monotonic()
        get(bridge, f"/jobs/{job}/log/search", q=pattern, regex=1)
        assert time.monotonic() - began < 15, pattern  # backtracking takes years
    assert refused(bridge, f"/jobs/{job}/log/search", q="x" * 1001)[0] == 400
    assert refused(bridge, f"/jobs/{job}/log/search", q="")[0] == 400


def test_following(bridge: Bridge, job: str) -> None:
    fill(bridge, job, 3)

    def follow(wait: float) -> tuple[Any, float]:
        began = time.monotonic()
        page = get(bridge, f"/jobs/{job}/log", wait=wait, **{"from": 3})
        return page, time.monotonic() - began

    page, took = follow(0.4)
    assert page["lines"] == [] and took >= 0.4, "nothing came"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(follow, 20)
        time.sleep(0.7)
        bridge.call("add_job_logs", {"job_id": job}, [{"line": "there"}])
        page, took = waiting.result()
        assert [line["text"] for line in page["lines"]] == ["there"] and 0.6 < took < 15
        bridge.call("add_job_logs", {"job_id": job}, [])
    began = time.monotonic()
    assert numbers(get(bridge, f"/jobs/{job}/log", wait=20, **{"from": 2})) == [2, 3]
    assert time.monotonic() - began < 10, "what is there is not waited for"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, bridge, f"/jobs/{job}/log", wait=20, **{"from": 4})
        time.sleep(0.5)
        bridge.call("cancel_job", {"job_id": job})
        assert waiting.result()["status"] == "terminated"


def test_nobody_follows_too_many(bridge: Bridge, job: str) -> None:
    answers: list[Any] = []

    def follow() -> None:
        answers.append(request(bridge, "GET", f"/jobs/{job}/log", params={"wait": 1.5}, who="rob"))

    threads = [threading.Thread(target=follow) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused_ones = [a for a in answers if a.status_code == 429]
    assert len(refused_ones) == 3 and all(a.headers["Retry-After"] for a in refused_ones)
    assert sum(a.status_code == 200 for a in answers) == 12


def test_download(bridge: Bridge, job: str) -> None:
    fill(bridge, job, 700)
    bridge.call("add_job_logs", {"job_id": job}, [{"line": ANSI}])
    text = request(bridge, "GET", f"/jobs/{job}/log/raw")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"] == f'attachment; filename="{job}.log"'
    assert text.content.decode().split("\n") == [f"line {n}" for n in range(700)] + [ANSI, ""]
    lines = request(bridge, "GET", f"/jobs/{job}/log/raw", params={"format": "jsonl"})
    rows = [json.loads(line) for line in lines.content.decode().split("\n") if line]
    assert rows[7] == {"n": 7, "t": 1_700_000_000_007, "err": True, "text": "line 7"}
    assert rows[700]["text"] == ANSI and len(rows) == 701
    assert refused(bridge, f"/jobs/{job}/log/raw", format="xml")[0] == 400
