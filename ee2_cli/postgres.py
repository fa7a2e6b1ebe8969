"""PostgreSQL for Airflow (EE2_DATABASE=postgres): a cluster of the stack's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from ee2_cli.services import Service
from ee2_cli.settings import HOST, StackError, StackSettings

USER = "airflow"
DATABASE = "airflow"


def binary(name: str) -> Path | None:
    """A program of the newest PostgreSQL that the system has (Debian keeps them out of PATH)."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[-3])
    )
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


def is_installed() -> bool:
    """Whether the server's programs are there."""
    return all(binary(name) for name in ("postgres", "initdb"))


def prepare(settings: StackSettings, password: str) -> None:
    """Make the stack's cluster when there is none."""
    folder = settings.var_dir / "postgres"
    if not (folder / "made").exists():
        _make_cluster(folder, password, _account(settings))
        (folder / "made").touch()


def service(settings: StackSettings) -> Service:
    """The server as a service; `prepare` comes first."""
    options = {
        "listen_addresses": HOST,
        "port": str(settings.postgres_port),
        "unix_socket_directories": "",
        "max_connections": "200",
        # A crash of the machine may lose the last half second of Airflow's states, never their
        # order; jobs are in MongoDB, and what is lost is started again by the reconciliation.
        "synchronous_commit": "off",
    }
    program = str(binary("postgres") or "postgres")
    command = [program, "-D", str(settings.var_dir / "postgres" / "data")]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return Service(
        "postgres",
        tuple(command),
        address=f"{HOST}:{settings.postgres_port}",
        user=_account(settings),
        stop_signal="INT",  # fast shutdown: clients are sent away, the data is written
        stop_grace_s=60,
        group_signal=False,
    )


def uri(settings: StackSettings, password: str) -> str:
    """SQLAlchemy URL of Airflow's database."""
    return f"postgresql+psycopg2://{USER}:{password}@{HOST}:{settings.postgres_port}/{DATABASE}"


def make_ready(settings: StackSettings, password: str, timeout_s: float = 60) -> None:
    """Wait for the server and make Airflow's database if it is missing."""
    import psycopg2
    from psycopg2 import errors

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection = psycopg2.connect(
                host=HOST,
                port=settings.postgres_port,
                user=USER,
                password=password,
                dbname="postgres",
            )
            break
        except psycopg2.OperationalError as e:
            if time.monotonic() > deadline or "authentication failed" in str(e):
                raise StackError(
                    f"PostgreSQL at {HOST}:{settings.postgres_port} does not let us in: {e}"
                    f"Its log is {settings.var_dir / 'log' / 'postgres.log'}"
                ) from None
            time.sleep(0.1)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
    except errors.DuplicateDatabase:
        pass
    finally:
        connection.close()


def _account(settings: StackSettings) -> str | None:
    """Who runs the server: it refuses root, and the pool's account must not read the data."""
    return "postgres" if settings.is_root else None


def _make_cluster(folder: Path, password: str, user: str | None) -> None:
    initdb = binary("initdb")
    if initdb is None:
        raise StackError("PostgreSQL is missing. On Debian, as root: apt-get install postgresql")
    shutil.rmtree(folder, ignore_errors=True)  # what a start that was cut off has left
    folder.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w") as password_file:
        password_file.write(password)
        password_file.flush()
        if user:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
            os.chown(password_file.name, account.pw_uid, account.pw_gid)
        command = [str(initdb), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8"]
        command += ["--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={password_file.name}"]
        done = subprocess.run(
            command, user=user, group=user, cwd="/", capture_output=True, text=True
        )
    if done.returncode:
        raise StackError(f"PostgreSQL's initdb failed: {done.stderr.strip()}")
