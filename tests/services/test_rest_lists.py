"""Lists of jobs over REST: pages, filter words, rights, counts, groups, export."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import ExecutionTimeout

from ee2_jobs.browse.export import COLUMNS
from tests.services.conftest import free_port
from tests.services.lists_support import DAY_S, NOW_S, World
from tests.services.rpc_support import Bridge
from tests.services.test_rest import get, message


@pytest.fixture(scope="module")
def bridge_of_lists(
    mongo_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bridge]:
    bridge = Bridge(mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port())
    bridge.start()
    titles = {"f": {"title": "Count reads"}, "g": {"title": ""}}
    bridge.db.ee2_apps.insert_one({"module": "Titled", "current": True, "methods": titles})
    yield bridge
    bridge.stop()


@pytest.fixture
def world(bridge_of_lists: Bridge) -> World:
    bridge_of_lists.db.ee2_jobs.delete_many({})
    return World(bridge_of_lists)


def walk(world: World, **words: Any) -> list[list[str]]:
    """All pages of a list, by `next`; going back by `prev` must give the same."""
    pages: list[list[str]] = []
    backwards: list[list[str]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = world.page(**words, **cursor)
        pages.append([row["id"] for row in answer["items"]])
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    while answer["prev"] is not None:
        answer = world.page(**words, cursor=answer["prev"])
        backwards.append([row["id"] for row in answer["items"]])
    flat = [one for page in pages[:-1] for one in page]
    assert [one for page in reversed(backwards) for one in page] == flat
    return pages


@pytest.mark.parametrize("sort", ["created", "-created", "finished", "-finished"])
def test_pages(world: World, sort: str) -> None:
    # Several end at the same moment, as after a cancel.
    jobs = [
        world.add(made=NOW_S - 5000 + n, finished=float(NOW_S - n // 3)) for n in range(11)
    ]
    ends = {j: world.bridge.record(j)["finished"] for j in jobs}
    world.add("bob")
    wanted = sorted(jobs, key=lambda j: (ends[j], j) if "finished" in sort else (0, j),
                    reverse=sort.startswith("-"))  # fmt: skip
    pages = walk(world, sort=sort, limit=4)
    assert [len(p) for p in pages] == [4, 4, 3]
    assert [one for page in pages for one in page] == wanted
    first = world.page(sort=sort, limit=4)
    assert first["prev"] is None and first["count"] == {"value": 11, "exact": True}
    # Stable while rows are added.
    second = world.page(sort=sort, limit=4, cursor=first["next"])
    world.add(made=NOW_S - 5010, finished=float(NOW_S - 100))
    world.add(made=NOW_S, finished=float(NOW_S + 100))
    again = world.page(sort=sort, limit=4, cursor=first["next"])
    assert again["items"] == second["items"] and again["count"] is None


def test_a_row(world: World) -> None:
    job = world.add(
        status="error", wsid=7, error_code=1, errormsg=f"\n  {'no such file ' * 30}\nmore",
        claim={"host": "node7"}, group="bigmem", app="kb_uploadmethods/import_fastq",
    )  # fmt: skip
    answer = world.get("/jobs")
    assert "secret" not in answer.text
    row = answer.json()["items"][0]
    made_ms = (NOW_S - 1000) * 1000
    assert len(row.pop("error_line")) == 160
    assert row == {
        "id": job, "status": "error", "app_id": "kb_uploadmethods/import_fastq",
        "method": "kb_uploadmethods.import_fastq", "user": "alice", "ws_id": 7,
        "narrative": "alice:narrative_7", "group": "bigmem", "node": "node7", "created": made_ms,
        "running": made_ms + 10_000, "finished": made_ms + 70_000, "wait_ms": 10_000,
        "run_ms": 60_000, "error_code": 1, "can_retry": True,
    }  # fmt: skip
    assert len(answer.content) < 450 + 160 + 200
    running = world.add(status="running", time_limit_s=3600)
    row = world.page(status="live")["items"][0]
    assert row["id"] == running and row["can_cancel"] and "can_retry" not in row
    assert row["limit_at"] == row["running"] + 3_600_000 and "run_ms" not in row


def test_a_row_has_its_apps_title(world: World) -> None:
    world.add(app="Titled/f", made=NOW_S - 20)
    world.add(app="Titled/g", made=NOW_S - 30)
    titled, bare = world.page(module="Titled")["items"]
    assert "cpu_ms" not in bare and "index" not in bare
    assert titled["app_title"] == "Count reads" and "app_title" not in bare


def test_a_childs_row_has_its_place_and_processor_time(world: World) -> None:
    parent = world.add(status="created", batch_job=True, app="batch")
    usage = {"cpu_user_s": 2.5, "cpu_system_s": 0.25, "wall_s": 60}
    world.add(made=NOW_S - 900, batch_id=parent, role="submit", index=7, usage=usage)
    [row] = world.page(batch=parent)["items"]
    assert (row["index"], row["cpu_ms"]) == (7, 2750)


def test_a_child_is_run_again_by_who_manages_its_batch(world: World) -> None:
    names = {"shared": ["bob", "rob", "wendy"]}
    parent = world.add(batch_job=True, app="batch", managers=["rob"], **names)
    child = {"batch_id": parent, "role": "submit", **names}
    failed = world.add(status="error", managers=["rob", "wendy"], **child)
    runs = world.add(status="running", managers=["rob", "wendy"], **child)

    def can(who: str) -> dict[str, list[str]]:
        rows = world.page(who, batch=parent)["items"]
        return {r["id"]: [w for w in ("can_cancel", "can_retry") if w in r] for r in rows}

    assert can("alice") == can("rob") == {failed: ["can_retry"], runs: ["can_cancel"]}
    assert can("wendy") == {failed: [], runs: ["can_cancel"]}
    assert can("bob") == {failed: [], runs: []}
    for who, may in (("alice", True), ("rob", True), ("wendy", False), ("bob", False)):
        assert world.get(f"/jobs/{failed}", who).json()["can"]["retry"] is may, who


def test_a_batch_is_one_row(world: World) -> None:
    made = NOW_S - 500
    parent = world.add(status="created", made=made, batch_job=True, app="batch")
    states = ["completed"] * 3 + ["running", "queued"]
    children = [
        world.add(status=s, made=made + 1 + n, batch_id=parent, role="submit")
        for n, s in enumerate(states)
    ]
    single = world.add(made=made - 10)
    answer = world.page()
    assert [row["id"] for row in answer["items"]] == [parent, single]
    assert answer["count"] == {"value": 2, "exact": True}
    row = answer["items"][0]
    assert row["is_batch"] and row["status"] == "running" and "finished" not in row
    assert row["children"] == {"completed": 3, "running": 1, "queued": 1}
    assert world.ids(status="live") == world.ids(status="running") == [parent]
    assert world.ids(status="queued") == []
    assert world.ids(batch=parent) == children[::-1]
    assert world.ids(batch=parent, status="completed") == children[:3][::-1]
    assert [len(p) for p in walk(world, batch=parent, limit=2)] == [2, 2, 1]
    # It ends: another list has it, by its end.
    ended = {"status": "completed", "finished": NOW_S - 5.0}
    jobs = world.bridge.db.ee2_jobs
    jobs.update_many({"batch_id": parent, "status": {"$ne": "completed"}}, {"$set": ended})
    deadline = time.monotonic() + 60
    while "batch_end" not in world.bridge.record(parent):
        assert time.monotonic() < deadline, "nobody noticed the end of the batch"
        time.sleep(0.05)
    assert world.ids(status="live") == world.ids(status="running") == []
    assert world.ids(status="completed") == world.ids(sort="-finished") == [parent, single]
    assert world.page()["items"][0]["finished"] == (NOW_S - 5) * 1000
    assert world.bridge.call("check_job", {"job_id": parent})["status"] == "created", "C-10"


def test_the_newest_attempt_is_shown(world: World) -> None:
    first = world.add(status="error", made=NOW_S - 900, superseded=True)
    second = world.add(status="error", made=NOW_S - 800, superseded=True, retry_parent=first)
    third = world.add(status="running", made=NOW_S - 700, retry_parent=first)
    world.bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(first)}, {"$set": {"retry_ids": [second, third]}}
    )
    answer = world.page()
    assert [(r["id"], r["attempt"], r["retry_of"]) for r in answer["items"]] == [(third, 3, first)]
    shown = world.page(attempts=True)["items"]
    assert [r["id"] for r in shown] == [third, second, first]
    assert shown[1]["superseded"] and "can_retry" not in shown[1] and shown[1]["attempt"] == 2
    assert world.ids(attempts=True, status="error", sort="-finished") == [second, first]


def test_each_run_by_itself(world: World) -> None:
    """As the statistics count: no batches, their jobs and all attempts."""
    made = NOW_S - 900
    batch = world.add(status="created", batch_job=True, made=made, app="batch",
                      batch_end={"status": "error", "at": NOW_S - 5.0})  # fmt: skip
    first = world.add(status="error", made=made + 1, batch_id=batch, superseded=True)
    second = world.add(made=made + 2, batch_id=batch, retry_parent=first)
    running = world.add(status="running", made=made + 3, batch_id=batch)
    single = world.add(made=made - 1)
    world.add(made=made, user="bob")
    assert world.ids(sort="-finished", status="completed,error") == [batch, single]
    assert world.ids(runs="true") == [running, second, first, single]
    assert world.ids(runs="true", status="live") == world.ids(runs="true", status="running") == [
        running,
    ]  # fmt: skip
    ended = world.page(runs="true", sort="-finished", status="completed,error,terminated")
    assert sorted(r["id"] for r in ended["items"]) == sorted([first, second, single])
    assert ended["count"] == {"value": 3, "exact": True}
    assert [len(p) for p in walk(world, runs="true", sort="-finished", status="completed,error",
                                 limit=2)] == [2, 1]  # fmt: skip
    assert world.ids("root", scope="all", runs="true", user="alice", status="error") == [first]
    said = world.page(runs="yes", expect=400)
    assert said == 'runs must be true, or left out, not "yes"'


def test_children_stand_as_they_were_listed(world: World) -> None:
    """An attempt made later has the place of the one that it takes the place of."""
    batch = world.add(status="created", batch_job=True, made=NOW_S - 5000)
    children = [
        world.add(made=NOW_S - 4000 + n, batch_id=batch, index=n,
                  **{"superseded": True} if n in (2, 9) else {})
        for n in range(11)
    ]  # fmt: skip
    for n in (9, 2):
        children[n] = world.add(made=NOW_S - n, batch_id=batch, index=n, retry_parent=children[n])
    pages = walk(world, sort="index", batch=batch, limit=4)
    assert [one for page in pages for one in page] == children
    only = {"batch": batch, "sort": "index", "status": "completed", "limit": 4}
    assert [one for page in walk(world, **only) for one in page] == children
    assert "name it with batch" in world.page(expect=400, sort="index")


def test_children_of_the_engine_before_stand_as_they_were_made(world: World) -> None:
    batch = world.add(status="created", batch_job=True, made=NOW_S - 5000)
    children = [world.add(made=NOW_S - 4000 + n, batch_id=batch) for n in range(6)]
    pages = walk(world, sort="index", batch=batch, limit=4)
    assert [one for page in pages for one in page] == children


WORDS: list[tuple[Mapping[str, Any], list[str]]] = [
    ({"status": "completed"}, ["a"]),
    ({"status": "completed, error"}, ["b", "a"]),
    ({"status": "running,error"}, ["d", "b"]),
    ({"status": "live"}, ["d"]),
    ({"app": "fast/qc"}, ["b"]),
    ({"app": "fast.qc"}, ["b"]),
    ({"app": "fast/qc", "sort": "-finished"}, ["b"]),
    ({"module": "m"}, ["d", "a"]),
    ({"module": "."}, []),
    ({"user": "alice"}, ["d", "c", "b", "a"]),
    ({"ws": "7"}, ["c", "b"]),
    ({"group": "bigmem"}, ["c"]),
    ({"node": "node7", "status": "live"}, ["d"]),
    ({"error": "1"}, ["b"]),
    ({"ended_by": "admin"}, ["c"]),
    ({"from": str((NOW_S - 250) * 1000)}, ["d", "c"]),
    ({"to": str((NOW_S - 250) * 1000)}, ["b", "a"]),
    ({"from": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW_S - 150))}, ["d"]),
    ({"from": str((NOW_S - 250) * 1000), "sort": "-finished"}, ["c", "b"]),
    ({"min_wait": "20s"}, ["c"]),
    ({"min_run": "1m"}, ["d", "c", "b", "a"]),
    ({"min_run": "100", "status": "completed,error,terminated"}, ["b"]),
    ({"q": "FAST"}, ["b"]),
    ({"q": "f.st"}, []),
    ({"q": ".*"}, []),
    ({"q": "(("}, []),
    ({"q": "narrative_7"}, ["c", "b"]),
    ({"status": "", "colour": "blue", "$where": "1"}, ["d", "c", "b", "a"]),
]


@pytest.fixture
def four(world: World) -> dict[str, str]:
    """Jobs a to d of alice, and others'."""
    world.add("bob", made=NOW_S - 350)
    jobs = {
        "a": world.add(made=NOW_S - 400),
        "b": world.add(
            made=NOW_S - 300, status="error", error_code=1, app="fast/qc", wsid=7,
            running=NOW_S - 290.0, finished=NOW_S - 150.0,
        ),
        "c": world.add(
            made=NOW_S - 200, status="terminated", terminated_code=1, group="bigmem", wsid=7,
            running=NOW_S - 170.0, finished=NOW_S - 100.0, app="x/y",
        ),
        "d": world.add(made=NOW_S - 100, status="running", claim={"host": "node7"}),
    }  # fmt: skip
    return jobs


def test_filter_words(world: World, four: dict[str, str]) -> None:
    for words, wanted in WORDS:
        assert world.ids(**words) == [four[name] for name in wanted], words
        if set(words) & {"user", "sort"} or words.get("q") == "narrative_7":
            continue  # titles: of what one may read as a user
        found = world.ids("root", scope="all", **words, user="alice")
        assert found == [four[name] for name in wanted], words
    assert world.ids(q=four["b"][:20]) == [four["b"]]
    assert world.ids("root", scope="all", app="fast/qc", sort="-finished") == [four["b"]]
    assert len(world.ids("root", scope="all")) == 5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"status": "running,happy"}, 'status must be live, or some of .*, not "happy"'),
        ({"ws": "seven"}, "ws must be a whole number"),
        ({"ws": "9" * 30}, "ws must be a whole number"),
        ({"batch": "x"}, "batch must be the id"),
        ({"error": "9"}, "error must be a whole number from 0 to 6"),
        ({"ended_by": "me"}, "ended_by must be one of user, admin"),
        ({"from": "yesterday"}, "from must be a time"),
        ({"from": "2000", "to": "1000"}, "from must not be later than to"),
        ({"min_run": "-3"}, "min_run must be a duration"),
        ({"q": "x" * 201}, "q must be at most 200 characters"),
        ({"app": "a\0b"}, "app must be at most"),
        ({"status": "completed", "error": "1"}, "only jobs in status error"),
        ({"user": "bob"}, "user: the scope mine has the jobs of alice only"),
        ({"status": "running", "sort": "-finished"}, "cannot be sorted by their end"),
        ({"sort": "user"}, "sort must be one of created"),
        ({"scope": "everybody"}, "scope must be one of mine, readable, all"),
        ({"scope": "readable", "status": "error"}, "name one workspace with ws"),
        ({"limit": "0"}, "limit must be from 1 to 200, not 0"),
        ({"limit": "201"}, "limit must be from 1 to 200, not 201"),
        ({"limit": "many"}, 'limit: .*integer.*, not "many"'),
        ({"cursor": "abc"}, "This cursor belongs to another list"),
    ],
)
def test_bad_words(world: World, words: dict[str, str], text: str) -> None:
    assert re.search(text, world.page(expect=400, **words))


def test_a_cursor_of_another_list(world: World) -> None:
    for n in range(3):
        world.add(made=NOW_S - 100 + n)
    cursor = world.page(limit=1)["next"]
    for other in ({"status": "completed"}, {"sort": "-finished"}, {"attempts": True}):
        assert "another list" in world.page(expect=400, cursor=cursor, **other)
    assert "another list" in world.page("bob", expect=400, cursor=cursor)


def test_whose_jobs(world: World) -> None:
    """alice owns workspace 7, wendy writes and rob reads it; bob is a stranger who owns 8."""
    shared_by_ws = world.add("alice", "running", wsid=7, made=NOW_S - 10)
    private = world.add("alice", "running", wsid=7, authstrat="none", made=NOW_S - 20)
    by_name = world.add("alice", "running", shared=["rob"], made=NOW_S - 30)
    not_shared = world.add("alice", "running", wsid=7, shared=["bob"], made=NOW_S - 40)
    ended = world.add("alice", "completed", wsid=7, made=NOW_S - 50)
    world.add("alice", "running", made=NOW_S - 60)
    bobs = world.add("bob", "running", wsid=8, made=NOW_S - 70)
    assert world.ids("rob", scope="readable") == [shared_by_ws, by_name, not_shared]
    assert world.ids("wendy", scope="readable") == [shared_by_ws, not_shared]
    assert world.ids("bob", scope="readable") == [bobs]
    assert world.ids("rob") == world.ids("wendy") == []
    rows = {r["id"]: r for r in world.page("wendy", scope="readable")["items"]}
    assert rows[shared_by_ws]["can_cancel"] and rows[shared_by_ws]["user"] == "alice"
    rows = {r["id"]: r for r in world.page("rob", scope="readable")["items"]}
    assert "can_cancel" not in rows[shared_by_ws] and "can_cancel" not in rows[by_name]
    managed = world.add("alice", "running", shared=["bob", "rob"], managers=["rob", "wendy"])
    rows = {r["id"]: r for r in world.page("rob", scope="readable")["items"]}
    assert rows[managed]["can_cancel"] and "can_cancel" not in rows[by_name]
    assert "can_cancel" not in world.page("bob", scope="readable", q=managed)["items"][0]
    assert managed not in world.ids("wendy", scope="readable")  # by the list of readers, or not
    world.bridge.db.ee2_jobs.delete_one({"_id": ObjectId(managed)})
    assert world.ids("rob", scope="readable", ws=7) == [shared_by_ws, not_shared, ended]
    assert ended in world.ids("rob", scope="readable", ws=7, status="completed", sort="-finished")
    assert private in world.ids("alice", scope="readable", ws=7)
    for wsid in (7, 99):
        text = world.page("bob", expect=403, scope="readable", ws=wsid)
        assert text == f"User bob does not have permission to read jobs in workspace {wsid}"
    for who in ("alice", "bob"):
        assert "not an administrator" in world.page(who, expect=403, scope="all")
    for who in ("root", "eva"):
        assert len(world.ids(who, scope="all")) == 7
    assert world.page("root", scope="all", user="bob")["items"][0]["can_cancel"]
    assert "can_cancel" not in world.page("eva", scope="all", user="bob")["items"][0]
    # A batch: its children for who may read it, and the same 404 for what is not there.
    parent = world.add("alice", "created", wsid=7, batch_job=True)
    child = world.add("alice", "running", wsid=7, batch_id=parent)
    assert world.ids("rob", batch=parent) == [child]
    for who, batch in (("bob", parent), ("bob", str(ObjectId())), ("alice", str(ObjectId()))):
        text = world.page(who, expect=404, batch=batch)
        assert text == f"Cannot find job with ids: ['{batch}']"
    # Taken back.
    world.bridge.db.ee2_workspaces.update_one({"_id": 7}, {"$set": {"acl.rob": "n"}})
    try:
        assert world.ids("rob", scope="readable") == [by_name]
        world.page("rob", expect=403, scope="readable", ws=7)
        counted = world.get("/jobs/counts", "rob", scope="readable").json()
        assert counted["running"]["value"] == 1
        groups = world.get("/jobs/groups", "rob").json()["items"]
        assert [g["ws_id"] for g in groups] == [None]
    finally:
        world.bridge.db.ee2_workspaces.update_one({"_id": 7}, {"$set": {"acl.rob": "r"}})


def test_counts(world: World) -> None:
    for status in ("running", "running", "queued", "created", "estimating"):
        world.add(status=status)
    for status in ("completed", "error", "terminated"):
        world.add(status=status, finished=float(NOW_S))
    world.add(status="error", made=NOW_S - 3 * DAY_S)
    world.add("bob", "running")
    parent = world.add(status="created", batch_job=True)
    world.add(status="queued", batch_id=parent)
    found = world.get("/jobs/counts", tz="UTC").json()
    values = {name: one["value"] for name, one in found.items() if isinstance(one, dict)}
    # The batch is queued, and counts once.
    assert values == {
        "running": 2, "queued": 2, "preparing": 2, "finished_today": 3, "failed_today": 1,
    }  # fmt: skip
    assert all(one["exact"] for one in found.values() if isinstance(one, dict))
    assert found["today"] == NOW_S // DAY_S * DAY_S * 1000
    assert world.get("/jobs/counts", "rob").json()["running"]["value"] == 0
    for zone in ("Mars/Olympus", "../../etc/passwd", "", "x" * 500):
        assert "IANA" in message(world.get("/jobs/counts", tz=zone), 400)


def test_facets_are_for_administrators(world: World, four: dict[str, str]) -> None:
    found = world.get("/jobs/facets", "root", status="error,terminated,running").json()
    assert found["counted"] == {"value": 3, "exact": True}
    assert found["status"] == {"running": 1, "terminated": 1, "error": 1}
    assert found["group"] == {"njs": 2, "bigmem": 1} and found["user"] == {"alice": 3}
    assert found["app"] == {"m/f": 1, "x/y": 1, "fast/qc": 1}
    message(world.get("/jobs/facets", "alice"), 403)


def test_groups(world: World) -> None:
    world.add("alice", "running", wsid=7, made=NOW_S - 30)
    world.add("wendy", "queued", wsid=7, made=NOW_S - 20)
    parent = world.add("wendy", "created", wsid=7, batch_job=True, made=NOW_S - 15)
    world.add("wendy", "running", wsid=7, batch_id=parent, made=NOW_S - 14)
    world.add("alice", "completed", wsid=7)
    world.add("bob", "running", wsid=8, made=NOW_S - 10)
    answer = world.get("/jobs/groups", "rob").json()
    assert answer["items"] == [
        {"ws_id": 7, "title": "alice:narrative_7", "owner": "alice", "deleted": False,
         "counts": {"running": 2, "queued": 1}}
    ] and not answer["more"]  # fmt: skip
    everything = world.get("/jobs/groups", "root", scope="all").json()["items"]
    assert [g["ws_id"] for g in everything] == [8, 7]
    assert everything[0]["title"] is None, "root may not read workspace 8 as a user"
    assert "by must be ws" in message(world.get("/jobs/groups", by="user"), 400)


def test_a_deleted_narrative_is_none_without_a_name(world: World) -> None:
    """Told to those who could read it, as its name was."""
    spaces = world.bridge.db.ee2_workspaces
    spaces.insert_one(
        {"_id": 70, "name": "gone", "owner": "alice", "acl": {}, "public": False, "deleted": True}
    )
    try:
        for user in ("alice", "bob"):
            for n, wsid in enumerate((70, 71)):
                world.add(user, "running", wsid=wsid, made=NOW_S - 10 - n)
        for user, deleted in (("alice", True), ("bob", False)):
            items = world.get("/jobs/groups", user, scope="mine").json()["items"]
            assert [(g["ws_id"], g["title"], g["owner"]) for g in items] == [
                (70, None, None), (71, None, None),
            ]  # fmt: skip
            assert [g["deleted"] for g in items] == [deleted, False]
        assert "narrative" not in world.page("alice")["items"][0]
    finally:
        spaces.delete_one({"_id": 70})


def test_an_unchanged_list_costs_a_304(world: World) -> None:
    world.add()
    first = get(world.bridge, "/jobs")
    known = {"If-None-Match": first.headers["etag"]}
    again = get(world.bridge, "/jobs", **known)
    assert (again.status_code, again.content) == (304, b"")
    world.add(made=NOW_S - 1)
    assert get(world.bridge, "/jobs", **known).status_code == 200


def test_export(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add(status="error", made=NOW_S - 100, errormsg="=cmd|' /C calc'!A0\nx", app="über/app")
    for n in range(3):
        world.add(made=NOW_S - 90 + n, claim={"host": "@node"})
    monkeypatch.setattr("ee2_jobs.browse.export._AT_ONCE", 2)
    answer = world.get("/jobs/export.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["status"] for row in rows] == ["completed"] * 3 + ["error"]
    assert rows[3]["error_line"] == "'=cmd|' /C calc'!A0" and rows[3]["app_id"] == "über/app"
    assert rows[0]["node"] == "'@node" and rows[0]["wait_s"] == "10.0"
    assert datetime.fromisoformat(rows[3]["created"]).timestamp() == NOW_S - 100
    monkeypatch.setattr("ee2_jobs.browse.export.MAX_ROWS", 3)
    lines = world.get("/jobs/export.csv").text.splitlines()
    assert len(lines) == 5 and "cut after 3 rows" in lines[4]
    assert len(world.get("/jobs/export.csv", status="completed").text.splitlines()) == 4
    assert world.get("/jobs/export.csv", "bob").text.splitlines() == [",".join(COLUMNS)]
    assert "status must be" in message(world.get("/jobs/export.csv", status="x"), 400)
    message(world.get("/jobs/export.csv", "bob", scope="all"), 403)


def test_a_filter_that_takes_too_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add()

    def slow(*_: Any, **__: Any) -> Any:
        raise ExecutionTimeout("operation exceeded time limit", 50)

    monkeypatch.setattr(AsyncCursor, "to_list", slow)
    text = world.page(expect=400, min_wait="1d")
    assert text.startswith("This filter would have to look at too many jobs. Make it narrower")
    assert "does not answer" in world.page(expect=503)
