"""How many cores, how much memory and which part of the pool a job gets.

Precedence per item, as in EE2 (`ee2-api` 5.2): the client over the catalog over the defaults of the
client group. Only an administrator may ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ee2_jobs.catalog import AppRequirements
from ee2_jobs.client_groups import ClientGroup, ClientGroups, GroupsFile
from ee2_jobs.errors import InvalidInput

SOURCE = "input job"
_MEMORY = re.compile(r"(\d+)\s*(?:M|MB)?", re.IGNORECASE)
_DISK = re.compile(r"(\d+)\s*(?:GB)?", re.IGNORECASE)
_CPUS = re.compile(r"(\d+)")
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Requirements:
    """What one job gets. `requested` is what the client asked for, kept for retries.
    `time_limit_rule`: where the time limit comes from, in words."""

    cpus: int
    memory_mb: int
    disk_gb: int
    client_group: str
    time_limit_s: int | None
    requested: Mapping[str, Any]
    time_limit_rule: str | None = None

    def record(self) -> dict[str, Any]:
        """As `job_input.requirements` of the record (EE2's names: MB and GB)."""
        return {
            "clientgroup": self.client_group,
            "cpu": self.cpus,
            "memory": self.memory_mb,
            "disk": self.disk_gb,
        }


def _number(
    value: Any, pattern: re.Pattern[str], what: str, least: str, source: str
) -> int | None:
    """An int, or a string with the unit that `pattern` allows; None if not given."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and (match := pattern.fullmatch(value.strip())):
        number = int(match.group(1))
    if number is None:
        raise InvalidInput(
            f"Found illegal {what} request '{value}' in job requirements from {source}"
        )
    if number < 1:
        raise InvalidInput(f"{least} must be at least 1")
    return number


def parse_requested(requested: Any, source: str = SOURCE) -> dict[str, Any]:
    """What a client asks for, checked: those of the keys `request_cpus`, `request_memory` (MB),
    `request_disk` (GB), `client_group` and `time_limit_s` that have a value. InvalidInput with
    EE2's texts, in which `source` says where the value stands."""
    if requested is None:
        requested = _NOTHING
    if not isinstance(requested, Mapping):
        raise InvalidInput("job_requirements must be a mapping")

    def number(key: str, pattern: re.Pattern[str], what: str, least: str) -> int | None:
        return _number(requested.get(key), pattern, what, least, source)

    group = requested.get("client_group")
    asked: dict[str, Any] = {
        "request_cpus": number("request_cpus", _CPUS, "cpu", "CPU count"),
        "request_memory": number("request_memory", _MEMORY, "memory", "memory in MB"),
        "request_disk": number("request_disk", _DISK, "disk", "disk space in GB"),
        "time_limit_s": number("time_limit_s", _CPUS, "time limit", "time limit in s"),
    }
    if group is not None and (not isinstance(group, str) or "=" in group):
        raise InvalidInput(
            f"Found illegal client group '{group}' in job requirements from {source}"
        )
    asked["client_group"] = (group or "").strip() or None
    return {key: value for key, value in asked.items() if value is not None}


def resolve(
    requested: Any,
    app: AppRequirements,
    groups: GroupsFile | ClientGroups,
    *,
    may_ask: bool,
    method: str,
) -> Requirements:
    """The requirements of one job.

    requested: the client's `job_requirements` (null or a mapping; EE2's keys `request_cpus`,
    `request_memory` MB, `request_disk` GB, `client_group`, and ours `time_limit_s`).
    may_ask: whether the caller is a full administrator.
    Raises InvalidInput with EE2's texts, and for what is above a ceiling of the group; a value that
    is wrong is told before a right that lacks.
    """
    asked = parse_requested(requested)
    if asked and not may_ask:
        raise InvalidInput("In order to specify job requirements you must be a full admin")
    group = asked.get("client_group")
    name = group or app.client_group or groups.default
    defaults = groups.groups.get(name)
    if defaults is None:
        if group is None and app.client_group is not None:
            raise InvalidInput(
                f"Catalog specified illegal client group '{name}' for method {method}"
            )
        raise InvalidInput(f"No such clientgroup: {name}")
    time_limit_s = asked.get("time_limit_s") or app.time_limit_s or defaults.time_limit_s
    got = Requirements(
        cpus=asked.get("request_cpus") or app.cpus or defaults.cpus,
        memory_mb=asked.get("request_memory") or app.memory_mb or defaults.memory_mb,
        disk_gb=asked.get("request_disk") or app.disk_gb or defaults.disk_gb,
        client_group=name,
        # A ceiling on the run time would be none if a job without a limit went past it.
        time_limit_s=time_limit_s or defaults.max_time_limit_s,
        requested=asked,
        time_limit_rule=_time_limit_rule(asked, app, defaults, name, method),
    )
    _keep_ceilings(got, defaults, method)
    return got


def _time_limit_rule(
    asked: Mapping[str, Any], app: AppRequirements, group: ClientGroup, name: str, method: str
) -> str | None:
    if asked.get("time_limit_s"):
        return "asked for with the job"
    if app.time_limit_s:
        return f"declared by {method}"
    if group.time_limit_s:
        return f"the default of client group {name}"
    return f"the ceiling of client group {name}" if group.max_time_limit_s else None


def _keep_ceilings(got: Requirements, group: ClientGroup, method: str) -> None:
    asked = got.requested
    for value, ceiling, name, key, unit in (
        (got.cpus, group.max_cpus, "max_cpus", "request_cpus", "cores"),
        (got.memory_mb, group.max_memory_mb, "max_memory_mb", "request_memory", "MB of memory"),
        (got.disk_gb, group.max_disk_gb, "max_disk_gb", "request_disk", "GB of disk"),
        (got.time_limit_s, group.max_time_limit_s, "max_time_limit_s", "time_limit_s", "s to run"),
    ):
        if value is not None and ceiling is not None and value > ceiling:
            who = SOURCE if key in asked else f"catalog method {method}"
            raise InvalidInput(
                f"The client group '{got.client_group}' gives a job at most {ceiling} {unit} "
                f"({name}), and {value} were asked for by {who}: ask for less, or name a larger "
                "client group"
            )
