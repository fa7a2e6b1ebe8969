"""Queue position, reason and expectation, status, capacity and overview, as REST answers; and what
the sampler keeps in MongoDB. Snapshots are made by hand, through the real codec."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import Binary, ObjectId
from pymongo.errors import ExecutionTimeout

from ee2_jobs.engine import Engine
from ee2_jobs.limits.users import UserLimits
from ee2_jobs.queue import history as past
from ee2_jobs.queue import position, predictions, samples
from ee2_jobs.queue.estimate import Pace, summarise
from ee2_jobs.queue.history import History, HistoryKeeper, Hits
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.reason import Facts
from ee2_jobs.queue.snapshot import Snapshot, Snapshots, State, encode, is_wanted, keep_pool
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge
from tests.unit.queue_support import pool_job, slot


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


def get(bridge: Bridge, path: str, who: str | None = "alice", **headers: str) -> httpx.Response:
    if (token := bridge.token(who)) is not None:
        headers["Authorization"] = token
    return bridge.http.get(f"{bridge.url}/api/v1{path}", headers=headers)


def show(bridge: Bridge, snapshot: Snapshot, history: History | None = None) -> None:
    """Put these into MongoDB as the sampler does, and wait until the server has noticed."""
    for name, data in (
        ("pool", encode(snapshot)),
        ("history", past.encode(history or History(snapshot.at_s))),
    ):
        kept = {"at": snapshot.at_s, "version": f"{snapshot.at_s}", "data": Binary(data)}
        bridge.db.ee2_snapshots.replace_one({"_id": name}, kept, upsert=True)
    deadline = time.monotonic() + 60
    while get(bridge, "/queue").json()["as_of"] != round(snapshot.at_s * 1000):
        assert time.monotonic() < deadline, "the server does not notice a new snapshot"
        time.sleep(0.1)


def queued(bridge: Bridge, who: str = "alice", wsid: int | None = 7) -> str:
    job_id = bridge.job(who, wsid)
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(job_id)}, {"$set": {"status": "queued", "queued": time.time() - 60}}
    )
    return job_id


RUNS = summarise([100.0 + n for n in range(60)])


@pytest.fixture(scope="module")
def line(bridge: Bridge) -> Iterator[dict[str, str]]:
    """Alice's job second in line, Bob's first; one of Alice's runs, one is held back."""
    bob, alice, runs, waits = (
        queued(bridge, "bob", 8), queued(bridge), queued(bridge), queued(bridge, wsid=None)
    )
    now = time.time()
    bridge.db.ee2_jobs.update_one(
        {"_id": ObjectId(runs)}, {"$set": {"status": "running", "running": now - 30}}
    )
    bridge.db.ee2_limits.replace_one(
        {"_id": "user:alice"}, {"kind": "user", "places": 2}, upsert=True
    )
    jobs = [
        pool_job(1, job_id=bob, user="bob"),
        pool_job(2, job_id=alice, user="alice"),
        pool_job(3, job_id=runs, user="alice", state=State.RUNNING.value, host="node1",
                 started_s=int(now - 30), used_memory_mb=500),
        pool_job(4, job_id=waits, user="alice", state=State.WAITS.value),
    ]
    slots = [
        slot(free_cpus=0, cpus=1, load=0.7),
        slot("node2", free_cpus=0, free_memory_mb=30_000, drained=True),
    ]
    assert RUNS is not None
    history = History(
        now, {"m.f": {"njs": RUNS, "": RUNS}}, {"njs": RUNS}, {"njs": RUNS},
        {"njs": Pace(60, 900, 130.0)}, {"": Hits(200, 160, 100, 75)},
        {"m.f": (10, 5, 1000, 20), "x.y": (4, 0, 8, 1)},
    )
    show(bridge, line_up(now, jobs, slots), history)
    yield {"bob": bob, "alice": alice, "runs": runs, "waits": waits}
    # Others work with this server as well.
    bridge.db.ee2_limits.delete_one({"_id": "user:alice"})
    bridge.db.ee2_snapshots.delete_many({})


def test_place_reason_and_expectation(bridge: Bridge, line: dict[str, str]) -> None:
    answer = get(bridge, f"/jobs/{line['alice']}/queue").json()
    assert (answer["position"], answer["ahead"], answer["in_line"]) == (2, 1, 3)
    assert (answer["position_overall"], answer["in_line_overall"]) == (2, 3)
    assert answer["text"] == "2nd of 3 in njs" and answer["group"] == "njs"
    assert answer["reason"]["code"] == "slots_busy"
    now_ms = time.time() * 1000
    (start_lo, start_hi), (end_lo, end_hi) = answer["expected_start"], answer["expected_end"]
    assert now_ms - 5000 < start_lo < now_ms + 60_000 < start_hi < now_ms + 3_000_000
    assert start_lo + 60_000 < end_lo < end_hi < start_hi + 160_000
    assert answer["basis"] == [
        "njs runs 1 at a time, 2 min each on average", "60 runs of m.f in njs"
    ]
    assert answer["hit_rate"] == {
        "of": "all apps", "starts": 200, "start_share": 0.8, "ends": 100, "end_share": 0.75
    }
    assert answer["note"] is None and abs(answer["as_of"] - now_ms) < 60_000


def test_a_job_held_back_by_its_owners_limit(bridge: Bridge, line: dict[str, str]) -> None:
    answer = get(bridge, f"/jobs/{line['waits']}/queue").json()
    assert answer["position"] == 3
    assert answer["reason"] == {
        "code": "limit", "text": "Your limit of 2 running jobs is reached."
    }
    assert answer["basis"][0].endswith("2 jobs of the owner at a time")


def test_the_places_of_a_whole_list(bridge: Bridge, line: dict[str, str]) -> None:
    ids = ",".join([*line.values(), "f" * 24])
    answer = get(bridge, f"/jobs/places?ids={ids}")
    found = {one["job_id"]: one for one in answer.json()["items"]}
    assert found.keys() == {line["alice"], line["waits"]}, "bob's is bob's; one runs"
    assert found[line["alice"]] == {
        "job_id": line["alice"], "group": "njs", "position": 2, "in_line": 3,
        "reason": {"code": "slots_busy", "text": found[line["alice"]]["reason"]["text"]},
    }  # fmt: skip
    assert found[line["waits"]]["reason"]["code"] == "limit"
    known = {"If-None-Match": answer.headers["etag"]}
    assert get(bridge, f"/jobs/places?ids={ids}", **known).status_code == 304
    assert len(get(bridge, f"/jobs/places?ids={ids}&as_admin=1", "eva").json()["items"]) == 3
    assert get(bridge, f"/jobs/places?ids={ids}&as_admin=1").status_code == 403
    for wrong in ("", ",", "nonsense", ",".join(["f" * 24] * 201)):
        assert get(bridge, f"/jobs/places?ids={wrong}").status_code == 400


def test_running_ended_and_unknown_jobs(bridge: Bridge, line: dict[str, str]) -> None:
    running = get(bridge, f"/jobs/{line['runs']}/queue").json()
    assert running["position"] is None and running["reason"] is None
    assert running["expected_start"] is None and running["expected_end"][1] > time.time() * 1000
    job_id = bridge.job()
    assert get(bridge, f"/jobs/{job_id}/queue").json()["reason"]["code"] == "preparing"
    bridge.call("cancel_job", {"job_id": job_id})
    ended = get(bridge, f"/jobs/{job_id}/queue").json()
    assert ended["status"] == "terminated" and ended["reason"] is ended["expected_end"] is None
    assert get(bridge, f"/jobs/{'f' * 24}/queue").status_code == 404
    assert get(bridge, "/jobs/nonsense/queue").status_code == 400


def test_all_who_ask_for_a_batch_share_a_look_at_its_jobs(
    bridge: Bridge, line: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 3, {"wsid": 7})
    looks: list[str] = []
    look = position._live_children

    async def noted(engine: Engine, batch_id: str) -> Any:
        looks.append(batch_id)
        return await look(engine, batch_id)

    monkeypatch.setattr(position, "_live_children", noted)
    path = f"/jobs/{batch['batch_id']}/queue"
    answers = [get(bridge, path, who).json() for who in ("alice", "rob", "alice")]
    assert looks == [batch["batch_id"]]
    assert answers[0]["basis"] == answers[1]["basis"] == answers[2]["basis"]
    assert get(bridge, path, "bob").status_code == 404 and len(looks) == 1
    position._batches.clear()
    bridge.db.ee2_jobs.update_many(
        {"batch_id": batch["batch_id"]}, {"$set": {"status": "completed"}}
    )
    ended = get(bridge, path).json()
    assert len(looks) == 2 and ended["reason"] is None and ended["expected_end"] is None


def test_nobody_learns_of_others(bridge: Bridge, line: dict[str, str]) -> None:
    foreign, unknown = (
        get(bridge, f"/jobs/{job}/queue", "bob") for job in (line["alice"], "f" * 24)
    )
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace(line["alice"], "f" * 24) == unknown.text
    # A reader of the workspace may read it, and is told whose limit it is.
    shared = get(bridge, f"/jobs/{line['alice']}/queue", "rob").json()
    assert shared["position"] == 2 and "bob" not in str(shared)
    assert get(bridge, f"/jobs/{line['alice']}/queue?as_admin=true", "bob").status_code == 403
    for right, who in (("read", "wendy"), ("manage", "rob")):
        answer = bridge.http.post(
            f"{bridge.url}/api/v1/jobs/{line['waits']}/share",
            json={"users": [who], "right": right},
            headers={"Authorization": str(bridge.token("alice"))},
        )
        assert answer.status_code == 200
        answer = get(bridge, f"/jobs/{line['waits']}/queue", who)
        assert answer.status_code == 200 and answer.json()["reason"], (who, right)
        places = get(bridge, f"/jobs/places?ids={line['waits']}", who).json()
        assert line["waits"] in str(places)
    assert get(bridge, f"/jobs/{line['waits']}/queue", "bob").status_code == 404
    assert line["waits"] not in str(get(bridge, f"/jobs/places?ids={line['waits']}", "bob").json())
    for who in ("wendy", "rob"):
        bridge.call("unshare_job", {"job_id": line["waits"], "users": [who]})
        assert get(bridge, f"/jobs/{line['waits']}/queue", who).status_code == 404
    assert get(bridge, f"/jobs/{line['alice']}/queue?as_admin=true", "eva").json()["position"] == 2
    for path in ("/queue", "/queue/njs", "/status", "/capacity"):
        assert get(bridge, path, None).status_code == 401
        answer = get(bridge, path, "bob")
        assert answer.status_code == 200
        for secret in ("alice", line["alice"], line["runs"]):
            assert secret not in answer.text
    assert get(bridge, "/admin/overview", "bob").status_code == 403
    assert get(bridge, "/queue", line["runs"]).status_code == 403  # a job's own token


def test_lines_of_groups(bridge: Bridge, line: dict[str, str]) -> None:
    answer = get(bridge, "/queue").json()
    njs, bigmem = answer["groups"]
    assert (njs["group"], njs["waiting"], njs["held_back"], njs["running"]) == ("njs", 3, 1, 1)
    assert njs["oldest"] == 1001_000 and njs["started_last_hour"] == 60
    assert (njs["median_wait_ms"], njs["p90_wait_ms"]) == (129_500, 153_100)
    assert (bigmem["group"], bigmem["waiting"], bigmem["median_wait_ms"]) == ("bigmem", 0, None)
    assert get(bridge, "/queue/njs").json() == njs
    nowhere = get(bridge, "/queue/nowhere")
    assert nowhere.status_code == 404 and "njs, bigmem" in nowhere.json()["error"]["message"]


def test_an_unchanged_answer_costs_nothing(bridge: Bridge, line: dict[str, str]) -> None:
    for path in ("/queue", "/capacity"):
        tag = get(bridge, path).headers["etag"]
        assert get(bridge, path, **{"If-None-Match": tag}).status_code == 304


def test_capacity(bridge: Bridge, line: dict[str, str]) -> None:
    whole, njs, bigmem = get(bridge, "/capacity").json()["groups"]
    assert whole["group"] is None and whole["machines"] == 2
    assert whole["cpus"] == {"total": 5, "claimed": 5, "used": 0.7, "free": 0, "drained": 0}
    assert njs["memory_mb"] == {
        "total": 64_000, "claimed": 2000, "used": 500, "free": 32_000, "drained": 30_000
    }
    assert (njs["cluster"], njs["largest"]) == ("pool", [4, 32_000, 100_000])
    assert bigmem["machines"] == 0


def test_overview(bridge: Bridge, line: dict[str, str]) -> None:
    answer = get(bridge, "/admin/overview", "eva").json()
    reasons = {one["code"]: one["count"] for one in answer["waiting"]}
    assert reasons == {"slots_busy": 2, "limit": 1}
    assert [n["state"] for n in answer["nodes"]] == ["full", "drained"]
    assert [j["job_id"] for j in answer["longest_running"]] == [line["runs"]]
    first = answer["longest_waiting"][0]
    assert (first["job_id"], first["user"], first["app"]) == (line["bob"], "bob", "m.f")
    assert answer["largest_users"][0]["user"] == "alice"
    failing = answer["failures"][0]
    assert failing["app"] == "m.f" and failing["unusual"]
    assert not answer["failures"][1]["unusual"]


def test_status(bridge: Bridge, line: dict[str, str]) -> None:
    answer = get(bridge, "/status")
    assert len(answer.content) < 15_000
    page = answer.json()
    lights = {part["part"]: part["light"] for part in page["parts"]}
    assert list(lights) == [
        "submission", "scheduler", "workers", "storage", "log", "client_groups", "outbox"
    ]
    assert lights["storage"] == "ok"
    workers = next(p["text"] for p in page["parts"] if p["part"] == "workers")
    assert workers == "1 machine with 1 core, 1 of them in use. 1 machine being emptied."
    assert (page["waiting"], page["running"]) == (3, 1)
    assert page["active_users"] >= 2 and page["active_user_names"] is None
    assert {"alice", "bob"} <= set(get(bridge, "/status", "eva").json()["active_user_names"])


def test_the_report_on_health_is_for_administrators(bridge: Bridge) -> None:
    at = time.time()
    report = {"at": at, "problems": ["The disk is full."], "lines": ["In 24 hours 3 jobs ended."]}
    bridge.db.ee2_health.replace_one({"_id": "2099-01-01"}, report, upsert=True)

    def told(who: str) -> Any:
        return get(bridge, "/status", who).json()["health"]

    try:
        # The page is made for all who ask within 5 s.
        deadline = time.monotonic() + 60
        while told("eva") is None:
            assert time.monotonic() < deadline, "the page does not tell of a new report"
            time.sleep(0.2)
        assert told("eva") == {**report, "day": "2099-01-01", "at": round(at * 1000)}
        assert told("alice") is None
    finally:
        bridge.db.ee2_health.delete_one({"_id": "2099-01-01"})


def test_late_figures_say_so(bridge: Bridge, line: dict[str, str]) -> None:
    show(bridge, line_up(time.time() - 3600, [pool_job(1, job_id=line["alice"])]))
    answer = get(bridge, f"/jobs/{line['alice']}/queue").json()
    at = time.strftime("%H:%M UTC", time.gmtime(answer["as_of"] / 1000))
    assert answer["note"] == f"figures from {at}"
    assert answer["position"] == 1


def put(bridge: Bridge, who: str, body: Any) -> httpx.Response:
    token = bridge.token(who)
    assert token is not None
    return bridge.http.put(
        f"{bridge.url}/api/v1/announcements", json=body, headers={"Authorization": token}
    )


def test_announcements(bridge: Bridge) -> None:
    soon = round(time.time() * 1000) + 3_600_000
    new = [{"text": "Closed on Tuesday.", "level": "warning", "until": soon}, {"text": "Hello."}]
    for who in ("alice", "eva"):
        assert put(bridge, who, new).status_code == 403
    for wrong in ([{"text": ""}], [{"text": "a", "level": "loud"}], {"text": "a"}, [{"x": 1}],
                  [{"text": "a"}] * 11, [{"text": "a", "until": 2**63}]):
        refused = put(bridge, "root", wrong)
        assert refused.status_code == 400 and refused.json()["error"]["message"]
    assert [a["by"] for a in put(bridge, "root", new).json()["announcements"]] == ["root"] * 2
    shown = get(bridge, "/status").json()["announcements"]
    assert [a["text"] for a in shown] == ["Closed on Tuesday.", "Hello."]
    entry = bridge.db.ee2_audit.find_one({"what": "announce"}, sort=[("at", -1)])
    assert entry is not None
    assert (entry["who"], entry["outcome"]) == ("root", "done") and "Hello." in entry["details"]
    over = [{"text": "Over.", "until": 1}]
    assert put(bridge, "root", over).json()["announcements"] == []
    assert put(bridge, "root", []).status_code == 200


async def test_a_snapshot_is_unpacked_once_and_the_wish_is_noted(engine: Engine) -> None:
    store, reader = engine.store, Snapshots(engine.store)
    assert not await is_wanted(store)
    assert await reader.current() is None
    assert await is_wanted(store)
    reader = Snapshots(store)
    await keep_pool(store, line_up(1.0, [pool_job(1)]))
    first = await reader.current()
    assert first is not None and await reader.current() is first
    await store.snapshots.update_one({"_id": "pool"}, {"$set": {"data": b"spoilt", "version": 2}})
    reader._pool._looked = -9.0
    assert await reader.current() is None


async def insert(engine: Engine, **fields: Any) -> ObjectId:
    job = {
        "_id": ObjectId(), "user": "alice", "status": "completed",
        "job_input": {"app_id": "m/f", "method": "m.f", "requirements": {"clientgroup": "njs"}},
        **fields,
    }
    await engine.store.jobs.insert_one(job)
    oid: ObjectId = job["_id"]
    return oid


async def test_the_history_of_the_last_weeks(engine: Engine) -> None:
    now = time.time()
    for n in range(20):
        await insert(engine, queued=now - 500 - n, running=now - 400, finished=now - 300 + n)
    await insert(engine, status="error", queued=now - 9, running=now - 8, finished=now - 7)
    await insert(engine, running=now - 50 * 86400, finished=now - 40 * 86400)  # long ago
    await insert(engine, status="running", queued=now - 60, running=now - 20)
    expected = {"at": now - 500, "start": [now - 450, now - 390], "end": [now - 9, now]}
    await insert(engine, queued=now - 500, running=now - 400, finished=now - 300,
                 expected=expected)
    history = await HistoryKeeper(engine.store, "njs").refresh()
    runs, basis = history.runs_of("m/f", "njs") or pytest.fail("no runs")
    assert (runs.n, basis) == (21, "21 runs of m/f in njs")
    assert 100 <= runs.marks[0] <= runs.marks[-1] <= 119.1
    assert history.pace["njs"].hour == 23 and len(history.pace["njs"].ends) == 22
    assert history.waits["njs"].n == 23
    assert history.hits_of("m/f") == (Hits(1, 1, 1, 0), "all apps")
    assert history.failures["m/f"] == (22, 1, 22, 1)
    kept = await engine.store.snapshots.find_one({"_id": "history"})
    assert kept is not None and past.decode(kept["data"]) == history


async def test_first_expectations_are_noted_and_bounded(engine: Engine) -> None:
    now = time.time()
    fresh = [await insert(engine, status="queued", queued=now - 1) for _ in range(4)]
    old = await insert(engine, status="queued", queued=now - 9999)
    jobs = [pool_job(n, job_id=str(oid), user="alice") for n, oid in enumerate([*fresh, old])]
    facts = Facts(line_up(now, jobs, [slot(cpus=9, free_cpus=9)]), limits=UserLimits())
    assert RUNS is not None
    history = History(now, {"m/f": {"njs": RUNS, "": RUNS}})
    assert await predictions.note_new(engine.store, facts, history, "njs", at_once=3) == 3
    assert await predictions.note_new(engine.store, facts, history, "njs", at_once=3) == 1
    assert await predictions.note_new(engine.store, facts, history, "njs") == 0
    noted = await engine.store.jobs.find({"expected": {"$exists": True}}).to_list()
    assert {job["_id"] for job in noted} == set(fresh)
    assert noted[0]["expected"]["start"][0] >= now
    # Nothing can be said of the others, and nothing is noted.
    assert await predictions.note_new(engine.store, Facts(None), history, "njs") == 0


async def test_samples_make_a_chart_of_a_week(engine: Engine) -> None:
    store, now = engine.store, time.time()
    await samples.add(store, line_up(now, [pool_job(1), pool_job(2)], [slot()]))
    begin = datetime.fromtimestamp(now, UTC)
    await store.samples.insert_many(
        {"at": begin - timedelta(minutes=5 * n), "waiting": n, "running": 1, "cpus": 4}
        for n in range(1, 9 * 24 * 12)
    )
    chart = await samples.chart(store, now)
    assert 330 <= len(chart) <= 337
    assert [point[0] for point in chart] == sorted(point[0] for point in chart)
    assert now * 1000 - chart[0][0] <= 7 * 86_400_000 + 1_800_000
    middle = chart[100]
    assert middle[1] > chart[101][1] > chart[-1][1] and middle[2:] == [1.0, 4]


async def test_what_the_pool_said_keeps_since_when(engine: Engine) -> None:
    store = engine.store
    await samples.note_pool(store, "no answer")
    first, _ = await samples.marks(store)
    await samples.note_pool(store, "no answer")
    second, _ = await samples.marks(store)
    assert second["since"] == first["since"] and second["problem"] == "no answer"
    await samples.note_pool(store, None)
    third, parts = await samples.marks(store)
    assert third["problem"] is None and third["since"] > first["since"] and parts == {}
    await samples.note_parts(store, {"scheduler": {"status": "healthy", "x": 1}}, "line 3: bad")
    _, parts = await samples.marks(store)
    assert parts["airflow"] == {"scheduler": "healthy"} and parts["groups_problem"] == "line 3: bad"


async def test_a_slow_query_leaves_the_rest_of_the_history(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: Any) -> Any:
        raise ExecutionTimeout("operation exceeded time limit")

    now = time.time()
    await insert(engine, queued=now - 500, running=now - 400, finished=now - 300)
    await insert(engine, status="queued", queued=now - 5)
    keeper = HistoryKeeper(engine.store, "njs")
    monkeypatch.setattr(keeper, "_week", slow)
    monkeypatch.setattr(keeper, "_runs_of", slow)
    history = await keeper.refresh()
    assert history.pace["njs"].hour == 1 and history.runs == {}
    assert history.failures == {"m/f": (1, 0, 0, 0)}


async def test_the_history_is_read_by_indexes(engine: Engine) -> None:
    """A million records must not be looked through every half minute."""
    now, db = time.time(), engine.store.db
    await insert(engine, queued=now - 500, running=now - 400, finished=now - 300)
    await insert(engine, status="queued", queued=now - 5)
    await insert(engine, status="queued", queued=now - 5, job_input={"method": "m.f"})
    await db.command({"profile": 2})
    await HistoryKeeper(engine.store, "njs").refresh()
    await predictions.note_new(engine.store, Facts(line_up(now, [])), History(), "njs")
    await db.command({"profile": 0})
    plans = await db["system.profile"].find({"ns": f"{db.name}.ee2_jobs"}).to_list()
    assert len(plans) == 8
    for one in plans:
        assert one["planSummary"].startswith("IXSCAN"), one["command"]
