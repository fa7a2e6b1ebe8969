"""The stack's Airflow: its environment, its services, the set-up of its database, its health."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ee2_cli import htcondor, mongo, postgres
from ee2_cli.keys import Keys
from ee2_cli.services import Service, with_environment
from ee2_cli.settings import HOST, REPO, StackError, StackSettings
from ee2_jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    import httpx

ADMIN = "admin"
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")


def environment(settings: StackSettings, keys: Keys, pool: htcondor.PoolConfig) -> dict[str, str]:
    """Variables that point Airflow's programs at this stack, secrets among them."""
    var = settings.var_dir
    airflow = {
        "CORE__DAGS_FOLDER": REPO / "dags",
        "CORE__PLUGINS_FOLDER": REPO / "plugins",
        "CORE__FERNET_KEY": keys.fernet_key,
        "CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": database_uri(settings, keys),
        "LOGGING__BASE_LOG_FOLDER": var / "airflow" / "logs",
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": var / "airflow" / "logs" / "dags",
        "API__BASE_URL": settings.airflow_url,
        "API__HOST": HOST,
        "API__PORT": settings.airflow_port,
        "API__WORKERS": settings.api_workers,
        "API__SECRET_KEY": keys.api_secret_key,
        "API_AUTH__JWT_SECRET": keys.jwt_secret,
        "EE2__RPC_URL": settings.rpc_url,
        "EE2__SECRET_KEY": keys.ee2_secret_key,
        "EE2__STAGE_DIR": var / "stage",
        "EE2__APPS_DIR": var / "share" / "apps",
        "EE2__RUNNER": var / "share" / "runner" / "ee2_runner.py",
        "EE2__ARTIFACTS_URL": (var / "artifacts").as_uri(),
        "EE2__CLIENT_GROUPS": REPO / "client_groups.yaml",
        "EE2__GIT_COMMIT": git_commit(REPO),
    }
    # What the caller sets for one of Airflow's or the engine's settings goes before ours.
    given = {k: v for k, v in os.environ.items() if k.startswith("AIRFLOW__")}
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "AIRFLOW_HOME": str(var / "airflow"),
        "AIRFLOW_CONFIG": str(REPO / "airflow.cfg"),
        **{f"AIRFLOW__{name}": str(value) for name, value in airflow.items()},
        "AIRFLOW_CONN_EE2_MONGO": mongo.connection(settings, keys.mongo_password),
        "AIRFLOW_CONN_EE2_CONDOR": _condor_connection(settings, pool),
        "EE2_TRIGGER_TICK": str(settings.trigger_tick_s),
        # Process titles must not overwrite the environment: it tells whose a process is.
        "SPT_NOENV": "1",
        **given,
    }


def git_commit(repo: Path) -> str:
    """The commit of a checkout; empty if the folder is none, or there is no git."""
    if not (repo / ".git").exists():  # git would find one that the folder merely lies in
        return ""
    asked = ["git", "-C", str(repo), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def engine_settings(variables: Mapping[str, str]) -> Settings:
    """The section `[ee2]` as Airflow will read it from its file and these variables; InvalidInput
    says what is wrong in it."""
    parser = ConfigParser()
    parser.read(REPO / "airflow.cfg")
    section = dict(parser["ee2"])
    prefix = "AIRFLOW__EE2__"
    for name, value in variables.items():
        if name.startswith(prefix):
            key = name.removeprefix(prefix).lower()
            section[key] = os.path.expandvars(os.path.expanduser(value))
    # The services' current folder is not the caller's.
    section["client_groups"] = str(Path("/", section["client_groups"]))
    return load_settings(section)


def database_uri(settings: StackSettings, keys: Keys) -> str:
    """SQLAlchemy URL of Airflow's own database."""
    if settings.database == "postgres":
        return postgres.uri(settings, keys.postgres_password)
    # timeout: how long a writer waits for another one, s
    return f"sqlite:///{settings.var_dir / 'airflow' / 'airflow.db'}?timeout=30"


def services(settings: StackSettings, environment_file: Path) -> list[Service]:
    """Airflow's four services."""

    def run(name: str, *arguments: str) -> Service:
        # Reading the DAGs anew can wait; calls cannot.
        first = ("nice", "-n", "10") if name == "dag-processor" else ()
        command = with_environment(environment_file, *first, sys.executable, "-m", *arguments)
        return Service(name, command)

    address = ("--host", HOST, "--port", str(settings.airflow_port))
    api_server = run("api-server", "ee2_operators.api_server", *address)
    return [
        replace(api_server, address=settings.airflow_url, replaces_workers=True),
        # All parts share a disk, so nobody needs their log servers.
        run("scheduler", "airflow", "scheduler", "--skip-serve-logs"),
        run("dag-processor", "airflow", "dag-processor"),
        run("triggerer", "ee2_operators.triggerer", "--skip-serve-logs"),
    ]


def set_up(settings: StackSettings, keys: Keys, variables: Mapping[str, str]) -> None:
    """Make or migrate Airflow's database, its roles and the first user, once per version."""
    stamp = settings.var_dir / "airflow" / "set-up"
    wanted = _version(settings)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    log_file = settings.var_dir / "log" / "airflow-set-up.log"
    with log_file.open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "ee2_cli.airflow_db", ADMIN],
            env={**variables, "HOME": os.environ.get("HOME", "/")},
            input=keys.admin_password.encode(),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
        )
    if done.returncode:
        tail = log_file.read_text()[-1500:]
        raise StackError(f"Airflow's database was not set up; {log_file} ends with:\n{tail}")
    stamp.write_text(wanted)


def add_user(settings: StackSettings, keys: Keys, name: str, password: str) -> bool:
    """Make a user with the role EE2User in the running Airflow; False if there is one already."""
    with _as_admin(settings, keys) as client:
        user = {
            "username": name,
            "email": f"{name}@ee2.invalid",
            "first_name": name,
            "last_name": "-",
            "password": password,
            "roles": [{"name": "EE2User"}],
        }
        answer = client.post("/auth/fab/v1/users", json=user)
        if answer.status_code == 409:
            return False
        if answer.is_error:
            raise StackError(f"Airflow did not make the user {name}: {answer.text}")
        return True


def remove_user(settings: StackSettings, keys: Keys, name: str) -> None:
    """Remove a user from the running Airflow; nothing if there is none."""
    with _as_admin(settings, keys) as client:
        answer = client.delete(f"/auth/fab/v1/users/{name}")
        if answer.is_error and answer.status_code != 404:
            raise StackError(f"Airflow did not remove the user {name}: {answer.text}")


@contextmanager
def _as_admin(settings: StackSettings, keys: Keys) -> Iterator[httpx.Client]:
    """A client of the running Airflow's API, signed in as the administrator."""
    import httpx

    with httpx.Client(base_url=settings.airflow_url, timeout=30) as client:
        login = {"username": ADMIN, "password": keys.admin_password}
        answer = client.post("/auth/token", json=login)
        if answer.status_code != 201:
            raise StackError(
                f"Airflow does not let {ADMIN} in ({answer.status_code}). If the password was "
                "changed in the UI, write the new one into "
                f"{settings.var_dir / 'secrets' / 'admin_password'}"
            )
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def health(settings: StackSettings) -> dict[str, Any] | None:
    """What Airflow says of its parts' health; None if its API does not answer."""
    import httpx

    try:
        answer = httpx.get(f"{settings.airflow_url}/api/v2/monitor/health", timeout=5)
        return answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


def not_healthy(report: Mapping[str, Any] | None, since: str) -> list[str]:
    """Parts that are not healthy, or whose last sign of life is older than `since` (ISO 8601, UTC).

    A part that was stopped a moment ago still counts as healthy for Airflow, hence `since`.
    """
    if report is None:
        return ["api-server"]
    waiting = []
    if report["metadatabase"]["status"] != "healthy":
        waiting.append("metadatabase")
    for part in ("scheduler", "triggerer", "dag_processor"):
        state = report.get(part) or {}
        heartbeat = state.get(f"latest_{part}_heartbeat") or ""
        if state.get("status") != "healthy" or heartbeat < since:
            waiting.append(part.replace("_", "-"))
    return waiting


def _condor_connection(settings: StackSettings, pool: htcondor.PoolConfig) -> str:
    client = htcondor.client_config(pool)
    extra = {
        "token_directory": client["token_directory"],
        "schedd": None,
        "trust_domain": client["trust_domain"],
    }
    return json.dumps(
        {"conn_type": "htcondor", "host": HOST, "port": settings.condor_port, "extra": extra}
    )


def _version(settings: StackSettings) -> str:
    """Changes when the set-up has to run again."""
    parts = [settings.database, (REPO / "ee2_cli" / "airflow_db.py").read_text()]
    for name in ("apache-airflow", "apache-airflow-providers-fab", "flask-appbuilder"):
        parts.append(importlib.metadata.version(name))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
