"""Addresses of KBase's own pages: narratives, and objects of the Workspace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ee2_jobs.settings import Settings


def narrative_href(settings: Settings, wsid: Any) -> str | None:
    """The address of a narrative; None if there is none to be told."""
    if not settings.narrative_url or not isinstance(wsid, int):
        return None
    return f"{settings.narrative_url.rstrip('/')}/narrative/{wsid}"


def object_href(settings: Settings, ref: Any) -> str | None:
    """The address of the page about an object in KBase's Workspace; None if there is none."""
    if not settings.narrative_url or not settings.workspace_url or not isinstance(ref, str):
        return None
    return f"{settings.narrative_url.rstrip('/')}/#dataview/{quote(ref, safe='/')}"
