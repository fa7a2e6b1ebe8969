"""NarrativeJobService: rows of `exec_tasks` complete the records of their UJS rows; rows of
`exec_logs` become logs. The rules are those of `legacy-apis` 9.3 and 9.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from ee2_jobs.legacy.imports.ujs import WORKSPACE, Imported, cut_off, is_cut_off
from ee2_jobs.legacy.imports.values import (
    Untranslatable,
    date_s,
    job_id,
    ms_to_s,
    present,
    text,
    unescaped,
    workspace_id,
)
from ee2_jobs.model import Document, ErrorCode, Status, parse_time_s

UNKNOWN = "UNKNOWN"
_CELL = ("run_id", "token_id", "tag", "cell_id")
_IN_INPUT = (
    "method", "params", "service_ver", "requested_release", "app_id", "source_ws_objects",
    "parent_job_id",
)  # fmt: skip


def task_job(row: Mapping[str, Any]) -> ObjectId:
    """Which job a row of `exec_tasks` or `exec_logs` belongs to; Untranslatable if to none."""
    return job_id(row.get("ujs_job_id"), "ujs_job_id")


def with_task(job: Imported, row: Mapping[str, Any]) -> Imported:
    """The job that was made of a UJS row, completed by its row in `exec_tasks`."""
    notes = list(job.notes)
    given = _mapping(row, "job_input", notes)
    output = _mapping(row, "job_output", notes)
    if given is None:
        notes.append("no job_input: its method and parameters are unknown")
    given = given or {}
    job_input = _job_input(given, row, notes)
    record: Document = {
        **job.record,
        "scheduler_type": text(row, "scheduler_type") or text(row, "schedulerType") or "awe",
        "job_input": job_input,
    }
    # UJS counts a job as started from its submission on; NJS knows when it began to run.
    record.pop("running", None)
    record |= present(
        {
            "scheduler_id": text(row, "task_id") or text(row, "awe_job_id"),
            "queued": ms_to_s(row.get("creation_time")),
            "running": ms_to_s(row.get("exec_start_time")),
            "wsid": job_input.get("wsid") if record["authstrat"] == WORKSPACE else None,
        }
    )
    if record.get("wsid") is not None:
        record.pop("shared", None)
    if record["status"] == Status.CREATED.value:
        notes.append("unfinished in the old service: ended with error code 2")
        record |= cut_off(record["updated"])
    finished = ms_to_s(row.get("finish_time"))
    if finished is not None and not is_cut_off(record):
        record["finished"] = finished
    record |= _ending(record, output or {}, notes)
    side: Document = {
        **job.side,
        **present(
            {
                "rpc_context": given.get("rpc_context"),
                "remote_url": given.get("remote_url"),
                "meta": job.side.get("meta") or given.get("meta"),
                "app_job_id": row.get("app_job_id"),
                "input_shock_id": row.get("input_shock_id"),
                "output_shock_id": row.get("output_shock_id"),
                "queue_time_ms": row.get("queue_time"),
                "awe_job_id": row.get("awe_job_id"),
            }
        ),
        "imported_from": "njs",
    }
    return Imported(record, side, tuple(dict.fromkeys(notes)))


def _mapping(row: Mapping[str, Any], field: str, notes: list[str]) -> Document | None:
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        notes.append(f"{field} is not a mapping: lost")
        return None
    plain: Document = unescaped(value)
    return plain


def _job_input(given: Document, row: Mapping[str, Any], notes: list[str]) -> Document:
    """The input as EE2 stores it; method and version of old jobs may be unknown."""
    wsid = workspace_id(given.get("wsid"))
    if given.get("wsid") is not None and wsid is None:
        notes.append("job_input.wsid is no workspace id: lost")
    meta = given.get("meta")
    cell = {k: meta[k] for k in _CELL if k in meta} if isinstance(meta, Mapping) else {}
    kept = present({name: given.get(name) for name in _IN_INPUT})
    kept.setdefault("method", UNKNOWN)
    kept.setdefault("service_ver", UNKNOWN)
    parent = row.get("parent_job_id")
    if parent and "parent_job_id" not in kept:
        kept["parent_job_id"] = parent
    return {**present({"wsid": wsid}), **kept, "narrative_cell_info": cell}


def _ending(record: Document, output: Document, notes: list[str]) -> Document:
    """What NJS's output adds to the ending that UJS's flags tell."""
    status, error = record["status"], output.get("error")
    if status == Status.COMPLETED.value and "result" in output:
        version = output.get("version")
        return {
            "job_output": {
                "version": version if isinstance(version, str) else "1.1",
                "id": str(record["_id"]),
                "result": output["result"],
            }
        }
    if status == Status.COMPLETED.value and error is not None:
        # NJS told UJS of a failure by its error's detail, and of success where that was null.
        notes.append("UJS says complete, NJS says failed: imported as failed")
        status = Status.ERROR.value
    if status == Status.COMPLETED.value:
        notes.append("completed without an output")
        return {}
    if status == Status.ERROR.value and not is_cut_off(record):
        return {"status": status, "error_code": int(ErrorCode.UNKNOWN), **_error(record, error)}
    if "result" in output or error is not None:
        notes.append("unfinished or canceled in UJS: the output that NJS has of it is left out")
    return {}


def _error(record: Document, error: Any) -> Document:
    """NJS's error, with what UJS knows where it says nothing."""
    known = record.get("error") or {"name": "Error", "code": int(ErrorCode.UNKNOWN)}
    if isinstance(error, Mapping):
        known = {**known, **present(error)}
    elif isinstance(error, str):
        known = {**known, "message": error}
    message = known.get("message") or record.get("errormsg") or "Unknown error"
    return {
        "error": {**known, "message": message, "error": known.get("error")},
        "errormsg": str(message),
    }


def from_log(row: Mapping[str, Any]) -> tuple[Document, list[str]]:
    """A log as `ee2_logs` holds it, and notes. Untranslatable if it has no job or no list of lines.

    It is never larger than NJS's document, so it fits. Lines without a time have none here.
    """
    oid = task_job(row)
    lines = row.get("lines") or []
    if not isinstance(lines, list):
        raise Untranslatable("lines is not a list")
    notes = []
    good = [n for n in lines if isinstance(n, Mapping) and isinstance(n.get("line"), str)]
    if len(good) < len(lines):
        notes.append("lines without a text are left out")
    # Python's sort keeps the order of equal ones, and lines without a position come last.
    good.sort(key=_position)
    stored = [_line(n, i) for i, n in enumerate(good)]
    seen = row.get("original_line_count")
    if isinstance(seen, bool) or not isinstance(seen, int | float) or seen < len(stored):
        seen = len(stored)
    log: Document = {
        "_id": oid,
        "original_line_count": int(seen),
        "stored_line_count": len(stored),
        "lines": stored,
    }
    return log, notes


def _position(line: Mapping[str, Any]) -> float:
    at = line.get("line_pos")
    return at if isinstance(at, int | float) else float("inf")


def _line(line: Mapping[str, Any], at: int) -> Document:
    return {
        "line": line["line"],
        "linepos": at,
        "error": bool(line.get("is_error")),
        **present({"ts": _line_time_s(line.get("ts"))}),
    }


def _line_time_s(value: Any) -> float | None:
    """NJS wrote no times; programs beside it wrote dates, milliseconds or strings."""
    if isinstance(value, str):
        try:
            return parse_time_s(value)
        except (ValueError, OverflowError):
            return None
    return date_s(value) or ms_to_s(value)
