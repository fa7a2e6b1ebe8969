"""The REST API: what a job has made for people to look at, and how little it may do in a browser;
links to KBase's pages; how many calls the API answers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.call_counts import CallCounts, last_minutes
from ee2_jobs.page.links import narrative_href, object_href
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from tests.services.rest_support import get, refused, request
from tests.services.rpc_support import Bridge
from tests.services.test_rest_inbox import SETTINGS

EVIL = b"<script>parent.location='http://evil.example'</script><img src=x onerror=alert(1)>"


def put(bridge: Bridge, job: str, name: str, content: bytes) -> str:
    record = bridge.record(job)
    token = bridge.token(job)
    path = f"{record['submission']}/{job}/{name}"
    answer = bridge.http.put(
        f"{bridge.url}/artifacts/{path}", content=content, headers={"Authorization": str(token)}
    )
    assert answer.status_code == 201, answer.text
    return f"artifact:{path}"


def finish(bridge: Bridge, job: str, result: Any) -> None:
    fields = {"status": "completed", "job_output": {"version": "1.1", "result": [result]}}
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": fields})


def test_files_reports_and_objects(bridge: Bridge) -> None:
    job, other = bridge.job(), bridge.job(who="bob", wsid=8)
    assert get(bridge, f"/jobs/{job}/report")["state"] == "not yet"
    table = put(bridge, job, "table.tsv", b"a\tb\n")
    page = put(bridge, job, "out/main.html", EVIL)
    theirs = put(bridge, other, "x.html", b"secret")
    gone = table.replace("table.tsv", "old.html")
    finish(bridge, job, {
        "files": [table, theirs, gone, "artifact:../../etc/passwd"], "report": page,
        "report_name": "kb_report", "report_ref": "7/9/1", "genome_ref": "7/5/2",
    })  # fmt: skip
    found = get(bridge, f"/jobs/{job}/report", who="rob")
    assert found["state"] == "produced" and found["more"] == 0
    assert [(o["kind"], o["name"], o["size"], o["href"] is None) for o in found["objects"]] == [
        ("report", "kb_report", None, True), ("html", "main.html", len(EVIL), False),
        ("html", "old.html", None, True), ("file", "table.tsv", 4, False),
        ("object", None, None, True),
    ]  # fmt: skip
    assert "x.html" not in str(found) and "passwd" not in str(found)
    shown = found["objects"][1]
    assert shown["type"] == "text/html" and shown["ref"] == page
    root = bridge.url.removesuffix("/services/ee2")
    rob = {"Authorization": str(bridge.token("rob"))}
    framed = bridge.http.get(root + shown["href"], headers=rob)
    assert framed.content == EVIL
    policy = framed.headers["content-security-policy"]
    assert policy == (
        "sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; "
        "frame-ancestors 'self'"
    )
    assert framed.headers["x-content-type-options"] == "nosniff"
    assert bridge.http.get(root + shown["href"]).status_code == 401
    by_admin = get(bridge, f"/jobs/{job}/report", who="eva", as_admin=1)["objects"][1]["href"]
    assert by_admin.endswith("?frame=1&as_admin=1")


def test_who_may_see_it(bridge: Bridge) -> None:
    job, nowhere = bridge.job(), str(ObjectId())
    there = refused(bridge, f"/jobs/{job}/report", who="bob")
    gone = refused(bridge, f"/jobs/{nowhere}/report", who="bob")
    assert there[0] == gone[0] == 404
    assert there[1].replace(job, "ID") == gone[1].replace(nowhere, "ID")
    finish(bridge, job, {"x": 1})
    assert get(bridge, f"/jobs/{job}/report") == {
        "id": job, "state": "not produced", "objects": [], "more": 0,
    }


def test_links_to_kbase() -> None:
    here = Settings.model_validate(SETTINGS)
    assert narrative_href(here, 7) is object_href(here, "7/1/1") is None
    kbase = Settings.model_validate({
        **SETTINGS, "narrative_url": "https://narrative.kbase.us/", "workspace_url": "https://ws",
    })  # fmt: skip
    assert narrative_href(kbase, 7) == "https://narrative.kbase.us/narrative/7"
    assert narrative_href(kbase, None) is object_href(kbase, None) is None
    assert object_href(kbase, "7/<9>/1") == "https://narrative.kbase.us/#dataview/7/%3C9%3E/1"
    with pytest.raises(ValueError):
        Settings.model_validate({**SETTINGS, "narrative_url": "javascript:alert(1)"})


async def test_calls_are_counted_over_processes(
    bridge: Bridge, mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(mongo_uri, bridge.db.name)
    await store.calls.delete_many({})
    minute = int(time.time()) // 60 * 60
    now = [minute - 90.0]
    monkeypatch.setattr("ee2_jobs.call_counts.now_s", lambda: now[0])
    one, two = CallCounts(store), CallCounts(store)
    for counts, kind, times in ((one, "rpc", 3), (two, "rpc", 4), (two, "rest", 1)):
        for _ in range(times):
            counts.note(kind)  # type: ignore[arg-type]
    for counts in (one, two, two):
        await counts.flush()
    now[0] = float(minute)
    minutes = await last_minutes(store)
    assert len(minutes) == 10 and minutes[-1].rpc == 0
    assert (minutes[-2].at, minutes[-2].rpc, minutes[-2].rest) == ((minute - 120) * 1000, 7, 1)
    told = get(bridge, "/admin/overview", who="root")["calls"]
    assert len(told) == 10 and sum(one["rpc"] for one in told) == 7
    assert refused(bridge, "/admin/overview")[0] == 403
    await store.close()


def test_which_calls_are_counted(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(CallCounts, "note", lambda _, kind: seen.append(kind))
    bridge.call("ver")
    request(bridge, "GET", "/me")
    refused(bridge, "/me", who=None)
    assert seen == ["rpc", "rest", "rest"]
