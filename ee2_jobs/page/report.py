"""What a job's output names as its report, files and objects, with the addresses to look at them.

A file is shown by the artifacts' own address, which looks at rights again and says how far the
browser may trust it: nothing that an app has made may act in this site's name.
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from ee2_jobs.artifacts import Artifact, Artifacts
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.page.job import load
from ee2_jobs.page.links import object_href
from ee2_jobs.page.outputs import produced
from ee2_jobs.page.values import cut, leaves
from ee2_jobs.settings import Settings

MAX_FILES = 50
_PREFIX = "artifact:"
_LOOKED_AT = 20_000  # values of an output
_AT_ONCE = 8
_NOT_HERE = ("job_input.params", "child_jobs", "condor_job_ads", "error")


async def job_report(
    engine: Engine, artifacts: Artifacts, caller: Caller, job_id: Any, *, as_admin: bool = False
) -> Document:
    """{id, state, objects: [{name, type, size, ref, href, kind}], more}: reports first; sizes in
    bytes, null where not known; errors as of `load`.

    kind: `report` (of the Workspace), `html` (a file to be shown in a frame), `file` or `object`.
    href: null where there is nothing to look at, or no more. Of files only those of the job's own
    submission are told: an output may name whatever it likes.
    """
    held = await load(engine, caller, job_id, as_admin=as_admin, without=_NOT_HERE)
    job, settings = held.job, engine.settings
    output = await produced(engine.store, job)
    files = [one for one in _files(job) if one[0].submission == job.get("submission")]
    turn = asyncio.Semaphore(_AT_ONCE)

    async def told(artifact: Artifact) -> Document:
        async with turn:
            return await _file(settings, artifacts, artifact, as_admin)

    shown = await asyncio.gather(*(told(artifact) for artifact, _ in files[:MAX_FILES]))
    objects: list[Document] = []
    if output["report"]:
        objects.append(
            {
                "name": output["report"]["name"], "type": "KBaseReport.Report", "size": None,
                "ref": output["report"]["ref"], "kind": "report",
                "href": object_href(settings, output["report"]["ref"]),
            }
        )  # fmt: skip
    # What stands under the name `report` is what the app wants to be seen first.
    named = {str(artifact) for artifact, name in files if name == "report"}
    objects += sorted(
        shown, key=lambda one: (one["ref"][len(_PREFIX):] not in named, one["kind"] != "html")
    )
    objects += [
        {
            "name": one["name"], "type": one["type"], "size": one["bytes"], "ref": one["ref"],
            "kind": "object", "href": object_href(settings, one["ref"]),
        }
        for one in output["objects"]
    ]  # fmt: skip
    return {
        "id": str(job["_id"]),
        "state": "produced" if objects else output["state"],
        "objects": objects,
        "more": output["more"] + max(0, len(files) - MAX_FILES),
    }


def _files(job: Document) -> list[tuple[Artifact, str]]:
    """The files that an output names, in order, each once with the name under which it stands."""
    found: dict[str, tuple[Artifact, str]] = {}
    for path, value in _values((job.get("job_output") or {}).get("result")):
        if isinstance(value, str) and value.startswith(_PREFIX):
            try:
                artifact = Artifact.parse(value[len(_PREFIX) :])
            except InvalidInput:
                continue
            found.setdefault(str(artifact), (artifact, path.rsplit(".", 1)[-1]))
    return list(found.values())


def _values(value: Any) -> Iterator[tuple[str, Any]]:
    for leaf, _ in zip(leaves(value), range(_LOOKED_AT), strict=False):
        yield leaf


async def _file(
    settings: Settings, artifacts: Artifacts, artifact: Artifact, as_admin: bool
) -> Document:
    name = artifact.name.rsplit("/", 1)[-1]
    kind = "html" if name.lower().endswith((".html", ".htm")) else "file"
    try:
        size = await artifacts.size(artifact)
    except (NotFound, OSError):
        size = None
    words = [*(["frame=1"] if kind == "html" else []), *(["as_admin=1"] if as_admin else [])]
    base = urlsplit(settings.public_url or settings.rpc_url).path.rstrip("/")
    href = f"{base}/artifacts/{quote(str(artifact), safe='/')}"
    return {
        "name": cut(name, 200),
        "type": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "size": size,
        "ref": f"{_PREFIX}{artifact}",
        "kind": kind,
        "href": f"{href}{'?' if words else ''}{'&'.join(words)}" if size is not None else None,
    }
