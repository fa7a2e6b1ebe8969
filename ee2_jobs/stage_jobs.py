"""The jobs of a stage's try: the children that a split listed, and new attempts for a later try."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from ee2_jobs.cancel import terminate
from ee2_jobs.errors import InvalidInput
from ee2_jobs.limits.sizes import ceilings_of
from ee2_jobs.limits.time import RECORD_FIELDS, base_on, time_rules
from ee2_jobs.model import TERMINAL, Document, StageName, Status, TerminatedCode, now_s
from ee2_jobs.retry import attempt_document, link_attempts
from ee2_jobs.store import Store
from ee2_jobs.submissions import insert_many


def mark(stage: StageName, try_number: int, name: str) -> str:
    """The field of a submission that notes how far a try of a stage has come."""
    return f"tries.{stage.value}.{try_number}.{name}"


async def _claim_mark(
    store: Store, submission: Document, field: str, session: AsyncClientSession
) -> bool:
    """Note in a transaction that a try's jobs are made; False if another trigger has made them. A
    submission whose run had ended goes on by that (a stage was cleared)."""
    done = await store.submissions.update_one(
        {"_id": submission["_id"], field: {"$exists": False}},
        {"$set": {field: now_s(), "status": "started"}},
        session=session,
    )
    return bool(done.modified_count)


def _cleared_s(submission: Document) -> float | None:
    """When a stage of the submission was last started again, s; None if that never happened."""
    again = [
        marks["made"]
        for tries in submission["tries"].values()
        for number, marks in tries.items()
        if int(number) > 1 and "made" in marks
    ]
    return max(again, default=None)


def was_cleared(submission: Document) -> bool:
    """Whether some stage of the submission was started again in Airflow."""
    return _cleared_s(submission) is not None


def waits_for_children(submission: Document) -> bool:
    """Whether the submission's children come from a split and are not made yet."""
    tries = submission["tries"].get(StageName.SUBMIT.value, {}).values()
    return "children" in submission and not any("made" in marks for marks in tries)


async def make_children(
    store: Store, submission: Document, try_number: int, max_jobs: int
) -> None:
    """The children that the split listed, in one transaction with the parent's `child_jobs`.

    Raises InvalidInput if the split listed none, or too many, or the batch was cancelled.
    """
    batch_id = submission["batch_id"]
    split = await store.jobs.find_one(
        {
            "batch_id": batch_id,
            "role": StageName.SPLIT.value,
            "status": Status.COMPLETED.value,
        },
        sort=[("_id", -1)],
    )
    if split is None:
        raise InvalidInput("The split has not completed, so there are no children to run")
    listed = split_children(split.get("job_output"))
    if len(listed) > max_jobs:
        raise InvalidInput(
            f"The split listed {len(listed)} children; one batch may have at most {max_jobs}"
        )
    template = submission["children"]
    user, method = template["user"], template["job_input"]["method"]
    (await ceilings_of(store, user)).check_children(len(listed), "The split listed")
    rules = await time_rules(store)
    limit = rules.fields(user, method, base_on(template))
    template = {k: v for k, v in template.items() if k not in RECORD_FIELDS} | limit
    parent = await store.jobs.find_one({"_id": ObjectId(batch_id)}, {"status": 1})
    if parent is None or parent["status"] == Status.TERMINATED.value:
        raise InvalidInput("The batch was cancelled, so its children are not started")
    jobs = []
    for index, child in enumerate(listed):
        job_input = {**template["job_input"], "params": child["params"]}
        jobs.append(
            {
                **template,
                "_id": ObjectId(),
                "job_input": job_input,
                "index": index,
                "try": try_number,
                "updated": now_s(),
            }
        )

    async def write(session: AsyncClientSession) -> None:
        field = mark(StageName.SUBMIT, try_number, "made")
        if not await _claim_mark(store, submission, field, session):
            return
        await insert_many(store, jobs, session)
        await store.jobs.update_one(
            {"_id": ObjectId(batch_id), "status": Status.CREATED.value},
            {"$set": {"child_jobs": [str(j["_id"]) for j in jobs], "updated": now_s()}},
            session=session,
        )

    await store.transaction(write)


def split_children(output: Any) -> list[Document]:
    """The children in a split's output: `result[0]["children"]`, a list of {"params": ...}."""
    try:
        children = output["result"][0]["children"]
        if not isinstance(children, list) or not children:
            raise TypeError
        for child in children:
            child["params"]
    except (KeyError, IndexError, TypeError):
        raise InvalidInput(
            "The split's output lists no children: result[0] must be "
            '{"children": [{"params": [...]}, ...]} with at least one child'
        ) from None
    return children


async def make_attempts(
    store: Store, submission: Document, stage: StageName, try_number: int
) -> None:
    """New attempts of what earlier tries of the stage did not complete. What of them is still live
    is ended first: Airflow tells the old try to stop only after the new one has begun.

    The first try of a stage has earlier jobs too, if the run was cleared before the stage's turn
    had come: they were ended as "not started".
    """
    earlier: Document = {"try": {"$lt": try_number}}
    if try_number == 1:
        earlier = {"status": {"$in": list(TERMINAL)}, "finished": {"$lt": _cleared_s(submission)}}
    else:
        await terminate(
            store,
            {"submission": submission["_id"], "stage": stage.value, **earlier},
            TerminatedCode.BY_AUTOMATION,
            "The stage was started again in Airflow.",
        )
    unfinished = await store.jobs.find(
        {
            "$and": [earlier, {"status": {"$ne": Status.COMPLETED.value}}],
            "submission": submission["_id"],
            "stage": stage.value,
            "superseded": {"$ne": True},
        }
    ).to_list()
    rules = await time_rules(store)
    new_jobs = [
        attempt_document(
            job,
            user=job["user"],
            submission=submission["_id"],
            stage=stage,
            try_number=try_number,
            rules=rules,
        )
        for job in unfinished
    ]

    async def write(session: AsyncClientSession) -> None:
        field = mark(stage, try_number, "made")
        if await _claim_mark(store, submission, field, session) and new_jobs:
            await link_attempts(store, new_jobs, session)

    await store.transaction(write)
