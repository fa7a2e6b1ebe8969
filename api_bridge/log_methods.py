"""The methods that write and read logs."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from api_bridge.params import Params, is_as_admin, whole
from api_bridge.service import FACTS, Method, Service
from ee2_jobs import logs
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.requests import required
from ee2_jobs.rights import Level, find_permitted


async def _job_of_log(
    service: Service, caller: Caller, params: Params, level: Level
) -> ObjectId:
    """The id of the job whose log is meant, if the caller may read or write it. For the owner and
    the job itself this process remembers enough: a runner asks every second."""
    job_id = required(params, "job_id")
    as_admin = is_as_admin(params)
    job = None if as_admin else service.memory.known(job_id)
    if job is None or not (caller.job == job_id if caller.job else caller.user == job["user"]):
        job = await find_permitted(
            service.engine, caller, job_id, level, as_admin=as_admin, projection=FACTS
        )
        service.memory.note_facts(job)
    oid: ObjectId = job["_id"]
    return oid


async def add_job_logs(
    service: Service, caller: Caller, params: Params, lines: Any
) -> dict[str, Any]:
    """Append lines to a job's log. An empty list, which a runner sends every second, is answered
    from memory once this process has seen the log.

    Fields of the first: `job_id`, `as_admin` = 0. Of each line: `line`, `is_error` = 0, `ts` (a
    whole number is ms, a fraction s; now, if absent).
    Result: `{success, line_number}`: how many lines there are then. While MongoDB is away `success`
    is false, and the lines must be sent again.
    Right: write the job.
    """
    job_oid = await _job_of_log(service, caller, params, Level.WRITE)
    service.memory.note_seen(caller.job)
    job_id = str(job_oid)
    count = service.memory.log_lines(job_id)
    if lines or count is None:
        count = await logs.append(service.engine.store, job_oid, logs.parse_lines(lines))
        service.memory.note_log_lines(job_id, count)
    elif not isinstance(lines, list):
        raise InvalidInput("lines must be a list")
    return {"success": True, "line_number": count}


async def get_job_logs(service: Service, caller: Caller, params: Params) -> dict[str, Any]:
    """Lines of a job's log. An error as long as it has none.

    Fields: `job_id`; `skip_lines` (or `offset`) = 0: "I hold the first N lines"; `limit` = 0 lines
    at most, 0 for all; `as_admin` = 0.
    Result: `{lines: [{line, linepos, is_error, ts}, …], last_line_number, count}`; `linepos` from
    0, `ts` in ms. `last_line_number` is how many the client holds with this answer, fit to be sent
    as the next `skip_lines`; `count` how many there are.
    Right: read the job.
    """
    if params.get("skip_lines") and params.get("offset"):
        raise InvalidInput("Please provide only one of skip_lines or offset")
    name = "skip_lines" if "skip_lines" in params else "offset"
    skip = whole(params.get(name), name)
    limit = whole(params.get("limit"), "limit")
    job_oid = await _job_of_log(service, caller, params, Level.READ)
    page = await logs.read(service.engine.store, job_oid, skip, limit or None)
    return {
        "lines": [logs.wire_line(line) for line in page.lines],
        "last_line_number": min(skip, page.count) + len(page.lines),
        "count": page.count,
    }


def _lines_not_stored(service: Service, params: list[Any]) -> dict[str, Any]:
    """The answer of add_job_logs while MongoDB is away: an error would end KBase's JobRunner."""
    job_id = params[0].get("job_id") if params and isinstance(params[0], dict) else None
    count = service.memory.log_lines(job_id) if isinstance(job_id, str) else None
    return {"success": False, "line_number": -1 if count is None else count}


LOG_METHODS: dict[str, Method] = {
    "execution_engine2.add_job_logs": Method(
        add_job_logs,
        (dict, list),
        job_token="always",
        audited="as_admin",
        on_trouble=_lines_not_stored,
    ),
    "execution_engine2.get_job_logs": Method(get_job_logs, (dict,), job_token="always"),
}
