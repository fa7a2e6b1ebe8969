"""Use case: a job of KBase's concierge, with requirements of its own choice (`ee2-api` 2.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, InvalidInput
from ee2_jobs.identity import ROLE_ADMIN, Caller
from ee2_jobs.requirements import parse_requested
from ee2_jobs.submit import run_job

CLIENT_GROUP = "concierge"
SOURCE = "concierge parameters"
_KEYS = ("request_cpus", "request_memory", "request_disk", "client_group", "time_limit_s")


async def run_job_concierge(
    engine: Engine, caller: Caller, params: Mapping[str, Any], concierge: Mapping[str, Any]
) -> str:
    """Accept one job of the concierge; returns its id.

    params: as in run_job; `as_admin` and `job_requirements` are ignored.
    concierge: `request_cpus`, `request_memory` (MB), `request_disk` (GB), `client_group` (default
    `concierge`), `time_limit_s`. Empty: as run_job. Only the user `[ee2] concierge_user` may call
    this, with or without such parameters (EE2 let everybody in without: D15).
    """
    if caller.user != engine.settings.concierge_user:
        raise Denied("You are not the concierge user. This method is not for you")
    if not concierge:
        return await run_job(engine, caller, params)
    requested = {
        "client_group": CLIENT_GROUP,
        **parse_requested({key: concierge.get(key) for key in _KEYS}, SOURCE),
    }
    _refuse_scheduler_requirements(concierge.get("requirements_list"))
    may_choose = replace(caller, roles=caller.roles | {ROLE_ADMIN})
    plain = {key: value for key, value in params.items() if key != "as_admin"}
    return await run_job(engine, may_choose, {**plain, "job_requirements": requested})


def _refuse_scheduler_requirements(items: Any) -> None:
    """No text of a client reaches the scheduler; a job that asks for that must not run elsewhere
    than it asked, so it is refused."""
    if not items:
        return
    if not isinstance(items, list):
        raise InvalidInput("requirements_list must be a list")
    for item in items:
        if not isinstance(item, str) or item.count("=") != 1:
            raise InvalidInput(f"Found illegal requirement in requirements_list: {item}")
        if not item.partition("=")[0].strip():
            raise InvalidInput(
                "Missing input parameter: key in scheduler requirements structure"
            )
    raise InvalidInput(
        "requirements_list: this service takes no requirements for the scheduler from clients; "
        "ask for a client_group whose route leads to the machines"
    )
