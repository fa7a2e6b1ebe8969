"""How a recipe is chosen, and how a job saves an object in its workspace."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.rpc_support import Bridge, RpcError


def aggregate_of(bridge: Bridge, **options: Any) -> str:
    """The method of the aggregate job of a batch that was started with these options."""
    batch = bridge.call("run_job_batch", [{"method": "m.f"}], {"wsid": 7, **options})["batch_id"]
    job = bridge.db.ee2_jobs.find_one({"batch_id": batch, "role": "aggregate"})
    assert job is not None
    method: str = job["job_input"]["method"]
    return method


def test_built_in_recipes_and_those_of_the_apps_module(bridge: Bridge) -> None:
    assert aggregate_of(bridge, aggregate="report") == "ee2_recipes.report"
    assert aggregate_of(bridge, aggregate={"recipe": "report"}) == "ee2_recipes.report"
    assert aggregate_of(bridge, aggregate={"recipe": "a"}) == "m.a"
    assert aggregate_of(bridge, aggregate="a") == "m.a"
    assert aggregate_of(bridge, aggregate="m.s") == "m.s"
    run = bridge.call("run_split_aggregate", {"method": "m.f"})
    job = bridge.db.ee2_jobs.find_one({"batch_id": run, "role": "aggregate"})
    assert job["job_input"]["method"] == "m.a", "what the app declares"


@pytest.mark.parametrize("wrong", ["nope", {"recipe": "nope"}])
def test_a_recipe_that_is_not_there(bridge: Bridge, wrong: Any) -> None:
    before = bridge.counts()
    with pytest.raises(RpcError) as e:
        aggregate_of(bridge, aggregate=wrong)
    assert str(e.value) == (
        "aggregate: 'nope' is none of the built-in recipes (report, set, table), and cannot be run "
        "as a method of m: The app m has no method 'nope'; it has: f, s, a"
    )
    assert bridge.counts() == before


def save(bridge: Bridge, job: str, who: str | None = None, **more: Any) -> str:
    asked = {"job_id": job, "name": "my.set", "type": "KBaseSets.GenomeSet", "data": {}, **more}
    return str(bridge.call("ee2_runner.save_object", asked, who=who or job)["ref"])


def test_a_job_saves_an_object_once(bridge: Bridge) -> None:
    job, other = bridge.job(), bridge.job(who="wendy")
    data = {"items": [{"ref": "7/1/1"}]}
    ref = save(bridge, job, data=data)
    kept = bridge.db.ee2_objects.find_one({"_id": ref})
    assert kept["data"] == data and kept["user"] == "alice" and kept["wsid"] == 7
    assert kept["meta"] == {"ee2_job": job} and kept["type"] == "KBaseSets.GenomeSet"
    assert save(bridge, job) == ref, "the same job run twice"
    ws, number, version = ref.split("/")
    assert save(bridge, other) == f"{ws}/{number}/{int(version) + 1}", "a new version"
    assert save(bridge, other, name="another").split("/")[1] != number


def test_who_and_what_may_not_be_saved(bridge: Bridge) -> None:
    job, elsewhere = bridge.job(), bridge.job(wsid=None)
    for who in ("alice", "root", elsewhere):
        with pytest.raises(RpcError, match="Only a job itself may save objects"):
            save(bridge, job, who)
    with pytest.raises(RpcError, match="belongs to no workspace, so it can save no object"):
        save(bridge, elsewhere)
    for more, text in (
        ({"name": "a b"}, "cannot be an object's name"),
        ({"name": "17"}, "cannot be an object's name"),
        ({"type": "Set"}, "type must be Module.Type"),
        ({"meta": {"a": 1}}, "meta must be a mapping of texts"),
    ):
        with pytest.raises(RpcError, match=text):
            save(bridge, job, **more)
    bridge.call("cancel_job", {"job_id": job})
    with pytest.raises(RpcError, match="is no longer valid: the job is terminated"):
        save(bridge, job)


def test_a_job_whose_owner_may_no_longer_write(bridge: Bridge) -> None:
    job = bridge.job(who="wendy")
    access = bridge.db.ee2_workspaces
    access.update_one({"_id": 7}, {"$set": {"acl.wendy": "r"}})
    try:
        with pytest.raises(RpcError, match="User wendy may not write workspace 7"):
            save(bridge, job)
    finally:
        access.update_one({"_id": 7}, {"$set": {"acl.wendy": "w"}})


def test_abandoned_children_do_not_count(bridge: Bridge) -> None:
    children = [{"method": "m.f"}] * 3
    answer = bridge.call("run_job_batch", children, {"wsid": 7})
    gone = answer["child_job_ids"][:1]
    bridge.call("abandon_children", {"batch_id": answer["batch_id"], "child_job_ids": gone})
    state = bridge.call("check_job", {"job_id": answer["batch_id"]})
    assert state["child_counts"] == {"created": 2}
