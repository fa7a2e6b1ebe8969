"""What an administrator triggers by hand, with Params: the same use cases as the API's, for the
Airflow user who triggered the run, and in the audit under that name.

What is read from an old database is read in small batches: this is the process that all jobs' tasks
share.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args
from urllib.parse import urlsplit

from ee2_jobs import audit
from ee2_jobs.cancel import cancel_job
from ee2_jobs.controls import controls, drain, undrain
from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput
from ee2_jobs.identity import Caller
from ee2_jobs.legacy.imports import run as imports
from ee2_jobs.legacy.imports import source
from ee2_jobs.legacy.imports.report import Report
from ee2_jobs.model import LIVE, Document, TerminatedCode
from ee2_jobs.rights import Level, require_admin
from ee2_operators import airflow_internals
from ee2_operators.chores.common import Done, Work, listed, tally
from ee2_operators.parts import Parts
from kbase_services.ports import Ports, open_ports

MOST_CANCELLED = 20_000
IMPORT_ROWS = 100
_DATABASES: Mapping[imports.Kind, str] = {"ujs": "userjobstate", "njs": "exec_engine", "ee2": "ee2"}


async def cancel_user_jobs(work: Work) -> Done:
    """Cancel a user's jobs that have not ended. Params: user, reason, status (empty: all)."""
    caller = await _administrator(work)
    user, reason = _text(work, "user"), _text(work, "reason")
    status = _text(work, "status", optional=True)
    if status and status not in LIVE:
        raise InvalidInput(f"status must be one of {', '.join(LIVE)}, or empty, not '{status}'")
    store = work.parts.store
    query: Document = {"user": user, "status": {"$in": [status] if status else list(LIVE)}}
    if status:
        query["batch_job"] = {"$ne": True}  # a parent's state is not its children's
    fields = ["batch_job"]
    found = await store.jobs.find(query, fields).limit(MOST_CANCELLED).to_list()
    # Parents first: they take their children with them.
    found.sort(key=lambda job: not job.get("batch_job"))
    ids = [str(job["_id"]) for job in found]
    what = f"job(s) of {user} {f'in the state {status} ' if status else ''}cancelled"
    if work.dry_run or not ids:
        said = tally([(len(ids), what)])
        return Done(said, len(ids), len(ids) >= MOST_CANCELLED, listed(ids))
    engine, ports = _engine(work.parts)
    entry = await audit.begin(store, caller.user, "cancel_user_jobs", [user, *ids], reason)
    try:
        for job_id in ids:
            if not work.in_time():
                break
            await cancel_job(
                engine,
                caller,
                job_id,
                terminated_code=int(TerminatedCode.BY_ADMIN),
                as_admin=True,
                reason=reason,
            )
    except Exception as e:
        await audit.end(store, entry, error=str(e))
        raise
    finally:
        await ports.aclose()
        work.parts.watcher.poke()
    left = await store.jobs.count_documents(query)
    await audit.end(store, entry)
    return Done(tally([(len(ids), what), (left, "job(s) left")]), len(ids), left > 0)


async def drain_group(work: Work) -> Done:
    """Drain a client group, or undrain it. Params: group, action (drain or undrain), reason."""
    caller = await _administrator(work)
    group, action = _text(work, "group"), _text(work, "action")
    reason = _text(work, "reason", optional=True) or None
    if action not in ("drain", "undrain"):
        raise InvalidInput(f"action must be drain or undrain, not '{action}'")
    engine, ports = _engine(work.parts)
    try:
        before = (await controls(engine.store)).drained
        if group not in engine.groups.groups and group not in before:
            names = ", ".join(engine.groups.groups)
            raise InvalidInput(f"There is no client group '{group}': the groups are {names}")
        changes = (group in before) != (action == "drain")
        if changes and not work.dry_run:
            await (drain if action == "drain" else undrain)(engine, caller, group, reason)
            work.parts.watcher.poke()
    finally:
        await ports.aclose()
    state = "drained" if action == "drain" else "not drained"
    if not changes:
        return Done(f"the client group {group} is {state} already")
    return Done(f"the client group {group} is {state} now", 1)


async def import_old_records(work: Work) -> Done:
    """Bring the records of an old service here. Params: kind (ujs, njs or ee2), source (an address
    of MongoDB without a password, or the id of an Airflow connection), database."""
    caller = await _administrator(work)
    kind, given = _text(work, "kind"), _text(work, "source")
    if kind not in get_args(imports.Kind):
        kinds = ", ".join(get_args(imports.Kind))
        raise InvalidInput(f"kind must be one of {kinds}, not '{kind}'")
    kind = cast(imports.Kind, kind)
    database = _text(work, "database", optional=True) or _DATABASES[kind]
    uri = given if "://" in given else airflow_internals.mongo_uri(given)
    if "://" in given and urlsplit(given).password:
        raise InvalidInput(
            "source holds a password, and Airflow shows the Params of a run to all who may see it: "
            "put the address into an Airflow connection of the type mongo, and its id into source. "
            "Change that password"
        )
    store = work.parts.store
    options = imports.Options(dry_run=work.dry_run, batch_rows=IMPORT_ROWS)
    old = source.connect(uri, database)
    entry = None
    try:
        if not work.dry_run:
            what = f"import_old_records {kind}"
            entry = await audit.begin(store, caller.user, what, [old.name], None)
        try:
            reports = await _in_time(work, imports.run(store, old, kind, options))
        except Exception as e:
            if entry is not None:
                await audit.end(store, entry, error=str(e))
            raise
    finally:
        await old.close()
    if entry is not None:
        await audit.end(store, entry)
    if reports is None:
        again = "it is not finished: trigger it again, and it goes on after the last batch"
        return Done(again, more=True)
    made = sum(r.made for r in reports.values())
    left = sum(f.count for r in reports.values() for f in r.left_out.values())
    counts = [(made, "row(s) imported"), (left, "row(s) that could not be translated")]
    return Done(tally(counts), made, text=_account(reports))


async def _in_time(work: Work, importing: Any) -> dict[str, Report] | None:
    """The reports; None if the time was not enough."""
    left_s = max(0.0, work.until - time.monotonic())
    try:
        reports: dict[str, Report] = await asyncio.wait_for(importing, left_s)
    except TimeoutError:
        return None
    return reports


def _account(reports: Mapping[str, Report]) -> str:
    lines = []
    for name, one in reports.items():
        lines.append(
            f"{name}: {one.read} rows read, {one.made} imported, {one.already_here} here already"
        )
        for what, findings in (("left out", one.left_out), ("note", one.notes)):
            lines += [
                f"  {what}: {reason}: {finding.count}, such as {_some(finding.first)}"
                for reason, finding in findings.items()
            ]
    return "\n".join(lines)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5])


async def _administrator(work: Work) -> Caller:
    """The administrator for whom it is done. Asked for before anything is read."""
    caller = await work.caller()
    require_admin(caller, Level.WRITE)
    return caller


def _text(work: Work, name: str, *, optional: bool = False) -> str:
    value = work.params.get(name)
    text = value.strip() if isinstance(value, str) else ""
    if not text and not optional:
        raise InvalidInput(f"The Param '{name}' is needed")
    return text


def _engine(parts: Parts) -> tuple[Engine, Ports]:
    """The use cases' engine, which starts nothing here; close the ports."""
    ports = open_ports(parts.settings, parts.store)
    return Engine(parts.store, parts.settings, parts.groups, ports.catalog, ports.workspaces), ports
