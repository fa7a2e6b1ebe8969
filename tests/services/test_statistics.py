"""Statistics from roll-ups, compared with what counting the records one by one gives."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from bench.million_data import load
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import ROLE_ADMIN_READ, Caller
from ee2_jobs.model import TERMINAL
from ee2_jobs.statistics import daily, percentiles, report
from ee2_jobs.statistics.daily import DAY_S, roll_up
from ee2_jobs.statistics.histogram import bucket, encode, quantiles
from ee2_jobs.statistics.report import Span, Step, Totals, parse_span
from ee2_jobs.store import Store
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge
from tests.services.test_rest import get, message

Job = dict[str, Any]
NOW_S = 1_760_000_000.0
ANA = Caller("ana")
EVA = Caller("eva", frozenset({ROLE_ADMIN_READ}))
CALLERS: tuple[tuple[Caller, report.Scope, str | None], ...] = (
    (ANA, "mine", "ana"), (EVA, "all", None),
)  # fmt: skip
STEPS: tuple[Step, ...] = ("day", "week", "month")


def day_of(at_s: float) -> date:
    return datetime.fromtimestamp(at_s, UTC).date()


def job(user: str, finished: float, status: str = "completed", **more: Any) -> Job:
    made = int(finished) - 100
    return {
        "_id": ObjectId(f"{made:08x}" + str(ObjectId())[8:]), "user": user, "status": status,
        "running": finished - 60, "finished": finished, "updated": finished,
        "job_input": {"app_id": "m/f", "method": "m.f"}, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def jobs(mongo_uri: str) -> list[Job]:
    """A hundred days of 4,000 realistic records, loaded once and read."""
    with MongoClient[Job](mongo_uri) as client:
        name = f"test_{ObjectId()}"
        load(client, name, 4000, NOW_S, 100 * DAY_S)
        found = list(client[name].ee2_jobs.find())
        client.drop_database(name)
    return found


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


def app_of(job: Job) -> str:
    what = job["job_input"]
    return str(what.get("app_id") or what["method"].replace(".", "/", 1))


def brute(jobs: list[Job], span: Span, user: str | None, app: str | None = None) -> list[Job]:
    return [
        j
        for j in jobs
        if j["status"] in TERMINAL
        and not j.get("batch_job")
        and span.first <= day_of(j["finished"]) <= span.last
        and user in (None, j["user"])
        and app in (None, app_of(j))
    ]


def cpu_s(job: Job) -> float:
    usage, ads = job.get("usage") or {}, job.get("condor_job_ads") or {}
    return float(
        usage.get("cpu_user_s", ads.get("RemoteUserCpu", 0))
        + usage.get("cpu_system_s", ads.get("RemoteSysCpu", 0))
    )


def wait_s(job: Job) -> float:
    return max(0.0, job["running"] - int(str(job["_id"])[:8], 16))


def check_totals(totals: Totals, jobs: list[Job]) -> None:
    states = Counter(j["status"] for j in jobs)
    assert totals.runs == len(jobs)
    assert (totals.completed, totals.error, totals.terminated) == tuple(
        states[s] for s in ("completed", "error", "terminated")
    )
    ran = [j for j in jobs if j.get("running")]
    assert totals.wall_s == pytest.approx(sum(j["finished"] - j["running"] for j in ran), abs=1)
    assert totals.wait_s == pytest.approx(sum(wait_s(j) for j in ran), abs=1)
    assert totals.cpu_s == pytest.approx(sum(cpu_s(j) for j in jobs), abs=1)


def check_quantile(told: float | None, values: list[float], share: float) -> None:
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    assert told == pytest.approx(max(true, 0.1), rel=0.1)


async def test_spans_are_as_counted_one_by_one(engine: Engine, jobs: list[Job]) -> None:
    await engine.store.jobs.insert_many(jobs)
    assert await roll_up(engine.store) >= 60
    assert await roll_up(engine.store) == 0
    span = Span(date(2025, 8, 27), day_of(NOW_S))
    for caller, scope, user in CALLERS:
        for by in STEPS:
            await check_report(engine, caller, scope, jobs, span, user, by)
        await check_table(engine, caller, scope, jobs, span, user)


async def check_report(
    engine: Engine, caller: Caller, scope: report.Scope, jobs: list[Job], span: Span,
    user: str | None, by: Step,
) -> None:  # fmt: skip
    found = await report.report(engine, caller, span, by=by, scope=scope)
    mine = brute(jobs, span, user)
    assert len(mine) > 40
    check_totals(found.totals, mine)
    check_totals(found.previous, brute(jobs, span.before, user))
    assert found.as_of_s is not None and found.as_of_s > NOW_S
    # Each bar reaches to the day before the next one's first.
    edges = [bar.start for bar in found.series[1:]]
    assert all(
        by == "day" or (by == "week" and d.weekday() == 0) or (by == "month" and d.day == 1)
        for d in edges
    )
    assert len(edges) + 1 == {"day": 44, "week": 7, "month": 3}[by]
    ends = [*(date.fromordinal(d.toordinal() - 1) for d in edges), span.last]
    for bar, last in zip(found.series, ends, strict=True):
        check_totals(bar.totals, brute(mine, Span(bar.start, last), user))
    told = {(r.status, r.code): r.runs for r in found.reasons}
    assert told == Counter(
        (j["status"], j.get("error_code" if j["status"] == "error" else "terminated_code"))
        for j in mine
        if j["status"] != "completed"
    )


async def check_table(
    engine: Engine, caller: Caller, scope: report.Scope, jobs: list[Job], span: Span,
    user: str | None,
) -> None:  # fmt: skip
    table = await report.app_table(engine, caller, span, scope=scope)
    mine = brute(jobs, span, user)
    assert {row.app for row in table.apps} == {app_of(j) for j in mine}
    assert [r.totals.runs for r in table.apps] == sorted(
        (r.totals.runs for r in table.apps), reverse=True
    )
    for row in table.apps:
        of_app = brute(jobs, span, user, row.app)
        check_totals(row.totals, of_app)
        ran = [j for j in of_app if j.get("running")]
        waits, runs = [wait_s(j) for j in ran], [j["finished"] - j["running"] for j in ran]
        check_quantile(row.wait_p50_s, waits, 0.5)
        check_quantile(row.wait_p90_s, waits, 0.9)
        check_quantile(row.run_p50_s, runs, 0.5)
        check_quantile(row.run_p90_s, runs, 0.9)
        assert row.last_s == max(j["finished"] for j in of_app)
    one = table.apps[0].app
    alone = await report.report(engine, caller, span, by="month", scope=scope, app=one)
    assert alone.totals == table.apps[0].totals


async def runs(engine: Engine, user: str = "ana") -> int:
    span = Span(date(2001, 1, 1), date(2010, 12, 31))
    caller = Caller(user)
    return (await report.report(engine, caller, span, by="day", scope="mine")).totals.runs


async def test_only_changed_days_are_done_again(engine: Engine) -> None:
    """Late changes, imported and deleted records, a day without any left."""
    store = engine.store
    base = 1_100_000_000 // DAY_S * DAY_S
    days = [base + n * DAY_S + 5.0 for n in range(6)]
    old = [job("ana", at) for at in days]
    await store.jobs.insert_many([*old, job("bob", days[0], "error", error_code=3)])
    assert await roll_up(store, dry_run=True) == 6
    assert await store.daily.count_documents({}) == 0
    assert await roll_up(store) == 6
    assert await roll_up(store) == 0 == await roll_up(store, dry_run=True)
    assert await runs(engine) == 6
    # An import: ended long ago, last changed long ago.
    await store.jobs.insert_one(job("ana", days[2] + 7))
    assert await roll_up(store, since_s=days[3]) == 0, "only newer days were looked at"
    assert await roll_up(store) == 1 and await runs(engine) == 7
    # A late change of how a job ended.
    changed = {"$set": {"status": "terminated", "terminated_code": 1, "updated": days[5] + 99}}
    await store.jobs.update_one({"_id": old[1]["_id"]}, changed)
    assert await roll_up(store) == 1
    span = Span(day_of(days[0]), day_of(days[5]))
    found = await report.report(engine, ANA, span, by="day", scope="mine")
    assert found.series[1].totals.terminated == 1
    # Deleted: one of several of a day, and a user's only one.
    await store.jobs.delete_one({"_id": old[4]["_id"]})
    await store.jobs.delete_many({"user": "bob"})
    assert await roll_up(store) == 2
    assert await runs(engine) == 6 and await runs(engine, "bob") == 0
    assert await store.daily.count_documents({"user": "bob"}) == 0
    assert await store.daily.count_documents({"day": int(days[4] // DAY_S)}) == 0
    # A job that goes on (a retry clears nothing of it, a run that is taken back does).
    await store.jobs.update_one({"_id": old[0]["_id"]}, {"$set": {"status": "running"}})
    assert await roll_up(store) == 1 and await runs(engine) == 5


async def test_a_call_is_bounded_and_the_next_one_goes_on(engine: Engine) -> None:
    base = 1_100_000_000 // DAY_S * DAY_S
    await engine.store.jobs.insert_many([job("ana", base + n * DAY_S + 5.0) for n in range(5)])
    assert await roll_up(engine.store, budget_s=0) == 1
    assert await daily.as_of_s(engine.store) is None, "not complete yet"
    newest = await engine.store.daily.find_one({"user": "ana"})
    assert newest is not None and newest["day"] == base // DAY_S + 4
    assert await roll_up(engine.store) == 4
    assert await daily.as_of_s(engine.store) is not None


async def test_odd_records_of_old_engines_are_counted_too(engine: Engine) -> None:
    """No app, no start, an end before the start, codes and times of other types."""
    at = 1_100_000_050.0
    ads = {"RemoteUserCpu": 7.5, "RemoteSysCpu": 0.5}
    rows = [
        job("ana", at, job_input={"method": "m.f"}, condor_job_ads=ads),
        job("ana", at, job_input={}),
        job("ana", at, "terminated", running=None),
        job("ana", at, "error", running=at + 5, error_code=2.0),
        job("ana", at, "error", error_code="x", updated="never"),
        {**job("ana", at), "_id": "x"},
        job("ana", at, batch_job=True),
        job("ana", at, "running"),
        {"user": "ana", "status": "completed"},
    ]
    await engine.store.jobs.insert_many(rows)
    await roll_up(engine.store)
    span = Span(day_of(at), day_of(at))
    found = await report.report(engine, ANA, span, by="day", scope="mine")
    assert (found.totals.runs, found.totals.completed) == (6, 3)
    assert found.totals.wall_s == 60 * 4 and found.totals.cpu_s == 8
    assert {(r.status, r.code) for r in found.reasons} == {
        ("error", 2), ("error", None), ("terminated", None),
    }  # fmt: skip
    table = await report.app_table(engine, ANA, span, scope="mine")
    assert {row.app: row.totals.runs for row in table.apps} == {"m/f": 5, "": 1}


async def test_rights(engine: Engine) -> None:
    await engine.store.jobs.insert_one(job("bob", 1_100_000_050.0))
    await roll_up(engine.store)
    span = Span(date(2004, 11, 1), date(2004, 11, 30))
    for ask in (report.report(engine, ANA, span, by="day", scope="all"),
                report.app_table(engine, ANA, span, scope="all")):  # fmt: skip
        with pytest.raises(Denied):
            await ask
    assert (await report.report(engine, ANA, span, by="day", scope="mine")).totals.runs == 0
    assert (await report.report(engine, EVA, span, by="day", scope="all")).totals.runs == 1


def test_quantiles_are_right_to_a_tenth() -> None:
    values = [0.0, 0.01, 0.1, 0.11, 1, 3, 59.9, 60, 3600, 86_400, 2_600_000]
    for value in values[2:]:
        assert quantiles(encode([bucket(value)]), (0.5,)) == [pytest.approx(value, rel=0.1)]
    merged = encode(map(bucket, values[:5])) + encode(map(bucket, values[5:]))
    half, most, top = quantiles(merged, (0.5, 0.9, 1.0))
    assert half == pytest.approx(3, rel=0.1) and most == pytest.approx(86_400, rel=0.1)
    assert top == pytest.approx(2_600_000, rel=0.1)
    assert quantiles(b"", (0.5, 0.9)) == [None, None]
    assert bucket(1e300) == 255


def test_spans() -> None:
    today = date(2026, 3, 10)
    assert parse_span(None, None, today) == Span(date(2026, 2, 9), today)
    assert parse_span("2026-03-10", None, today).days == 1
    assert parse_span(None, "2026-01-30", today).first == date(2026, 1, 1)
    assert Span(date(2026, 3, 1), today).before == Span(date(2026, 2, 19), date(2026, 2, 28))
    for first, last, text in (
        ("yesterday", None, "from must be a day as YYYY-MM-DD, not 'yesterday'"),
        (None, "2026-02-30", "to must be a day"),
        ("2026-03-11", None, "later than"),
        ("1999-01-01", "2026-01-01", "at most 3660 days"),
        ("0001-01-01", None, "from 1970 on"),
    ):
        with pytest.raises(InvalidInput, match=text):
            parse_span(first, last, today)


async def test_percentiles_pass_over_what_has_no_end(engine: Engine) -> None:
    """As `update_job_status` of EE2 left records; both the app's and the method's are read."""
    whole = [job("ana", NOW_S - n) for n in range(percentiles.FEWEST)]
    await engine.store.jobs.insert_many([*whole, job("ana", NOW_S - 500)])
    await engine.store.jobs.update_one({"finished": NOW_S - 500}, {"$unset": {"finished": ""}})
    assert (await percentiles.app_times(engine.store, "m/f")).runs == percentiles.FEWEST


async def test_percentiles_of_the_newest_runs(engine: Engine) -> None:
    base = 1_100_000_000.0
    # 250 runs of 1 s, 2 s, …, the newest the longest; and runs by programs, which name a method.
    rows = [job("bob", base + n, running=base) for n in range(1, 251)]
    other = [job("u", base + n, job_input={"method": "m.f"}, running=base) for n in (900, 901)]
    failed = [job("u", base + 5000, "error", job_input={"app_id": "m/f"})]
    await engine.store.jobs.insert_many([*rows, *other, *failed])
    found = await percentiles.app_times(engine.store, "m/f")
    assert found.runs_s == tuple(float(n) for n in range(51, 251))
    assert found is await percentiles.app_times(engine.store, "m/f"), "kept for a minute"
    assert percentiles.percentile(found.runs_s, 0.5) == 150
    assert percentiles.rank(found.runs_s, 50) == 0 and percentiles.rank(found.runs_s, 999) == 1
    assert percentiles.rank(found.runs_s, 150.5) == 0.5
    assert percentiles.rank((3.0, 3.0), 3) == 0.5, "ties count half"
    await engine.store.jobs.delete_many({"_id": {"$in": [r["_id"] for r in rows[:200]]}})
    few = await percentiles.app_times(engine.store, "m.f")
    assert few.runs == 52 and few.runs_s[-2:] == (900, 901)
    none = await percentiles.app_times(engine.store, "no/such")
    assert none.runs == 0 and percentiles.rank(none.runs_s, 1) is None


def test_the_routes(bridge: Bridge) -> None:
    at = 1_100_000_050.0
    # Its own app: other tests leave runs of theirs, and times of an app are kept for a minute.
    app = {"job_input": {"app_id": "stat/app", "method": "stat.app"}}
    failed = job("bob", at, "error", error_code=1, **app)
    bridge.db.ee2_jobs.insert_many([job("alice", at, **app), failed])

    async def rolled() -> None:
        store = Store(bridge._uri, bridge.database)
        await roll_up(store)
        await store.close()

    asyncio.run(rolled())
    span = "from=2004-11-01&to=2004-11-30"
    answer = get(bridge, f"/stats?{span}&by=week")
    mine = answer.json()
    assert mine["totals"]["runs"] == 1 and mine["totals"]["success"] == 1
    assert mine["totals"]["wall_ms"] == 60_000 and mine["zone"] == "UTC"
    assert [bar["start"] for bar in mine["series"]] == [
        "2004-11-01", "2004-11-08", "2004-11-15", "2004-11-22", "2004-11-29",
    ]  # fmt: skip
    tag = {"If-None-Match": answer.headers["etag"]}
    assert get(bridge, f"/stats?{span}&by=week", **tag).status_code == 304
    for who in ("eva", "root"):
        everyone = get(bridge, f"/stats?{span}&scope=all&app=stat/app", who).json()
        assert everyone["totals"]["runs"] == 2
        assert everyone["reasons"] == [{"status": "error", "code": 1, "runs": 1}]
    apps = get(bridge, f"/stats/apps?{span}").json()["apps"]
    assert [(a["app"], a["runs"]) for a in apps] == [("stat/app", 1)]
    assert apps[0]["run_p50_ms"] == pytest.approx(60_000, rel=0.1)
    assert apps[0]["last_used"] == 1_100_000_050_000
    for path in ("/stats", "/stats/apps"):
        message(get(bridge, f"{path}?scope=all"), 403)
        assert "YYYY-MM-DD" in message(get(bridge, f"{path}?from=now"), 400)
        message(get(bridge, f"{path}?scope=everything"), 400)
        message(get(bridge, path, None), 401)
    assert "by" in message(get(bridge, "/stats?by=hour"), 400)
    few = get(bridge, "/apps/stat/app/percentiles", "rob").json()
    assert (few["runs"], few["points"]) == (0, []), "the times of one run are somebody's"
    often = {"job_input": {"app_id": "stat/often", "method": "stat.often"}}
    bridge.db.ee2_jobs.insert_many([job("alice", at, **often) for _ in range(5)])
    spread = get(bridge, "/apps/stat/often/percentiles?run_ms=60000&wait_ms=0", "rob")
    message(get(bridge, f"/apps/stat/app/percentiles?run_ms={10**400}"), 400)
    assert spread.json()["runs"] == 5 and spread.json()["run_rank"] == 0.5
    assert "alice" not in spread.text and spread.json()["points"][2]["run_ms"] == 60_000
    assert get(bridge, "/apps/no/such/percentiles").json() == {
        "app": "no/such", "runs": 0, "points": [], "wait_rank": None, "run_rank": None,
    }  # fmt: skip
    bridge.db.ee2_jobs.delete_many({"finished": at})
