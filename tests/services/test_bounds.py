"""What one call may ask for has a bound, and the refusal says which; what clients put into
mappings reaches no query; calls that race leave one outcome."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.legacy.ujs_values import MAX_META_BYTES, MAX_SERVICES
from tests.services.rpc_support import Bridge, RpcError
from tests.services.ujs_support import NONE, new_user, started

REF = "7/1/1"
LONG = "x" * 1001


def refused(bridge: Bridge, method: str, *params: Any, who: str = "alice") -> str:
    """The message of a refusal: a short one, and nothing was stored."""
    before = bridge.counts()
    call = {"version": "1.1", "id": "1", "method": method, "params": list(params)}
    answer = bridge.post(call, bridge.token(who))
    assert answer.status_code == 500, answer.text
    error = answer.json()["error"]
    assert error["code"] in (-32000, -32500, -32601), error
    assert len(error["message"]) < 2000
    assert bridge.counts() == before
    return str(error["message"])


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("check_jobs", {"job_ids": ["5f0c" * 6] * 150_000 + [""] * 50_001}, "job_ids: at most"),
        ("retry_jobs", {"job_ids": [""] * 200_001}, "job_ids: at most 200000 ids"),
        ("check_job", {"exclude_fields": ["job_input.params.a"] * 1001}, "exclude_fields: at most"),
        ("wait_for_jobs", {"job_ids": ["5f0c" * 6] * 1001}, "a list of 1 to 1000"),
        ("check_jobs_date_range_for_user",
         {"start_time": 0, "end_time": 1, "projection": ["status"] * 1001}, "projection: at most"),
        ("run_job", {"method": "m.f", "source_ws_objects": [REF] * 10_001}, "at most 10000 obj"),
        ("run_job", {"method": "m.f", "parent_job_id": LONG}, "parent_job_id must be a job's id"),
        ("run_job", {"method": "m.f", "parent_job_id": {"$ne": 1}}, "parent_job_id must be"),
        ("run_job", {"method": "m.f", "meta": {"run_id": LONG}}, "meta.run_id may have 1000"),
        ("run_job", {"method": "m.f", "app_id": f"m/{LONG}"}, "application ID may have 1000"),
        ("share_job", {"users": ["bob"] * 1001}, "At most 1000 users in one call"),
        ("NarrativeJobService.check_jobs", {"job_ids": [""] * 200_001}, "job_ids: at most"),
        ("NarrativeJobService.run_job",
         {"method": "m.f", "params": [], "source_ws_objects": [REF] * 10_001}, "at most 10000"),
        ("UserAndJobState.create_job2", {"meta": {"a": "x" * (MAX_META_BYTES + 1)}}, "meta may"),
        ("UserAndJobState.list_jobs2", {"services": ["s"] * (MAX_SERVICES + 1)}, "services: at m"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_bounds(bridge: Bridge, method: str, params: dict[str, Any], text: str) -> None:
    if method in ("share_job", "check_job"):
        params = {"job_id": bridge.job(wsid=None), **params}
    name = method if "." in method else f"execution_engine2.{method}"
    assert text in refused(bridge, name, params)


def test_what_each_job_of_a_batch_gets_is_short(bridge: Bridge) -> None:
    """A batch multiplies it."""
    tasks = {"tasks": [{"module_name": "m", "function_name": "f", "parameters": 1}] * 20,
             "runner": "parallel", "parent_job_id": "x" * 100_000}  # fmt: skip
    assert "parent_job_id" in refused(bridge, "KBParallel._run_batch_submit", tasks)
    many = {"method": "m.f", "children": [1] * 50, "source_ws_objects": [REF] * 20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ee2_jobs.submit.MAX_REFS_OF_ALL", 999)
        told = refused(bridge, "execution_engine2.run_split_aggregate", many)
    assert "all jobs of one call together may name 999 objects, not 1000" in told
    split = {"method": "m.f", "children": [1, 2], "meta": {"cell_id": "x" * 100_000}}
    assert "meta.cell_id may have" in refused(
        bridge, "execution_engine2.run_split_aggregate", split
    )


def test_results_that_every_list_repeats(bridge: Bridge) -> None:
    owner, service = new_user(bridge), new_user(bridge)
    job = started(owner, service)
    for results in ({"shocknodes": ["n"] * 1001}, {"workspaceids": ["n"] * 1001}):
        with pytest.raises(Exception, match="at most 1000, not 1001"):
            owner.complete_job(job, service.token, "done", None, results)


def test_a_jobs_record_keeps_room_for_its_end(bridge: Bridge) -> None:
    job = bridge.job()
    saved = [{"name": f"o{n}", "ref": REF} for n in range(1000)]
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job)}, {"$set": {"saved": saved}})
    new = {"job_id": job, "name": "new", "type": "A.B", "data": 1}
    with pytest.raises(RpcError, match="A job may save 1000 objects at most"):
        bridge.call("ee2_runner.save_object", new, who=job)
    assert bridge.call("ee2_runner.save_object", {**new, "name": "o7"}, who=job) == {"ref": REF}


def awe_post(bridge: Bridge, **more: Any) -> tuple[int, str]:
    url = bridge.url.removesuffix("ee2") + "awe-api/job"
    headers = {"Authorization": f"OAuth {bridge.tokens['alice']}", **more.pop("headers", {})}
    answer = bridge.http.post(url, headers=headers, **more)
    return answer.status_code, str(answer.json()["error"])


def test_a_multipart_body_without_a_length_has_the_same_limit(bridge: Bridge) -> None:
    boundary = "b" * 20
    sent: list[int] = []

    def body() -> Iterator[bytes]:
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="upload"; filename="f"\r\n\r\n'
        ).encode()
        for _ in range(40):
            sent.append(1_000_000)
            yield b"x" * 1_000_000

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, text = awe_post(bridge, content=body(), headers=headers)
    assert status == 400 and "The request is larger than 5 MB" in text


def test_what_awe_keeps_of_a_document_is_short(bridge: Bridge) -> None:
    info = {"name": "m.f", "description": "x" * 1001}
    upload = {"upload": json.dumps({"info": info, "tasks": [{}]}).encode()}
    status, text = awe_post(bridge, files=upload)
    assert status == 400 and "info.description exceeds the maximum length of 1000" in text


def test_awes_filters_are_bounded(bridge: Bridge) -> None:
    url = bridge.url.removesuffix("ee2") + "awe-api/job?query&info.name=" + "a," * 1001
    answer = bridge.http.get(url, headers={"Authorization": f"OAuth {bridge.tokens['alice']}"})
    assert answer.status_code == 400 and "info.name: at most 1000 values" in answer.text


# --- what clients put in mappings

KEYS = ["$where", "a.b", "$set", ".", "", "$", "_id", "a.$.b", "__proto__"]


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_kept_as_they_are(bridge: Bridge, key: str) -> None:
    owner = new_user(bridge)
    job = owner.create_job2({"meta": {key: "v"}})
    assert owner.get_job_info2(job)[10] == {key: "v"}
    owner.set_state("svc", key or "empty", {key: [{key: 1}]})
    assert owner.get_state("svc", key or "empty", 0) == {key: [{key: 1}]}
    assert owner.list_state("svc", 0) == [key or "empty"]
    run = {"method": "m.f", "params": [{key: 1}], "meta": {key: "v"}, "rpc_context": {key: 1}}
    ours = bridge.call("NarrativeJobService.run_job", run)
    call = {"version": "1.1", "id": "1", "method": "NarrativeJobService.get_job_params",
            "params": [ours]}  # fmt: skip
    told = bridge.post(call, bridge.token("alice")).json()["result"][0]
    assert told["params"] == [{key: 1}] and told["rpc_context"] == {key: 1}
    saved = {"job_id": bridge.job(), "name": "o", "type": "A.B", "data": {key: 1},
             "meta": {key: "v"}}  # fmt: skip
    assert bridge.call("ee2_runner.save_object", saved, who=saved["job_id"])["ref"]


@pytest.mark.parametrize("value", [{"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, ["a"], 1, True])
def test_a_mapping_is_no_name(bridge: Bridge, value: Any) -> None:
    """Where a name or an id is asked for, a mapping with operators is refused."""
    for method, params in (
        ("UserAndJobState.get_job_status", [value]),
        ("UserAndJobState.get_state", [value, "k", 0]),
        ("UserAndJobState.get_state", ["svc", value, 0]),
        ("UserAndJobState.list_jobs", [[value], None]),
        ("UserAndJobState.list_jobs2", [{"authstrat": value}]),
        ("UserAndJobState.list_jobs2", [{"authstrat": "kbaseworkspace", "authparams": [value]}]),
        ("UserAndJobState.start_job", ["5f0c" * 6, value, None, None, NONE, None]),
        ("UserAndJobState.share_job", ["5f0c" * 6, [value]]),
        ("NarrativeJobService.check_job", [value]),
        ("NarrativeJobService.run_job", [{"method": value, "params": []}]),
        ("NarrativeJobService.run_job", [{"method": "m.f", "params": [], "service_ver": value}]),
        ("NarrativeJobService.list_job_statuses", [value]),
        ("execution_engine2.share_job", [{"job_id": value, "users": ["bob"]}]),
        ("execution_engine2.share_job", [{"job_id": "5f0c" * 6, "users": [value]}]),
        ("execution_engine2.set_priority", [{"job_id": value, "priority": 0}]),
        ("execution_engine2.check_workspace_jobs", [{"workspace_id": {"$gt": value}}]),
        ("execution_engine2.check_jobs_date_range_for_user",
         [{"start_time": 0, "end_time": 1, "filter": {"status": {"$gt": value}}}]),
    ):  # fmt: skip
        call = {"version": "1.1", "id": "1", "method": method, "params": params}
        answer = bridge.post(call, bridge.token("alice"))
        assert answer.status_code == 500, (method, answer.text)
        assert answer.json()["error"]["code"] in (-32000, -32500, -32602), (method, answer.text)


def test_nul_in_an_objects_labels_is_told(bridge: Bridge) -> None:
    job = bridge.job()
    new = {"job_id": job, "name": "o", "type": "A.B", "data": 1, "meta": {"a\0b": "c"}}
    with pytest.raises(RpcError, match="meta: a key contains the NUL character"):
        bridge.call("ee2_runner.save_object", new, who=job)


@pytest.mark.parametrize(
    "callback", ["alert(1)", "a</script>", "a\r\nX-Y: 1", "f;g", "", "a" * 101]
)
def test_a_callback_is_a_name(bridge: Bridge, callback: str) -> None:
    url = bridge.url.removesuffix("ee2") + "awe-api/queue"
    answer = bridge.http.get(url, params={"json": "1", "callback": callback})
    assert answer.headers["content-type"] == "application/json" and answer.json()["data"]
    assert answer.headers["x-content-type-options"] == "nosniff" and "x-y" not in answer.headers


def test_no_secret_is_told_or_kept(bridge: Bridge) -> None:
    """Tokens among parameters, and AWE's private environment."""
    owner, service = new_user(bridge), new_user(bridge)
    job = started(owner, service)
    owner.complete_job(job, service.token, "done", None, None)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        owner.start_job(job, "bad-" + service.token, None, None, NONE, None)
    assert service.token not in str(raised.value)
    task = {"cmd": {"environ": {"private": {"KB_AUTH_TOKEN": "very-private"}}}}
    doc = {"info": {"name": "m.f", "auth": "very-private", "datatoken": "very-private"},
           "tasks": [task]}  # fmt: skip
    status, _ = awe_post(bridge, files={"upload": json.dumps(doc).encode()})
    assert status == 200
    for name in bridge.db.list_collection_names():
        kept = str(list(bridge.db[name].find({})))
        assert "very-private" not in kept, name
        if name != "ee2_tokens":
            assert service.token not in kept.replace(f"{service.user}", ""), name


# --- races


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each returns, or the exception that it raised."""
    barrier = threading.Barrier(len(calls))
    done: list[Any] = [None] * len(calls)

    def run(n: int) -> None:
        barrier.wait()
        try:
            done[n] = calls[n]()
        except Exception as e:
            done[n] = e

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def failures(done: list[Any]) -> list[str]:
    return [str(one) for one in done if isinstance(one, Exception)]


@pytest.mark.parametrize(
    "ways",
    [("cancel", "cancel"), ("complete", "cancel"), ("complete", "complete"),
     ("cancel", "force_delete")],
)  # fmt: skip
def test_a_driven_job_ends_once(bridge: Bridge, ways: tuple[str, str]) -> None:
    owner, service = new_user(bridge), new_user(bridge)
    for _ in range(4):
        job = started(owner, service)

        def end(way: str, job: str = job) -> Any:
            # A connection of its own per thread.
            mine = type(owner)(bridge, owner.user)
            if way == "cancel":
                return mine.cancel_job(job, "enough")
            if way == "force_delete":
                return mine.force_delete_job(service.token, job)
            return mine.complete_job(job, service.token, "done", None, {"shocknodes": ["n"]})

        done = at_once(*(lambda way=way: end(way) for way in ways))
        record = bridge.record(job)
        side = bridge.db.ee2_legacy.find_one({"_id": ObjectId(job)}) or {}
        assert record["status"] in ("terminated", "completed")
        assert ("results" in side) == (record["status"] == "completed")
        assert ("canceledby" in side) == (record["status"] == "terminated")
        if "force_delete" in ways:
            assert side["deleted"] is True
        else:
            assert len(failures(done)) == 1, done


def test_the_same_state_set_at_once(bridge: Bridge) -> None:
    owner = new_user(bridge)
    for n in range(3):
        key = f"k{n}"
        done = at_once(*(
            lambda v=v, key=key: type(owner)(bridge, owner.user).set_state("svc", key, v)
            for v in range(4)
        ))  # fmt: skip
        assert failures(done) == []
        assert bridge.db.ee2_user_state.count_documents({"user": owner.user, "key": key}) == 1


def test_sharing_and_unsharing_at_once(bridge: Bridge) -> None:
    job = bridge.job(wsid=None)
    share = {"job_id": job, "users": ["bob", "rob"]}
    done = at_once(*(
        lambda: bridge.call("share_job", share), lambda: bridge.call("share_job", share),
        lambda: bridge.call("unshare_job", {"job_id": job, "users": ["rob"]}),
    ))  # fmt: skip
    assert failures(done) == []
    told = bridge.call("get_job_shared", {"job_id": job})
    assert told in (["bob"], ["bob", "rob"])
    bridge.call("unshare_job", {"job_id": job, "users": ["rob", "bob"]})
    assert bridge.record(job)["shared"] == []


def test_a_retry_and_a_resume_at_once_start_one_attempt(bridge: Bridge) -> None:
    url = bridge.url.removesuffix("ee2") + "awe-api/job"
    headers = {"Authorization": f"OAuth {bridge.tokens['alice']}"}
    for _ in range(6):
        job = bridge.job()
        bridge.http.put(f"{url}/{job}?suspend", headers=headers).raise_for_status()
        at_once(
            lambda job=job: bridge.call("retry_job", {"job_id": job}),
            lambda job=job: bridge.http.put(f"{url}/{job}?resume", headers=headers),
        )
        assert bridge.db.ee2_jobs.count_documents({"retry_parent": job}) == 1


def test_the_parent_of_a_batch_cannot_be_suspended(bridge: Bridge) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}], {"wsid": 7})["batch_id"]
    url = bridge.url.removesuffix("ee2") + f"awe-api/job/{batch}?suspend"
    answer = bridge.http.put(url, headers={"Authorization": f"OAuth {bridge.tokens['alice']}"})
    assert answer.status_code == 400 and "the parent of a batch" in answer.text
    assert bridge.record(batch)["status"] == "created"


def test_an_object_saved_twice_at_once_has_one_reference(bridge: Bridge) -> None:
    for n in range(5):
        job = bridge.job()
        new = {"job_id": job, "name": f"obj{n}", "type": "A.B", "data": 1}
        done = at_once(*[lambda job=job, new=new: bridge.call(
            "ee2_runner.save_object", new, who=job)["ref"]] * 4)  # fmt: skip
        assert len(set(map(str, done))) == 1, done
        assert len(bridge.record(job)["saved"]) == 1


def test_children_abandoned_at_once(bridge: Bridge) -> None:
    asked = [{"method": "m.f"}] * 8
    batch = bridge.call("run_job_batch", asked, {"wsid": 7})
    children = batch["child_job_ids"]
    done = at_once(*(
        lambda child=child: bridge.call(
            "abandon_children", {"batch_id": batch["batch_id"], "child_job_ids": [child, child]}
        )
        for child in children[:4]
    ))  # fmt: skip
    assert failures(done) == []
    assert bridge.record(batch["batch_id"])["child_jobs"] == children[4:]
