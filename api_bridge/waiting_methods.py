"""The method that waits for jobs."""

from __future__ import annotations

from typing import Any

from api_bridge.params import Params, is_as_admin
from api_bridge.service import Method, Service
from ee2_jobs import waiting
from ee2_jobs.identity import Caller


async def wait_for_jobs(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Wait until jobs change or end, in place of asking for their states again and again. Answers
    at once if there is news, else when it comes, else when the time is over.

    - `job_ids`: 1 to 1000 ids of jobs and batches
    - `until` = `"change"`: until any state differs from those of `since`, or all have ended;
      `"end"`: until all have ended. A batch has ended when its children (the newest attempt of
      each), its split and its aggregate have.
    - `since`: the word of an earlier answer for the same ids; without it `"change"` answers at once
    - `timeout_s` = 30: seconds to wait at most, 0 to 60
    - `as_admin` = 0

    Result: `job_states`: mapping of id to `{job_id, status, created, updated, queued, running,
    finished, batch_job, end, child_counts, stages}`, times in ms; `end` is `completed`, `error` or
    `terminated`, null until then; `child_counts` (children per state) and `stages` (states of
    `split` and `aggregate`) for batches. `since`: the word to send next. `timed_out`: 0 or 1.

    Right: read job, looked at when the wait begins. A job that the caller may not read, and an id
    that no job has, gives the `failure` mapping of check_jobs. Code -32603 if MongoDB does not
    answer, or too many clients wait: try again later.
    """
    waited = await waiting.wait_for_jobs(
        service.engine,
        service.waiting,
        caller,
        params.get("job_ids"),
        since=params.get("since"),
        until=params.get("until"),
        timeout_s=params.get("timeout_s"),
        as_admin=is_as_admin(params),
    )
    return {
        "job_states": waited.job_states,
        "since": waited.since,
        "timed_out": int(waited.timed_out),
    }


WAITING_METHODS: dict[str, Method] = {
    "execution_engine2.wait_for_jobs": Method(wait_for_jobs, (dict,), waits=True),
}
