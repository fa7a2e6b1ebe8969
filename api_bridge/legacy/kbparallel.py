"""KBParallel and kb_BatchApp, by the convention of `sdk.py`: the engine does their work itself.

Their other methods, if a catalog has the modules, run as any app's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api_bridge.service import Service, Submit
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import batchapp, kbparallel


def _only(params: list[Any], method: str) -> Any:
    if len(params) != 1:
        raise InvalidInput(f"{method} takes one parameter, not {len(params)}")
    return params[0]


async def _run_tasks(
    service: Service, caller: Caller, params: list[Any], context: Mapping[str, Any]
) -> str:
    given = _only(params, kbparallel.METHOD)
    return await kbparallel.submit_batch(service.engine, caller, given)


async def _run_batch(
    service: Service, caller: Caller, params: list[Any], context: Mapping[str, Any]
) -> str:
    given = _only(params, batchapp.METHOD)
    if caller.job is not None:
        # Its end saves a report by the user's own right, which a job's token does not have.
        raise Denied(
            f"The token of job {caller.job} may not be used for {batchapp.METHOD}: start the jobs "
            "with KBParallel.run_batch"
        )
    return await batchapp.submit_batch(service.engine, caller, given, context)


def _status(module: str) -> Submit:
    async def status(
        service: Service, caller: Caller, params: list[Any], context: Mapping[str, Any]
    ) -> str:
        return await kbparallel.submit_status(service.engine, caller, module, params)

    return status


SUBMITS: dict[str, Submit] = {
    kbparallel.METHOD: _run_tasks,
    batchapp.METHOD: _run_batch,
    "KBParallel.status": _status("KBParallel"),
    "kb_BatchApp.status": _status("kb_BatchApp"),
}
