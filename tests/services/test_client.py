"""The Python client against a live bridge; jobs are moved with their own tokens, as runners do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ee2_client import (
    AsyncClient,
    Client,
    EngineError,
    NoResult,
    NotAuthenticated,
    NotFound,
    Retried,
    WaitedTooLong,
)
from tests.services.rpc_support import Bridge


@pytest.fixture
def alice(bridge: Bridge) -> Iterator[Client]:
    with Client(bridge.url, bridge.tokens["alice"]) as client:
        yield client


def run(bridge: Bridge, job_id: str, result: Any = None, error: str | None = None) -> None:
    """What the runner does with a job, all of it."""
    mine = {"job_id": job_id, "claim": "c1"}
    assert bridge.call("ee2_runner.claim", mine, who=job_id)["proceed"]
    lines = [{"line": f"line {n}", "is_error": n == 1} for n in range(3)]
    bridge.call("ee2_runner.report", {**mine, "key": "k1", "lines": lines}, who=job_id)
    end: dict[str, Any] = {"output": {"version": "1.1", "result": result or [{}], "id": job_id}}
    if error is not None:
        end = {"error": {"message": error}, "error_code": 1}
    bridge.call("ee2_runner.finish", {**mine, **end}, who=job_id)


def test_a_job_from_its_start_to_its_result(bridge: Bridge, alice: Client) -> None:
    job_id = alice.run_job("m.f", [{"n": 1}], wsid=7, app_id="m/f")
    with pytest.raises(NoResult, match="has no result yet: it is created"):
        alice.result(job_id)
    with pytest.raises(WaitedTooLong):
        alice.wait(job_id, timeout_s=0.1)
    runner = threading.Timer(0.5, run, (bridge, job_id, [{"sum": 3}]))
    runner.start()
    views = list(alice.changes(job_id))
    runner.join()
    assert views[0][job_id].status == "created" and views[-1][job_id].end == "completed"
    assert alice.result(job_id) == [{"sum": 3}]
    state = alice.check_job(job_id)
    assert state.status == alice.status(job_id) == "completed"
    assert (state.user, state.wsid, state.job_input["params"]) == ("alice", 7, [{"n": 1}])
    assert state.created and state.running and state.finished
    assert state.created <= state.running <= state.finished
    log = list(alice.logs(job_id, follow=True))
    assert [(line.text, line.number, line.is_error) for line in log] == [
        ("line 0", 0, False), ("line 1", 1, True), ("line 2", 2, False),
    ]  # fmt: skip
    assert log[0].at and [line.number for line in alice.logs(job_id, skip_lines=1)] == [1, 2]
    assert list(alice.logs(alice.run_job("m.f"))) == []  # no log yet


def test_a_batch(bridge: Bridge, alice: Client) -> None:
    jobs = [{"method": "m.f", "params": [n]} for n in range(3)]
    batch = alice.run_job_batch(jobs, wsid=7, aggregate={"recipe": "report"})
    one, two, three = batch.child_job_ids
    run(bridge, one)
    run(bridge, two, error="no reads")
    assert alice.cancel_by_status(batch.batch_id, ["created"]) == [three]
    again = alice.retry_by_status(batch.batch_id)
    assert [r.job_id for r in again] == [two, three] and all(r.retry_id for r in again)
    assert alice.retry(one) == [Retried(one, None, again_error(one))]
    for retried in again:
        assert retried.retry_id
        run(bridge, retried.retry_id)
    state = alice.check_job_batch(batch.batch_id)
    assert state.parent.child_counts == {"completed": 3} and len(state.children) == 5
    assert state.children[1] and state.children[1].error_message == "no reads"
    aggregate = state.parent.stage_jobs["aggregate"]
    runner = threading.Timer(0.4, run, (bridge, aggregate, [{"report": "artifact:x"}]))
    runner.start()
    done = alice.wait(batch.batch_id)[batch.batch_id]
    runner.join()
    assert done.end == "completed" and done.stages == {"aggregate": "completed"}
    assert alice.result(batch.batch_id) == [{"report": "artifact:x"}]


def again_error(job_id: str) -> str:
    return (
        f"Error retrying job {job_id} with status completed: can only retry jobs with status "
        "'error' or 'terminated'"
    )


def test_split_and_children(bridge: Bridge, alice: Client) -> None:
    with_split = alice.run_split_aggregate("m.f", [{"chunks": 2}])
    assert set(alice.check_job(with_split).stage_jobs) == {"split", "aggregate"}
    listed = alice.run_split_aggregate("m.f", children=[[1], [2]], aggregate=None)
    assert alice.check_job(listed).child_counts == {"created": 2}
    alice.cancel(listed)
    assert alice.wait(listed)[listed].end == "terminated"
    with pytest.raises(NoResult, match="has no aggregate"):
        alice.result(listed)


def test_rights_and_sharing(bridge: Bridge, alice: Client) -> None:
    job_id = alice.run_job("m.f")
    with Client(bridge.url, bridge.tokens["bob"]) as bob:
        assert bob.check_jobs([job_id]) == {job_id: None}
        for call in (bob.check_job, bob.status, bob.wait, bob.cancel):
            with pytest.raises(NotFound):
                call(job_id)
        alice.share(job_id, "bob")
        assert bob.check_job(job_id).user == "alice"
        with pytest.raises(EngineError, match="does not have permission"):
            bob.cancel(job_id)
        other = alice.run_job("m.f")
        alice.share(other, "bob", manage=True)
        alice.share(other, "bob")  # takes nothing away
        bob.cancel(other)
        assert alice.status(other) == "terminated"
        alice.unshare(job_id, ["bob"])
        with pytest.raises(NotFound):
            bob.check_job(job_id)
    with Client(bridge.url, bridge.tokens["root"], as_admin=True) as root:
        assert root.status(job_id) == "created"
        root.cancel(job_id)
    assert alice.check_job(job_id).terminated_code == 1  # an administrator's
    with Client(bridge.url, "wrong", patience_s=0) as nobody, pytest.raises(NotAuthenticated):
        nobody.status(job_id)
    with pytest.raises(EngineError, match="wsid") as caught:
        alice.run_job("m.f", wsid=-1)
    assert caught.value.code == -32000


async def test_the_asynchronous_client(bridge: Bridge, tmp_path: Path) -> None:
    async with AsyncClient(bridge.url, bridge.tokens["alice"]) as client:
        job_id = await client.run_job("m.f", [1])
        url = f"{bridge.url}/artifacts/{job_id}/{job_id}/r.html"
        runner_token = {"Authorization": str(bridge.token(job_id))}
        assert bridge.http.put(url, headers=runner_token, content=b"<p>").status_code == 201
        ref = f"artifact:{job_id}/{job_id}/r.html"
        runner = threading.Timer(0.3, run, (bridge, job_id, [{"report": ref}]))
        runner.start()
        assert (await client.wait(job_id))[job_id].end == "completed"
        runner.join()
        assert await client.result(job_id) == [{"report": ref}]
        path = await client.download(ref, tmp_path / "new" / "r.html")
        assert path.read_bytes() == b"<p>"
        with pytest.raises(NotFound, match="cannot be fetched"):
            await client.download(f"{ref}x", tmp_path / "none")
        assert [line.text async for line in client.logs(job_id)] == ["line 0", "line 1", "line 2"]
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
