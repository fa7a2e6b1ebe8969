"""What the tests of the old services share: addresses, clients, and the way of a job through its
states, by the calls that its runner makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.kbase_clients import (
    JOB_STATE,
    STATUS,
    JavaClient,
    PythonClient,
    ServerError,
    java_read,
)
from tests.services.rpc_support import Bridge

UNKNOWN = "5f0c0000000000000000aaaa"
CLAIM = "c" * 32
ERROR = {"name": "Server error", "code": -32000, "message": "it broke", "error": "Traceback …"}


def address(bridge: Bridge, name: str) -> str:
    """The address of an old service, as KBase's clients have it by default: with a slash."""
    return f"{bridge.url.rsplit('/', 1)[0]}/{name}/"


def njs(bridge: Bridge, who: str | None = "alice") -> PythonClient:
    """The Python client of NarrativeJobService."""
    return PythonClient(address(bridge, "njs_wrapper"), bridge.token(who))


def java_njs(bridge: Bridge, who: str | None = "alice") -> JavaClient:
    """The Java client of NarrativeJobService."""
    return JavaClient(address(bridge, "njs_wrapper"), bridge.token(who))


def start(bridge: Bridge, job: str) -> None:
    """The runner takes the job."""
    told = {"job_id": job, "claim": CLAIM, "starts": 1, "host": "node"}
    assert bridge.call("ee2_runner.claim", told, who=job)["proceed"]


def complete(bridge: Bridge, job: str, result: Any) -> None:
    """The job's app returns."""
    start(bridge, job)
    output = {"version": "1.1", "id": job, "result": result}
    told = {"job_id": job, "claim": CLAIM, "output": output}
    bridge.call("ee2_runner.finish", told, who=job)


def fail(bridge: Bridge, job: str, error: Any) -> None:
    """The job's app fails."""
    start(bridge, job)
    told = {"job_id": job, "claim": CLAIM, "error": error, "error_code": 1}
    bridge.call("ee2_runner.finish", told, who=job)


def newest_job(bridge: Bridge) -> str:
    """The id of the job that was submitted last."""
    found = bridge.db.ee2_jobs.find_one({}, {"_id": 1}, sort=[("_id", -1)])
    assert found is not None
    return str(found["_id"])


def meanwhile(*steps: Callable[[], None]) -> Callable[[float], None]:
    """A sleep for a client that waits: at each call the next of these happens."""
    left = list(steps)

    def sleep(_: float) -> None:
        assert left, "the client waits and nothing will happen any more"
        left.pop(0)()

    return sleep


def call(bridge: Bridge, method: str, *params: Any, who: str | None = "alice") -> Any:
    """A call of NarrativeJobService."""
    return njs(bridge, who).call(f"NarrativeJobService.{method}", *params)


def run(bridge: Bridge, who: str = "alice", **more: Any) -> str:
    """A new job, submitted to NarrativeJobService."""
    return str(call(bridge, "run_job", {"method": "m.f", "params": [1], **more}, who=who))


def state(bridge: Bridge, job: str, who: str = "alice") -> dict[str, Any]:
    """check_job as the Java client reads it."""
    found: dict[str, Any] = java_njs(bridge, who).call(
        [JOB_STATE], "NarrativeJobService.check_job", job
    )[0]
    java_read(found["status"], STATUS)
    assert all(value is not None for value in found.values())
    return found


def refused(bridge: Bridge, method: str, *params: Any, who: str | None = "alice") -> str:
    """The message of a call that the service refuses with the code of exceptions."""
    with pytest.raises(ServerError) as caught:
        call(bridge, method, *params, who=who)
    assert (caught.value.name, caught.value.code) == ("JSONRPCError", -32500)
    return caught.value.message


def not_viewable(job: str, user: str = "alice") -> str:
    """What is said of a job that the user may not see."""
    return f"There is no job {job} viewable by user {user}"
