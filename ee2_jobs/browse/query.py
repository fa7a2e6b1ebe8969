"""From a filter to MongoDB queries that an index answers.

A list is one or a few branches, each a query in the order of one index (named in its hint), merged
by `lists.py`. The indexes hold only what lists show on their top level: no children of batches, no
superseded attempts; those of live jobs only these. (`runs_user` holds all of a
user's, each run by itself.) So a page costs what it shows, wherever it is.

Where words of a filter are in no index, MongoDB looks at each job that the rest of it leaves. Of
one user's jobs that is quick; where it is not, the time is over (`MAX_MS`) before it hurts others,
and the answer says which words would help.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bson import ObjectId

from ee2_jobs.alike import pattern
from ee2_jobs.browse.words import ENDED_BY, Filter
from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import LIVE, Document, Status

Sort = Literal["created", "-created", "finished", "-finished"]
ListSort = Literal[Sort, "index"]
SORTS: tuple[ListSort, ...] = ("created", "-created", "finished", "-finished", "index")
TOP: Document = {"batch_id": None, "superseded": None}
"""What lists show on their top level; as the indexes' partialFilterExpression has it."""
# The indexes of live jobs have it so. Beside a list of some of the states it has to be in a query
# in these very words: MongoDB takes no such index for a part of them, or reads through all of it.
_LIVE: Document = {"status": {"$in": list(LIVE)}}
MAX_MS = 3000
_HEX = re.compile(r"[0-9a-fA-F]{4,24}")
_LAST_SECOND = 2**32 - 1
_APP = "job_input.app_id"
_METHOD = "job_input.method"
_GROUP = "job_input.requirements.clientgroup"


@dataclass(frozen=True)
class Part:
    """A part of what a caller may see. index: the family of indexes that it is quick by."""

    query: Document
    index: Literal["user", "ws", "shared", "all", "batch"]


@dataclass(frozen=True)
class Reach:
    """What a list may show: the parts together. only_live: of what has not ended only. name: the
    same for the same reach, for cursors. attempts: superseded attempts as well. picked: only these
    jobs, and of them also children of batches and superseded attempts."""

    name: str
    parts: Sequence[Part]
    only_live: bool = False
    attempts: bool = False
    picked: Sequence[ObjectId] | None = None


@dataclass(frozen=True)
class Branch:
    """One query. field: what it is sorted by (and then by id). hint: the index by name, None:
    MongoDB chooses."""

    query: Document
    hint: str | None
    field: str = "_id"

    def order(self, sort: ListSort, *, back: bool = False) -> list[tuple[str, int]]:
        """The list's order for MongoDB; back: the other way round."""
        way = -1 if sort.startswith("-") != back else 1
        return [("_id", way)] if self.field == "_id" else [(self.field, way), ("_id", way)]


@dataclass(frozen=True)
class Place:
    """Where a page begins: after this row in the list's order, or before it. value: what the list
    is sorted by; of a list by submission, the id alone counts."""

    value: float
    oid: ObjectId
    back: bool = False


def branches(
    reach: Reach,
    sought: Filter,
    sort: ListSort,
    place: Place | None = None,
    *,
    now_s: float,
    titled: Collection[int] = (),
    live_batches: Collection[ObjectId] | None = None,
) -> list[Branch]:
    """The queries of a list.

    titled: workspaces whose title contains `q`. live_batches: the live batches that are in one of
    the states sought, as their children have it; None if all live ones are sought.
    """
    by_end = sort.endswith("finished")
    wanted = _conditions(sought, now_s=now_s, titled=titled)
    found: list[Branch] = []
    for part in reach.parts:
        top: Document = dict(TOP)
        if reach.attempts:
            del top["superseded"]
        if part.index == "batch":
            del top["batch_id"]
        if sought.runs:
            top = {"batch_job": {"$ne": True}}
        narrow = _narrowed(part, sought)
        base = [{**narrow.query, **top}, *wanted]
        if reach.picked is not None:
            base = [narrow.query, {"_id": {"$in": list(reach.picked)}}, *wanted]
        if by_end:
            found += _ended(narrow, base, sought, attempts=reach.attempts or sought.runs)
        else:
            found += _by_submission(narrow, base, sought, reach, live_batches)
    if sort == "index":
        hints = {"list_batch": "list_children"}
        found = [replace(b, field="index", hint=hints.get(b.hint or "")) for b in found]
    if reach.picked is not None:
        found = [replace(branch, hint="_id_") for branch in found]
    return [_bounded(branch, sought, sort, place) for branch in found]


def _bounded(branch: Branch, sought: Filter, sort: ListSort, place: Place | None) -> Branch:
    """The branch within the filter's span of time, and from the place on."""
    by_end = branch.field not in ("_id", "index")
    limits = _span(branch.field if by_end else "_id", sought, by_end=by_end)
    if place is not None:
        limits.append(_beyond(branch.field, place, sort))
    return replace(branch, query=_and(branch.query, *limits))


def _narrowed(part: Part, sought: Filter) -> Part:
    """The part with the word that has an index of its own, if its own index is that of all."""
    if part.index != "all":
        return part
    if sought.user is not None:
        return Part({**part.query, "user": sought.user}, "user")
    if sought.ws is not None:
        return Part({**part.query, "wsid": sought.ws}, "ws")
    return part


def _ended(part: Part, base: list[Document], sought: Filter, *, attempts: bool) -> list[Branch]:
    """The branches of a list by end: single jobs and cancelled batches by their status, other
    batches by how they have ended."""
    states = sorted(sought.ended)
    families = {"user": "list_user_ended", "ws": "list_ws_ended", "all": "list_ended"}
    hint = families.get(part.index)
    if part.index == "all" and sought.app is not None and "." not in sought.app:
        hint = "list_app_ended"
    if attempts:
        hint = "runs_user" if part.index == "user" else None
    singles = Branch(
        _and(*base, {"finished": {"$gt": 0}}, {"status": {"$in": states}}),
        hint,
        "finished",
    )
    only_jobs = sought.runs or part.index == "batch"
    if only_jobs or sought.app or sought.module or sought.error is not None:
        return [singles]  # no batch is among them
    return [
        singles,
        Branch(
            _and(*base, {"batch_end.at": {"$gt": 0}}, {"batch_end.status": {"$in": states}}),
            {"user": "list_user_batch_end", "ws": "list_ws_batch_end"}.get(
                part.index, "list_batch_end"
            ),
            "batch_end.at",
        ),
    ]


def _by_submission(
    part: Part,
    base: list[Document],
    sought: Filter,
    reach: Reach,
    live_batches: Collection[ObjectId] | None,
) -> list[Branch]:
    hints = {"user": "list_user", "ws": "list_ws", "all": "list_all",
             "shared": "shared_1__id_-1", "batch": "list_batch"}
    attempts = reach.attempts or sought.runs
    hint = None if attempts else hints[part.index]
    live = not sought.ended or reach.only_live
    if live:
        return _live(part, base, sought, live_batches, attempts=attempts)
    if sought.statuses is None:
        return [Branch(_and(*base), hint)]
    either: list[Document] = [{"status": {"$in": sorted(sought.ended)}},
                              {"batch_end.status": {"$in": sorted(sought.ended)}}]
    if sought.live:
        either.append({"status": {"$in": sorted(sought.live)}, "batch_end": None})
    if part.index == "batch":
        hint = None  # its few failures come by the index of its states
    return [Branch(_and(*base, {"$or": either}), hint)]


def _live(
    part: Part,
    base: list[Document],
    sought: Filter,
    live_batches: Collection[ObjectId] | None,
    *,
    attempts: bool,
) -> list[Branch]:
    hints = {"user": "live_user", "ws": "live_ws", "all": "live_all"}
    hint = None if attempts else hints.get(part.index)
    if part.index == "all" and (sought.group is not None or sought.node is not None):
        hint = None  # these have indexes of their own
    states: list[Document] = [{**_LIVE, "batch_end": None}]
    if sought.live != set(LIVE):
        states.append({"status": {"$in": sorted(sought.live)}})
    if live_batches is None or part.index == "batch":
        return [Branch(_and(*base, *states), hint)]
    found = [Branch(_and(*base, *states, {"batch_job": {"$ne": True}}), hint)]
    if live_batches:
        found.append(Branch(_and(*base, {"_id": {"$in": list(live_batches)}}), "_id_"))
    return found


def live_batches_query(part: Part, sought: Filter) -> Branch:
    """The live batches of a part. Their own record does not tell their state: it is `created` until
    a batch is cancelled (rule C-10), so that nothing else needs to be looked at."""
    hints = {"user": "live_user", "ws": "live_ws", "all": "live_all"}
    narrow = _narrowed(part, sought)
    query = {
        **narrow.query, **TOP, "status": Status.CREATED.value, "batch_end": None, "batch_job": True
    }
    return Branch(query, hints.get(narrow.index))


def _beyond(field: str, place: Place, sort: ListSort) -> Document:
    """What comes after the place in the list's order."""
    down = sort.startswith("-") != place.back
    than = "$lt" if down else "$gt"
    if field == "_id":
        return {"_id": {than: place.oid}}
    return {
        field: {f"{than}e": place.value},
        "$or": [{field: {than: place.value}}, {"_id": {than: place.oid}}],
    }


def _conditions(sought: Filter, *, now_s: float, titled: Collection[int]) -> list[Document]:
    """What the words say besides state, time and rights."""
    found: list[Document] = []
    plain: Document = {
        "user": sought.user,
        "wsid": sought.ws,
        _GROUP: sought.group,
        "claim.host": sought.node,
        "error_code": sought.error,
    }
    found += [{field: value} for field, value in plain.items() if value is not None]
    if sought.app is not None:
        found.append({_METHOD if "." in sought.app else _APP: sought.app})
    if sought.module is not None:
        found.append({_METHOD: {"$regex": f"^{re.escape(sought.module)}\\."}})
    if sought.failure is not None:
        found.append({"status": "error", "errormsg": {"$regex": pattern(sought.failure)}})
    if sought.ended_by is not None:
        found.append({"status": "terminated", "terminated_code": int(ENDED_BY[sought.ended_by])})
    created: Document = {"$divide": [{"$toLong": {"$toDate": "$_id"}}, 1000]}
    if sought.min_wait_s is not None:
        until = {"$ifNull": ["$running", "$finished", now_s]}
        found.append(_lasted(created, until, sought.min_wait_s))
    if sought.min_run_s is not None:
        found.append({"running": {"$gt": 0}})
        found.append(_lasted("$running", {"$ifNull": ["$finished", now_s]}, sought.min_run_s))
    if sought.q is not None:
        found.append({"$or": _anywhere(sought.q, titled)})
    return found


def _span(field: str, sought: Filter, *, by_end: bool) -> list[Document]:
    bounds: Document = {}
    for word, value in (("$gte", sought.from_s), ("$lt", sought.to_s)):
        if value is not None:
            bounds[word] = value if by_end else _first_id(value)
    return [{field: bounds}] if bounds else []


def _first_id(second: float) -> ObjectId:
    # Ids know whole seconds.
    return ObjectId(f"{min(int(second), _LAST_SECOND):08x}{'0' * 16}")


def _lasted(start: Any, end: Any, least_s: float) -> Document:
    return {"$expr": {"$gte": [{"$subtract": [end, start]}, least_s]}}


def _anywhere(text: str, titled: Collection[int]) -> list[Document]:
    """What `q` may mean. It is text, never a pattern."""
    part = {"$regex": re.escape(text), "$options": "i"}
    found: list[Document] = [{_APP: part}, {_METHOD: part}]
    if _HEX.fullmatch(text):
        low, high = text.ljust(24, "0"), text.ljust(24, "f")
        found.append({"_id": {"$gte": ObjectId(low), "$lte": ObjectId(high)}})
    if titled:
        found.append({"wsid": {"$in": sorted(titled)}})
    return found


def _and(*clauses: Document) -> Document:
    """All of them. Different fields stand side by side, which reads better in MongoDB's log."""
    joined: Document = {}
    rest: list[Document] = []
    for clause in clauses:
        if joined.keys().isdisjoint(clause):
            joined |= clause
        else:
            rest.append(clause)
    return {**joined, "$and": rest} if rest else joined


def too_slow(sought: Filter) -> InvalidInput:
    """For a filter that took longer than MAX_MS."""
    useful = ("user", "ws", "app", "from and to", "status")
    used = {"user": sought.user, "ws": sought.ws, "app": sought.app}
    missing = [word for word in useful if used.get(word) is None]
    return InvalidInput(
        "This filter would have to look at too many jobs. Make it narrower: add "
        f"{', '.join(missing[:-1])} or {missing[-1]}"
    )

