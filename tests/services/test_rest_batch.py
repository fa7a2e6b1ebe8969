"""The REST API of batches: summary, grid, why children failed, table."""

from __future__ import annotations

import base64
import csv
import io
import time
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.alike import alike
from ee2_jobs.page.children import safe_cell
from tests.services.rest_support import get, post, refused, request
from tests.services.rpc_support import Bridge

GRID = ("created", "estimating", "queued", "running", "completed", "error", "terminated", "?")
STATES = ["completed"] * 5 + ["error"] * 3 + ["running", "queued", "terminated"]


def unpacked(grid: Any) -> list[str]:
    """What a client makes of a grid."""
    bits = "".join(f"{byte:08b}" for byte in base64.b64decode(grid["states"]))
    return [GRID[int(bits[i * 3 : i * 3 + 3], 2)] for i in range(grid["children"])]


class Batch:
    """Eleven children in STATES."""

    def __init__(self, bridge: Bridge, wsid: int | None = 7) -> None:
        self.db = bridge.db.ee2_jobs
        children = [{"method": "m.f", "params": [{"reads": f"sample {n}", "k": 31}]}
                    for n in range(len(STATES))]  # fmt: skip
        made = bridge.call("run_job_batch", children, {"wsid": wsid})
        self.id, self.children = made["batch_id"], made["child_job_ids"]
        now = time.time()
        for n, state in enumerate(STATES):
            fields: dict[str, Any] = {"status": state, "queued": now - 60}
            if state not in ("queued", "created"):
                fields["running"] = now - 30
            if state in ("completed", "error", "terminated"):
                fields |= {"finished": now - 10, "usage": {"cpu_user_s": 360, "cpu_system_s": 0.0}}
            if state == "error":
                fields |= {"error_code": 1, "errormsg": f"=staging file {n}.fq is empty\nmore"}
            self.set(n, **fields)

    def set(self, n: int, **fields: Any) -> None:
        self.db.update_one({"_id": ObjectId(self.children[n])}, {"$set": fields})


@pytest.fixture
def batch(bridge: Bridge) -> Batch:
    return Batch(bridge)


def test_the_summary(bridge: Bridge, batch: Batch) -> None:
    answer = request(bridge, "GET", f"/batches/{batch.id}", who="rob")
    page = answer.json()
    assert page["counts"] == {
        "completed": 5, "error": 3, "running": 1, "queued": 1, "terminated": 1,
    }
    assert page["children"] == 11 and page["percent"] == 81.8 and page["end"] is None
    assert page["name"] == "m.f × 11" and page["narrative"]["title"] == "alice:narrative_7"
    assert page["cpu_hours"] == 0.9 and page["expected_end"] is None
    [parts] = page["stages"]
    assert (parts["stage"], parts["status"], parts["job_id"]) == ("parts", "running", None)
    assert parts["counts"] == page["counts"]
    times = [parts[name] for name in ("first_queued", "first_running", "last_finished")]
    assert times == sorted(times) and abs(times[2] / 1000 - (time.time() - 10)) < 8
    assert page["can"] == {"cancel": False, "retry": False, "share": False}
    own = get(bridge, f"/batches/{batch.id}")
    assert own["can"] == {"cancel": True, "retry": True, "share": False} and own["shared"] is None
    assert len(answer.content) < 2048
    for n in (8, 9):
        batch.set(n, status="completed", finished=time.time() - 3)
    page = get(bridge, f"/batches/{batch.id}")
    assert page["end"] == "error" and page["percent"] == 100 and not page["can"]["cancel"]
    assert abs(page["finished"] / 1000 - (time.time() - 3)) < 5


def test_stages(bridge: Bridge) -> None:
    made = bridge.call("run_split_aggregate", {"method": "m.f", "params": [1], "wsid": 7})
    page = get(bridge, f"/batches/{made}")
    assert [(s["stage"], s["status"]) for s in page["stages"]] == [
        ("split", "created"), ("parts", None), ("aggregate", "created"),
    ]  # fmt: skip
    split = get(bridge, f"/jobs/{page['stages'][0]['job_id']}")
    assert split["batch"]["role"] == "split" and page["children"] == 0
    assert page["app"]["method"] == "m.f" and page["percent"] is None
    assert get(bridge, f"/batches/{made}/grid")["states"] == ""
    assert page["stages"][0]["counts"] == {"created": 1} and page["stages"][1]["counts"] == {}
    begun = time.time() - 5
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(page["stages"][0]["job_id"])},
        {"$set": {"status": "running", "queued": begun, "running": begun + 1}},
    )
    first, parts, last = get(bridge, f"/batches/{made}")["stages"]  # at once, not when it is old
    assert (first["first_queued"], first["first_running"]) == (
        round(begun * 1000), round((begun + 1) * 1000),
    )  # fmt: skip
    assert first["last_finished"] is None and first["counts"] == {"running": 1}
    assert parts["first_queued"] is None and last["first_running"] is None


def test_who_may_see_it(bridge: Bridge, batch: Batch) -> None:
    nowhere = str(ObjectId())
    for path in ("", "/grid", "/grid/ids", "/errors", "/table.csv"):
        there = refused(bridge, f"/batches/{batch.id}{path}", who="bob")
        not_there = refused(bridge, f"/batches/{nowhere}{path}", who="bob")
        assert there[0] == not_there[0] == 404
        assert there[1].replace(batch.id, "ID") == not_there[1].replace(nowhere, "ID")
        assert refused(bridge, f"/batches/{batch.id}{path}", as_admin=1)[0] == 403
        assert refused(bridge, f"/batches/x{path}")[0] == 400
        status, text = refused(bridge, f"/batches/{batch.children[0]}{path}")
        assert status == 404 and "is not a batch" in text
        as_admin = request(bridge, "GET", f"/batches/{batch.id}{path}?as_admin=1", who="eva")
        assert as_admin.status_code == 200


def test_the_grid_follows_attempts(bridge: Bridge, batch: Batch) -> None:
    grid = get(bridge, f"/batches/{batch.id}/grid")
    assert unpacked(grid) == STATES
    new = post(bridge, f"/jobs/{batch.children[6]}/retry")["retry_id"]
    expected = [*STATES]
    expected[6] = "created"
    assert unpacked(get(bridge, f"/batches/{batch.id}/grid")) == expected
    ids = get(bridge, f"/batches/{batch.id}/grid/ids", limit=3, **{"from": 5})["ids"]
    assert ids == [batch.children[5], new, batch.children[7]]
    assert refused(bridge, f"/batches/{batch.id}/grid/ids", limit=10**6)[0] == 400


def test_why_children_failed(bridge: Bridge, batch: Batch) -> None:
    batch.set(10, status="error", error_code=3)
    found = get(bridge, f"/batches/{batch.id}/errors")
    first, second = found["groups"]
    assert found["failed"] == 4 and first["count"] == 3
    assert first["message"] == "=staging file ‹n›.fq is empty" and first["code"] == 1
    assert first["sample"].startswith("=staging file ") and "more" not in first["sample"]
    assert first["ids"] == sorted(batch.children[5:8])
    assert second["message"] == second["code_words"] == "over its time limit"


def test_messages_that_mean_the_same() -> None:
    one = "Object 7/12/3 of 66f2a1b3c4d5e6f708192a3b at 0x7fde: 12.5 MB\nTraceback"
    other = "Object 8/1/10 of 66f2a1b3c4d5e6f708192aff at 0x11: 3 MB"
    assert alike(one) == alike(other) == "Object ‹n›/‹n›/‹n› of ‹id› at ‹n›: ‹n› MB"
    assert alike("no reads") != alike("no feed") and alike("\n \n") == ""


def test_the_children_of_a_failure(bridge: Bridge, batch: Batch) -> None:
    """The word that lists what a group of failures counts, whatever letters it has."""
    hostile = "(.*)+ [a-z] $ 0x1F \u202etxt"
    batch.set(9, status="error", error_code=1, errormsg=f" {hostile} \nmore")
    batch.set(10, status="error", error_code=1, errormsg="=staging file 7.fq is empty, says B")
    groups = get(bridge, f"/batches/{batch.id}/errors")["groups"]
    assert len(groups) == 3
    for group in groups:
        listed = get(bridge, "/jobs", batch=batch.id, failure=group["message"])
        assert sorted(row["id"] for row in listed["items"]) == group["ids"]
    assert refused(bridge, "/jobs", batch=batch.id, failure="x" * 401)[0] == 400


def test_the_table(bridge: Bridge, batch: Batch) -> None:
    answer = request(bridge, "GET", f"/batches/{batch.id}/table.csv", who="rob")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["state"] for row in rows] == STATES
    assert rows[3]["differs"] == "reads=sample 3" and rows[3]["job_id"] == batch.children[3]
    assert rows[5]["error_line"] == "'=staging file 5.fq is empty"
    assert rows[5]["ran_s"] == "20.0" and rows[5]["finished"].endswith("+00:00")
    for text in ("=1", "+1", "-1", "@x", "\t=1", "\r\n=1"):
        assert safe_cell(text)[:1] == "'", text
    assert safe_cell("a\r\nb") == "a b" and safe_cell(-3) == -3


def test_a_batch_that_is_cancelled_after_its_end_is_listed_once(bridge: Bridge) -> None:
    mine = f"m{ObjectId()}"
    batches = [Batch(bridge) for _ in range(3)]
    now = time.time()
    for age, batch in enumerate(batches):
        batch.db.update_many({"batch_id": batch.id}, {"$set": {"status": "completed"}})
        end = {"status": "completed", "at": now - 100 - age}
        batch.db.update_one(
            {"_id": ObjectId(batch.id)}, {"$set": {"batch_end": end, "user": mine, "wsid": 7}}
        )
    bridge.call("cancel_job", {"job_id": batches[2].id})
    assert "batch_end" not in bridge.record(batches[2].id)
    seen: list[tuple[str, str]] = []
    more: dict[str, Any] = {}
    while True:
        page = get(bridge, "/jobs", who="root", scope="all", user=mine, sort="-finished", limit=1,
                   **more)  # fmt: skip
        seen += [(row["id"], row["status"]) for row in page["items"]]
        if page["next"] is None:
            break
        more = {"cursor": page["next"]}
    assert seen == [
        (batches[2].id, "terminated"), (batches[0].id, "completed"), (batches[1].id, "completed"),
    ]  # fmt: skip


def test_nobody_is_taken_for_an_administrator(bridge: Bridge) -> None:
    job = bridge.job()
    by_wendy = {"job_id": job, "terminated_code": 1, "reason": "ask root"}
    bridge.call("cancel_job", by_wendy, who="wendy")
    assert bridge.record(job)["terminated_code"] == 1, "as EE2 stores it"
    page = get(bridge, f"/jobs/{job}")
    assert page["sentence"] == "Cancelled: ask root" and page["ended_by"] == "user"
    last = get(bridge, f"/jobs/{job}/transitions")["transitions"][-1]
    assert (last["by"], last["user"]) == ("user", "wendy")
