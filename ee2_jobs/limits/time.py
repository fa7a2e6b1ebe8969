"""How long a job may run: rules per app and user, and what a job gets by them.

Documents in `ee2_limits`: {_id: "time:APP:USER", kind: "time", app ("Module.method" or "*"), user
(a name or "*"), seconds, note, by_owner, set_by, set_at (s), revision}. The most specific rule
counts: of the user and the app, of the app, of the user, of everything; then what the app declares;
then the default of the client group. The ceiling of the client group is over all of them, and a
client that asked for less gets less.

A job's record holds what came of it, `time_limit_s` and `time_limit_rule` (in words), and in
`time_limit_base` what it would be without any rule, so that the rules of now can be applied to a
later attempt, or to a job that waits or runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bson import ObjectId

from ee2_jobs.client_groups import ClientGroups, GroupsFile
from ee2_jobs.limits import words
from ee2_jobs.limits.words import ANY
from ee2_jobs.model import Document
from ee2_jobs.requirements import Requirements
from ee2_jobs.store import Store

RECORD_FIELDS = ("time_limit_s", "time_limit_rule", "time_limit_base")


@dataclass(frozen=True)
class TimeRule:
    """A rule as it was set. app, user: `*` for any. by_owner: by the app's owner, not by an
    administrator."""

    app: str
    user: str
    seconds: int
    note: str | None
    by_owner: bool
    set_by: str
    set_at_s: float
    revision: int

    def words(self) -> str:
        """'2 h for ana's kb_Bowtie2.align, set by root on 2026-11-22: a note'."""
        text = f"{words.duration(self.seconds)} for {what_for(self.app, self.user)}"
        text += f", set by {self.set_by} on {words.day(self.set_at_s)}"
        return f"{text}: {self.note}" if self.note else text


def what_for(app: str, user: str) -> str:
    """The jobs that a rule is for."""
    if user == ANY:
        return "all jobs" if app == ANY else app
    return f"{user}'s jobs" if app == ANY else f"{user}'s {app}"


@dataclass(frozen=True)
class TimeRules:
    """The rules by app and user."""

    by_key: Mapping[tuple[str, str], TimeRule] = field(default_factory=dict)

    def of(self, user: str, app: str) -> TimeRule | None:
        """The most specific rule for a user's jobs of an app; None if there is none. One by the
        app's owner is never in the way of an administrator's shorter one for app or user."""
        keys = ((app, user), (app, ANY), (ANY, user), (ANY, ANY))
        rule = next((found for key in keys if (found := self.by_key.get(key))), None)
        if rule is not None and rule.by_owner:
            admins = (self.by_key.get(key) for key in ((app, ANY), (ANY, user)))
            shorter = [one for one in admins if one is not None and not one.by_owner]
            return min([rule, *shorter], key=lambda one: one.seconds)
        return rule

    def changed(self, app: str, user: str, rule: TimeRule | None) -> TimeRules:
        """With another rule in this place, or none."""
        rest = {key: kept for key, kept in self.by_key.items() if key != (app, user)}
        return TimeRules(rest if rule is None else {**rest, (app, user): rule})

    def fields(self, user: str, app: str, base: Document) -> Document:
        """RECORD_FIELDS of a job by these rules; those without a value are left out. base: see
        `base_of` and `base_on`."""
        seconds, text = limited(self.of(user, app), base)
        found = {"time_limit_s": seconds, "time_limit_rule": text, "time_limit_base": base or None}
        return {name: value for name, value in found.items() if value is not None}


def from_document(document: Document) -> TimeRule:
    """The rule that a document of the collection holds."""
    return TimeRule(
        app=document["app"],
        user=document["user"],
        seconds=document["seconds"],
        note=document.get("note"),
        by_owner=bool(document.get("by_owner")),
        set_by=document.get("set_by", ""),
        set_at_s=document.get("set_at", 0.0),
        revision=document.get("revision") or 0,
    )


def key_of(app: str, user: str) -> str:
    """The id of a rule's document."""
    return f"time:{app}:{user}"


def keys_for(user: str, apps: Iterable[str]) -> list[str]:
    """The ids of all documents that may count for a user's jobs of these apps."""
    return [key_of(app, whose) for app in {*apps, ANY} for whose in (user, ANY)]


def rules_from(documents: Iterable[Document]) -> TimeRules:
    """The rules among documents of the collection."""
    rules = [from_document(one) for one in documents if one.get("kind") == "time"]
    return TimeRules({(rule.app, rule.user): rule for rule in rules})


async def time_rules(store: Store) -> TimeRules:
    """All rules; one small query."""
    return rules_from(await store.limits.find({"kind": "time"}).to_list())


def base_of(requirements: Requirements, groups: GroupsFile | ClientGroups) -> Document:
    """A new job's limit without any rule: {s, rule, asked, most_s, most_rule}, those that there
    are. s and rule: what the client asked for (`asked`), the app declares or the group gives.
    most_s: the group's ceiling."""
    base: Document = {}
    if requirements.time_limit_s is not None:
        base = {"s": requirements.time_limit_s, "rule": requirements.time_limit_rule}
    if requirements.requested.get("time_limit_s") is not None:
        base["asked"] = True
    most_s = groups.groups[requirements.client_group].max_time_limit_s
    if most_s is not None:
        base["most_s"] = most_s
        base["most_rule"] = f"the ceiling of client group {requirements.client_group}"
    return base


def base_on(job: Document) -> Document:
    """The same from a record. One from before there were rules has only its limit."""
    if "time_limit_base" in job:
        return dict(job["time_limit_base"])
    if "time_limit_rule" not in job and job.get("time_limit_s") is not None:
        return {"s": job["time_limit_s"], "rule": "from when the job was submitted"}
    return {}


def limited(rule: TimeRule | None, base: Document) -> tuple[int | None, str | None]:
    """A job's limit (s; None for none) and what set it, in words."""
    seconds, text = base.get("s"), base.get("rule")
    if rule is not None and not (base.get("asked") and seconds is not None
                                 and seconds <= rule.seconds):
        seconds, text = rule.seconds, rule.words()
    elif seconds is not None:
        text = f"{words.duration(seconds)}, {text}"
    most_s = base.get("most_s")
    if most_s is not None and (seconds is None or seconds > most_s):
        seconds, text = most_s, f"{words.duration(most_s)}, {base.get('most_rule')}"
    return seconds, text


async def to_tell_the_pool(
    store: Store, limit: int = 5000
) -> dict[int | None, dict[str, ObjectId]]:
    """Changed limits of jobs in the pool: limit (s, None for none) -> scheduler id -> job."""
    found: dict[int | None, dict[str, ObjectId]] = {}
    query = {"retime": True, "scheduler_id": {"$gt": ""}}
    async for job in store.jobs.find(query, {"scheduler_id": 1, "time_limit_s": 1}).limit(limit):
        found.setdefault(job.get("time_limit_s"), {})[job["scheduler_id"]] = job["_id"]
    return found


async def told_the_pool(store: Store, limit_s: int | None, jobs: Sequence[ObjectId]) -> None:
    """The pool knows; unless the limit has changed again meanwhile."""
    await store.jobs.update_many(
        {"_id": {"$in": list(jobs)}, "time_limit_s": limit_s}, {"$unset": {"retime": ""}}
    )
