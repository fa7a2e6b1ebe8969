"""AWE's resources, as KBase's job client used them, over HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from bson import ObjectId

from ee2_jobs.legacy import awe
from tests.services.rpc_support import Bridge

INFO = {"pipeline": "ExecutionEngine", "name": "m.f", "project": "SDK", "clientgroups": "bigmem"}
TASK = {
    "taskid": "0", "dependsOn": [], "skip": 0, "totalwork": 1,
    "cmd": {"name": "run_async_srv_method.sh", "args": "x y", "description": "",
            "environ": {"public": {}, "private": {"KB_AUTH_TOKEN": "secret-of-the-user"}}},
}  # fmt: skip


class AweClient:
    """Speaks as NarrativeJobService's client did: `//job/…`, a multipart part `upload`, the scheme
    word OAuth; an answer counts only if HTTP and envelope both say 200 and there is no error."""

    def __init__(self, bridge: Bridge, who: str | None) -> None:
        self.base = bridge.url.removesuffix("ee2") + "awe-api"
        self.headers = {"Authorization": f"OAuth {bridge.token(who)}"} if who else {}
        self.http = bridge.http

    def send(self, verb: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(verb, self.base + path, headers=self.headers, **more)

    def data(self, verb: str, path: str, **more: Any) -> Any:
        answer = self.send(verb, path, **more)
        content = answer.json()
        assert (answer.status_code, content["status"], content["error"]) == (200, 200, None)
        return content["data"]

    def error(self, verb: str, path: str, **more: Any) -> tuple[int, str]:
        answer = self.send(verb, path, **more)
        content = answer.json()
        assert content["status"] == answer.status_code and content["data"] is None
        (text,) = content["error"]
        return answer.status_code, text

    def submit(self, info: Any = None, **more: Any) -> Any:
        doc = {"info": {**INFO, "user": "alice", **(info or {})}, "tasks": [TASK], **more}
        file = ("tempjob.json", json.dumps(doc).encode(), "application/octet-stream")
        return self.data("POST", "//job", files={"upload": file})


def put(bridge: Bridge, job_id: str, **fields: Any) -> None:
    bridge.db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$set": fields})


def own(job: dict[str, Any]) -> str:
    oid = awe.own_id(job["id"])
    assert oid is not None
    return str(oid)


def test_a_job_from_submission_to_its_end(bridge: Bridge) -> None:
    client = AweClient(bridge, "alice")
    job = client.submit({"userattr": {"params": [{"a": 1}], "wsid": 7}})
    assert len(job["id"]) == 36 and job["state"] == "init"
    assert job["info"]["name"] == "m.f" and job["info"]["user"] == "alice"
    assert job["tasks"][0]["taskid"] == f"{job['id']}_0" and job["remaintasks"] == 1
    assert "secret-of-the-user" not in json.dumps(job)
    job_id = own(job)
    record = bridge.record(job_id)
    assert record["job_input"]["params"] == [{"a": 1}] and record["wsid"] == 7
    assert record["job_input"]["requirements"]["clientgroup"] == "njs", "no wish of a user's"
    assert job_id in bridge.started.ids
    assert "secret-of-the-user" not in str(bridge.db.ee2_legacy.find_one({"_id": record["_id"]}))
    seen = []
    for status in ("queued", "running", "completed"):
        put(bridge, job_id, status=status, **{status: time.time()}, finished=time.time())
        seen.append(client.data("GET", f"//job/{job['id']}")["state"])
    assert seen == ["queued", "in-progress", "completed"]
    done = client.data("GET", f"/job/{job['id']}")
    assert done["remaintasks"] == 0 and done["error"] is None
    assert done["info"]["completedtime"] > done["info"]["submittime"]
    assert client.data("GET", f"/job/{job_id}") == done, "our own id is understood as well"


def test_place_in_the_queue(bridge: Bridge) -> None:
    client = AweClient(bridge, "alice")
    bridge.db.ee2_jobs.update_many({}, {"$set": {"status": "completed"}})
    first, second, third = (client.submit() for _ in range(3))
    for job in (first, second, third):
        put(bridge, own(job), status="queued")
    assert client.data("GET", f"/job/{third['id']}?position") == {"position": 3}
    put(bridge, own(first), status="completed")
    assert client.data("GET", f"/job/{third['id']}?position") == {"position": 2}
    put(bridge, own(third), priority=5)
    assert client.data("GET", f"/job/{third['id']}?position") == {"position": 1}
    assert client.error("GET", f"/job/{first['id']}?position") == (
        400, "job is not queued or in-progress, job state:completed"
    )  # fmt: skip


def test_lists(bridge: Bridge) -> None:
    bridge.db.ee2_jobs.delete_many({})
    client = AweClient(bridge, "alice")
    jobs = [client.submit() for _ in range(3)]
    AweClient(bridge, "bob").submit({"user": "bob"})
    put(bridge, own(jobs[0]), status="completed", finished=time.time())
    put(bridge, own(jobs[1]), status="error", errormsg="It broke", error_code=1)

    def listed(query: str, who: str = "alice") -> tuple[list[str], int]:
        content = AweClient(bridge, who).send("GET", f"/job?{query}").json()
        assert content["error"] is None, content
        return [j["id"] for j in content["data"]], content["total_count"]

    ids = [job["id"] for job in jobs]
    assert listed("query&info.user=alice&state=completed") == ([ids[0]], 1)
    assert listed("query&info.user=alice&state=completed,suspend") == ([ids[1], ids[0]], 2)
    assert listed("query&state=completed&state=suspend&direction=asc") == (ids[:2], 2)
    assert listed("query&info.user=bob") == ([], 0), "others' jobs are not shown"
    assert listed("query&info.user=bob", "eva")[1] == 1
    assert listed("active") == ([ids[2]], 1) and listed("suspend") == ([ids[1]], 1)
    assert listed("registered") == ([ids[2], ids[1]], 2)
    assert listed("query&limit=1&offset=1") == ([ids[1]], 3)
    assert listed("query&info.project=Other") == ([], 0)
    assert listed("query&info.clientgroups=njs&info.name=m.f&info.pipeline=ExecutionEngine")[1] == 3
    assert listed("query&date_start=2001-01-01&date_end=2002-01-01") == ([], 0)
    assert listed("query&date_start=2001-01-01")[1] == 3
    for wrong, text in (
        ("query&state=lost", "There is no job state lost"),
        ("query&info.auth=1", "'info.auth' cannot be asked for here; state, id, "),
        ("query&date_start=soon", "date_start: 'soon' is no date"),
        ("limit=x", "limit must be a whole number, not 'x'"),
        ("order=name", "order must be one of info.submittime"),
    ):
        status, said = client.error("GET", f"/job?{wrong}")
        assert status == 400 and said.startswith(text)


def test_suspend_and_resume(bridge: Bridge) -> None:
    client = AweClient(bridge, "alice")
    job = client.submit()
    url = f"/job/{job['id']}"
    assert client.data("PUT", f"{url}?suspend") == f"job suspended: {job['id']}"
    suspended = client.data("GET", url)
    assert suspended["state"] == "suspend"
    assert suspended["error"] == {"status": "suspend", "servernotes": "manually suspended"}
    assert client.error("PUT", f"{url}?suspend")[0] == 400
    assert client.data("PUT", f"{url}?resume") == f"job resumed: {job['id']}"
    resumed = client.data("GET", url)
    assert resumed["id"] == job["id"] and resumed["state"] == "init", "it goes on under its id"
    assert client.error("PUT", f"{url}?resume") == (400, "job is not suspended, job state:init")
    assert client.data("PUT", f"{url}?priority=1") == f"job priority updated: {job['id']} to 1"
    for value in ("0", "22", "high"):
        assert client.error("PUT", f"{url}?priority={value}")[0] == 400
    status, text = client.error("PUT", f"{url}?clientgroup=bigmem")
    assert status == 501 and "Not Implemented" in text and "submit it again" in text
    assert client.error("PUT", f"{url}?recompute=1")[0] == 501
    report = client.data("GET", f"{url}?report")
    assert set(report) == {"id", "state", "updatetime", "error", "resumed", "tasks"}


@pytest.mark.parametrize(("verb", "query"), [("DELETE", ""), ("GET", "?method=DELETE")])
def test_delete(bridge: Bridge, verb: str, query: str) -> None:
    client = AweClient(bridge, "alice")
    job = client.submit()
    url = f"/job/{job['id']}"
    assert client.data(verb, url + query) == f"job deleted: {job['id']}"
    assert client.data("GET", url)["state"] == "deleted"
    assert bridge.record(own(job))["terminated_code"] == 0
    client.data("DELETE", f"{url}?full")
    assert client.error("GET", url) == (404, "Not Found")
    assert bridge.record(own(job)), "the record stays"


def test_who_may(bridge: Bridge) -> None:
    job = AweClient(bridge, "alice").submit({"userattr": {"wsid": 7}})
    url = f"/job/{job['id']}"
    unknown = f"/job/{awe.awe_id(ObjectId())}"
    bob, rob, root = (AweClient(bridge, who) for who in ("bob", "rob", "root"))
    for verb, query in (("GET", ""), ("GET", "?position"), ("PUT", "?suspend"), ("DELETE", "")):
        assert bob.error(verb, url + query) == bob.error(verb, unknown + query)
        assert bob.error(verb, url + query) == (404, "Not Found")
    assert rob.data("GET", url)["id"] == job["id"]
    assert rob.error("DELETE", url)[0] == 401
    assert rob.data("GET", f"{url}/acl")["read"] == ["alice"]
    doc = json.dumps({"info": {**INFO, "user": "alice"}, "tasks": [TASK]}).encode()
    assert bob.error("POST", "/job", files={"upload": doc}) == (
        401, "User Unauthorized: info.user is alice, but the token is bob's"
    )  # fmt: skip
    root.data("DELETE", url)
    (entry,) = bridge.db.ee2_audit.find({"target": own(job)})
    assert entry["who"] == "root" and entry["what"] == "AWE DELETE" and entry["outcome"] == "done"
    asked = root.submit({"user": "root"})
    assert asked["info"]["clientgroups"] == "bigmem", "an administrator's wish counts"


def test_tokens(bridge: Bridge) -> None:
    client = AweClient(bridge, None)
    path = f"/job/{awe.awe_id(ObjectId())}"
    assert client.error("GET", path) == (401, "No Authorization")
    client.headers = {"Authorization": str(bridge.token("alice"))}
    assert client.error("GET", path)[1].startswith("Invalid Auth Header")
    client.headers = {"Authorization": "OAuth nonsense"}
    assert client.error("GET", path) == (401, "User Unauthorized")
    client.headers = {"Authorization": f"globus-goauthtoken {bridge.token('alice')}"}
    assert client.error("GET", path) == (404, "Not Found")
    assert client.error("GET", "/job/12") == (404, "Not Found")


def test_what_cannot_be_submitted(bridge: Bridge) -> None:
    client = AweClient(bridge, "alice")
    before = bridge.counts()

    def post(doc: Any) -> tuple[int, str]:
        content = doc if isinstance(doc, bytes) else json.dumps(doc).encode()
        return client.error("POST", "/job", files={"upload": content})

    info = {**INFO, "user": "alice"}
    assert client.error("POST", "/job", json={}) == (400, "No job file is submitted")
    assert client.error("POST", "/job", files={"cwl": b"x"}) == (
        400, "No job script or awf is submitted"
    )  # fmt: skip
    for doc, text in (
        (b"{", "The job document is not JSON"),
        ([], "The job document has no info"),
        ({"info": info, "tasks": [TASK, TASK]}, "The job document must have exactly one task"),
        ({"info": {**info, "name": "x"}, "tasks": [TASK]}, "info.name must be the method to run"),
        ({"info": {**info, "name": "no.app"}, "tasks": [TASK]}, "There is no app 'no'"),
    ):
        status, said = post(doc)
        assert status == 400 and said.startswith(text)
    assert bridge.counts() == before


def test_the_queue_and_the_rest(bridge: Bridge) -> None:
    nobody = AweClient(bridge, None)
    counts = nobody.data("GET", "/queue?json")
    assert set(counts) == {"jobs", "tasks", "workunits", "clients"}
    assert counts["jobs"]["total"] == sum(n for k, n in counts["jobs"].items() if k != "total")
    assert "total jobs" in nobody.data("GET", "/queue")
    described = nobody.send("GET", "/").json()
    assert described["id"] == "AWE" and "status" not in described
    status, text = nobody.error("GET", "/client")
    assert status == 501 and "client is not offered here" in text
    assert nobody.error("GET", "/nothing")[0] == 404
    assert nobody.send("GET", "/nothing?always200").status_code == 200
    script = nobody.send("GET", "/queue?json&callback=show")
    assert script.text.startswith("/**/show({") and "javascript" in script.headers["content-type"]
    assert nobody.send("GET", "/queue?json&callback=alert(1)//").json()["status"] == 200


def test_ids_lead_to_each_other() -> None:
    oid = ObjectId()
    assert awe.own_id(awe.awe_id(oid)) == oid == awe.own_id(str(oid))
    assert awe.own_id("5f0c1111-2222-4333-8444-555566667777") is None


def test_a_job_that_ran_on_awe_is_found_by_its_id_there(bridge: Bridge) -> None:
    client = AweClient(bridge, "alice")
    job_id = bridge.job()
    old = "5f0c1111-2222-4333-8444-555566667777"
    bridge.db.ee2_legacy.update_one(
        {"_id": ObjectId(job_id)}, {"$set": {"awe_job_id": old}}, upsert=True
    )
    assert client.data("GET", f"/job/{old}")["id"] == old
