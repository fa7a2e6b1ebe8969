"""The state machine: whatever is called, in whatever order, a record stays consistent.

Rules checked after every step: only the transitions of EE2's table happen; a job that has ended
never changes again; the fields that tell why it ended belong to its state.
"""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from bson import ObjectId
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ee2_jobs import pool_records, runs, stages
from ee2_jobs.cancel import cancel_job
from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError
from ee2_jobs.identity import Caller
from ee2_jobs.model import LIVE, TERMINAL, StageName, Status
from ee2_jobs.retry import retry_jobs
from ee2_jobs.submit import run_job
from tests.services.engines import close_engine, open_engine

TIMES = int(os.environ.get("EE2_FUZZ", "1"))  # 1: the same examples in every run
ALLOWED = {
    "created": {"queued", "estimating", "running", *TERMINAL},
    "queued": {"estimating", "running", *TERMINAL},
    "estimating": {"running", *TERMINAL},
    "running": set(TERMINAL),
}
OUTPUTS = st.sampled_from([{}, {"version": "1.1", "result": [1]}, {"version": 1}, "text", None])
CLAIMS = st.sampled_from(["a", "b"])
POOL_IDS = st.sampled_from([None, "1.0", "2.0"])


class Record(RuleBasedStateMachine):
    """One job under any sequence of calls."""

    uri: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.engine: Engine = self.run(open_engine(self.uri))
        self.owner = Caller("alice")
        self.id = self.run(run_job(self.engine, self.owner, {"method": "m.f"}))
        self.seen = self.record()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(call)

    def attempt(self, call: Coroutine[Any, Any, Any]) -> None:
        """Make a call that may be refused, but only with a sentence."""
        try:
            self.run(call)
        except EngineError as e:
            assert str(e)

    def record(self) -> dict[str, Any]:
        return self.run(self.engine.store.jobs.find_one({"_id": ObjectId(self.id)}))

    @rule(skip=st.booleans())
    def start(self, skip: bool) -> None:
        self.attempt(runs.start_job(self.engine, self.owner, self.id, skip_estimation=skip))

    @rule(
        output=OUTPUTS,
        message=st.sampled_from([None, "bad"]),
        code=st.sampled_from([None, 0, 9]),
    )
    def finish(self, output: Any, message: str | None, code: int | None) -> None:
        told = {"job_output": output, "error_message": message, "error_code": code}
        self.attempt(runs.finish_job(self.engine, self.owner, self.id, told, as_admin=False))

    @rule(claim=CLAIMS, scheduler_id=POOL_IDS)
    def claim(self, claim: str, scheduler_id: str | None) -> None:
        self.attempt(
            runs.claim(
                self.engine, self.id, claim_id=claim, scheduler_id=scheduler_id, starts=1, host="n"
            )
        )

    @rule(claim=CLAIMS, ok=st.booleans())
    def finish_run(self, claim: str, ok: bool) -> None:
        told = {"output": {}} if ok else {"error": {"message": "no"}, "error_code": 3}
        self.attempt(runs.finish_run(self.engine, self.id, told, claim_id=claim))

    @rule(code=st.sampled_from([None, 1, 2, 77]))
    def cancel(self, code: int | None) -> None:
        self.attempt(cancel_job(self.engine, self.owner, self.id, terminated_code=code))

    @rule()
    def queue(self) -> None:
        async def queue() -> None:
            run = await stages.open_stage(self.engine.store, self.id, StageName.SUBMIT, 1, 9)
            await stages.record_cluster(self.engine.store, run, {self.id: "1.0"})

        self.attempt(queue())

    @rule(status=st.sampled_from([Status.ERROR, Status.TERMINATED]))
    def pool_end(self, status: Status) -> None:
        end = pool_records.PoolEnd(self.id, status, 2, "gone")
        self.attempt(pool_records.apply_pool_ends(self.engine.store, [end]))

    @rule()
    def retry(self) -> None:
        answer = self.run(retry_jobs(self.engine, self.owner, [self.id]))[0]
        retryable = self.seen["status"] in ("error", "terminated")
        assert bool(answer.retry_id) == (retryable and not self.seen["retry_ids"])

    @invariant()
    def stays_consistent(self) -> None:
        before, now = self.seen, self.record()
        self.seen = now
        if before["status"] in TERMINAL:
            free = {"retry_ids", "superseded", "updated", "usage", "remove", "scheduler_id",
                    "scheduler_type", "queued"}
            assert {k: v for k, v in before.items() if k not in free} == {
                k: v for k, v in now.items() if k not in free
            }
        elif before["status"] != now["status"]:
            assert now["status"] in ALLOWED[before["status"]]
        assert ("finished" in now) == (now["status"] in TERMINAL)
        assert ("terminated_code" in now) == (now["status"] == "terminated")
        assert ("error_code" in now) == (now["status"] == "error")
        assert ("job_output" in now) == (now["status"] == "completed")
        if now["status"] == "running":
            assert now["running"] > 0
        if now["status"] in LIVE:
            assert "remove" not in now

    def teardown(self) -> None:
        self.run(close_engine(self.engine, self.uri))
        self.runner.close()


def test_any_sequence_of_calls_leaves_a_consistent_record(mongo_uri: str) -> None:
    machine = type("Bound", (Record,), {"uri": mongo_uri})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25 * TIMES, derandomize=TIMES == 1, database=None,
            stateful_step_count=12, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
