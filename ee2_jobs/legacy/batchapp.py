"""Use case: kb_BatchApp's run_batch: one app over many sets of parameters, and a report
(`legacy-apis` section 6).

It is a batch of tasks as KBParallel's, with limits that nobody can choose. When its tasks have
ended the report is saved in the workspace, once, and only then the parent is `completed`: by the
first who asks for the job, or by the engine's own chore within a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from ee2_jobs.engine import Engine
from ee2_jobs.errors import EngineError, InvalidInput, Unavailable
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.kbparallel import Tasks, accept_tasks, results, task_request
from ee2_jobs.model import LIVE, Document, ErrorCode, Status, now_s, to_ms
from ee2_jobs.pool_records import engine_error
from ee2_jobs.requests import parse_wsid
from ee2_jobs.submissions import end_parent
from ee2_jobs.workspaces import NewObject

log = logging.getLogger(__name__)

METHOD = "kb_BatchApp.run_batch"
PLACES, ATTEMPTS = 5, 2
REPORT_TYPE = "KBaseReport.Report"
MAX_ROWS, MAX_LETTERS = 5000, 500
# Who makes a report has so long before another may begin to.
LEASE_S = 60.0


async def submit_batch(
    engine: Engine, caller: Caller, params: Any, context: Mapping[str, Any] | None = None
) -> str:
    """Accept a batch of one app (run_batch); returns the id of the job that stands for it.

    params: `module_name`, `method_name`, `service_ver`, `wsid` (number or string), `batch_params`
    (a list of `{"params": [...]}`, of which the first parameter counts). context: the call's; the
    outermost job of its call stack becomes the tasks' parent. Raises InvalidInput or Denied; then
    nothing is stored.
    """
    if not isinstance(params, Mapping):
        params = {}
    module = _name(params.get("module_name"), "module")
    function = _name(params.get("method_name"), "method")
    version = params.get("service_ver")
    if not isinstance(version, str) or not version:
        raise InvalidInput("service_ver must be a valid string!")
    wsid = _workspace(params.get("wsid"))
    sets = params.get("batch_params")
    if not isinstance(sets, list) or not sets:
        raise InvalidInput("batch_params must be a list with a length >= 1")
    parent_job_id = _outermost(context or {})
    requests = tuple(
        task_request(
            module, function, version, _first(one, n), wsid=None, parent_job_id=parent_job_id
        )
        for n, one in enumerate(sets, 1)
    )
    options = {
        "module_name": module, "method_name": function, "service_ver": version, "wsid": wsid,
    }
    return await accept_tasks(
        engine,
        caller,
        Tasks(METHOD, requests, PLACES, ATTEMPTS, wsid, options),
        {"report_due": True},
    )


def _name(value: Any, kind: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{kind}_name must be an existing KBase app {kind}!")
    if "." in value or "/" in value:
        raise InvalidInput(
            f"{kind}_name should just be the name of the {kind}, NOT the full module.method"
        )
    return value


def _workspace(value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    wsid = parse_wsid(value or None)
    if wsid is None:
        raise InvalidInput("A workspace id must be provided to associate each subjob!")
    return wsid


def _first(one: Any, n: int) -> Any:
    params = one.get("params") if isinstance(one, Mapping) else None
    if not isinstance(params, list) or not params:
        raise InvalidInput(f"batch_params #{n}: params must be a list with at least one element")
    return params[0]


def _outermost(context: Mapping[str, Any]) -> Any:
    """The job at the outer end of the call stack, which names the outermost call first."""
    stack = context.get("call_stack")
    outer = stack[0] if isinstance(stack, list) and stack else None
    return outer.get("job_id") if isinstance(outer, Mapping) else None


async def result_of(engine: Engine, parent: Document) -> list[Any]:
    """The result of a completed run_batch, as an app returns it."""
    side = await engine.store.legacy.find_one({"_id": parent["_id"]}, {"batch_report": 1}) or {}
    report = side.get("batch_report") or {}
    entries = await results(engine, parent)
    return [
        {
            "batch_results": {
                entry["result_package"]["run_context"]["job_id"]: entry for entry in entries
            },
            "report_name": report.get("name"),
            "report_ref": report.get("ref"),
        }
    ]


async def settle_due(engine: Engine, limit: int = 100) -> int:
    """End the parents whose tasks have ended and nobody asked about since; how many."""
    due = engine.store.submissions.find(
        {"report_due": True, "status": "ended"}, {"_id": 1}
    ).limit(limit)
    settled = 0
    for submission in await due.to_list():
        try:
            settled += await settle(engine, submission["_id"])
        except Exception:  # one that cannot be ended must not keep the others from it
            log.exception("Batch %s could not be ended; it is tried again", submission["_id"])
    return settled


async def settle(engine: Engine, batch_id: str) -> bool:
    """Make the report of a batch whose tasks have ended, and end its parent; False if it is not
    due, or somebody is about it.

    The reference is noted before the parent is completed, and the object's name is the same at each
    attempt: what was interrupted between the two adds a version of that object, not an object.
    """
    store = engine.store
    now = now_s()
    submission = await store.submissions.find_one_and_update(
        {
            "_id": batch_id,
            "report_due": True,
            "status": "ended",
            "report_begun": {"$not": {"$gt": now - LEASE_S}},
        },
        {"$set": {"report_begun": now}},
        return_document=ReturnDocument.AFTER,
    )
    if submission is None:
        return False
    oid = ObjectId(batch_id)
    parent = await store.jobs.find_one({"_id": oid})
    if parent is not None and parent["status"] in LIVE:
        try:
            await _report(engine, parent, submission)
            await end_parent(store, batch_id)
        except Unavailable:
            await store.submissions.update_one(
                {"_id": batch_id, "report_begun": now}, {"$unset": {"report_begun": ""}}
            )
            return False
        except EngineError as e:
            await _fail(engine, oid, f"The report of the batch could not be saved: {e}")
    await store.submissions.update_one(
        {"_id": batch_id}, {"$unset": {"report_due": "", "report_begun": ""}}
    )
    return True


async def _fail(engine: Engine, oid: ObjectId, message: str) -> None:
    now = now_s()
    await engine.store.jobs.update_one(
        {"_id": oid, "status": {"$in": list(LIVE)}},
        {
            "$set": {
                "status": Status.ERROR.value,
                "error_code": int(ErrorCode.CRASHED),
                "errormsg": message,
                "error": engine_error(message, ErrorCode.CRASHED),
                "finished": now,
                "updated": now,
            }
        },
    )


async def _report(engine: Engine, parent: Document, submission: Document) -> None:
    """Save the report in the workspace, unless that was done, and note where it is."""
    legacy = engine.store.legacy
    side = await legacy.find_one({"_id": parent["_id"]}, {"batch_report": 1})
    if side and side.get("batch_report"):
        return
    query = {"submission": submission["_id"], "superseded": {"$ne": True}}
    fields = dict.fromkeys(("status", "errormsg", "index", "running", "finished"), 1)
    fields["job_input.method"] = 1
    children = await engine.store.jobs.find(query, fields).sort("index", 1).to_list()
    failed = sum(child["status"] != Status.COMPLETED.value for child in children)
    text = f"{len(children) - failed} of {len(children)} tasks completed, {failed} did not."
    data = {
        "text_message": text,
        "direct_html": _html(parent, children, text),
        "objects_created": [],
        "warnings": [],
        "html_links": [],
        "file_links": [],
    }
    name = f"batch_report_{to_ms(submission['accepted'])}"
    new = NewObject(name, REPORT_TYPE, data, {"batch": submission["_id"]})
    ref = await engine.workspaces.save_object(parent["user"], parent["wsid"], new)
    await legacy.update_one(
        {"_id": parent["_id"]},
        {"$set": {"batch_report": {"name": name, "ref": ref}}},
        upsert=True,
    )


def _html(parent: Document, children: Sequence[Document], text: str) -> str:
    """The overview: a row per task."""
    method = children[0]["job_input"]["method"] if children else ""
    rows = "\n".join(_row(child) for child in children[:MAX_ROWS])
    more = ""
    if len(children) > MAX_ROWS:
        more = f"<p>… and {len(children) - MAX_ROWS} more tasks.</p>"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Batch {parent["_id"]}</title>
<h1>Batch of {escape(method)}</h1><p>{escape(text)}</p>
<table><tr><th>#<th>job<th>state<th>ran for, s<th>message
{rows}</table>{more}"""


def _row(child: Document) -> str:
    took = ""
    if child.get("running") and child.get("finished"):
        took = f"{child['finished'] - child['running']:.1f}"
    cells = (
        str(child["index"] + 1), str(child["_id"]), child["status"], took,
        (child.get("errormsg") or "")[:MAX_LETTERS],
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)
