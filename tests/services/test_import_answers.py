"""What clients of the old services get after the transfer is what these answered before it
(`legacy-apis` 11, Migration)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from ee2_jobs.legacy.imports import run
from ee2_jobs.legacy.imports.source import connect
from ee2_jobs.legacy.imports.ujs import CUT_OFF
from ee2_jobs.store import Store
from tests.fakes.kbase_clients import PythonClient
from tests.services.old_records import BORN_S, KINDS, fill_old_services, oid
from tests.services.rpc_support import Bridge

T0, T1, T60 = (f"2018-03-04T05:0{m}:{s}+0000" for m, s in (("6", "07"), ("6", "08"), ("7", "07")))
ERROR = {"name": "E", "code": -1, "message": "no luck", "error": "trace"}
CUT = {"name": "Error", "code": 2, "message": CUT_OFF, "error": CUT_OFF}
# Per kind: stage, status, complete, error, canceledby, results. What was unfinished at the end of
# the old services cannot answer as before: nobody could finish it any more.
UJS: dict[str, tuple[Any, ...]] = {
    "created": ("error", CUT_OFF, 1, 1, None, None),
    "queued": ("error", CUT_OFF, 1, 1, None, None),
    "running": ("error", CUT_OFF, 1, 1, None, None),
    "completed": ("complete", "done", 1, 0, None, {}),
    "error": ("error", "no luck", 1, 1, None, None),
    "canceled": ("canceled", "canceled by user", 1, 0, "alice", None),
    "canceled_by_other": ("canceled", "canceled by user", 1, 0, "bob", None),
}
NJS: dict[str, dict[str, Any]] = {
    "created": {"job_state": "suspend", "canceled": 0, "cancelled": 0, "error": CUT},
    "queued": {"job_state": "suspend", "canceled": 0, "cancelled": 0, "error": CUT},
    "running": {"job_state": "suspend", "canceled": 0, "cancelled": 0, "error": CUT},
    "completed": {
        "job_state": "completed", "canceled": 0, "cancelled": 0, "result": [{"r.s": 3}],
    },
    "error": {"job_state": "suspend", "canceled": 0, "cancelled": 0, "error": ERROR},
    "canceled": {"job_state": "cancelled", "canceled": 1, "cancelled": 1},
    "canceled_by_other": {"job_state": "cancelled", "canceled": 1, "cancelled": 1},
}  # fmt: skip
BY_KIND = pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS)), ids=KINDS)


@pytest.fixture(scope="module")
def moved(bridge: Bridge, mongo_uri: str) -> Iterator[str]:
    """A record of each kind, moved from databases of UJS and NJS to the bridge's."""
    import asyncio

    async def move() -> None:
        store = Store(mongo_uri, bridge.database)
        for kind in ("ujs", "njs"):
            source = connect(mongo_uri, f"{bridge.database}_{kind}")
            await run.run(store, source, kind)
            await source.close()
        await store.close()

    with MongoClient[dict[str, Any]](mongo_uri) as client:
        fill_old_services(client, bridge.database)
        asyncio.run(move())
        yield bridge.url.replace("/ee2", "/njs_wrapper")
        for kind in ("ujs", "njs"):
            client.drop_database(f"{bridge.database}_{kind}")


def client_of(bridge: Bridge, url: str, user: str = "alice") -> PythonClient:
    return PythonClient(url, bridge.tokens[user])


def ujs_info(number: int, kind: str) -> list[Any]:
    stage, status, complete, error, canceledby, results = UJS[kind]
    unstarted = kind == "created"
    return [
        str(oid(number)), ["alice", canceledby], "alice", stage, status,
        [None if unstarted else T1, T0 if unstarted else T60, None],
        [None, None, "none"], complete, error, ["kbaseworkspace", "7"],
        {"run_id": "r1"}, "queued", results,
    ]  # fmt: skip


@BY_KIND
def test_ujs_get_job_info2(bridge: Bridge, moved: str, number: int, kind: str) -> None:
    for user in ("alice", "rob"):  # rob reads the workspace
        told = client_of(bridge, moved, user).call(
            "UserAndJobState.get_job_info2", str(oid(number))
        )
        expected = ujs_info(number, kind)
        if kind == "created":  # NJS had made it and not started it: since when, nobody knows
            told[5][0] = None
        assert told == expected


@BY_KIND
def test_njs_check_job(bridge: Bridge, moved: str, number: int, kind: str) -> None:
    state = client_of(bridge, moved).call("NarrativeJobService.check_job", str(oid(number)))
    stage, status, complete, error, _, _ = UJS[kind]
    ended_ms = BORN_S * 1000 + (59_500 if kind in ("completed", "error") else 60_000)
    if "canceled" in kind:
        ended_ms = BORN_S * 1000 + 59_500
    expected = {
        "job_id": str(oid(number)),
        "finished": 1,
        "ujs_url": bridge.url.replace("/ee2", "/userandjobstate"),
        "status": [T0 if kind == "created" else T60, stage, status, None, None, complete, error],
        "creation_time": BORN_S * 1000,
        "finish_time": BORN_S * 1000 if kind == "created" else ended_ms,
        "sub_jobs": [],
        **NJS[kind],
    }
    if kind not in ("created", "queued"):
        expected["exec_start_time"] = BORN_S * 1000 + 30_500
    assert state == expected


@BY_KIND
def test_njs_get_job_logs(bridge: Bridge, moved: str, number: int, kind: str) -> None:
    njs = client_of(bridge, moved)
    job_id = str(oid(number))
    told = njs.call("NarrativeJobService.get_job_logs", {"job_id": job_id})
    lines = [{"line": f"line {i}", "is_error": int(i % 3 == 2)} for i in range(6)]
    assert told == {"lines": lines, "last_line_number": 6}
    told = njs.call("NarrativeJobService.get_job_logs", {"job_id": job_id, "skip_lines": 4})
    assert told == {"lines": lines[4:], "last_line_number": 6}


def test_njs_get_job_params(bridge: Bridge, moved: str) -> None:
    params, _ = client_of(bridge, moved).call("NarrativeJobService.get_job_params", str(oid(3)))
    assert params == {
        "method": "m.f", "service_ver": "c0ffee", "requested_release": "release", "wsid": 7,
        "params": [{"n": 3, "a.b": {"$x": "50%25"}}], "app_id": "m/f", "meta": {"run_id": "r1"},
        "rpc_context": {"run_id": "r1"}, "source_ws_objects": [],
    }  # fmt: skip


def test_the_detail_of_an_error_is_ujs_s(bridge: Bridge, moved: str) -> None:
    client = client_of(bridge, moved)
    assert client.call("UserAndJobState.get_detailed_error", str(oid(4))) == "trace"


def test_ee2_s_own_methods_read_them_too(bridge: Bridge, moved: str) -> None:
    state = bridge.call("check_job", {"job_id": str(oid(3))})
    assert state["status"] == "completed" and state["job_output"]["result"] == [{"r.s": 3}]
    assert state["running"] == BORN_S * 1000 + 30_500
    listed = bridge.call("check_workspace_jobs", {"workspace_id": 7, "return_list": 0})
    assert {str(oid(i)) for i in range(len(KINDS))} <= set(listed)
    page = bridge.call("get_job_logs", {"job_id": str(oid(3)), "skip_lines": 4})
    assert [line["line"] for line in page["lines"]] == ["line 4", "line 5"]
