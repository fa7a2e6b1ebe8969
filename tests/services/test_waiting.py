"""execution_engine2.wait_for_jobs: when it answers, with what, and what waiting costs."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ee2_jobs import looks as looks_module
from ee2_jobs import waiting as waiting_module
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.model import Status
from ee2_jobs.waiting import Waiting, batch_standings, look, wait_for_jobs
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge, RpcError

FAILURE = {"failure": "No read permissions for {}", "check_job_error": True}


def wait(bridge: Bridge, ids: list[Any], who: str = "alice", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = bridge.call("wait_for_jobs", {"job_ids": ids, **more}, who=who)
    return answer


def later(act: Callable[[], object], delay_s: float = 0.7) -> threading.Timer:
    timer = threading.Timer(delay_s, act)
    timer.start()
    return timer


def finish(bridge: Bridge, job_id: str) -> None:
    output = {"version": "1.1", "result": [{}], "id": job_id}
    bridge.call("finish_job", {"job_id": job_id, "job_output": output}, who=job_id)


def test_a_change_wakes_within_a_second(bridge: Bridge) -> None:
    job_id = bridge.job()
    first = wait(bridge, [job_id])  # who knows nothing is told at once
    assert first["timed_out"] == 0
    state = first["job_states"][job_id]
    assert state["status"] == "created" and state["end"] is None
    assert state["created"] <= state["updated"] and state["batch_job"] is False
    started: list[float] = []

    def start() -> None:
        bridge.call("start_job", {"job_id": job_id}, who=job_id)
        started.append(time.monotonic())

    timer = later(start)
    second = wait(bridge, [job_id], since=first["since"], timeout_s=20)
    took_s = time.monotonic() - started[0]
    timer.join()
    assert took_s < 10 and second["timed_out"] == 0
    assert second["job_states"][job_id]["status"] == "running"
    assert second["job_states"][job_id]["running"] > state["created"]
    assert second["since"] != first["since"]


def test_without_a_change_it_answers_when_the_time_is_over(bridge: Bridge) -> None:
    job_id = bridge.job()
    word = wait(bridge, [job_id])["since"]
    for more in ({"since": word}, {"until": "end"}):
        began = time.monotonic()
        answer = wait(bridge, [job_id], timeout_s=0.6, **more)
        assert 0.5 < time.monotonic() - began < 10
        assert answer["timed_out"] == 1 and answer["since"] == word
        assert answer["job_states"][job_id]["status"] == "created"


def test_what_has_ended_is_told_at_once(bridge: Bridge) -> None:
    jobs = [bridge.job(), bridge.job()]
    for job_id in jobs:
        finish(bridge, job_id)
    began = time.monotonic()
    answer = wait(bridge, jobs, until="end", timeout_s=30)
    # nothing will change any more, so a wait for a change ends as well
    again = wait(bridge, jobs, since=answer["since"], timeout_s=30)
    assert time.monotonic() - began < 15 and again["timed_out"] == 0
    assert {s["end"] for s in again["job_states"].values()} == {"completed"}


def test_until_the_end_of_the_last(bridge: Bridge) -> None:
    jobs = [bridge.job(), bridge.job()]
    timers = [later(lambda: finish(bridge, jobs[0]), 0.2), later(lambda: finish(bridge, jobs[1]))]
    answer = wait(bridge, jobs, until="end", timeout_s=20)
    for timer in timers:
        timer.join()
    assert [s["end"] for s in answer["job_states"].values()] == ["completed", "completed"]


def test_a_batch_has_ended_when_its_jobs_and_steps_have(bridge: Bridge) -> None:
    children = [{"method": "m.f"}, {"method": "m.f"}]
    ids = bridge.call("run_job_batch", children, {"aggregate": {"recipe": "report"}})
    batch_id, (one, two) = ids["batch_id"], ids["child_job_ids"]
    first = wait(bridge, [batch_id])
    state = first["job_states"][batch_id]
    assert state["child_counts"] == {"created": 2} and state["stages"] == {"aggregate": "created"}
    timer = later(lambda: finish(bridge, one), 0.5)
    second = wait(bridge, [batch_id], since=first["since"], timeout_s=20)
    timer.join()
    state = second["job_states"][batch_id]
    assert state["child_counts"] == {"created": 1, "completed": 1} and state["end"] is None
    assert state["status"] == "created"  # a parent's own state stays (rule C-10)
    bridge.call("cancel_job", {"job_id": two})
    again = bridge.call("retry_job", {"job_id": two})["retry_id"]
    state = wait(bridge, [batch_id], timeout_s=0)["job_states"][batch_id]
    assert state["child_counts"] == {"created": 1, "completed": 1}  # the newest attempts
    finish(bridge, again)
    assert wait(bridge, [batch_id], until="end", timeout_s=0)["timed_out"] == 1
    aggregate = bridge.db.ee2_jobs.find_one({"batch_id": batch_id, "role": "aggregate"})
    assert aggregate is not None
    finish(bridge, str(aggregate["_id"]))
    answer = wait(bridge, [batch_id], until="end", timeout_s=0)
    assert answer["timed_out"] == 0 and answer["job_states"][batch_id]["end"] == "completed"


def test_between_a_split_and_its_children_a_batch_has_not_ended(bridge: Bridge) -> None:
    batch_id = bridge.call("run_split_aggregate", {"method": "m.f", "aggregate": None})
    split = bridge.db.ee2_jobs.find_one({"batch_id": batch_id, "role": "split"})
    assert split is not None
    finish(bridge, str(split["_id"]))
    answer = wait(bridge, [batch_id], until="end", timeout_s=0)
    assert answer["timed_out"] == 1
    assert answer["job_states"][batch_id]["stages"] == {"split": "completed"}
    # the children could not be made, and the run has ended
    bridge.db.ee2_submissions.update_one({"_id": batch_id}, {"$set": {"status": "ended"}})
    state = wait(bridge, [batch_id], until="end", timeout_s=5)["job_states"][batch_id]
    assert state["end"] == "error"


def test_rights(bridge: Bridge) -> None:
    mine, private = bridge.job(), bridge.job(wsid=None)
    unknown = str(ObjectId())
    failures = {j: {**FAILURE, "failure": f"No read permissions for {j}"}
                for j in (mine, private, unknown)}  # fmt: skip
    began = time.monotonic()
    answer = wait(bridge, [mine, private, unknown], who="bob", until="end", timeout_s=30)
    assert time.monotonic() - began < 15  # nothing to wait for
    assert answer["job_states"] == failures
    states = wait(bridge, [mine, private, unknown], who="rob")["job_states"]
    assert states[mine]["status"] == "created"  # who reads the workspace
    assert states[private] == failures[private] and states[unknown] == failures[unknown]
    states = wait(bridge, [private, unknown], who="eva", as_admin=1)["job_states"]
    assert states[private]["status"] == "created" and states[unknown] == failures[unknown]
    with pytest.raises(RpcError, match="You are not an administrator"):
        wait(bridge, [mine], as_admin=1)
    with pytest.raises(RpcError, match="may not be used"):
        wait(bridge, [mine], who=mine)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "job_ids must be a list of 1 to 1000"),
        ({"job_ids": []}, "job_ids must be a list of 1 to 1000"),
        ({"job_ids": ["f" * 24] * 1001}, "job_ids must be a list of 1 to 1000"),
        ({"job_ids": ["x"]}, "'x' is not a valid ObjectId"),
        ({"job_ids": ["f" * 24], "until": "later"}, "until must be 'change' or 'end'"),
        ({"job_ids": ["f" * 24], "since": 1}, "since must be the word"),
        ({"job_ids": ["f" * 24], "timeout_s": 61}, "timeout_s must be a number from 0 to 60"),
        ({"job_ids": ["f" * 24], "timeout_s": True}, "timeout_s must be a number from 0 to 60"),
    ],
)
def test_bad_input(bridge: Bridge, params: dict[str, Any], says: str) -> None:
    with pytest.raises(RpcError, match=says) as caught:
        bridge.call("wait_for_jobs", params)
    assert caught.value.code == -32000


@pytest.fixture
def profiled(bridge: Bridge) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Records the queries on jobs; what is called returns them."""
    bridge.db.command("profile", 2)

    def queries() -> list[dict[str, Any]]:
        bridge.db.command("profile", 0)
        ns = f"{bridge.database}.ee2_jobs"
        return list(bridge.db["system.profile"].find({"ns": ns, "op": {"$in": ["query", "command",
                                                                              "getmore"]}}))

    yield queries
    bridge.db.command("profile", 0)
    bridge.db.drop_collection("system.profile")


async def test_many_who_wait_cost_what_one_costs(
    bridge: Bridge, profiled: Callable[[], list[dict[str, Any]]]
) -> None:
    batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 3, {"wsid": 7})["batch_id"]
    jobs = [bridge.job() for _ in range(20)]
    word = wait(bridge, [*jobs, batch])["since"]
    call = {"job_ids": [*jobs, batch], "since": word, "timeout_s": 30}
    began = time.monotonic()
    users = ("alice", "rob", "wendy")
    waiters = [asyncio.create_task(bare_wait(bridge, call, users[n % 3])) for n in range(300)]
    await asyncio.to_thread(_until, lambda: _waiters() == 300)
    assert not any(w.done() for w in waiters)
    await asyncio.to_thread(bridge.call, "start_job", {"job_id": jobs[0]}, who=jobs[0])
    changed = time.monotonic()
    answers = await asyncio.gather(*waiters)
    assert all(answer["timed_out"] == 0 for _, answer in answers)
    assert all(a["job_states"][jobs[0]]["status"] == "running" for _, a in answers)
    assert max(at for at, _ in answers) - changed < 2
    looks = (time.monotonic() - began) / 0.3
    # Two queries a look, one of them for the batch; and those for the rights of callers that came
    # at the same time go together.
    assert len(profiled()) < 2 * looks + 150


async def bare_wait(
    bridge: Bridge, params: dict[str, Any], who: str
) -> tuple[float, dict[str, Any]]:
    """When the answer came, and the answer; without a client library, which would be slower than
    the server with so many connections."""
    url = httpx.URL(bridge.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    body = orjson.dumps({"version": "1.1", "id": "1", "params": [params],
                         "method": "execution_engine2.wait_for_jobs"})  # fmt: skip
    writer.write(
        f"POST {url.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {bridge.tokens[who]}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    answer = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return time.monotonic(), orjson.loads(answer)["result"][0]


def _until(done: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_client_that_goes_away_is_forgotten(bridge: Bridge) -> None:
    job_id = bridge.job()
    for n in range(3):
        body = {"version": "1.1", "id": str(n), "method": "execution_engine2.wait_for_jobs",
                "params": [{"job_ids": [job_id], "until": "end", "timeout_s": 60}]}  # fmt: skip
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(bridge.url, json=body, headers={"Authorization": bridge.tokens["alice"]},
                       timeout=0.5, trust_env=False)  # fmt: skip
    _until(lambda: _waiters() == 0)


def _waiters() -> int:
    """How many wait, in this process."""
    found = [w for w in gc.get_objects() if type(w) is waiting_module._Waiter]
    return len([w for w in found if not w.answer.done()])


# The ground floor


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


ALICE = Caller("alice")


async def insert(engine: Engine, count: int = 1, **more: Any) -> list[str]:
    jobs = [{"_id": ObjectId(), "user": "alice", "status": "created", "updated": 1.0, **more}
            for _ in range(count)]  # fmt: skip
    await engine.store.jobs.insert_many(jobs)
    return [str(j["_id"]) for j in jobs]


async def test_the_counts_of_a_large_batch_come_from_the_index(engine: Engine) -> None:
    batch_id = (await insert(engine, batch_job=True, child_jobs=[]))[0]
    await insert(engine, 5000, batch_id=batch_id, role="submit", status="completed")
    await insert(engine, 3, batch_id=batch_id, role="submit", superseded=True, status="error")
    await insert(engine, 1, batch_id=batch_id, role="submit", abandoned=True, status="error")
    await insert(engine, 3, batch_id=batch_id)  # records of EE2's have no role
    began = time.monotonic()
    for _ in range(5):
        standing = (await look(engine.store, [ObjectId(batch_id)]))[ObjectId(batch_id)]
    assert (time.monotonic() - began) / 5 < 0.1
    assert standing.child_counts == {"completed": 5000, "created": 3}
    match = {"batch_id": {"$in": [batch_id]}, "superseded": {"$ne": True},
             "abandoned": {"$ne": True}}  # fmt: skip
    group = {"_id": {"b": "$batch_id", "r": "$role", "s": "$status"}, "n": {"$sum": 1}}
    plan = await engine.store.db.command(
        "explain",
        {"aggregate": "ee2_jobs", "pipeline": [{"$match": match}, {"$group": group}],
         "cursor": {}},
        verbosity="executionStats",
    )  # fmt: skip
    planner = plan.get("queryPlanner") or plan["stages"][0]["$cursor"]["queryPlanner"]
    chosen = str(planner["winningPlan"])
    assert "FETCH" not in chosen and "IXSCAN" in chosen


async def test_who_asks_again_and_again_causes_no_more_looks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = look

    async def counted(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return await real(*args)

    monkeypatch.setattr(waiting_module, "look", counted)
    waiting = Waiting(engine.store)
    ids = await insert(engine, 5)
    began = time.monotonic()
    for _ in range(4):
        await wait_for_jobs(engine, waiting, ALICE, ids, timeout_s=0)
    assert looks == 4 and time.monotonic() - began > 3 * 0.3
    await asyncio.gather(
        *(wait_for_jobs(engine, waiting, ALICE, ids, timeout_s=0) for _ in range(50))
    )
    assert looks <= 6  # the first of them alone, perhaps, the others together
    await asyncio.sleep(0.5)
    assert looks <= 6 and not waiting._looks.running  # nobody waits, nobody looks


async def test_the_number_of_waiters_is_bounded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "MAX_WAITERS", 2)
    waiting = Waiting(engine.store)
    ids = await insert(engine)

    def call(timeout_s: float) -> Any:
        return wait_for_jobs(engine, waiting, ALICE, ids, until="end", timeout_s=timeout_s)

    waiters = [asyncio.create_task(call(20)) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable, match="Too many clients are waiting"):
        await call(0)
    waiters[0].cancel()
    await asyncio.sleep(0)
    assert (await call(0)).timed_out  # a place has become free
    monkeypatch.setattr(waiting_module, "MAX_WATCHED", 1)
    with pytest.raises(Unavailable):
        await call(0)
    waiters[1].cancel()


async def test_the_number_of_a_users_waiters_is_bounded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "MAX_WAITERS_OF_USER", 2)
    waiting = Waiting(engine.store)
    ids = await insert(engine)

    def call(caller: Caller, timeout_s: float) -> Any:
        return wait_for_jobs(engine, waiting, caller, ids, until="end", timeout_s=timeout_s)

    waiters = [asyncio.create_task(call(ALICE, 20)) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable, match="calls of user alice are waiting"):
        await call(ALICE, 0)
    assert await call(Caller("wendy"), 0), "others are answered"
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert (await call(ALICE, 0)).timed_out


async def test_trouble_with_the_database_is_told_to_all(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Waiting(engine.store)
    ids = await insert(engine)

    async def away(*_: Any) -> Any:
        raise AutoReconnect("no primary")

    async def hangs(*_: Any) -> Any:
        await asyncio.sleep(60)

    async def all_ask() -> list[Any]:
        calls = (wait_for_jobs(engine, waiting, ALICE, ids, until="end") for _ in range(3))
        return await asyncio.gather(*calls, return_exceptions=True)

    monkeypatch.setattr(waiting_module, "look", away)
    assert [type(e) for e in await all_ask()] == [AutoReconnect] * 3
    monkeypatch.setattr(waiting_module, "look", hangs)
    monkeypatch.setattr(looks_module, "DATABASE_S", 0.2)
    assert [type(e) for e in await all_ask()] == [Unavailable] * 3
    monkeypatch.undo()
    again = await wait_for_jobs(engine, waiting, ALICE, ids, until="end", timeout_s=0)
    assert again.timed_out
    with pytest.raises(InvalidInput):
        await wait_for_jobs(engine, waiting, ALICE, ["x"])


async def test_a_terminated_batch_has_ended(engine: Engine) -> None:
    batch_id = (await insert(engine, batch_job=True, status=Status.TERMINATED.value))[0]
    await insert(engine, 2, batch_id=batch_id, status="terminated", role="submit")
    waited = await wait_for_jobs(engine, Waiting(engine.store), ALICE, [batch_id], until="end")
    assert waited.job_states[batch_id]["end"] == "terminated"


async def test_a_batch_alone_counts_as_one_among_many(engine: Engine) -> None:
    """The quick way for one batch beside the one for several, on whatever a batch may have."""
    rnd = random.Random(3)
    parents: list[dict[str, Any]] = [
        {"_id": ObjectId(), "user": "ana", "status": "created", "batch_job": True} for _ in range(2)
    ]
    jobs = []
    for n in range(300):
        job: dict[str, Any] = {
            "_id": ObjectId(), "user": "ana", "batch_id": str(parents[n % 2]["_id"]),
            "status": rnd.choice([*Status, "odd"]),
        }  # fmt: skip
        for name, values in (
            ("role", ["submit", "submit", "submit", None, "split", "aggregate"]),
            ("superseded", [True, False, None, None]), ("abandoned", [True, None, None]),
        ):  # fmt: skip
            if (value := rnd.choice(values)) is not None:
                job[name] = value
        jobs.append(job)
    await engine.store.jobs.insert_many([*parents, *jobs])
    both = await batch_standings(engine.store, parents)
    for parent in parents:
        key = str(parent["_id"])
        assert sum((both[key].child_counts or {}).values()) > 20
        alone = await batch_standings(engine.store, [parent])
        # Of several splits any one's state is told.
        assert alone[key].child_counts == both[key].child_counts
        assert (alone[key].stages or {}).keys() == (both[key].stages or {}).keys()
    # A state of which all jobs have newer attempts is none of the batch's.
    await engine.store.jobs.update_many(
        {"batch_id": key, "status": "error"}, {"$set": {"superseded": True}}
    )
    [alone_now] = (await batch_standings(engine.store, [parent])).values()
    assert "error" not in (alone_now.child_counts or {})
