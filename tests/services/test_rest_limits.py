"""The REST API's limits and audit: who may, forms, previews, effects at the RPC, paging."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api_bridge.rest.common import encode_cursor
from ee2_cli import settings
from ee2_cli.main import app
from ee2_cli.settings import StackError
from ee2_jobs.audit import Wanted
from tests.services.rpc_support import Bridge, RpcError


@pytest.fixture(autouse=True)
def clean(bridge: Bridge) -> Iterator[None]:
    """No limits before and after, and nobody's jobs live from elsewhere."""
    live = {"status": {"$in": ["created", "queued", "estimating", "running"]}}
    bridge.db.ee2_jobs.update_many(live, {"$set": {"status": "terminated"}})
    bridge.db.ee2_limits.delete_many({})
    yield
    bridge.db.ee2_limits.delete_many({})
    bridge.db.ee2_apps.update_many({}, {"$set": {"owners": []}})


def ask(
    bridge: Bridge, verb: str, path: str, body: Any = None, who: str = "root", **query: Any
) -> httpx.Response:
    return bridge.http.request(
        verb,
        f"{bridge.url}/api/v1{path}",
        json=body,
        params=query or None,
        headers={"Authorization": bridge.token(who) or ""},
    )


def ok(*arguments: Any, **query: Any) -> Any:
    answer = ask(*arguments, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(status: int, *arguments: Any, **query: Any) -> str:
    answer = ask(*arguments, **query)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return str(answer.json()["error"]["message"])


def test_a_users_limit_from_preview_to_refusal(bridge: Bridge) -> None:
    for _ in range(3):
        bridge.job()
    tried = ok(bridge, "POST", "/limits/preview", {"kind": "user", "user": "alice", "places": 1})
    assert tried["held_back"] == 2 and tried["users"][0]["user"] == "alice"
    assert tried["text"] == "Would hold back 2 waiting jobs of alice."
    body = {"places": 1, "note": "a course", "expires": "2099-01-31", "reason": "Too many"}
    done = ok(bridge, "PUT", "/limits/users/alice", body)
    limit = done["limit"]
    assert (limit["places"], limit["expires"], limit["in_force"]) == (1, 4073587200000, True)
    assert done["preview"]["held_back"] == 2
    listed = ok(bridge, "GET", "/limits/users", who="eva")
    (row,) = listed["users"]
    assert (row["user"], row["limit"], row["waiting"], row["held_back"]) == ("alice", 1, 3, 2)
    assert row["own"]["note"] == "a course" and row["own"]["set_by"] == "root"
    mine = ok(bridge, "GET", "/limits/mine", who="alice")
    assert (mine["limit"], mine["waiting"], mine["held_back"]) == (1, 3, 2)
    assert mine["words"].startswith("1 job for user alice, set by root on ")
    zero = {"places": 0, "revision": limit["revision"]}
    assert "as you saw it" in refused(409, bridge, "PUT", "/limits/users/alice",
                                      {**zero, "revision": 1})
    ok(bridge, "PUT", "/limits/users/alice", zero)
    with pytest.raises(RpcError, match="^User alice may not start jobs: the limit is 0 jobs"):
        bridge.job()
    bridge.job("bob", None)
    ok(bridge, "PUT", "/limits/users/*", {"places": 0})
    with pytest.raises(RpcError, match="^User bob may not start jobs: .* for every user"):
        bridge.job("bob", None)
    assert ok(bridge, "GET", "/limits/users")["default"]["places"] == 0
    assert ok(bridge, "DELETE", "/limits/users/*", reason="Over")["preview"]["text"]
    ok(bridge, "DELETE", "/limits/users/alice")
    bridge.job()
    entry = ok(bridge, "GET", "/audit", what="unset_user_limit", limit=2)["entries"][1]
    assert (entry["reason"], entry["target"], entry["who"]) == ("Over", ["default"], "root")


def test_who_may(bridge: Bridge) -> None:
    paths = ("/limits/users", "/limits/time", "/limits/sizes", "/audit", "/audit.csv")
    for path in paths:
        refused(403, bridge, "GET", path, who="alice")
        assert ask(bridge, "GET", path, who="eva").status_code == 200
    changes: list[tuple[str, str, Any]] = [
        ("PUT", "/limits/users/alice", {"places": 9}),
        ("DELETE", "/limits/users/alice", None),
        ("PUT", "/limits/time/m.f/alice", {"seconds": 9}),
        ("DELETE", "/limits/time/m.f/alice", None),
        ("PUT", "/limits/sizes/alice", {"figures": {"cpus": 9}}),
        ("DELETE", "/limits/sizes/alice", None),
    ]
    for verb, path, body in changes:
        for who in ("alice", "eva"):
            refused(403, bridge, verb, path, body, who=who)
    refused(403, bridge, "POST", "/limits/preview", {"kind": "user", "places": 1}, who="alice")
    refused(403, bridge, "GET", "/limits/effective", who="alice", app="m.f", user="bob")
    assert ok(bridge, "GET", "/limits/effective", who="alice", app="m.f")["seconds"] is None
    assert bridge.db.ee2_limits.count_documents({}) == 0
    session = {"Cookie": "session_of=root", "Content-Type": "application/json"}
    answer = bridge.http.put(
        f"{bridge.url}/api/v1/limits/users/alice", content=b'{"places": 1}',
        headers={**session, "Origin": "https://elsewhere.example"},
    )
    assert answer.status_code == 403 and bridge.db.ee2_limits.count_documents({}) == 0


def test_rules_of_administrators_and_owners(bridge: Bridge) -> None:
    job = bridge.job()
    done = ok(bridge, "PUT", "/limits/time/m.f/alice", {"seconds": 7200, "note": "n"})
    assert done["applied"] == 0 and done["preview"]["waiting"] == 1
    assert done["limit"]["words"].startswith("2 h for alice's m.f, set by root on ")
    assert "time_limit_s" not in bridge.record(job)
    late = ok(bridge, "PUT", "/limits/time/m.f/alice", {"seconds": 7200, "apply_now": True})
    assert late["applied"] == 1 and bridge.record(job)["time_limit_s"] == 7200
    new = bridge.record(bridge.job())
    assert new["time_limit_s"] == 7200 and new["time_limit_rule"].startswith("2 h for alice's m.f")
    found = ok(bridge, "GET", "/limits/effective", who="eva", app="m.f", user="alice")
    assert found["seconds"] == 7200 and found["rule"] == new["time_limit_rule"]
    (rule,) = ok(bridge, "GET", "/limits/mine", who="alice")["rules"]
    assert rule["words"] == new["time_limit_rule"]
    bridge.db.ee2_apps.update_many({"module": "m"}, {"$set": {"owners": ["wendy"]}})
    made = ok(bridge, "PUT", "/limits/time/m.s/*", {"seconds": 60}, who="wendy")
    assert made["limit"]["by_owner"]
    text = refused(403, bridge, "PUT", "/limits/time/m.s/*", {"seconds": 10**6}, who="wendy")
    assert "for 7 days at most" in text
    assert len(ok(bridge, "GET", "/limits/time", who="wendy")["rules"]) == 2
    ok(bridge, "POST", "/limits/preview", {"kind": "time", "app": "m.f", "seconds": 1}, who="wendy")
    ok(bridge, "DELETE", "/limits/time/m.f/alice", apply_now=True)
    assert "time_limit_s" not in bridge.record(job)


def test_sizes(bridge: Bridge) -> None:
    body = {"figures": {"memory_mb": 5, "children": 2}, "reason": "r", "note": "n"}
    job = bridge.job()
    done = ok(bridge, "PUT", "/limits/sizes/*", body)
    assert done["preview"]["jobs"] == 1 and bridge.record(job)["status"] == "created", "it stays"
    with pytest.raises(RpcError, match="needs 10 MB of memory per job, which is over the ceiling"):
        bridge.job()
    ok(bridge, "PUT", "/limits/sizes/alice", {"figures": {"memory_mb": 10}})
    with pytest.raises(RpcError, match="^The batch has 3 jobs, which is over the ceiling of 2 "):
        bridge.call("run_job_batch", [{"method": "m.f"}] * 3, {"wsid": 7})
    mine = ok(bridge, "GET", "/limits/mine", who="alice")["sizes"]
    assert {name: one["value"] for name, one in mine.items()} == {"memory_mb": 10, "children": 2}
    every, alice = ok(bridge, "GET", "/limits/sizes")["sizes"]
    assert (every["user"], alice["user"], alice["figures"]["memory_mb"]) == ("*", "alice", 10)
    tried = {"kind": "size", "figures": {"cpus": 1}}
    assert ok(bridge, "POST", "/limits/preview", tried)["jobs"] == 0
    ok(bridge, "DELETE", "/limits/sizes/alice")
    ok(bridge, "DELETE", "/limits/sizes/*")
    bridge.job()


def test_bad_input(bridge: Bridge) -> None:
    bad: list[tuple[str, str, Any, str]] = [
        ("PUT", "/limits/users/alice", {"places": -1}, "places must be a whole number from 0"),
        ("PUT", "/limits/users/alice", {"places": "5"}, "places"),
        ("PUT", "/limits/users/alice", {"places": True}, "places"),
        ("PUT", "/limits/users/alice", {"place": 5}, "place"),
        ("PUT", "/limits/users/nobody", {"places": 5}, "There is no user 'nobody'"),
        ("PUT", "/limits/users/alice", {"places": 5, "expires": "2001-01-01"}, "is over already"),
        ("PUT", "/limits/users/alice", {"places": 5, "note": "a\tb"}, "note must be one line"),
        ("PUT", "/limits/time/m.nope/*", {"seconds": 5}, "has no method 'nope'"),
        ("PUT", "/limits/time/m.f/*", {"seconds": 0}, "seconds must be a whole number from 1"),
        ("PUT", "/limits/time/nonsense/*", {"seconds": 5}, "module_name.function_name"),
        ("PUT", "/limits/sizes/alice", {"figures": {}}, "Give at least one of"),
        ("PUT", "/limits/sizes/alice", {"figures": {"gpus": 1}}, "gpus"),
        ("POST", "/limits/preview", {"kind": "users"}, "kind"),
        ("GET", "/audit?from=yesterday", None, "from must be a date"),
        ("GET", "/audit?limit=0", None, "limit"),
        ("GET", "/audit?cursor=nonsense", None, "This cursor belongs to another list"),
        ("GET", "/limits/effective?app=m.nope", None, "has no method"),
    ]
    for verb, path, body, text in bad:
        assert text in refused(400, bridge, verb, path, body), path
    assert bridge.db.ee2_limits.count_documents({}) == 0


def test_the_audit_page_by_page(bridge: Bridge) -> None:
    bridge.db.ee2_audit.delete_many({})
    for n in range(7):
        ok(bridge, "PUT", "/limits/users/bob", {"places": n, "reason": f"=no. {n}"})
    bridge.db.ee2_audit.update_many({}, {"$set": {"at": 1000.0}})  # all at the same moment
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(bridge, "GET", "/audit", who="eva", limit=3, target="user bob", **cursor)
        seen += [one["reason"] for one in page["entries"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [f"=no. {n}" for n in range(6, -1, -1)]
    refused(400, bridge, "GET", "/audit", **cursor)  # of the list with a target
    forged = encode_cursor(f"audit {Wanted(target='user bob')}", 10**400, "0" * 24)
    refused(400, bridge, "GET", "/audit", target="user bob", cursor=forged)
    assert ok(bridge, "GET", "/audit", who="eva", target="user ann")["entries"] == []
    assert ok(bridge, "GET", "/audit", **{"from": "1000001"})["entries"] == []
    day = {"from": "1000000", "to": "1970-01-02"}
    assert len(ok(bridge, "GET", "/audit", **day)["entries"]) == 7
    assert ok(bridge, "GET", "/audit", **{"to": "1000000"})["entries"] == []
    answer = ask(bridge, "GET", "/audit.csv", what="set_user_limit", who="eva")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 7 and rows[0]["reason"] == "'=no. 6", "no formula for a spreadsheet"
    assert rows[0]["details"].startswith("Limit: 6 jobs.")
    assert rows[0]["at"] == "1970-01-01T00:16:40.000+00:00"


def test_the_command_line(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "secrets" / "cli_token"
    token.parent.mkdir()
    token.write_text(bridge.token("root") or "")
    here = SimpleNamespace(var_dir=tmp_path, rpc_url=bridge.url)
    monkeypatch.setattr(settings, "load_settings", lambda: here)

    def ee2(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["limits", *arguments], env={"COLUMNS": "150"})
        if done.exception is not None:
            raise done.exception
        return str(done.stdout)

    assert "Nobody has a limit" in ee2()
    for _ in range(3):
        bridge.job()
    tried = ee2("user", "alice", "2", "--dry-run")
    assert tried == "Would hold back 1 waiting job of alice.\n"
    assert bridge.db.ee2_limits.count_documents({}) == 0
    given = ("--until", "2099-01-31", "--note", "a course", "--reason", "r")
    assert tried in ee2("user", "alice", "2", *given)
    ee2("user", "default", "9")
    ee2("time", "m.f", "1.5h", "--user", "alice")
    now = ee2("time", "m.f", "2h", "--user", "alice", "--now")
    assert "Applied to 3 jobs that wait or run" in now
    ee2("size", "default", "--cpus", "16")
    ee2("size", "default", "--children", "40")
    shown = " ".join(ee2().split())
    for text in (
        "alice 2 0 3 1 2099-02-01 00:00 UTC root a course", "default 9", "m.f alice 2 h root",
        "default cpus 16, children 40",
    ):
        assert text in shown, shown
    with pytest.raises(StackError, match="'2x' is not a run time"):
        ee2("time", "m.f", "2x")
    with pytest.raises(StackError, match="There is no user 'nobody'"):
        ee2("user", "nobody", "1")
    with pytest.raises(StackError, match="'-1' is not a number of jobs"):
        ee2("user", "alice", "--", "-1")
    ee2("time", "m.f", "none", "--user", "alice")
    ee2("size", "default", "--remove")
    assert "There is no such limit now" in ee2("user", "alice", "none", "--reason", "Over")
    entry = bridge.db.ee2_audit.find_one({"what": "unset_user_limit"}, sort=[("_id", -1)])
    assert entry is not None and (entry["who"], entry["reason"]) == ("root", "Over")
    ee2("user", "default", "none")
    assert bridge.db.ee2_limits.count_documents({}) == 0
