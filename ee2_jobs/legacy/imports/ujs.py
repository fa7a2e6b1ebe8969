"""UserAndJobState: rows of `jobstate` become job records, rows of `userstate` key/value pairs.

The rules are those of `legacy-apis` 8.3 and 9.3. The state follows from the flags, never from the
free text in `status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs.legacy.imports.values import (
    date_s,
    id_time_s,
    job_id,
    present,
    required_text,
    text,
    workspace_id,
)
from ee2_jobs.legacy.records import UJS, cut
from ee2_jobs.model import Document, ErrorCode, Status, TerminatedCode

WORKSPACE = "kbaseworkspace"
CUT_OFF = "The job was unfinished when the service that ran it was shut down"
_PLACES = ("shocknodes", "shockurl", "workspaceids", "workspaceurl")
_RESULT = {"servtype": "server_type", "url": "url", "id": "id", "desc": "description"}


@dataclass(frozen=True)
class Imported:
    """A job as it is stored here: its record, its side document, and what had to be decided."""

    record: Document
    side: Document
    notes: tuple[str, ...] = ()

    @property
    def oid(self) -> ObjectId:
        """The job's id."""
        oid: ObjectId = self.record["_id"]
        return oid


def from_jobstate(row: Mapping[str, Any]) -> Imported:
    """The job of a `jobstate` row. Untranslatable if it has no job id or no owner."""
    oid = job_id(row.get("_id"), "_id")
    user = required_text(row, "user")
    notes: list[str] = []
    strategy = text(row, "authstrat") or "DEFAULT"
    wsid = workspace_id(row.get("authparam")) if strategy == WORKSPACE else None
    if strategy == WORKSPACE and wsid is None:
        notes.append("authparam is no workspace id: only the owner may read the job")
    updated = date_s(row.get("updated")) or date_s(row.get("created")) or id_time_s(oid)
    record: Document = {
        "_id": oid,
        "user": user,
        "authstrat": strategy,
        **present({"wsid": wsid}),
        **_state(row, user, updated, notes),
        "updated": updated,
        "batch_job": False,
        "child_jobs": [],
        "retry_ids": [],
        "retry_saved_toggle": False,
        "scheduler_type": UJS,
        **present({"msg": text(row, "status")}),
    }
    shared = row.get("shared")
    if wsid is None and isinstance(shared, list) and shared:
        record["shared"] = [name for name in shared if isinstance(name, str)]
    return Imported(record, _side(row, oid, record, notes), tuple(notes))


def _state(row: Mapping[str, Any], user: str, updated: float, notes: list[str]) -> Document:
    """Status and what goes with it (`legacy-apis` 8.3, from the first that matches)."""
    started = present({"running": date_s(row.get("started"))})
    canceled_by = row.get("canceledby")
    if canceled_by is not None:
        code = TerminatedCode.BY_USER if canceled_by == user else TerminatedCode.BY_ADMIN
        return {
            "status": Status.TERMINATED.value,
            "terminated_code": int(code),
            **started,
            "finished": updated,
        }
    if row.get("service") is None:
        return {"status": Status.CREATED.value}
    if not row.get("complete"):
        notes.append("unfinished in the old service: ended with error code 2")
        return {**cut_off(updated), **started}
    if not row.get("error"):
        return {"status": Status.COMPLETED.value, **started, "finished": updated}
    status, detail = text(row, "status"), text(row, "errormsg")
    return {
        "status": Status.ERROR.value,
        "error_code": int(ErrorCode.UNKNOWN),
        "errormsg": detail or status or "Unknown error",
        "error": {
            "name": "Error",
            "code": int(ErrorCode.UNKNOWN),
            "message": status or cut(detail or "Unknown error"),
            "error": detail,
        },
        **started,
        "finished": updated,
    }


def cut_off(finished: float) -> Document:
    """The ending of a job that nobody can finish any more. finished: s, its last sign of life."""
    code = int(ErrorCode.TERMINATED_BY_AUTOMATION)
    return {
        "status": Status.ERROR.value,
        "error_code": code,
        "errormsg": CUT_OFF,
        "error": {"name": "Error", "code": code, "message": CUT_OFF, "error": CUT_OFF},
        "finished": finished,
    }


def is_cut_off(record: Document) -> bool:
    """Whether the import ended the job."""
    return record.get("errormsg") == CUT_OFF


def _side(row: Mapping[str, Any], oid: ObjectId, record: Document, notes: list[str]) -> Document:
    side: Document = {
        "_id": oid,
        **present(
            {
                "service": text(row, "service"),
                "desc": text(row, "desc"),
                "progtype": text(row, "progtype"),
                "prog": _whole(row.get("prog")),
                "maxprog": _whole(row.get("maxprog")),
                "estcompl": date_s(row.get("estcompl")),
                "started": date_s(row.get("started")),
                "canceledby": text(row, "canceledby"),
                "results": results_on_wire(row.get("results")),
                "meta": _meta(row.get("meta"), notes),
                # A text such as `in-progress` would belie the state of a job that was cut off.
                "status": CUT_OFF if is_cut_off(record) else text(row, "status"),
            }
        ),
        "imported_from": "ujs",
        # A record whose `updated` is another has changed here since.
        "imported_updated": record["updated"],
    }
    return side


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value == value // 1 else None


def _meta(value: Any, notes: list[str]) -> Document | None:
    """UJS's list of {k, v} as a mapping. The published way back to UJS stored a mapping."""
    if not value:
        return None
    if isinstance(value, Mapping):
        return {k: str(v) for k, v in value.items()}
    if not isinstance(value, list):
        notes.append("meta is neither a list nor a mapping: lost")
        return None
    pairs = [m for m in value if isinstance(m, Mapping) and isinstance(m.get("k"), str)]
    if len(pairs) < len(value):
        notes.append("meta has entries without a key: these are lost")
    return {m["k"]: str(m.get("v", "")) for m in pairs}


def results_on_wire(value: Any) -> Document | None:
    """UJS's Results as clients get them: storage names two members of a result otherwise, and
    holds nulls."""
    if not isinstance(value, Mapping):
        return None
    wire = present({name: value.get(name) for name in _PLACES})
    if isinstance(value.get("results"), list):
        wire["results"] = [
            present({new: r.get(old, r.get(new)) for old, new in _RESULT.items()})
            for r in value["results"]
            if isinstance(r, Mapping)
        ]
    return wire


def from_userstate(row: Mapping[str, Any]) -> Document:
    """The key/value pair of a `userstate` row, as `ee2_user_state` stores it. Untranslatable if it
    has no user, service or key."""
    return {
        "_id": row.get("_id"),
        "user": required_text(row, "user"),
        "service": required_text(row, "service"),
        "auth": bool(row.get("auth")),
        "key": required_text(row, "key"),
        "value": row.get("value"),
    }
