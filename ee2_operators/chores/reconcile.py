"""Starts what was accepted and not started; settles what ended unnoticed."""

from __future__ import annotations

import httpx

from ee2_jobs import submissions
from ee2_jobs.identity import engine_token
from ee2_jobs.model import TerminatedCode
from ee2_operators import airflow_internals
from ee2_operators.chores.common import ChoreFailed, Done, Work, tally
from ee2_operators.reconcile import reconcile

SETTLED_S = 60.0
# Younger ones are being started by the call that accepted them.
OVERDUE_S = 10.0


async def run(work: Work) -> Done:
    """One part that fails stops no other."""
    counts, problems = [], []
    for part, text in (
        (_empty_outbox, "submission(s) being started"),
        (_settle_ended_runs, "submission(s) without a run settled"),
        (_settle_jobs, "job(s) settled that had left the pool unnoticed"),
    ):
        try:
            counts.append((await part(work), text))
        except Exception as e:
            work.log.debug("A part of the chore failed", exc_info=True)
            problems.append(f"{type(e).__name__}: {e}")
    if problems:
        raise ChoreFailed(f"{'; '.join(problems)} (beside that: {tally(counts)})")
    return Done(tally(counts), sum(n for n, _ in counts))


async def _empty_outbox(work: Work) -> int:
    """Have the API server start what was accepted and not started: a trigger cannot make runs."""
    parts = work.parts
    if work.dry_run:
        return len(await submissions.overdue(parts.store, OVERDUE_S))
    headers = {"Authorization": engine_token(parts.settings.secret_key)}
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False, headers=headers) as client:
            answer = await client.post(f"{parts.settings.rpc_url}/outbox")
    except httpx.TransportError as e:
        # It is being restarted, say. Next minute again.
        work.log.warning("The API server does not answer at %s: %r", parts.settings.rpc_url, e)
        return 0
    answer.raise_for_status()
    starting: int = answer.json()["starting"]
    return starting


async def _settle_ended_runs(work: Work) -> int:
    """Settle submissions whose run ended unnoticed, and start those anew whose run is not there."""
    store, count = work.parts.store, 0
    for submission_id, dag_id in await submissions.runs_to_check(store, SETTLED_S):
        if not work.in_time():
            break
        if work.parts.watcher.follows(submission_id):
            continue
        state = await airflow_internals.run_state(dag_id, submission_id)
        if state not in (None, "success", "failed"):
            continue
        count += 1
        work.log.debug("The run of submission %s: %s", submission_id, state or "is not there")
        if work.dry_run:
            continue
        if state is None:
            await submissions.start_again(store, submission_id)
        else:
            await submissions.mark_ended(
                store,
                submission_id,
                TerminatedCode.BY_SERVER_FAILURE,
                "The run of the job ended before the job did.",
            )
    return count


async def _settle_jobs(work: Work) -> int:
    parts = work.parts
    settled = await reconcile(parts.store, parts.pool, SETTLED_S, dry_run=work.dry_run)
    if not work.dry_run:
        parts.watcher.poke()
    return settled
