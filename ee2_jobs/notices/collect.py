"""Which messages are due: one per submission, person and channel, however many jobs it has.

What ended is read from the submissions, in the order in which they ended; how far is kept in
`store.marks`. Looking twice does no harm: a message has the same id whoever makes it, and an id is
put into the outbox once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ee2_jobs.model import LIVE, WAITING, Document, Status, now_s
from ee2_jobs.notices import wishes as wished
from ee2_jobs.notices.sending import notice_document, put
from ee2_jobs.notices.watches import collect_watched
from ee2_jobs.notices.wishes import Wishes
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store

MARK = "notices"
# Clocks differ, and a transaction shows a little after the time that it notes.
OVERLAP_S = 120.0
# So many are read at a time, so often in one look.
MOST_SUBMISSIONS, MOST_PARTS = 5000, 10
MOST_JOBS = 20_000

_Wanted = Mapping[str, tuple[Wishes, frozenset[str]]]


async def collect(store: Store, settings: Settings, *, dry_run: bool = False) -> int:
    """Put the messages that have become due into the outbox; how many are new. Nothing of what
    ended before the first call is told. dry_run: only count."""
    made, seen_s = await _of_ended(store)
    made += await _of_live(store, "long_wait")
    made += await _of_live(store, "long_run")
    of_watched, over = await collect_watched(store, settings)
    # What the settings ask for anyway is told in those words, and once.
    made += [one for one in of_watched if one["_id"] not in {other["_id"] for other in made}]
    if dry_run:
        known = store.notices.find({"_id": {"$in": [one["_id"] for one in made]}}, {"_id": 1})
        return len(made) - len(await known.to_list())
    new = await put(store, made)
    if over:
        await store.watches.delete_many({"_id": {"$in": over}})
    await store.marks.update_one({"_id": MARK}, {"$max": {"until": seen_s}}, upsert=True)
    return new


async def _of_ended(store: Store) -> tuple[list[Document], float]:
    """Messages of submissions that have ended since the last look, and up to when it went."""
    mark = await store.marks.find_one({"_id": MARK})
    now = now_s()
    if mark is None:
        return [], now
    made: list[Document] = []
    since: Document = {"ended": {"$gt": mark["until"] - OVERLAP_S}}
    # In parts: when more end within OVERLAP_S than are read at a time, the next look would begin
    # with the same ones again, and never come further.
    for _ in range(MOST_PARTS):
        found = await (
            store.submissions.find(
                {"status": "ended", **since}, {"user": 1, "batch_id": 1, "tries": 1, "ended": 1}
            )
            .sort([("ended", 1), ("_id", 1)])
            .limit(MOST_SUBMISSIONS)
            .to_list()
        )
        made += await _of_these(store, found)
        if len(found) < MOST_SUBMISSIONS:
            return made, now
        last = found[-1]
        since = {
            "ended": {"$gte": last["ended"]},
            "$or": [{"ended": {"$gt": last["ended"]}}, {"_id": {"$gt": last["_id"]}}],
        }
    return made, last["ended"]


async def _of_these(store: Store, found: Sequence[Document]) -> list[Document]:
    """Messages of these submissions, which have ended."""
    shared = await _shared_with(store, found)
    people = {s["user"] for s in found} | {u for users in shared.values() for u in users}
    wanted = await wished.of_users(store, people)
    if not wanted:
        return []
    concerned = {
        s["_id"]: s for s in found if wanted.keys() & {s["user"], *shared.get(s["_id"], ())}
    }
    made: list[Document] = []
    for submission_id, body in (await _outcomes(store, list(concerned))).items():
        submission = concerned[submission_id]
        event = _event(submission, body)
        if event is None:
            continue
        body |= {"user": submission["user"], "batch_id": submission.get("batch_id")}
        # A submission that is run again in Airflow ends again, with a try more.
        tries = sum(len(of_stage) for of_stage in submission.get("tries", {}).values())
        key = f"{submission_id}.ended.{tries}"
        readers = shared.get(submission_id, ())
        made += _messages(key, event, body, submission["user"], readers, wanted)
    return made


def _event(submission: Document, body: Document) -> str | None:
    if submission.get("batch_id") or sum(body["counts"].values()) > 1:
        return "batch_done"
    if body["counts"].get(Status.COMPLETED.value):
        return "end"
    if body.get("ended_by_owner"):
        return None  # who cancels a job knows
    return "failure"


def _messages(
    key: str,
    event: str,
    body: Document,
    owner: str,
    readers: Iterable[str],
    wanted: _Wanted,
) -> list[Document]:
    """One for each person that wants it and each channel on which it is wanted."""
    made = []
    for user in dict.fromkeys((owner, *readers)):
        if user not in wanted:
            continue
        wishes, confirmed = wanted[user]
        if user != owner and not wishes.shared:
            continue
        if event in ("end", "batch_done", "failure") and body["took_s"] < wishes.quiet_s:
            continue
        for channel in dict.fromkeys(wishes.events.get(event, ())):
            to = wished.address(user, wishes, confirmed, channel)
            if to is not None:
                made.append(
                    notice_document(f"{key}.{user}.{channel}", user, channel, to, event, body)
                )
    return made


async def _shared_with(store: Store, submissions: Sequence[Document]) -> dict[str, set[str]]:
    """With whom jobs of the submissions are shared by name."""
    ids = [s["_id"] for s in submissions]
    query = {"submission": {"$in": ids}, "shared.0": {"$exists": True}}
    shared: dict[str, set[str]] = {}
    async for job in store.jobs.find(query, {"submission": 1, "shared": 1}).limit(MOST_JOBS):
        shared.setdefault(job["submission"], set()).update(job["shared"])
    return shared


async def _outcomes(store: Store, ids: Sequence[str]) -> dict[str, Document]:
    """What became of the jobs of submissions: counts per state of their newest attempts, the app,
    when the first one started and the last one ended, the first error."""
    group: list[Document] = [
        {"$match": {"submission": {"$in": list(ids)}, "superseded": {"$ne": True}}},
        {"$sort": {"submission": 1, "index": 1}},
        {
            "$group": {
                "_id": {"submission": "$submission", "status": "$status"},
                "n": {"$sum": 1},
                "app": {"$first": "$job_input.method"},
                "job": {"$first": "$_id"},
                "queued": {"$min": "$queued"},
                "running": {"$min": "$running"},
                "finished": {"$max": "$finished"},
                "error": {"$first": "$errormsg"},
                "code": {"$first": "$terminated_code"},
            }
        },
    ]
    found: dict[str, Document] = {}
    async for row in await store.jobs.aggregate(group):
        body = found.setdefault(
            row["_id"]["submission"],
            {"submission": row["_id"]["submission"], "counts": {}, "job": str(row["job"])},
        )
        body["counts"][row["_id"]["status"]] = row["n"]
        body["app"] = row["app"]
        for field, pick in (("running", min), ("finished", max)):
            values = [v for v in (body.get(field), row[field]) if v is not None]
            body[field] = pick(values) if values else None
        if row["_id"]["status"] == Status.ERROR.value and row["error"]:
            body["error"] = str(row["error"])[:500]
        if row["_id"]["status"] == Status.TERMINATED.value:
            body["ended_by_owner"] = row["code"] == 0
    for body in found.values():
        started = body.pop("running") or body["finished"] or 0.0
        body["took_s"] = max((body["finished"] or started) - started, 0.0)
    return found


async def _of_live(store: Store, event: str) -> list[Document]:
    """Messages of submissions whose jobs wait or run for longer than somebody wants them to."""
    made: list[Document] = []
    for user, (wishes, confirmed) in (await wished.who_wants(store, event)).items():
        whose: list[Document] = [{"user": user}]
        if wishes.shared:
            whose.append({"shared": user})
        limit_s = wishes.long_wait_s if event == "long_wait" else wishes.long_run_s
        for one in whose:
            async for body in await store.jobs.aggregate(_long(one, event, now_s() - limit_s)):
                body = {k: v for k, v in body.items() if v is not None}
                body |= {"submission": body.pop("_id"), "job": str(body["job"])}
                body["took_s"] = now_s() - body.pop("since")
                key = f"{body['submission']}.{event}"
                made += _messages(
                    key, event, body, body["user"], [user], {user: (wishes, confirmed)}
                )
    return made


def _long(whose: Document, event: str, before_s: float) -> list[Document]:
    """Submissions of these jobs of which none runs yet and one waits since before that, or of which
    one runs since before that."""
    since: Any = "$running"
    states: Sequence[str] = (Status.RUNNING.value,)
    if event == "long_wait":
        states = LIVE
        since = {"$ifNull": ["$queued", {"$divide": [{"$toLong": {"$toDate": "$_id"}}, 1000]}]}
    return [
        {"$match": {**whose, "status": {"$in": list(states)}, "batch_job": {"$ne": True}}},
        {"$limit": MOST_JOBS},
        {
            "$group": {
                "_id": "$submission",
                "since": {"$min": since},
                "waiting": {"$sum": {"$cond": [{"$in": ["$status", list(WAITING)]}, 1, 0]}},
                "running": {"$sum": {"$cond": [{"$in": ["$status", list(WAITING)]}, 0, 1]}},
                "app": {"$first": "$job_input.method"},
                "job": {"$first": "$_id"},
                "user": {"$first": "$user"},
                "batch_id": {"$first": "$batch_id"},
            }
        },
        {
            "$match": {
                "_id": {"$ne": None},
                "since": {"$lt": before_s},
                **({"running": 0} if event == "long_wait" else {}),
            }
        },
    ]
