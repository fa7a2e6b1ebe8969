"""The ways by which jobs leave our schedd: HTCondor's grid universe, described per route.

Every job is in our schedd's queue first, whatever its route. There it is held back, released,
removed, limited and looked after like any other; its grid manager passes it on and mirrors its
state. Pure functions, as in `submit`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ee2_jobs.client_groups import Route

# The last word of a GridJobId: HTCondor's batch helper composes `slurm/DATE/ID`, with `@CLUSTER`
# behind it where the partition names one; in another HTCondor pool it is the job's id there.
_THERE = re.compile(r"slurm/\d{8}/(\d+)(?:@\S+)?|(\d+\.\d+)")
# What sbatch says when nobody took the job because Slurm's controller does not run; the job is put
# on hold with it, and tries again. (A time-out is another text: the job may have been taken then,
# and must not be sent twice.)
SLURM_AWAY = "Unable to contact slurm controller"
_TRY_AGAIN_S = 30

# What of a description the other pool has to keep too: the limits, and that a job runs again whose
# runner could not reach the server. It alone sees how the job does.
_REMOTE = {
    "periodic_hold": "PeriodicHold",
    "periodic_hold_reason": "PeriodicHoldReason",
    "periodic_hold_subcode": "PeriodicHoldSubCode",
    "on_exit_remove": "OnExitRemove",
}


@dataclass(frozen=True, slots=True)
class GridRoute:
    """A route by its name in the file of client groups. words: what it adds to a description."""

    name: str
    words: Mapping[str, str]


def batch_id_of(ad: Mapping[str, Any]) -> str | None:
    """The id that a job of ours has where its route has taken it, from its `GridJobId`; None if it
    has not got there, or stays in our pool."""
    words = str(ad.get("GridJobId") or "").split()
    match = _THERE.fullmatch(words[-1]) if len(words) > 1 else None
    return match and (match[1] or match[2])


def grid_route(name: str, route: Route) -> GridRoute:
    """How the grid universe is told of a route. Its names were checked when the file was read."""
    if route.condor is not None:
        return GridRoute(name, _condor(f"condor {route.condor.schedd} {route.condor.pool}"))
    slurm = route.slurm
    assert slurm is not None
    extra = ["--cpus-per-task=$(ee2_cpus)"]
    if slurm.qos:
        extra.append(f"--qos={slurm.qos}")
    words = {
        "grid_resource": "batch slurm",
        # The runner keeps the limit itself; Slurm steps in when it does not.
        "batch_runtime": "$(ee2_time_limit_s)",
        "batch_extra_submit_args": " ".join(extra),
        "periodic_release": (
            f'regexp("{SLURM_AWAY}", HoldReason ?: "")'
            f" && time() - EnteredCurrentStatus > {_TRY_AGAIN_S}"
        ),
    }
    if slurm.partition:
        words["batch_queue"] = slurm.partition
    if slurm.account:
        words["batch_project"] = slurm.account
    return GridRoute(name, words)


def _condor(resource: str) -> dict[str, str]:
    """HTCondor-C: what begins with `remote_` becomes an attribute of the other schedd's job."""
    return {
        "grid_resource": resource,
        "should_transfer_files": "YES",
        "My.remote_Requirements": "$(ee2_requirements)",
    }


def on_route(route: GridRoute, description: Mapping[str, str]) -> dict[str, str]:
    """The description of a stage in our pool, changed to one that goes by the route."""
    changed = dict(description)
    requirements = changed.pop("requirements")
    changed.pop("keep_claim_idle")
    # The runner finds no job ad of ours where it runs, so it is told in its environment.
    told = {
        "EE2_SCHEDULER_ID": "$(ClusterId).$(ProcId)",
        "EE2_ROUTE": route.name,
        "EE2_GROUP": "$(ee2_group)",
    }
    changed |= {
        **route.words,
        "universe": "grid",
        "environment": f'"{" ".join(f"{k}={v}" for k, v in told.items())}"',
        "My.EE2_ROUTE": f'"{route.name}"',
    }
    if "My.remote_Requirements" in route.words:
        changed["My.remote_Requirements"] = requirements
        for ours, theirs in _REMOTE.items():
            changed[f"My.remote_{theirs}"] = changed[ours]
    return changed
