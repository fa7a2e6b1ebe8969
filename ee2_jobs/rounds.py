"""Trying failed jobs again within a try of a stage (`max_attempts` of the submission).

What has failed by now becomes a round: new attempts of those jobs, which are one cluster of their
own, while the jobs of earlier rounds go on. Nothing waits for the end of a round. What is
terminated was ended by somebody's wish and is not tried again.
"""

from __future__ import annotations

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from ee2_jobs.limits.time import time_rules
from ee2_jobs.model import LIVE, Document, Status
from ee2_jobs.retry import attempt_document, link_attempts
from ee2_jobs.stage_jobs import mark
from ee2_jobs.stages import StageRun, open_stage
from ee2_jobs.store import Store


def _failed(run: StageRun) -> Document:
    """The jobs of the try that have failed and may be tried again."""
    tries = run.submission.get("max_attempts", 1)
    return {
        "submission": run.submission_id,
        "stage": run.stage.value,
        "try": run.try_number,
        "status": Status.ERROR.value,
        "superseded": {"$ne": True},
        "attempt": {"$not": {"$gte": tries}},
    }


async def next_round(store: Store, run: StageRun) -> StageRun | None:
    """New attempts of what has failed in the try so far, in one transaction; None if there is
    nothing to try again, or the batch has been cancelled."""
    if run.submission.get("max_attempts", 1) < 2:
        return None
    if await store.jobs.find_one(_failed(run), {"_id": 1}) is None:
        return None

    rules = await time_rules(store)

    async def write(session: AsyncClientSession) -> int | None:
        failed = await store.jobs.find(_failed(run), session=session).to_list()
        if not failed:
            return None
        batch_id = run.submission.get("batch_id")
        if batch_id is not None:
            # It becomes longer by the attempts: of a cancel at the same time, one is run again.
            parent = {"_id": ObjectId(batch_id), "status": {"$in": list(LIVE)}}
            if await store.jobs.find_one(parent, {"_id": 1}, session=session) is None:
                return None
        submission = await store.submissions.find_one_and_update(
            {"_id": run.submission_id},
            {"$inc": {mark(run.stage, run.try_number, "more_rounds"): 1}},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        assert submission is not None
        marks = submission["tries"][run.stage.value][str(run.try_number)]
        number = 1 + int(marks["more_rounds"])
        attempts = [
            attempt_document(
                job,
                user=job["user"],
                submission=run.submission_id,
                stage=run.stage,
                try_number=run.try_number,
                rules=rules,
            )
            | {"attempt": job.get("attempt", 1) + 1, "round": number}
            for job in failed
        ]
        await link_attempts(store, attempts, session)
        return number

    number = await store.transaction(write)
    if number is None:
        return None
    return await open_stage(
        store, run.submission_id, run.stage, run.try_number, 0, round_number=number
    )
