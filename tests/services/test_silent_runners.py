"""Who is heard, what of it is noted, and how a job ends whose runner went silent."""

import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
from bson import ObjectId

from ee2_jobs import silent
from ee2_jobs.engine import Engine
from ee2_jobs.logs import read
from ee2_jobs.model import now_s
from ee2_operators.condor.pool import Pool
from ee2_operators.silent import NobodyHeard, hanging_jobs, settle_silent
from tests.services.conftest import free_port
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge, RpcError

SILENT_S = 900
log = logging.getLogger(__name__)


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    yield engine
    await close_engine(engine, mongo_uri)


@pytest.fixture(scope="module")
def rpc_url() -> Iterator[str]:
    """An address that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/services/ee2"
    server.shutdown()


class Queue:
    """A pool with these jobs in its queue: seconds in the present status by scheduler id."""

    def __init__(self, running: Mapping[str, float], status: int = 2) -> None:
        self.asked = 0
        self._ads = [
            {
                "ClusterId": int(sid.partition(".")[0]),
                "ProcId": int(sid.partition(".")[2]),
                "JobStatus": status,
                "EnteredCurrentStatus": int(now_s() - for_s),
            }
            for sid, for_s in running.items()
        ]

    async def live(self) -> list[dict[str, Any]]:
        self.asked += 1
        return self._ads


async def listening(engine: Engine, for_s: float = 7200, ago_s: float = 10) -> None:
    """The server has been listening for so long, and has last said so then."""
    now = now_s()
    mark = {"since": now - for_s, "at": now - ago_s, "anybody": now - ago_s}
    await engine.store.marks.update_one({"_id": silent.MARK}, {"$set": mark}, upsert=True)


async def running_job(engine: Engine, scheduler_id: str, **signs_s: float) -> ObjectId:
    """A record that says `running`; signs_s: how long ago each sign of life was, s."""
    now, oid = now_s(), ObjectId()
    job = {
        "_id": oid, "user": "alice", "status": "running", "submission": "s", "stage": "submit",
        "try": 1, "scheduler_id": scheduler_id, "updated": now - 5000, "running": now - 5000,
    }  # fmt: skip
    for sign, ago_s in signs_s.items():
        if sign == "claim":
            job["claim"] = {"id": "c", "host": "node7.example", "at": now - ago_s}
        else:
            job[sign] = now - ago_s
    await engine.store.jobs.insert_one(job)
    return oid


async def settle(engine: Engine, pool: Any, rpc_url: str) -> int:
    return await settle_silent(engine.store, cast(Pool, pool), rpc_url, SILENT_S, log)


async def job_of(engine: Engine, oid: ObjectId) -> dict[str, Any]:
    job = await engine.store.jobs.find_one({"_id": oid})
    assert job is not None
    return job


async def test_a_silent_runner_in_the_pool(engine: Engine, rpc_url: str) -> None:
    await listening(engine)
    oid = await running_job(engine, "5.0", claim=5000, seen=1000)
    heard = [
        await running_job(engine, "5.1", seen=100),
        await running_job(engine, "5.2", seen=4000, claim=100),  # started again by HTCondor
    ]
    pool = Queue({"5.0": 5000, "5.1": 5000, "5.2": 100})
    assert await settle(engine, pool, rpc_url) == 1
    job = await job_of(engine, oid)
    assert (job["status"], job["error_code"], job["remove"]) == ("error", 2, True)
    assert job["finished"] == job["updated"]
    text = job["errormsg"]
    assert "node7.example" in text and "has not been heard of since 20" in text
    assert job["error"] == {"name": "Engine error", "code": 2, "message": text, "error": text}
    (line,) = (await read(engine.store, oid, 0, None)).lines
    assert line.text == text and line.is_error
    for other in heard:
        assert (await job_of(engine, other))["status"] == "running"
    assert await settle(engine, pool, rpc_url) == 0


@pytest.mark.parametrize(
    ("for_s", "ago_s"), [(7200, 200), (600, 10)], ids=["not listening", "since a moment ago"]
)
async def test_an_outage_of_our_own_ends_no_job(
    engine: Engine, rpc_url: str, for_s: float, ago_s: float
) -> None:
    await listening(engine, for_s, ago_s)
    oid = await running_job(engine, "5.0")
    assert await settle(engine, Queue({"5.0": 5000}), rpc_url) == 0
    assert (await job_of(engine, oid))["status"] == "running"


async def test_nobody_has_ever_listened(engine: Engine, rpc_url: str) -> None:
    await running_job(engine, "5.0")
    assert await settle(engine, Queue({"5.0": 5000}), rpc_url) == 0


async def test_the_address_of_the_runners_does_not_answer(engine: Engine) -> None:
    await listening(engine)
    oid = await running_job(engine, "5.0")
    assert await settle(engine, Queue({"5.0": 5000}), "http://127.0.0.1:9/services/ee2") == 0
    assert (await job_of(engine, oid))["status"] == "running"


async def test_all_runners_at_once(engine: Engine, rpc_url: str) -> None:
    """Nobody at all is heard: the network, and not the runners."""
    await listening(engine)
    jobs = [await running_job(engine, f"5.{n}") for n in range(3)]
    pool = Queue({f"5.{n}": 5000 for n in range(3)})
    await engine.store.marks.update_one({"_id": silent.MARK}, {"$unset": {"anybody": ""}})
    with pytest.raises(NobodyHeard, match="3 jobs run"):
        await settle(engine, pool, rpc_url)
    assert (await job_of(engine, jobs[0]))["status"] == "running"
    await listening(engine)  # another job is heard
    assert await settle(engine, pool, rpc_url) == 3


async def test_what_the_pool_says_otherwise(engine: Engine, rpc_url: str) -> None:
    """Gone: reconciliation settles it. Waiting to run again, or running since a moment: no runner
    could have been heard."""
    await listening(engine)
    oid = await running_job(engine, "5.0")
    for pool in (Queue({}), Queue({"5.0": 5000}, status=1), Queue({"5.0": 60})):
        assert await settle(engine, pool, rpc_url) == 0
        assert pool.asked == 1
    assert (await job_of(engine, oid))["status"] == "running"
    ads = {"5.0": {"JobStatus": 2, "EnteredCurrentStatus": 100}}
    job = {"scheduler_id": "5.0"}
    assert hanging_jobs([job], ads, 100) == [job] and hanging_jobs([job], ads, 99) == []


async def test_a_runner_that_is_heard_at_the_last_moment(engine: Engine) -> None:
    oid = await running_job(engine, "5.0", seen=1000)
    (job,) = await silent.silent_jobs(engine.store, SILENT_S)
    await silent.note_seen(engine.store, [str(oid)])
    assert await silent.end_silent(engine.store, [job]) == 0
    assert (await job_of(engine, oid))["status"] == "running"
    assert await engine.store.log_buckets.count_documents({"job": oid}) == 0


async def test_the_time_of_listening(engine: Engine) -> None:
    store = engine.store
    assert await silent.listened_s(store) == 0
    await silent.note_seen(store, [])
    assert 0 <= await silent.listened_s(store) < 5
    now = now_s()
    for ago_s, since_s in ((60, now - 5000), (silent.GAP_S + 5, None)):
        mark = {"at": now - ago_s, "since": now - 5000}
        await store.marks.update_one({"_id": silent.MARK}, {"$set": mark})
        await silent.note_seen(store, [])
        found = await store.marks.find_one({"_id": silent.MARK}) or {}
        assert found["since"] == pytest.approx(since_s or now_s(), abs=5)
        assert "anybody" not in found
    ended = ObjectId()
    await store.jobs.insert_one({"_id": ended, "user": "a", "status": "completed"})
    await silent.note_seen(store, [str(ended)])
    assert "seen" not in await job_of(engine, ended)
    assert (await store.marks.find_one({"_id": silent.MARK}) or {})["anybody"] >= now


@pytest.fixture
def bridge(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bridge]:
    """A bridge that notes who was heard ten times a second, not every half minute."""
    monkeypatch.setattr("api_bridge.app.FLUSH_S", 0.1)
    bridge = Bridge(mongo_uri, tmp_path, free_port())
    bridge.start()
    yield bridge
    bridge.stop()


def test_which_calls_are_signs_of_life(bridge: Bridge) -> None:
    def heard(call: Any) -> bool:
        time.sleep(0.15)
        bridge.db.ee2_jobs.update_one({"_id": ObjectId(job_id)}, {"$unset": {"seen": ""}})
        call()
        time.sleep(0.35)
        return "seen" in bridge.record(job_id)

    job_id = bridge.job()
    one = {"job_id": job_id}
    bridge.call("ee2_runner.claim", {**one, "claim": "c1", "host": "n"}, who=job_id)
    report = {**one, "claim": "c1", "lines": []}
    assert heard(lambda: bridge.call("ee2_runner.report", report, who=job_id))
    old = {**report, "claim": "c0"}  # an earlier start, which is told to stop
    assert not heard(lambda: bridge.call("ee2_runner.report", old, who=job_id))
    for method in ("check_job_canceled", "get_job_status"):
        assert heard(lambda m=method: bridge.call(m, one, who=job_id))
        assert not heard(lambda m=method: bridge.call(m, one, who="alice"))
    assert heard(lambda: bridge.call("add_job_logs", one, [], who=job_id))
    assert not heard(lambda: bridge.call("add_job_logs", one, [{"line": "x"}], who="alice"))
    assert heard(
        lambda: bridge.call("NarrativeJobService.check_job_canceled", one, who=job_id)
    )
    other = bridge.job()
    with pytest.raises(RpcError):
        bridge.call("add_job_logs", one, [], who=other)
    assert not heard(lambda: None)
