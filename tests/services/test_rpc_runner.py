"""The runner's protocol over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.rpc_support import Bridge, RpcError

CLAIM = "0" * 32


def claim(bridge: Bridge, job: str, claim_id: str = CLAIM, scheduler_id: str = "1.0") -> Any:
    told = {"job_id": job, "claim": claim_id, "scheduler_id": scheduler_id, "starts": 1,
            "host": "node"}  # fmt: skip
    return bridge.call("ee2_runner.claim", told, who=job)


def test_claim_report_finish(bridge: Bridge) -> None:
    job = bridge.job(params=[1])
    answer = claim(bridge, job)
    assert answer["proceed"] is True
    assert answer["job"]["method"] == "m.f" and answer["job"]["params"] == [1]
    assert answer["app"]["kind"] == "command" and answer["app"]["command"] == ["true"]
    assert answer["artifacts_url"] == f"{bridge.url}/artifacts"
    assert answer["submission_id"] == job
    assert bridge.record(job)["status"] == "running"
    assert claim(bridge, job, "1" * 32, "2.0")["proceed"] is False

    lines = [{"line": "hello", "is_error": 0, "ts": 1700000000123}]
    told = {"job_id": job, "claim": CLAIM, "key": "k1", "lines": lines}
    for _ in range(2):  # a batch that is sent again is stored once
        answer = bridge.call("ee2_runner.report", told, who=job)
    assert answer == {
        "canceled": False, "reason": None, "limits": {"time_s": None, "time_rule": None},
    }
    log = bridge.call("get_job_logs", {"job_id": job})
    assert log["lines"] == [{"line": "hello", "linepos": 0, "is_error": 0, "ts": 1700000000123}]

    end = {
        "job_id": job, "claim": CLAIM, "key": "k2", "lines": lines,
        "output": {"version": "1.1", "id": job, "result": [{"x": 1}]},
        "usage": {"cpu_user_s": 1.5, "peak_memory_mb": 7},
    }  # fmt: skip
    for _ in range(2):
        assert bridge.call("ee2_runner.finish", end, who=job) is None
    state = bridge.call("check_job", {"job_id": job})
    assert state["status"] == "completed" and state["usage"]["cpu_user_s"] == 1.5
    assert bridge.call("get_job_logs", {"job_id": job})["count"] == 2
    assert claim(bridge, job)["proceed"] is False


def test_a_cancel_reaches_the_runner(bridge: Bridge) -> None:
    job = bridge.job()
    claim(bridge, job)
    bridge.call("cancel_job", {"job_id": job})
    told = {"job_id": job, "claim": CLAIM, "key": None, "lines": []}
    answer = bridge.call("ee2_runner.report", told, who=job)
    assert answer["canceled"] is True and "terminated" in answer["reason"]
    end = {"job_id": job, "claim": CLAIM, "error": {"message": "stopped"}, "usage": {"wall_s": 2}}
    assert bridge.call("ee2_runner.finish", end, who=job) is None
    record = bridge.record(job)
    assert record["status"] == "terminated" and record["usage"] == {"wall_s": 2}


def test_only_the_job_itself_may_call(bridge: Bridge) -> None:
    job, other = bridge.job(), bridge.job()
    told = {"job_id": job, "claim": CLAIM}
    with pytest.raises(RpcError, match="need the token of the job, not a user's"):
        bridge.call("ee2_runner.claim", told, who="alice")
    with pytest.raises(RpcError, match=f"token of job {other} may not be used for job {job}"):
        bridge.call("ee2_runner.claim", told, who=other)
    with pytest.raises(RpcError, match="Missing input parameter: claim"):
        bridge.call("ee2_runner.report", {"job_id": job}, who=job)
    assert "claim" not in bridge.record(job)
