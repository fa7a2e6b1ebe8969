"""Every use of Airflow's inner parts, in one place.

Airflow's public interface for DAG authors (`airflow.sdk`, triggers, plugins, listeners) is used
anywhere. What is here has no promise of staying: after an upgrade run
tests/services/test_airflow_internals.py, which checks the version and each of these behaviours.

Imports are inside the functions, because every Airflow component loads this module with the plugin,
and each needs other parts of Airflow (a trigger must not touch the database at all).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ee2_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from airflow.sdk import DAG

TESTED_VERSION = "3.3.2"
BUNDLE = "dags-folder"
# The file that generates the DAGs of all shapes, in the folder of DAGs.
SHAPES_FILE = "submissions.py"
MONGO_CONNECTION = "ee2_mongo"
CONDOR_CONNECTION = "ee2_condor"
# The resource whose permissions guard EE2's pages in Airflow.
VIEW = "EE2 Jobs"
# Between the two questions of a pair (see `shorten_ticks`).
PAIR_S = 0.02


# ------------------------------------------------------------------------ settings, connections


def engine_settings() -> Settings:
    """The `[ee2]` section of Airflow's configuration; InvalidInput names what is wrong in it."""
    from airflow.configuration import conf

    section = conf.getsection("ee2") or {}
    return load_settings({k: None if v is None else str(v) for k, v in section.items()})


def dags_folder() -> Path:
    """Where this Airflow looks for DAGs."""
    from airflow.configuration import conf

    return Path(conf.get_mandatory_value("core", "dags_folder"))


def snapshot_file() -> Path:
    """Where the dag-processor keeps the shapes that it read last."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "ee2_shapes.json"


def log_folder() -> Path:
    """Where Airflow keeps the logs of tasks."""
    from airflow.configuration import conf

    return Path(conf.get_mandatory_value("logging", "base_log_folder"))


def base_path() -> str:
    """The path below which the Airflow UI is served, without the last slash ("" for the root)."""
    from urllib.parse import urlsplit

    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")


def mongo_uri(connection: str = MONGO_CONNECTION) -> str:
    """The address of the engine's database, from the connection `ee2_mongo`, or of another one.

    May be called from a trigger's own task, not from tasks that it starts.
    """
    from airflow.providers.mongo.hooks.mongo import MongoHook

    hook = MongoHook(mongo_conn_id=connection)
    options = {k: str(v).lower() if isinstance(v, bool) else v for k, v in hook.extras.items()}
    if hook.allow_insecure:
        options["tlsAllowInvalidCertificates"] = "true"
    if not options:
        return hook.uri
    path = "" if hook.connection.schema else "/"
    return f"{hook.uri}{path}?{urlencode(options)}"


@dataclass(frozen=True)
class CondorConnection:
    """The connection `ee2_condor`: where the pool's collector is, and the engine's token for it."""

    host: str
    port: int
    extra: Mapping[str, Any]


def condor_connection() -> CondorConnection:
    """Read the connection `ee2_condor`. From a trigger's own task only, as `mongo_uri`."""
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(CONDOR_CONNECTION)
    return CondorConnection(
        connection.host or "127.0.0.1", connection.port or 9618, connection.extra_dejson
    )


# ------------------------------------------------------------------------------- DAGs and runs


def publish(dag: DAG) -> None:
    """Make a DAG known at once (the dag-processor would need 1 to 2 s), and have the dag-processor
    confirm it: what it does not find in SHAPES_FILE within a minute, it takes out again."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    # As the dag-processor sets them; without the relative one, ending a task kills the triggerer.
    dag.fileloc = str(dags_folder() / SHAPES_FILE)
    dag.relative_fileloc = SHAPES_FILE
    with create_session() as session:
        update_dag_parsing_results_in_db(
            bundle_name=BUNDLE,
            bundle_version=None,
            version_data=None,
            dags=[LazyDeserializedDAG.from_dag(dag)],
            import_errors={},
            parse_duration=None,
            warnings=set(),
            session=session,
        )
    request_parse()


def request_parse() -> None:
    """Ask the dag-processor to read SHAPES_FILE soon."""
    from airflow.models.dagbag import DagPriorityParsingRequest
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session() as session:
            session.merge(DagPriorityParsingRequest(BUNDLE, SHAPES_FILE))
    except IntegrityError:
        pass  # another process has just asked


def fresh_dags(dag_ids: Sequence[str]) -> set[str]:
    """Those of the DAGs on which a run would start. A paused one counts: its runs wait, as whoever
    paused it wants."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(DagModel.dag_id).where(
            DagModel.dag_id.in_(dag_ids), DagModel.is_stale.is_(False)
        )
        return set(session.scalars(query))


@dataclass(frozen=True)
class NewRun:
    """A DAG run to create. run_id is the submission's id."""

    dag_id: str
    run_id: str
    user: str
    note: str


def create_runs(runs: Sequence[NewRun]) -> dict[str, str]:
    """Create DAG runs, in one transaction if that works; a run that exists already is fine.

    Returns, per run id, why it could not be created; {} if all are there.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        _create(runs)
        return {}
    except (SQLAlchemyError, LookupError, ValueError) as e:
        if len(runs) == 1:
            if isinstance(e, SQLAlchemyError) and _exists(runs[0]):
                return {}
            return {runs[0].run_id: f"{type(e).__name__}: {e}"}
    errors: dict[str, str] = {}
    for run in runs:
        errors |= create_runs([run])
    return errors


def _create(runs: Sequence[NewRun]) -> None:
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    with create_session() as session:
        bag = DBDagBag(load_op_links=False)
        by_dag: dict[str, list[NewRun]] = {}
        for run in runs:
            by_dag.setdefault(run.dag_id, []).append(run)
        for dag_id, of_dag in by_dag.items():
            dag = bag.get_latest_version_of_dag(dag_id, session=session)
            if dag is None:
                raise LookupError(f"Airflow does not know the DAG {dag_id}")
            query = select(DagRun.run_id).where(
                DagRun.dag_id == dag_id, DagRun.run_id.in_([r.run_id for r in of_dag])
            )
            there = set(session.scalars(query))
            for run in of_dag:
                if run.run_id not in there:
                    dag.create_dagrun(
                        run_id=run.run_id,
                        logical_date=None,
                        data_interval=None,
                        run_after=_just_before_now(),
                        conf={"user": run.user},
                        run_type=DagRunType.MANUAL,
                        triggered_by=DagRunTriggeredByType.REST_API,
                        triggering_user_name=run.user,
                        note=run.note,
                        state=DagRunState.QUEUED,
                        session=session,
                    )


def _just_before_now() -> Any:
    """The time from which a run may start. The scheduler compares it with the database's clock, and
    SQLite's has whole seconds: with the time of now a run waits for the next one to begin."""
    from airflow.sdk import timezone

    return timezone.utcnow() - timedelta(seconds=1)


def _exists(run: NewRun) -> bool:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(DagRun.id).where(DagRun.dag_id == run.dag_id, DagRun.run_id == run.run_id)
        return session.scalar(query) is not None


def is_submission(dag_run: Any) -> bool:
    """Whether a run, as a listener gets it, is of a submission (and not of an admin DAG)."""
    return len(dag_run.run_id) == 24 and dag_run.conf is not None and "user" in dag_run.conf


def set_note(dag_run: Any, note: str) -> None:
    """Set a run's note from a listener: on the object that Airflow is about to save, because a
    session of our own would wait for the very transaction that calls the listener."""
    if dag_run.dag_run_note is None:
        dag_run.note = note
    else:
        dag_run.dag_run_note.content = note


# ------------------------------------------------------------------------------------- triggers


async def run_state(dag_id: str, run_id: str) -> str | None:
    """The state of a DAG run as a trigger may ask it (queued, running, success, failed); None if
    there is no such run."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagRunStateResult, GetDagRunState

    try:
        answer = await task_runner.SUPERVISOR_COMMS.asend(
            GetDagRunState(dag_id=dag_id, run_id=run_id)
        )
    except AirflowRuntimeError:
        return None
    return str(answer.state.value) if isinstance(answer, DagRunStateResult) else None


def run_params(task: Any) -> dict[str, Any]:
    """The Params of the DAG run that a trigger's task belongs to, with the values that the run was
    triggered with. task: the trigger's `task_instance`; {} for one without a run."""
    context = getattr(task, "get_template_context", None)
    return dict(context()["params"]) if context is not None else {}


def count(metric: str, number: int, *, level: bool = False) -> None:
    """Add to one of Airflow's metrics, or (level) set it; nothing if it keeps none (`[metrics]` in
    airflow.cfg)."""
    from airflow.observability import stats

    if level:
        stats.gauge(metric, number)
    else:
        stats.incr(metric, number)


_wakers: list[Callable[[], None]] = []


def shorten_ticks(tick_s: float) -> None:
    """Have the triggerer look for work every `tick_s` seconds on average instead of every second,
    and at once when a trigger of ours has ended (see `wake`). Call it before the triggerer starts.

    The second is a constant in Airflow's code: the loop of the process that runs the triggers waits
    with `anyio.move_on_after(1)` for a stop event, then asks the other process for work. That one
    answers with what it found after the question before, and looks again. So the questions come in
    pairs: with the same number of them, a new trigger starts sooner.
    """
    import itertools
    import types

    import airflow.jobs.triggerer_job_runner as runner
    import anyio

    triggerer: Any = runner

    class WakingEvent:
        """The loop's stop event; waiting for it also ends when it is woken."""

        def __init__(self) -> None:
            self._set = False
            self._event = anyio.Event()
            _wakers.append(self._event_now)

        def _event_now(self) -> None:
            self._event.set()

        def set(self) -> None:
            self._set = True
            self._event.set()

        async def wait(self) -> None:
            await self._event.wait()
            if not self._set:
                self._event = anyio.Event()

    pauses_s = itertools.cycle((2 * tick_s - PAIR_S, PAIR_S))

    def move_on_after(delay_s: float) -> Any:
        return anyio.move_on_after(min(delay_s, next(pauses_s)))

    triggerer.anyio = types.SimpleNamespace(Event=WakingEvent, move_on_after=move_on_after)


def serve_with(serve: Callable[..., None]) -> None:
    """Have `airflow api-server` call this instead of `uvicorn.run`, with the application's import
    string and Airflow's options for uvicorn."""
    import types

    import airflow.cli.commands.api_server_command as command

    api_server: Any = command
    api_server.uvicorn = types.SimpleNamespace(run=serve)


def wake() -> None:
    """Have the triggerer send what is pending now and not at its next tick. Does nothing in a
    triggerer that was not started with `shorten_ticks`."""
    for waker in _wakers:
        waker()


def run(component: str, arguments: Sequence[str]) -> None:
    """`airflow COMPONENT ARGUMENTS` in this process; returns when it stops."""
    from airflow.__main__ import main

    sys.argv = ["airflow", component, *arguments]
    main()


# --------------------------------------------------------------------------------------- users


@dataclass(frozen=True)
class SignedIn:
    """An Airflow user with `can_read` on `EE2 Jobs`, who may see EE2's pages. may_edit: has
    `can_edit`, so may change what the user's rights allow. is_admin: has `can_admin`, so may see
    and change everybody's."""

    name: str
    may_edit: bool
    is_admin: bool


async def signed_in(request: Any) -> SignedIn | None:
    """The Airflow user of a request (cookie or bearer token) with `can_read` on `EE2 Jobs`, or
    None. request: starlette's."""
    import asyncio

    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
    from airflow.api_fastapi.core_api.security import resolve_user_from_token

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(COOKIE_NAME_JWT_TOKEN)
    try:
        user = await resolve_user_from_token(token)
    except Exception as e:
        if hasattr(e, "status_code"):  # FastAPI's: 401 or 403
            return None
        raise
    manager: Any = get_auth_manager()

    def permissions() -> list[bool]:
        return [
            manager.is_authorized_custom_view(method=action, resource_name=VIEW, user=user)
            for action in ("can_read", "can_edit", "can_admin")
        ]

    may_read, may_edit, is_admin = await asyncio.to_thread(permissions)
    return SignedIn(user.get_name(), may_edit or is_admin, is_admin) if may_read else None


async def run_user(dag_id: str, run_id: str) -> SignedIn | None:
    """The Airflow user who triggered a run in the UI or by the REST API, with the rights of now;
    None if nobody did, or the user is there no more. For processes that may use the database."""
    import asyncio

    from airflow.api_fastapi.app import get_auth_manager
    from airflow.models.dagrun import DagRun
    from airflow.providers.fab.auth_manager.models import User
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import select

    by_a_user = (DagRunTriggeredByType.UI, DagRunTriggeredByType.REST_API)
    manager: Any = get_auth_manager()

    def find() -> SignedIn | None:
        with create_session() as session:
            of_run = select(DagRun.triggering_user_name).where(
                DagRun.dag_id == dag_id,
                DagRun.run_id == run_id,
                DagRun.triggered_by.in_(by_a_user),
            )
            name = session.scalar(of_run)
            user = session.scalar(select(User).where(User.username == name, User.active.is_(True)))
            if name is None or user is None:
                return None
            may_edit, is_admin = (
                manager.is_authorized_custom_view(method=action, resource_name=VIEW, user=user)
                for action in ("can_edit", "can_admin")
            )
            return SignedIn(name, may_edit or is_admin, is_admin)

    return await asyncio.to_thread(find)


def middleware(cls: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """An entry of a plugin's `fastapi_root_middlewares`."""
    return {"middleware": cls, "args": list(arguments), "kwargs": options, "name": cls.__name__}
