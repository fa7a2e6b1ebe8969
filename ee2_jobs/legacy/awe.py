"""Jobs as AWE, the workflow server before HTCondor, showed them (`legacy-apis` 7).

An AWE job of KBase's is one task that runs one method. Its id is a UUID: ours is the job's own id
with a fixed beginning, so that the two lead to each other without a table. Jobs that ran on AWE
itself and were imported are found by the id that they had there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.legacy.records import created_s
from ee2_jobs.legacy.ujs_values import MAX_TEXT, optional_text
from ee2_jobs.model import Document, ErrorCode, Status

SERVER = "EE2"
MAX_FILTER_VALUES = 1000
_PREFIX = "00ee2000"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NEVER = "0001-01-01T00:00:00Z"
STATES: dict[Status, str] = {
    Status.CREATED: "init",
    Status.ESTIMATING: "init",
    Status.QUEUED: "queued",
    Status.RUNNING: "in-progress",
    Status.COMPLETED: "completed",
    Status.ERROR: "suspend",
    Status.TERMINATED: "deleted",
}
"""AWE's word for each state. A failed job is `suspend`, as on AWE: it may be resumed."""
_FROM_AWE = {
    "init": (Status.CREATED, Status.ESTIMATING),
    "queuing": (Status.CREATED,),
    "queued": (Status.QUEUED,),
    "in-progress": (Status.RUNNING,),
    "completed": (Status.COMPLETED,),
    "suspend": (Status.ERROR,),
    "failed-permanent": (),
    "deleted": (Status.TERMINATED,),
}


def awe_id(oid: ObjectId) -> str:
    """The UUID under which a job of ours is shown."""
    digits = _PREFIX + str(oid)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def own_id(text: str) -> ObjectId | None:
    """The job of such a UUID, or of our own form of an id; None for another's UUID. NotFound for
    what is neither."""
    if ObjectId.is_valid(text) and len(text) == 24:
        return ObjectId(text)
    if not _UUID.fullmatch(text.lower()):
        raise NotFound(f"There is no job {text}")
    digits = text.lower().replace("-", "")
    return ObjectId(digits[8:]) if digits.startswith(_PREFIX) else None


def time_text(seconds: float | None) -> str:
    """A time as RFC 3339; AWE's year 1 for one that has not come."""
    if not seconds:
        return NEVER
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )


def parse_time(text: str, field: str) -> float:
    """RFC 3339 or YYYY-MM-DD, as seconds since the epoch; InvalidInput names the field."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field}: '{text}' is no date: give YYYY-MM-DD or RFC 3339") from None


def awe_priority(job: Document) -> int:
    """AWE's priority, from 1 on, larger first."""
    return max(1, int(job.get("priority") or 0) + 1)


def document(job: Document, side: Document) -> Document:
    """The job document: of what the client sent, `info` is given back; private environments never
    come back because they are never kept."""
    job_input = job.get("job_input") or {}
    shown_id = side.get("awe_job_id") or awe_id(job["_id"])
    state = STATES[Status(job["status"])]
    finished = job.get("finished")
    group = (job_input.get("requirements") or {}).get("clientgroup", "")
    name = str(job_input.get("method") or "")
    info: Document = {
        "xref": "", "service": "", "project": "SDK", "pipeline": "ExecutionEngine",
        "description": "", "auth": True, "noretry": True, "userattr": {}, "tracking": False,
        "start_at": NEVER,
        **(side.get("awe_info") or {}),
        "name": name,
        "user": job["user"],
        "clientgroups": group,
        "submittime": time_text(created_s(job["_id"])),
        "startedtime": time_text(job.get("running")),
        "completedtime": time_text(finished),
        "priority": awe_priority(job),
    }  # fmt: skip
    live = state in ("init", "queued", "in-progress")
    return {
        "id": shown_id,
        "info": info,
        "state": state,
        "tasks": [_task(job, shown_id, name, group, state)],
        "registered": True,
        "remaintasks": int(live or state == "suspend"),
        "updatetime": time_text(job.get("updated")),
        "expiration": NEVER,
        "error": _error(job, shown_id) if state == "suspend" else None,
        "resumed": len(job.get("retry_ids") or ()),
        "shockhost": "",
    }


def _task(job: Document, shown_id: str, name: str, group: str, state: str) -> Document:
    live = state in ("init", "queued", "in-progress", "suspend")
    running, finished = job.get("running"), job.get("finished")
    computed_s = int(finished - running) if running and finished else 0
    return {
        "taskid": f"{shown_id}_0",
        "jobid": shown_id,
        "task_name": "0",
        "state": state,
        "cmd": {
            "name": "run_async_srv_method.sh",
            "args": f"{job['_id']}",
            "args_array": [],
            "environ": {"public": {}},
            "has_private_env": False,
            "description": name,
            "Dockerimage": "",
        },
        "dependsOn": [],
        "totalwork": 1,
        "remainwork": int(live),
        "maxworksize": 0,
        "createddate": time_text(created_s(job["_id"])),
        "starteddate": time_text(running),
        "completeddate": time_text(finished),
        "computetime": computed_s,
        "clientgroups": group,
        "inputs": [],
        "outputs": [],
        "userattr": {},
    }


def _error(job: Document, shown_id: str) -> Document:
    """AWE's account of what went wrong, of the keys that have something to say."""
    error = job.get("error")
    text = str(job.get("errormsg") or "")
    by_hand = job.get("error_code") == ErrorCode.TERMINATED_BY_AUTOMATION
    found: Document = {"status": "suspend", "servernotes": text}
    if not by_hand:
        found |= {"taskfailed": f"{shown_id}_0", "workfailed": f"{shown_id}_0_0"}
        detail = error.get("error") if isinstance(error, Mapping) else error
        if detail:
            found["apperror"] = str(detail)
    return found


def report(job: Document, side: Document) -> Document:
    """The short log of a job."""
    whole = document(job, side)
    kept = ("id", "state", "updatetime", "error", "resumed")
    tasks = [
        {key: task[key] for key in ("taskid", "state", "starteddate", "completeddate")}
        for task in whole["tasks"]
    ]
    return {**{key: whole[key] for key in kept}, "tasks": tasks}


def parse_submission(doc: Any) -> Document:
    """The submitted job document as parameters of run_job (`method`, `params`, and whatever of
    `wsid`, `service_ver`, `app_id`, `source_ws_objects`, `meta` stands in `info.userattr`), with
    `info` under `awe_info` and the wanted client groups under `clientgroups`. InvalidInput says
    what is missing."""
    if not isinstance(doc, Mapping) or not isinstance(doc.get("info"), Mapping):
        raise InvalidInput("The job document has no info")
    info = doc["info"]
    tasks = doc.get("tasks")
    if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], Mapping):
        raise InvalidInput(
            "The job document must have exactly one task: workflows of several are not offered "
            "here, use execution_engine2.run_split_aggregate"
        )
    if not isinstance(info.get("name"), str) or "." not in info["name"]:
        raise InvalidInput("info.name must be the method to run: Module.method")
    attributes = info.get("userattr")
    own = attributes if isinstance(attributes, Mapping) else {}
    taken = ("params", "wsid", "service_ver", "app_id", "source_ws_objects", "meta")
    kept = ("xref", "service", "project", "pipeline", "description", "noretry")
    return {
        **{key: own[key] for key in taken if key in own},
        "method": info["name"],
        "user": info.get("user"),
        "clientgroups": str(info.get("clientgroups") or ""),
        "awe_info": {
            key: optional_text(info[key], f"info.{key}", MAX_TEXT)
            if isinstance(info[key], str)
            else info[key]
            for key in kept
            if isinstance(info.get(key), str | bool)
        },
    }


def list_query(wanted: Mapping[str, Sequence[str]]) -> tuple[Document, bool]:
    """A MongoDB query for AWE's filters (document paths, several values each are alternatives), and
    whether anything can match. A path that no KBase client asks for is InvalidInput."""
    query: list[Document] = []
    possible = True
    for path, given in wanted.items():
        values = [part for text in given for part in text.split(",") if part]
        if len(values) > MAX_FILTER_VALUES:
            raise InvalidInput(f"{path}: at most {MAX_FILTER_VALUES} values, not {len(values)}")
        if path == "state":
            unknown = sorted(set(values) - set(_FROM_AWE))
            if unknown:
                raise InvalidInput(f"There is no job state {', '.join(unknown)}")
            states = sorted({s.value for v in values for s in _FROM_AWE[v]})
            possible = possible and bool(states)
            query.append({"status": {"$in": states}})
        elif path == "id":
            ids = [oid for v in values if (oid := _own_or_none(v)) is not None]
            query.append({"_id": {"$in": ids}})
        elif path in ("info.user", "info.name", "info.clientgroups"):
            field = {
                "info.user": "user",
                "info.name": "job_input.method",
                "info.clientgroups": "job_input.requirements.clientgroup",
            }[path]
            query.append({field: {"$in": values}})
        elif path in ("info.project", "info.pipeline"):
            always = {"info.project": "SDK", "info.pipeline": "ExecutionEngine"}[path]
            possible = possible and always in values
        elif path in ("date_start", "date_end"):
            when = parse_time(values[0] if values else "", path)
            compared = "$gte" if path == "date_start" else "$lt"
            oid = ObjectId.from_datetime(datetime.fromtimestamp(max(when, 0), UTC))
            query.append({"$or": [{"_id": {compared: oid}}, {"finished": {compared: when}}]})
        else:
            raise InvalidInput(
                f"'{path}' cannot be asked for here; state, id, info.user, info.name, "
                "info.project, info.pipeline, info.clientgroups, date_start and date_end can"
            )
    return ({"$and": query} if query else {}), possible


def _own_or_none(text: str) -> ObjectId | None:
    try:
        return own_id(text)
    except NotFound:
        return None
