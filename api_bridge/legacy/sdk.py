"""The convention by which KBase's modules call each other: `Module._method_submit` starts a job,
`Module._check_job` asks for it until it has finished.

NarrativeJobService answered both for any module. All that goes wrong has code -32601 there, except
what the job itself failed with, which arrives as the job told it (`legacy-apis` 2.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api_bridge.envelope import SERVER_ERROR, Fault, Request
from api_bridge.legacy.kbparallel import SUBMITS
from api_bridge.service import Method, Service, authenticate
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.njs_run import run_job
from ee2_jobs.legacy.njs_states import CANCELED, job_states
from ee2_jobs.legacy.records import find_viewable

_CHECK = "_check_job"
_SUBMIT = "_submit"


async def call(service: Service, request: Request, header: str | None) -> Any:
    """The `result` of a call to an app's module; raises what went wrong."""
    module, _, function = request.method.partition(".")
    caller = await authenticate(service, header, _METHOD, request.method)
    if function == _CHECK:
        if len(request.params) != 1:
            raise InvalidInput("Check method expects exactly one argument")
        return [await check(service, caller, request.params[0])]
    name = function[1 : -len(_SUBMIT)]
    if not function.endswith(_SUBMIT) or not name:
        raise InvalidInput(f"Illegal method name: {function}")
    submit = SUBMITS.get(f"{module}.{name}")
    if submit is not None:
        return [await submit(service, caller, request.params, request.context)]
    return [await _run(service, caller, f"{module}.{name}", request.params, request.context)]


async def _run(
    service: Service, caller: Caller, method: str, params: list[Any], context: Mapping[str, Any]
) -> str:
    """A job of the method with the call's parameters; no workspace, app or parent can be given."""
    return await run_job(
        service.engine,
        caller,
        {
            "method": method,
            "params": params,
            "service_ver": context.get("service_ver"),
            "rpc_context": dict(context) or None,
        },
    )


async def check(service: Service, caller: Caller, job_id: Any) -> dict[str, Any]:
    """The JobState. What a job failed with is raised; so is that it was cancelled: clients read
    the result of every job that has finished."""
    job, side = await find_viewable(service.engine, caller, job_id)
    state = (await job_states(service.engine, [job], {job_id: side}))[str(job["_id"])]
    if "error" in state:
        error = state["error"]
        raise Fault(
            error["code"], error["message"], name=error["name"], detail=error.get("error")
        )
    if state.get("canceled"):
        raise Fault(SERVER_ERROR, CANCELED.format(job_id), name="JSONRPCError")
    return state


_METHOD = Method(_run, job_token="live")
