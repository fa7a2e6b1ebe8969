"""Use cases that accept work: one job, a batch, a split-process-aggregate run.

All checks come first and store nothing; then the records and the submission are written in one
transaction, and the ids are returned. Nothing here waits for the scheduler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bson import ObjectId

from ee2_jobs import offspring, priority, user_tokens
from ee2_jobs.catalog import RECIPES, App, method_of
from ee2_jobs.engine import Engine
from ee2_jobs.errors import Denied, EngineError, InvalidInput, shown
from ee2_jobs.identity import Caller
from ee2_jobs.limits.gate import admit
from ee2_jobs.limits.time import base_of
from ee2_jobs.model import Document, OnChildError, StageName, truthy
from ee2_jobs.plan import shape_of
from ee2_jobs.requests import (
    JobRequest,
    job_document,
    parent_document,
    parse_cell,
    parse_method,
    parse_request,
    parse_wsid,
)
from ee2_jobs.requirements import Requirements, resolve
from ee2_jobs.rights import Level, require_admin
from ee2_jobs.submissions import accept, submission_document

_YIELD_EVERY = 200
MAX_REFS_OF_ALL = 1_000_000


@dataclass(frozen=True)
class Resolved:
    """A request with what the catalog says of it. time_limit: fields of the record, see
    limits/time.py."""

    request: JobRequest
    app: App
    requirements: Requirements
    time_limit: Document = field(default_factory=dict)


@dataclass(frozen=True)
class BatchIds:
    """What a client gets back for a batch; the children in the order they were given."""

    batch_id: str
    child_job_ids: tuple[str, ...]


async def run_job(
    engine: Engine, caller: Caller, params: Any, *, side: Document | None = None
) -> str:
    """Accept one job (EE2's run_job); returns its id. Raises InvalidInput or Denied.

    Ours beside EE2's parameters: `priority`, see priority.py. side: what is kept beside the record
    for clients of the old services (legacy/records.py).
    """
    if not isinstance(params, Mapping):
        raise InvalidInput("params must be a mapping")
    await check_workspace(engine, caller, params, f"workspace {params.get('wsid')}")
    request = parse_request(params)
    (resolved,) = await _resolve(engine, caller, [request])
    (resolved,) = await _admit(engine, caller, [resolved], lambda _: request.method)
    shape = shape_of("job", {request.method})
    oid = ObjectId()
    submission = submission_document(str(oid), user=caller.user, shape=shape)
    job = _record(
        resolved, caller.user, str(oid), 0, request.wsid, order=priority.OF_SINGLE_JOBS
    )
    job["_id"] = oid
    submission |= user_tokens.sealed(engine.settings, caller)
    sides = [] if side is None else [{**side, "_id": oid}]
    await accept(engine, caller, submission, shape, [job], sides)
    return str(oid)


async def run_job_batch(
    engine: Engine, caller: Caller, params: Any, batch_params: Any
) -> BatchIds:
    """Accept a batch (EE2's run_job_batch): its parent and one child per element of `params`.

    `batch_params`: `wsid`, `as_admin`, `meta`, and ours: `aggregate` ({"recipe", "params"} or
    {"method", "params"}) with `on_child_error` (`continue` or `abort`), and `priority`, which a
    child may have of its own.
    """
    if not isinstance(params, list):
        raise InvalidInput("params must be a list")
    options: Mapping[str, Any] = {} if batch_params is None else batch_params
    if not isinstance(options, Mapping):
        raise InvalidInput("batch params must be a mapping")
    await check_workspace(engine, caller, options, f"workspace {options.get('wsid')}")
    check_count(engine, params)
    requests = await _parse_children(params)
    return await _accept_batch(engine, caller, options, requests)


async def run_split_aggregate(engine: Engine, caller: Caller, params: Any) -> str:
    """Accept a split-process-aggregate run; returns the id of the batch's parent.

    `params`: a mapping with
    - `method`: what the children run; `app_id`, `service_ver`, `meta`, `job_requirements`,
      `source_ws_objects` as in run_job; `wsid`, `as_admin` as in run_job_batch;
    - `split`: {"method", "params"}; or a bare method name; if absent, and no `children` are given,
      the split method that the app declares, with `params` as its parameters;
    - `children`: instead of a split, the list of the children's `params` (or mappings with
      `params`);
    - `aggregate`: {"method", "params"} or {"recipe", "params"}, where the recipe is a built-in one
      (`report`, `set`, `table`) or a method of the children's own app; if absent, what the app
      declares; null for none;
    - `priority`: of all jobs of the run, see priority.py;
    - `on_child_error`: `continue` (aggregate what there is) or `abort` (cancel the rest).
    """
    if not isinstance(params, Mapping):
        raise InvalidInput("params must be a mapping")
    await check_workspace(engine, caller, params, f"workspace {params.get('wsid')}")
    module, function = parse_method(params.get("method"))
    template = {
        k: params[k]
        for k in ("app_id", "service_ver", "meta", "job_requirements", "source_ws_objects")
        if k in params
    }
    template["method"] = f"{module}.{function}"
    request = parse_request(template, in_batch=True)
    app = await engine.catalog.app(module, request.service_ver, function)
    declared = method_of(app, function)
    options: dict[str, Any] = dict(params)
    if "aggregate" not in params and declared.aggregate is not None:
        options["aggregate"] = {"recipe": declared.aggregate}
    children = params.get("children")
    split = params.get("split")
    if children is not None:
        if split is not None:
            raise InvalidInput("Give either split or children, not both")
        if not isinstance(children, list):
            raise InvalidInput("children must be a list of the children's params")
        check_count(engine, children, "children")
        requests = await _parse_children([_child(template, c) for c in children])
        ids = await _accept_batch(engine, caller, options, requests)
        return ids.batch_id
    if split is None:
        if declared.split is None:
            raise InvalidInput(
                f"{module}.{function} declares no split method: give split or children"
            )
        split = {"method": f"{module}.{declared.split}", "params": params.get("params")}
    options["split"] = {"method": split} if isinstance(split, str) else split
    ids = await _accept_batch(engine, caller, options, [], children=request)
    return ids.batch_id


def _child(template: Mapping[str, Any], child: Any) -> dict[str, Any]:
    if isinstance(child, Mapping) and "params" in child:
        return {**template, **{k: child[k] for k in ("params", "meta") if k in child}}
    return {**template, "params": child}


def check_count(engine: Engine, jobs: Sequence[Any], field: str = "params") -> None:
    """InvalidInput if a batch cannot have so many jobs."""
    if not jobs:
        raise InvalidInput(f"{field} is empty: a batch needs at least one job")
    if len(jobs) > engine.settings.max_batch_jobs:
        raise InvalidInput(
            f"{field} lists {len(jobs)} jobs; one batch may have at most "
            f"{engine.settings.max_batch_jobs}. Send several batches."
        )


async def check_workspace(
    engine: Engine, caller: Caller, params: Mapping[str, Any], where: str
) -> None:
    """Denied unless the caller may run jobs in the workspace of `params`, if it names one."""
    wsid = parse_wsid(params.get("wsid"))
    if truthy(params.get("as_admin")):
        require_admin(caller, Level.WRITE)
    elif wsid is not None and not await offspring.may_write(engine, caller, wsid):
        raise Denied(f"User {caller.user} doesn't have permission to run jobs in {where}.")


async def _parse_children(params: Sequence[Any]) -> list[JobRequest]:
    """The children's requests; an error names the job, counted from 1, when there are several."""
    requests = []
    for n, child in enumerate(params, 1):
        try:
            requests.append(parse_request(child, in_batch=True))
        except InvalidInput as e:
            if len(params) == 1 or str(e).startswith("Workspace ids are not allowed"):
                raise
            raise InvalidInput(f"Job #{n}: {e}") from None
        if n % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return requests


async def _resolve(
    engine: Engine, caller: Caller, requests: Sequence[JobRequest]
) -> list[Resolved]:
    """The requests with app and requirements; one catalog look-up per method and version, one
    look-up for all object references."""
    apps: dict[tuple[str, str, str | None], App] = {}
    plain: dict[tuple[str, str, str | None], Requirements] = {}
    resolved = []
    for n, request in enumerate(requests, 1):
        try:
            key = (request.module, request.function, request.service_ver)
            app = apps.get(key)
            if app is None:
                app = apps[key] = await engine.catalog.app(
                    request.module, request.service_ver, request.function
                )
            requirements = plain.get(key) if request.job_requirements is None else None
            if requirements is None:
                method = method_of(app, request.function)
                requirements = resolve(
                    request.job_requirements,
                    method.requirements,
                    engine.groups,
                    may_ask=caller.can_admin,
                    method=request.method,
                )
                if request.job_requirements is None:
                    plain[key] = requirements
        except EngineError as e:
            if len(requests) == 1:
                raise
            raise type(e)(f"Job #{n}: {e}") from None
        resolved.append(Resolved(request, app, requirements))
        if n % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    named = sum(len(request.source_ws_objects) for request in requests)
    if named > MAX_REFS_OF_ALL:
        raise InvalidInput(
            f"source_ws_objects: all jobs of one call together may name {MAX_REFS_OF_ALL} objects, "
            f"not {named}"
        )
    refs = {ref for request in requests for ref in request.source_ws_objects}
    hidden = await offspring.inaccessible(engine, caller, refs)
    if hidden:
        raise InvalidInput(f"Some workspace object is inaccessible: {', '.join(hidden)}")
    return resolved


async def _admit(
    engine: Engine,
    caller: Caller,
    resolved: Sequence[Resolved],
    name: Callable[[int], str],
    *,
    children: int | None = None,
    count: int | None = None,
) -> list[Resolved]:
    """The requests, each with its time limit, if the caller's limits let them pass
    (limits/gate.py)."""
    needs: dict[int, Mapping[str, Any]] = {}
    for one in resolved:
        if id(one.requirements) not in needs:
            needs[id(one.requirements)] = one.requirements.record()
    rules = await admit(
        engine.store,
        caller.user,
        [needs[id(one.requirements)] for one in resolved],
        {one.request.method for one in resolved},
        name=name,
        most_waiting=engine.settings.max_waiting_jobs,
        children=children,
        count=count,
    )
    limits: dict[tuple[str, int], Document] = {}
    limited = []
    for n, one in enumerate(resolved, 1):
        key = (one.request.method, id(one.requirements))
        if key not in limits:
            base = base_of(one.requirements, engine.groups)
            limits[key] = rules.fields(caller.user, one.request.method, base)
        limited.append(replace(one, time_limit=limits[key]))
        if n % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return limited


def _numbered(resolved: Sequence[Resolved]) -> Callable[[int], str]:
    return lambda n: f"Job #{n + 1}: {resolved[n].request.method}"


def _record(
    resolved: Resolved,
    user: str,
    submission: str,
    index: int,
    wsid: int | None,
    *,
    order: int,
    stage: StageName = StageName.SUBMIT,
    batch_id: str | None = None,
) -> Document:
    own = resolved.request.priority
    return job_document(
        resolved.request,
        user=user,
        service_ver=resolved.app.git_commit,
        requirements=resolved.requirements,
        submission=submission,
        stage=stage,
        index=index,
        wsid=wsid,
        priority=order if own is None else own,
        batch_id=batch_id,
    ) | resolved.time_limit


async def children_of(
    engine: Engine,
    caller: Caller,
    requests: Sequence[JobRequest],
    batch_id: str,
    wsid: int | None,
) -> list[Document]:
    """The records of a batch's children, all looked up and checked; nothing is stored."""
    resolved = await _resolve(engine, caller, requests)
    resolved = await _admit(
        engine, caller, resolved, _numbered(resolved), children=len(resolved)
    )
    return await _child_records(resolved, caller.user, batch_id, wsid, priority.OF_BATCHES)


async def _child_records(
    resolved: Sequence[Resolved], user: str, batch_id: str, wsid: int | None, order: int
) -> list[Document]:
    jobs = []
    for index, one in enumerate(resolved):
        jobs.append(_record(one, user, batch_id, index, wsid, order=order, batch_id=batch_id))
        if index % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
    return jobs


def _recipe(options: Mapping[str, Any]) -> str | None:
    """The recipe that is asked for, if one is."""
    step = options.get(StageName.AGGREGATE.value)
    if isinstance(step, Mapping):
        step = step.get("recipe")
    return step if isinstance(step, str) and "." not in step else None


def _step_request(step: Any, field: str, template: JobRequest | None) -> JobRequest:
    """The request of a split or aggregate step from {"method"|"recipe", "params"}."""
    if isinstance(step, str):
        step = {"method" if "." in step else "recipe": step}
    if not isinstance(step, Mapping):
        raise InvalidInput(f"{field} must be a mapping with method or recipe, not {shown(step)}")
    recipe = step.get("recipe")
    method = step.get("method")
    if recipe is not None:
        if method is not None:
            raise InvalidInput(f"{field}: give either recipe or method, not both")
        if field != "aggregate" or not isinstance(recipe, str):
            raise InvalidInput(f"{field}: there is no recipe {shown(recipe)}")
        own = f"{template.module}.{recipe}" if template is not None else None
        method = RECIPES.get(recipe, own)
    module, function = parse_method(method, f"{field} method")
    request = parse_request(
        {
            "method": f"{module}.{function}",
            "params": step.get("params"),
            "service_ver": step.get("service_ver"),
            "job_requirements": step.get("job_requirements"),
        },
        in_batch=True,
    )
    if template is not None and template.module == module:
        request = replace(
            request,
            app_id=template.app_id,
            service_ver=request.service_ver or template.service_ver,
        )
    return replace(request, cell=template.cell if template is not None else {})


async def _accept_batch(
    engine: Engine,
    caller: Caller,
    options: Mapping[str, Any],
    requests: Sequence[JobRequest],
    *,
    children: JobRequest | None = None,
) -> BatchIds:
    """Accept a parent with its children, or with the template of children that a split lists."""
    try:
        on_child_error = OnChildError(options.get("on_child_error") or OnChildError.CONTINUE)
    except ValueError:
        raise InvalidInput(
            f"on_child_error is 'continue' or 'abort', not {shown(options['on_child_error'])}"
        ) from None
    wsid = parse_wsid(options.get("wsid"))
    asked = priority.parse_priority(options.get("priority"))
    order = priority.OF_BATCHES if asked is None else asked
    template = children or requests[0]
    steps: dict[StageName, JobRequest] = {}
    for stage in (StageName.SPLIT, StageName.AGGREGATE):
        if options.get(stage.value) is not None:
            steps[stage] = _step_request(options[stage.value], stage.value, template)
    extra = list(steps.values()) + ([children] if children is not None else [])
    resolved = await _resolve(engine, caller, requests) if requests else []
    try:
        resolved_extra = [(await _resolve(engine, caller, [request]))[0] for request in extra]
    except InvalidInput as e:
        recipe = _recipe(options)
        if recipe is None or recipe in RECIPES:
            raise
        raise InvalidInput(
            f"aggregate: '{recipe}' is none of the built-in recipes ({', '.join(RECIPES)}), and "
            f"cannot be run as a method of {template.module}: {e}"
        ) from None

    everything = [*resolved, *resolved_extra]
    numbered = _numbered(everything)
    limited = await _admit(
        engine,
        caller,
        everything,
        lambda n: numbered(n) if n < len(resolved) else everything[n].request.method,
        children=len(resolved) if resolved else None,
        count=len(resolved) + len(steps),
    )
    resolved, resolved_extra = limited[: len(resolved)], limited[len(resolved) :]
    split, aggregate = steps.get(StageName.SPLIT), steps.get(StageName.AGGREGATE)
    methods = {r.method for r in requests} or {template.method}
    shape = shape_of(
        "split_aggregate" if split or (aggregate and "method" in options) else "batch",
        methods,
        split.method if split else None,
        aggregate.method if aggregate else None,
    )
    oid = ObjectId()
    batch_id = str(oid)
    jobs = await _child_records(resolved, caller.user, batch_id, wsid, order)
    child_ids = tuple(str(job["_id"]) for job in jobs)
    for stage, one in zip(steps, resolved_extra, strict=False):
        jobs.append(
            _record(
                one,
                caller.user,
                batch_id,
                0,
                wsid,
                order=order,
                stage=stage,
                batch_id=batch_id,
            )
        )
    parent = parent_document(
        oid,
        user=caller.user,
        wsid=wsid,
        cell=parse_cell(options.get("meta")),
        children=list(child_ids),
    )
    pattern = None
    if children is not None:
        pattern = _record(
            resolved_extra[-1],
            caller.user,
            batch_id,
            0,
            wsid,
            order=order,
            batch_id=batch_id,
        )
        del pattern["_id"]
    submission = submission_document(
        batch_id,
        user=caller.user,
        shape=shape,
        batch_id=batch_id,
        on_child_error=on_child_error,
        children=pattern,
    )
    submission |= user_tokens.sealed(engine.settings, caller)
    await accept(engine, caller, submission, shape, [parent, *jobs])
    return BatchIds(batch_id, child_ids)
