"""The dashboard on a page of its own, and the bundle that shows it within Airflow's pages.

Both are files that `./ee2 dashboard build` makes (`plugins/dashboard/dist`). They hold no data, so
everybody may have them; who asks is found out by the REST API, which the page of its own has at an
address below it, so that its cookie goes nowhere else (`sessions.py`).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import mimetypes
import re
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)

PREFIX = "/ee2/dashboard"
DIST = Path(__file__).resolve().parent.parent / "plugins" / "dashboard" / "dist"
BUNDLE = Path("airflow") / "ee2-jobs.umd.js"
"""Below the folder of what was built: the bundle for Airflow's pages."""
NOT_BUILT = (
    "The dashboard has not been built here. Build it with ./ee2 dashboard build, then reload."
)
_ICON = "icon.svg"
_INDEX = Path("alone") / "index.html"
_PLACES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("EE2 jobs", "ee2-jobs", "nav", {"nav_top_level": True}),
    ("EE2 jobs of this run", "ee2-run", "dag_run", {}),
    ("EE2 jobs at a glance", "ee2-glance", "dashboard", {}),
)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_BASE = re.compile(r'<base href="[^"]*"')
_FOR_EVER = "public, max-age=31536000, immutable"
_HEADERS = {
    # The styles are made by scripts while the page runs, each in a <style> of its own.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; frame-src 'self'; "
        "base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class DashboardFiles:
    """Serves what was built. folder: where that is; it may be built anew at any time."""

    def __init__(self, folder: Path = DIST) -> None:
        self._folder = folder

    def routes(self) -> list[Route]:
        """For the application, after the routes for what has addresses below these."""
        return [
            Route(PREFIX, self._page, methods=["GET"]),
            Route(f"{PREFIX}/assets/{{name:path}}", self._asset, methods=["GET"]),
            Route(f"{PREFIX}/airflow/{{name:path}}", self._for_airflow, methods=["GET"]),
            Route(f"{PREFIX}/{{path:path}}", self._page, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        """The one page of all addresses: what to show it finds out by its address."""
        try:
            text = await asyncio.to_thread((self._folder / _INDEX).read_text)
        except FileNotFoundError:
            return HTMLResponse(_not_built_page(), 503, headers={**_HEADERS, "Retry-After": "60"})
        base = escape(f"{request.scope.get('root_path', '')}{PREFIX}/")
        text = _BASE.sub(lambda _: f'<base href="{base}"', text, count=1)
        return HTMLResponse(text, headers={**_HEADERS, "Cache-Control": "no-cache"})

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not _NAME.fullmatch(name):  # no other folder's
            return _no_such_file()
        return await self._file(request, Path("alone") / "assets" / name, for_ever=True)

    async def _for_airflow(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == _ICON:
            return await self._file(request, BUNDLE.parent / name, for_ever=False)
        if name != BUNDLE.name:
            return _no_such_file()
        version = request.query_params.get("v")
        newest = await asyncio.to_thread(bundle_version, self._folder)
        # An address of an older build gets the newest, which must not be kept under it.
        return await self._file(
            request, BUNDLE, for_ever=version is not None and version == newest
        )

    async def _file(self, request: Request, path: Path, *, for_ever: bool) -> Response:
        try:
            plain, packed = await asyncio.to_thread(_content, self._folder / path)
        except OSError:
            return _no_such_file()
        headers = {
            **_HEADERS,
            "Cache-Control": _FOR_EVER if for_ever else "no-cache",
            "Vary": "Accept-Encoding",
        }
        body = plain
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = packed
            headers["Content-Encoding"] = "gzip"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        kind = "text/javascript" if path.suffix == ".js" else kind
        return Response(body, media_type=kind, headers=headers)


def bundle_version(folder: Path = DIST) -> str | None:
    """The version of the bundle for Airflow's pages, made from its content; None if there is none.
    """
    try:
        plain, _ = _content(folder / BUNDLE)
    except OSError:
        return None
    return hashlib.blake2b(plain, digest_size=8).hexdigest()


def react_apps(base: str, folder: Path = DIST) -> list[dict[str, Any]]:
    """The dashboard's places in Airflow's pages, for its plugin manager: an entry of its own in the
    bar, a tab of a run, a card on the home page. The bundle puts its component under each name.

    base: the address that this application is mounted at. Empty, with a warning, if nothing was
    built.
    """
    version = bundle_version(folder)
    if version is None:
        log.warning(
            "Airflow's pages have no dashboard of jobs: it was not built. Build it with "
            "./ee2 dashboard build, then restart the API server"
        )
        return []
    files = f"{base}{PREFIX}/{BUNDLE.parent}"
    shared = {
        "bundle_url": f"{files}/{BUNDLE.name}?v={version}", "icon": f"{files}/{_ICON}",
    }  # fmt: skip
    return [
        {**shared, "name": name, "url_route": route, "destination": place, **more}
        for name, route, place, more in _PLACES
    ]


def _content(path: Path) -> tuple[bytes, bytes]:
    """A file as it is, and compressed; OSError if there is none."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=200)
def _read(path: Path, mtime_ns: int) -> tuple[bytes, bytes]:
    plain = path.read_bytes()
    return plain, gzip.compress(plain, 9, mtime=0)


def _no_such_file() -> Response:
    text = "There is no such file: the dashboard may have been built anew. Reload the page."
    return PlainTextResponse(text, 404, headers=_HEADERS)


def _not_built_page() -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>EE2 jobs</title>'
        f"<p>{escape(NOT_BUILT)}</p></html>"
    )
