"""The REST API for the dashboard and for scripts, below `/ee2/api/v1`.

Each module here has `router(rest)`, which gives its routes; what they answer comes from use cases
in `ee2_jobs`, which know no HTTP.
"""

from __future__ import annotations

from fastapi import APIRouter

from api_bridge.rest import (
    actions,
    audit,
    batch,
    changes,
    client_groups,
    compare,
    controls,
    export,
    inbox,
    job,
    limits,
    lists,
    log,
    me,
    notices,
    page_settings,
    queue,
    report,
    statistics,
    status,
    tags,
)
from api_bridge.rest.common import Rest

# One line per module. Lists come before single jobs: `/jobs/counts` is no job's id.
_MODULES = (
    me,
    lists,
    changes,
    export,
    notices,
    inbox,
    page_settings,
    statistics,
    queue,
    status,
    tags,
    log,
    job,
    report,
    compare,
    batch,
    actions,
    limits,
    controls,
    client_groups,
    audit,
)  # fmt: skip


def routers(rest: Rest) -> list[APIRouter]:
    """All routes."""
    return [module.router(rest) for module in _MODULES]
