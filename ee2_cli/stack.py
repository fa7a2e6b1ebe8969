"""Start, stop and state of a whole embedded stack.

Several may run beside each other on one machine, each with its own state folder and ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ee2_cli import airflow, dashboard, htcondor, install, mongo, postgres, processes, rpc
from ee2_cli.keys import Keys, load_keys, write_secret
from ee2_cli.services import Service, ServiceState, Supervisor, write_environment
from ee2_cli.settings import REPO, StackError, StackSettings
from runner.pack import pack

Log = Callable[[str], None]
_READY_TIMEOUT_S = 240
_PLUGIN_TIMEOUT_S = 20


@dataclass(frozen=True)
class StackStatus:
    """How a stack is, and how to reach it. Secrets are None before the first start."""

    services: list[ServiceState]
    rpc_url: str
    airflow_url: str
    mongo_uri: str | None
    airflow_user: str
    airflow_password: str | None
    token_file: str
    var_dir: str

    @property
    def is_up(self) -> bool:
        """Whether every service runs."""
        return all(s.state == "running" for s in self.services)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `./ee2 status --json`."""
        return asdict(self)


def up(settings: StackSettings, log: Log = print) -> StackStatus:
    """Set up what is missing, start what does not run, return when everything is healthy.

    log gets one line of text per step. StackError says what is wrong and what to do about it.
    """
    began = time.monotonic()
    with _lock(settings):
        keys = load_keys(settings.var_dir)
        pool = pool_config(settings)
        variables = airflow.environment(settings, keys, pool)
        airflow.engine_settings(variables)  # what is wrong there is said before anything starts
        mongo.prepare(settings)
        if settings.database == "postgres":
            install.programs(settings, log)
            postgres.prepare(settings, keys.postgres_password)
        environment_file = settings.var_dir / "etc" / "airflow.env"
        write_environment(environment_file, variables)
        supervisor = Supervisor(settings.var_dir)
        config = supervisor.configure(_services(settings))
        if supervisor.is_running() and _started_with(settings) != _fingerprint(config, variables):
            log("settings or programs have changed since the start: restarting")
            _stop(settings)
        _sync_share(settings)
        since = ""
        if not supervisor.is_running():
            _end_leftovers(settings, log)
            _check_ports(settings)
            supervisor.start()
            (settings.var_dir / "run" / "started-with").write_text(_fingerprint(config, variables))
            since = datetime.now(UTC).isoformat()
        _Start(settings, keys, pool, variables, supervisor, log).run()
        _wait_healthy(settings, supervisor, since, log)
        log(f"everything is up ({time.monotonic() - began:.0f} s)")
    return status(settings)


def down(settings: StackSettings, log: Log = print) -> None:
    """Stop everything; returns when no process of the stack is left."""
    if not settings.var_dir.exists():
        return
    with _lock(settings):
        log("stopping the services")
        _stop(settings)
        _end_leftovers(settings, log)


def restart(settings: StackSettings, service: str | None = None, log: Log = print) -> StackStatus:
    """Stop and start one service, or the whole stack. One that can replace its workers does that,
    and is there all the while."""
    if service is None:
        down(settings, log)
        return up(settings, log)
    with _lock(settings):
        services = {s.name: s for s in _services(settings)}
        if service not in services:
            names = ", ".join(services)
            raise StackError(f"There is no service {service}. The services are {names}")
        supervisor = Supervisor(settings.var_dir)
        if not supervisor.is_running():
            raise StackError("The stack is not running: start it with ./ee2 up")
        log(f"restarting {service}")
        since = ""
        kept = services[service].replaces_workers and supervisor.replace_workers(
            service, _READY_TIMEOUT_S
        )
        if not kept:
            supervisor.stop_services([service])
            since = datetime.now(UTC).isoformat() if service in airflow.SERVICES else ""
            supervisor.start_services([service])
        if service == "htcondor":
            htcondor.wait_ready(pool_config(settings))
        _wait_healthy(settings, supervisor, since, log, only=service)
    return status(settings)


def status(settings: StackSettings) -> StackStatus:
    """How the stack is; changes nothing."""
    var = settings.var_dir
    keys = load_keys(var) if (var / "secrets" / "admin_password").exists() else None
    return StackStatus(
        services=Supervisor(var).states(_services(settings)),
        rpc_url=settings.rpc_url,
        airflow_url=settings.airflow_url,
        mongo_uri=mongo.uri(settings, keys.mongo_password) if keys else None,
        airflow_user=airflow.ADMIN,
        airflow_password=keys.admin_password if keys else None,
        token_file=str(token_file(settings)),
        var_dir=str(var),
    )


def pool_config(settings: StackSettings) -> htcondor.PoolConfig:
    """The embedded pool of this stack."""
    return htcondor.PoolConfig(
        prefix=settings.condor_prefix,
        local_dir=settings.var_dir / "condor",
        port=settings.condor_port,
        user=settings.pool_user if settings.is_root else None,
        cpus=settings.pool_cpus,
        memory_mb=settings.pool_memory_mb,
    )


def token_file(settings: StackSettings) -> Path:
    """Where the command line keeps its own EE2 token."""
    return settings.var_dir / "secrets" / "cli_token"


def require_started(settings: StackSettings) -> None:
    """StackError if this stack has never been up; makes nothing."""
    if not token_file(settings).exists():
        raise StackError("The stack was never started: start it with ./ee2 up")


@contextmanager
def _lock(settings: StackSettings) -> Iterator[None]:
    """One command at a time changes a stack; makes its folders."""
    var = settings.var_dir
    # The pool's account goes through the state folder to its own; the rest is closed to it.
    for name, mode in (("", 0o755), ("share", 0o755), ("run", 0o700), ("etc", 0o700)):
        (var / name).mkdir(parents=True, exist_ok=True)
        (var / name).chmod(mode)
    for name in ("airflow", "artifacts", "log"):
        (var / name).mkdir(mode=0o700, exist_ok=True)
    with (var / "run" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _services(settings: StackSettings) -> list[Service]:
    environment_file = settings.var_dir / "etc" / "airflow.env"
    services = [mongo.service(settings)]
    if settings.database == "postgres":
        services.append(postgres.service(settings))
    services.append(
        Service(
            "htcondor",
            tuple(htcondor.master_command(pool_config(settings))),
            address=f"127.0.0.1:{settings.condor_port}",
            stop_signal=htcondor.STOP_SIGNAL,
            group_signal=False,
        )
    )
    return services + airflow.services(settings, environment_file)


def _fingerprint(config: str, variables: dict[str, str]) -> str:
    """Changes when a running stack has to be restarted to be what the settings and files say."""
    files = [(REPO / name).read_text() for name in ("airflow.cfg", "requirements.txt")]
    # PATH is the caller's, and does not matter to what runs; nor does a commit alone
    unimportant = ("PATH", "AIRFLOW__EE2__GIT_COMMIT")
    settings = sorted((k, v) for k, v in variables.items() if k not in unimportant)
    return hashlib.sha256(repr((config, settings, files)).encode()).hexdigest()


def _started_with(settings: StackSettings) -> str:
    path = settings.var_dir / "run" / "started-with"
    return path.read_text() if path.exists() else ""


def _sync_share(settings: StackSettings) -> None:
    """Copy what nodes read to where the pool's account can read it, and make the stage folder."""
    share = settings.var_dir / "share"
    for name in ("runner", "apps"):
        new, old = share / f".{name}", share / name
        shutil.rmtree(new, ignore_errors=True)
        ignore = shutil.ignore_patterns("__pycache__")
        if (REPO / name).exists():
            shutil.copytree(REPO / name, new, ignore=ignore)
        else:
            new.mkdir()
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        if name == "runner":
            _pack_runner(new / "ee2_runner.py")
        shutil.rmtree(old, ignore_errors=True)
        new.rename(old)
    stage = settings.var_dir / "stage"
    stage.mkdir(exist_ok=True)
    if settings.is_root:
        install.account(settings.pool_user, print)
        shutil.chown(stage, settings.pool_user, settings.pool_user)
    # set-gid: the tickets that root writes there can be given to the pool's account by mode 0640
    stage.chmod(0o2770)


def _pack_runner(runner: Path) -> None:
    """Compile the runner beforehand: a short job takes half the time then. Its source does, too."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        pack(runner, runner)


def _check_ports(settings: StackSettings) -> None:
    names = ["airflow_port", "mongo_port", "condor_port"]
    if settings.database == "postgres":
        names.append("postgres_port")
    taken = []
    for name in names:
        port = getattr(settings, name)
        owner = processes.port_owner(port)
        if owner:
            taken.append(f"Port {port} is {owner}: set EE2_{name.upper()} to another one.")
    if taken:
        where = f"Settings are environment variables, or lines of {REPO / 'ee2.env'}."
        raise StackError("\n".join([*taken, where]))


def _stop(settings: StackSettings) -> None:
    Supervisor(settings.var_dir).shutdown()


def _end_leftovers(settings: StackSettings, log: Log) -> None:
    """End what a supervisor that was killed, or a daemon that did not listen, has left running."""
    ended = len(htcondor.kill_orphans(pool_config(settings)))
    ended += len(processes.end_all(settings.var_dir))
    if ended:
        log(f"ended {ended} processes that were left over")


@dataclass(frozen=True)
class _Start:
    """The steps of a start, those that do not need each other at the same time."""

    settings: StackSettings
    keys: Keys
    pool: htcondor.PoolConfig
    variables: dict[str, str]
    supervisor: Supervisor
    log: Log

    def run(self) -> None:
        self.supervisor.start_services(s for s in self._names() if s in processes.STORES)
        with ThreadPoolExecutor() as threads:
            steps = [
                threads.submit(step)
                for step in (self._mongo, self._airflow, self._programs, self._dashboard)
            ]
            pool = threads.submit(self._pool)
            for step in steps:
                step.result()
            self.supervisor.start_services(airflow.SERVICES)
            pool.result()

    def _names(self) -> list[str]:
        return [s.name for s in _services(self.settings)]

    def _mongo(self) -> None:
        mongo.make_ready(self.settings, self.keys.mongo_password)
        asyncio.run(self._fill())
        self.log("MongoDB is ready")

    async def _fill(self) -> None:
        """Make the command line's user and token, if there are none, and make the apps known: an
        API server that runs already does so at its start only."""
        from ee2_jobs.catalog import register_apps
        from ee2_jobs.identity import ROLE_ADMIN, add_user, create_token
        from ee2_jobs.store import Store

        store = Store(mongo.uri(self.settings, self.keys.mongo_password))
        try:
            file = token_file(self.settings)
            if not file.exists():
                await add_user(store, airflow.ADMIN, "EE2 administrator", (ROLE_ADMIN,))
                write_secret(file, await create_token(store, airflow.ADMIN, "command line"))
            await register_apps(store, Path(self.variables["AIRFLOW__EE2__APPS_DIR"]))
        finally:
            await store.close()

    def _airflow(self) -> None:
        if self.settings.database == "postgres":
            postgres.make_ready(self.settings, self.keys.postgres_password)
            self.log("PostgreSQL is ready")
        airflow.set_up(self.settings, self.keys, self.variables)
        self.log("Airflow's database is ready")

    def _programs(self) -> None:
        install.programs(self.settings, self.log)

    def _dashboard(self) -> None:
        """The API server looks for it at its start. All else works without."""
        try:
            dashboard.build(self.log)
        except StackError as e:
            self.log(f"the dashboard is missing; once this is mended: ./ee2 dashboard build\n{e}")

    def _pool(self) -> None:
        install.pool(self.settings, self.log)
        htcondor.configure(self.pool)
        self.supervisor.start_services(["htcondor"])
        htcondor.wait_ready(self.pool)
        self.log("HTCondor is ready")


def _wait_healthy(
    settings: StackSettings,
    supervisor: Supervisor,
    since: str,
    log: Log,
    only: str | None = None,
) -> None:
    """Return when Airflow's parts (or one of them) are healthy and the RPC URL answers."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    plugin_deadline: float | None = None
    healthy: set[str] = set()
    while True:
        waiting = airflow.not_healthy(airflow.health(settings), since)
        if not waiting and rpc.server_version(settings.rpc_url) is None:
            waiting = ["the EE2 plugin"]
            # It is loaded before the API answers, so what is not there now will not come.
            plugin_deadline = plugin_deadline or time.monotonic() + _PLUGIN_TIMEOUT_S
            deadline = min(deadline, plugin_deadline)
        for name in set(airflow.SERVICES) - set(waiting) - healthy:
            if "api-server" not in waiting:
                healthy.add(name)
                log(f"{name} is healthy")
        if not waiting or (only and only not in waiting and "api-server" not in waiting):
            return
        _check_alive(settings, supervisor)
        if time.monotonic() > deadline:
            raise StackError(
                f"Not ready: {', '.join(waiting)}. The logs are in {settings.var_dir / 'log'}"
            )
        time.sleep(0.25)


def _check_alive(settings: StackSettings, supervisor: Supervisor) -> None:
    for service in supervisor.states(_services(settings)):
        if service.state in ("fatal", "exited", "unknown"):
            log_file = settings.var_dir / "log" / f"{service.name}.log"
            tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
            raise StackError(f"{service.name} does not stay up; {log_file} ends with:\n{tail}")
