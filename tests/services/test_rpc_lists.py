"""The methods that list jobs, over the wire: of a workspace, of a span of time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.workspaces import Permission
from tests.services.rpc_support import Bridge, RpcError

NOT_ADMIN = "^Access Denied: You are not an administrator$"


# --- check_workspace_jobs


def workspace(bridge: Bridge, wsid: int, acl: dict[str, Permission]) -> int:
    bridge.db.ee2_workspaces.insert_one(
        {"_id": wsid, "name": "w", "owner": "alice", "acl": acl, "public": False}
    )
    return wsid


def test_all_jobs_of_a_workspace_with_every_child(bridge: Bridge) -> None:
    wsid = workspace(bridge, 101, {"wendy": "w", "rob": "r"})
    first = bridge.job(wsid=wsid)
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 40, {"wsid": wsid})
    lost = batch["child_job_ids"][3]
    bridge.call("cancel_job", {"job_id": lost})
    retry_id = bridge.call("retry_job", {"job_id": lost}, who="wendy")["retry_id"]
    # Records that another program wrote: a child without its workspace.
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(batch["child_job_ids"][5])}, {"$unset": {"wsid": 1}}
    )
    expected = {first, batch["batch_id"], *batch["child_job_ids"], retry_id}
    for given in (wsid, str(wsid)):
        states = bridge.call("check_workspace_jobs", {"workspace_id": given, "return_list": 0})
        assert set(states) == expected
        assert all(state["job_id"] == job_id for job_id, state in states.items())
        assert states[batch["batch_id"]]["child_counts"] == {"created": 40}
    listed = bridge.call("check_workspace_jobs", {"workspace_id": wsid}, who="rob")
    assert set(listed) == {"job_states"} and len(listed["job_states"]) == len(expected)
    hidden = [s for s in listed["job_states"] if "failure" in s]
    child = batch["child_job_ids"][5]
    assert hidden == [{"failure": f"No read permissions for {child}", "check_job_error": True}]
    states = bridge.call(
        "check_workspace_jobs",
        {"workspace_id": wsid, "return_list": "False", "exclude_fields": ["job_input", "user"]},
    )
    assert "job_input" not in states[first] and "user" not in states[first]
    assert states[first]["status"] == "created"


def test_fields_that_cannot_be_excluded_or_only_once(bridge: Bridge) -> None:
    wsid = workspace(bridge, 104, {})
    job = bridge.job(wsid=wsid, params=[{"x": 1}])
    asked: dict[str, Any] = {"workspace_id": wsid, "return_list": 0}
    both = {"exclude_fields": ["job_input.params", "job_input.params.x", "job_input__params"]}
    assert "params" not in bridge.call("check_workspace_jobs", asked | both)[job]["job_input"]
    for name in ("claim", "job_output.$x", "job_output.", "error" + ".a" * 30):
        for method, target in (("check_workspace_jobs", asked), ("check_job", {"job_id": job})):
            with pytest.raises(RpcError, match="^exclude_fields: a job record has no field "):
                bridge.call(method, {**target, "exclude_fields": [name]})


def test_a_workspace_without_jobs_is_an_empty_mapping(bridge: Bridge) -> None:
    wsid = workspace(bridge, 102, {})
    for more in ({}, {"return_list": 0}, {"return_list": 1}):
        assert bridge.call("check_workspace_jobs", {"workspace_id": wsid, **more}) == {}


def test_who_may_list_a_workspace(bridge: Bridge) -> None:
    wsid = workspace(bridge, 103, {"rob": "r"})
    job, own = bridge.job(wsid=wsid), bridge.job(wsid=wsid)
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(own)}, {"$set": {"authstrat": "execution_engine"}}
    )

    def ids(who: str, **more: Any) -> set[str]:
        asked = {"workspace_id": wsid, "return_list": 0, **more}
        return set(bridge.call("check_workspace_jobs", asked, who=who))

    assert ids("alice") == {job, own} and ids("rob") == {job}
    for who in ("bob", "root", "eva"):
        text = f"^User {who} does not have permission to read jobs in workspace {wsid}$"
        with pytest.raises(RpcError, match=text):
            ids(who)
    assert ids("eva", as_admin=1) == ids("root", as_admin=True) == {job, own}
    with pytest.raises(RpcError, match=NOT_ADMIN):
        ids("alice", as_admin=True)
    with pytest.raises(RpcError, match="does not have permission to read jobs in workspace 99999"):
        bridge.call("check_workspace_jobs", {"workspace_id": 99999})
    for none in (None, "x", 1.5, True, "9" * 30, {"$gt": 0}):
        for flags in ({}, {"as_admin": True}):
            with pytest.raises(RpcError, match="workspace_id"):
                bridge.call("check_workspace_jobs", {"workspace_id": none, **flags}, who="root")
    with pytest.raises(RpcError, match="^Missing input parameter: workspace_id$"):
        bridge.call("check_workspace_jobs", {})


# --- check_jobs_date_range_for_user, check_jobs_date_range_for_all

DAY_S = 1_000_000_000  # in 2001: nothing else was made then
USERS = ("alice", "alice", "alice", "wendy")


@pytest.fixture(scope="module")
def old(bridge: Bridge) -> list[str]:
    """Jobs made one second after another: three of alice, one of wendy."""
    ids = []
    for n, user in enumerate(USERS):
        oid = ObjectId(f"{DAY_S + n:08x}{'0' * 15}{n:x}")
        record: dict[str, Any] = {
            "_id": oid, "user": user, "authstrat": "kbaseworkspace", "status": "completed",
            "updated": DAY_S + 100.5, "finished": DAY_S + 99.5, "claim": {"id": "secret"},
            "retry_saved_toggle": False, "submission": "s",
            "job_input": {"method": "m.f", "app_id": f"m/app{n}", "params": [n],
                          "requirements": {"clientgroup": "njs", "cpu": n}},
        }  # fmt: skip
        if n == 1:
            record |= {"wsid": 7, "status": "error", "error_code": 1, "batch_id": "b"}
        if n == 2:  # as little as there can be
            record = {k: record[k] for k in ("_id", "user", "authstrat")} | {
                "status": "created", "job_input": {}
            }  # fmt: skip
        bridge.db.ee2_jobs.insert_one(record)
        ids.append(str(oid))
    return ids


def span(bridge: Bridge, who: str = "alice", method: str = "user", **more: Any) -> Any:
    asked = {"start_time": DAY_S * 1000, "end_time": (DAY_S + 60) * 1000, **more}
    return bridge.call(f"check_jobs_date_range_for_{method}", asked, who=who)


def ids_of(answer: Any) -> list[str]:
    return [job["job_id"] for job in answer["jobs"]]


def test_the_jobs_of_a_span_of_time(bridge: Bridge, old: list[str]) -> None:
    answer = span(bridge)
    assert set(answer) == {
        "jobs", "count", "query_count", "filter", "skip", "projection", "limit", "sort_order",
        "stats",
    }  # fmt: skip
    assert ids_of(answer) == old[:3]
    assert (answer["count"], answer["query_count"], answer["skip"]) == (3, 3, 0)
    assert answer["sort_order"] == "+" and answer["projection"] == [] and answer["limit"] == 20
    first, second, least = answer["jobs"]
    assert first["_id"] == old[0] and first["created"] == DAY_S * 1000
    assert (first["updated"], first["finished"]) == (DAY_S * 1000 + 100_500, DAY_S * 1000 + 99_500)
    assert not {"retry_count", "retry_saved_toggle", "claim", "submission"} & set(first)
    assert "batch_id" not in first and second["batch_id"] == "b"
    assert least["child_jobs"] == [] and least["batch_job"] is False
    assert answer["stats"] == {
        "clientgroup": {"njs": 2, "null": 1}, "user": {"alice": 3},
        "app_id": {"m/app0": 1, "m/app1": 1, "null": 1}, "method": {"m.f": 2, "null": 1},
        "wsid": {"null": 2, "7": 1}, "status": {"completed": 1, "error": 1, "created": 1},
    }  # fmt: skip
    assert set(answer["filter"]) == {"id__gt", "id__lt", "user"}
    assert answer["filter"]["user"] == "alice"
    assert ids_of(span(bridge, ascending="false")) == old[2::-1]
    assert span(bridge, ascending=0)["sort_order"] == "-"
    assert ids_of(span(bridge, ascending="True")) == old[:3]


@pytest.mark.parametrize(
    "start",
    [(DAY_S + 1) * 1000, str((DAY_S + 1) * 1000), float(DAY_S + 1), f"{DAY_S + 1}.0",
     "2001-09-09T01:46:41Z", "2001-09-09 01:46:41", "2001-09-09T03:46:41+02:00"],
)  # fmt: skip
def test_times_and_their_bounds(bridge: Bridge, old: list[str], start: Any) -> None:
    assert ids_of(span(bridge, start_time=start)) == old[1:3]
    assert ids_of(span(bridge, end_time=start)) == old[:1]
    assert ids_of(span(bridge, start_time=start, end_time=start)) == []


def test_pages(bridge: Bridge, old: list[str]) -> None:
    page = span(bridge, limit=2)
    assert ids_of(page) == old[:2] and (page["count"], page["query_count"]) == (2, 3)
    page = span(bridge, limit=2, offset="2")
    assert ids_of(page) == old[2:3] and (page["query_count"], page["skip"]) == (3, 2)
    assert span(bridge, offset=3)["query_count"] == 3
    assert span(bridge, offset=50)["query_count"] == 3
    assert ids_of(span(bridge, limit=2, filter={"id__gt": old[1]})) == old[2:3]
    for limit in (0, None, 5000):
        assert span(bridge, limit=limit)["limit"] == 20
    for wrong in ({"limit": -1}, {"offset": -1}, {"limit": "x"}, {"offset": 1.5}, {"limit": True}):
        with pytest.raises(RpcError, match="must be a whole number from 0 on"):
            span(bridge, **wrong)
    with pytest.raises(RpcError, match="^offset: at most 100000"):
        span(bridge, offset=100_001)


ALWAYS = {"_id", "job_id", "created", "updated", "authstrat", "batch_job", "child_jobs",
          "retry_ids"}  # fmt: skip


def test_projection(bridge: Bridge, old: list[str]) -> None:
    answer = span(bridge, projection=["wsid", "job_input.method", "job_input__app_id"])
    assert answer["projection"] == ["wsid", "job_input.method", "job_input__app_id"]
    assert set(answer["jobs"][1]) == ALWAYS | {"wsid", "job_input", "batch_id"} - {"batch_id"}
    job_input = answer["jobs"][1]["job_input"]
    assert {k: job_input[k] for k in ("method", "app_id")} == {"method": "m.f", "app_id": "m/app1"}
    assert "params" not in job_input
    assert answer["jobs"][0]["updated"] == DAY_S * 1000 + 100_500
    both = span(bridge, projection=["job_input.params", "job_input", "_id", "created"])
    assert both["jobs"][1]["job_input"]["params"] == [1]
    with pytest.raises(RpcError, match="^Invalid job projection type. Must be list$"):
        span(bridge, projection="user")
    for name in ("claim", "nothing", "job_input.$x", "job_input.params.", "", 5, "submission"):
        with pytest.raises(RpcError, match="^" + re.escape(f'Cannot resolve field "{name}"')):
            span(bridge, projection=[name])


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({"status": "error"}, [1]), (["status=error"], [1]), ({"status__ne": "error"}, [0, 2]),
        (["status__ne=error", "job_input__app_id=m/app0"], [0]), (["wsid=7"], [1]),
        ({"wsid__gt": 6}, [1]), ({"wsid__lt": 7}, []), ({"wsid": None}, [0, 2]),
        ({"status__in": ["error", "created"]}, [1, 2]), (["status__in=error,created"], [1, 2]),
        ({"status__nin": ["error"]}, [0, 2]), ({"job_input.requirements.cpu__lte": 0}, [0]),
        (["job_input__requirements__cpu__gte=1"], [1]), ({"finished__gte": DAY_S + 99}, [0, 1]),
        ({"batch_id": "b"}, [1]), ({"error_code": "1"}, [1]), ({"user": "wendy"}, [0, 1, 2]),
        ({"user__ne": "alice"}, []), ({"user__in": ["wendy"]}, []), ([], [0, 1, 2]),
    ],
)  # fmt: skip
def test_filters(bridge: Bridge, old: list[str], wanted: Any, places: list[int]) -> None:
    answer = span(bridge, filter=wanted)
    assert ids_of(answer) == [old[n] for n in places]
    assert answer["query_count"] == len(places)
    assert all(isinstance(value, str) for value in answer["filter"].values())


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("status=error", "^Job filter must be a dictionary or a list of key=value pairs$"),
        (5, "^Job filter must be a dictionary or a list of key=value pairs$"),
        (["status"], "^filter: 'status' must be field=value"),
        (["a=b=c"], "^filter: 'a=b=c' must be field=value"),
        ([{"status": 1}], "must be field=value"),
        ({"nothing": 1}, '^Cannot resolve field "nothing"'),
        ({"$where": "sleep(1000)"}, r'^Cannot resolve field "\$where"'),
        ({"status__regex": ".*"}, '^Cannot resolve field "status__regex"'),
        ({"claim__id": "secret"}, '^Cannot resolve field "claim__id"'),
        ({"job_input__params__0": 1}, "^Cannot resolve field"),
        ({"status": {"$ne": "x"}}, "^filter: status must be a string"),
        ({"status__in": {"$ne": "x"}}, "^filter: status__in must be a list of values"),
        ({"status__in": [{"$ne": "x"}]}, "^filter: status__in must be a string"),
        ({"status__in": ["x"] * 1001}, "^filter: status__in: at most 1000 values"),
        (["status=x"] * 1001, "^filter: at most 1000 conditions"),
        ({"wsid": "seven"}, "^filter: wsid must be a whole number, not \"seven\"$"),
        ({"wsid": 2**63}, "^filter: wsid must be a whole number"),
        ({"batch_job": "maybe"}, "^filter: batch_job must be true or false"),
        ({"id__gt": "x"}, "is not a valid ObjectId"),
    ],
)  # fmt: skip
def test_filters_that_are_none(bridge: Bridge, wanted: Any, text: str) -> None:
    for who in ("alice", "root"):
        with pytest.raises(RpcError, match=text):
            span(bridge, who=who, filter=wanted)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"start_time": None}, "^Please provide a valid start time for when job was created$"),
        ({"end_time": ""}, "^Please provide a valid end time for when job was created$"),
        ({"start_time": "soon"}, "^Cannot convert time_input into timestamps: soon$"),
        ({"end_time": [1]}, r"^Cannot convert time_input into timestamps: \[1\]$"),
        ({"start_time": DAY_S * 2000}, "^The start time cannot be greater than the end time.$"),
        ({"ascending": "up"}, "up is not a boolean value"),
    ],
)
def test_mistakes_in_a_span(bridge: Bridge, wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(RpcError, match=text):
        span(bridge, **wrong)


def test_the_jobs_of_others_need_a_role(bridge: Bridge, old: list[str]) -> None:
    refused = "^You are not authorized to view all records or records for others. "
    for user in ("wendy", "ALL", {"$ne": "x"}):
        text = refused + re.escape(f"user={user} token=alice") + "$"
        with pytest.raises(RpcError, match=text):
            span(bridge, user=user)
    with pytest.raises(RpcError, match=refused + "user=ALL token=alice$"):
        span(bridge, method="all", user="alice")
    for method in ("user", "all"):
        with pytest.raises(RpcError, match=NOT_ADMIN):
            span(bridge, method=method, as_admin=True)
    for who in ("eva", "root"):
        for flags in ({}, {"as_admin": 1}):
            assert ids_of(span(bridge, who=who, user="wendy", **flags)) == old[3:]
            assert ids_of(span(bridge, who=who, user="ALL", **flags)) == old
            everybody = span(bridge, who=who, method="all", user="wendy", **flags)
            assert ids_of(everybody) == old and "user" not in everybody["filter"]
            assert everybody["stats"]["user"] == {"alice": 3, "wendy": 1}
            assert ids_of(span(bridge, who=who, **flags)) == []
    chosen = span(bridge, who="eva", method="all", filter=["user=wendy"])
    assert ids_of(chosen) == old[3:] and chosen["filter"]["user"] == "wendy"
    with pytest.raises(RpcError, match="^user must be a string"):
        span(bridge, who="root", user=["wendy"])
