"""The services of the stack under supervisord: what runs, how it is started, stopped and asked."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ee2_cli import processes
from ee2_cli.settings import StackError

# A Unix socket's path has room for 107 characters; supervisord appends its process id to it.
_MAX_SOCKET_PATH = 95


@dataclass(frozen=True)
class Service:
    """One program that supervisord keeps running."""

    name: str
    command: tuple[str, ...]
    address: str | None = None
    user: str | None = None
    stop_signal: str = "TERM"
    stop_grace_s: int = 20
    # Whether its children get the stop signal too; data stores and HTCondor end theirs in order.
    group_signal: bool = True
    # Whether it replaces its workers on SIGHUP and serves all the while: that is its restart then.
    replaces_workers: bool = False


@dataclass(frozen=True)
class ServiceState:
    """How a service is: state is supervisord's word, lower case (running, starting, backoff, …)."""

    name: str
    state: str
    pid: int | None
    address: str | None


class Supervisor:
    """supervisord of one stack; var_dir is the stack's state folder."""

    def __init__(self, var_dir: Path) -> None:
        self._var = var_dir
        self._config = var_dir / "etc" / "supervisord.conf"
        self._pid_file = var_dir / "run" / "supervisord.pid"
        self._socket = _socket_path(var_dir)

    def configure(self, services: Iterable[Service]) -> str:
        """Write the configuration; returns its text, which changes when a service does."""
        text = _config(self._var, self._pid_file, self._socket, services)
        self._config.write_text(text)
        self._config.chmod(0o600)
        return text

    def start(self) -> None:
        """Start supervisord with no service running yet."""
        self._socket.parent.mkdir(mode=0o700, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            processes.MARK: str(self._var),
        }
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
        )
        deadline = time.monotonic() + 10
        while not self.is_running():
            if done.returncode or time.monotonic() > deadline:
                raise StackError(
                    f"supervisord did not start: {done.stdout.strip()} {done.stderr.strip()}\n"
                    f"Its log is {self._var / 'log' / 'supervisord.log'}"
                )
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self._call("getState")
            return True
        except OSError:
            return False

    def start_services(self, names: Iterable[str]) -> None:
        """Start these without waiting for them."""
        for name in names:
            try:
                self._call("startProcess", name, False)
            except xmlrpc.client.Fault as e:
                if "ALREADY_STARTED" not in e.faultString:
                    raise StackError(f"{name} cannot be started: {e.faultString}") from e

    def stop_services(self, names: Iterable[str]) -> None:
        """Stop these at the same time and wait until they are gone."""
        names = set(names)
        for name in names:
            try:
                self._call("stopProcess", name, False)
            except xmlrpc.client.Fault as e:
                if "NOT_RUNNING" not in e.faultString:
                    raise StackError(f"{name} cannot be stopped: {e.faultString}") from e
        # supervisord kills what overstays its grace, so this ends
        while any(s["name"] in names and s["statename"] == "STOPPING" for s in self._info()):
            time.sleep(0.1)

    def replace_workers(self, name: str, timeout_s: float) -> bool:
        """Have a service with `replaces_workers` do so; returns when the old workers are gone.

        False if it does not run. StackError if the new workers do not start: the old ones serve on.
        """
        found = next(s for s in self._info() if s["name"] == name)
        if found["statename"] != "RUNNING":
            return False
        old = processes.workers(found["pid"])
        self._call("signalProcess", name, "HUP")
        deadline = time.monotonic() + timeout_s
        seen: set[int] = set()
        while old & (now := processes.workers(found["pid"])):
            failed = seen - now
            seen |= now - old
            if failed or time.monotonic() > deadline:
                log_file = self._var / "log" / f"{name}.log"
                raise StackError(
                    f"A new worker of {name} did not start; old ones serve on. See {log_file}"
                )
            time.sleep(0.1)
        return True

    def states(self, services: Iterable[Service]) -> list[ServiceState]:
        """How the services are; all `stopped` if supervisord is not there."""
        try:
            info = {s["name"]: s for s in self._info()}
        except OSError:
            info = {}
        return [
            ServiceState(
                s.name,
                info[s.name]["statename"].lower() if s.name in info else "stopped",
                (info[s.name]["pid"] or None) if s.name in info else None,
                s.address,
            )
            for s in services
        ]

    def shutdown(self) -> None:
        """Stop everything, the data stores last, then supervisord; waits until it is gone."""
        try:
            pid = int(self._call("getPID"))
            names = [s["name"] for s in self._info()]
            self.stop_services(n for n in names if n not in processes.STORES)
            self.stop_services(n for n in names if n in processes.STORES)
            self._call("shutdown")
        except OSError:
            return
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _info(self) -> list[dict[str, Any]]:
        return self._call("getAllProcessInfo")

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write a file that a shell reads (`. FILE`) to get these variables; for its owner only."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


def with_environment(path: Path, *command: str) -> tuple[str, ...]:
    """A command that reads the variables of a file of write_environment and becomes `command`."""
    return ("/bin/sh", "-c", f'. {shlex.quote(str(path))}; exec "$@"', "sh", *command)


def _socket_path(var_dir: Path) -> Path:
    path = var_dir / "run" / "supervisor.sock"
    if len(str(path)) <= _MAX_SOCKET_PATH:
        return path
    short = hashlib.sha256(str(var_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ee2-{os.getuid()}-{short}" / "s"


def _config(var: Path, pid_file: Path, socket: Path, services: Iterable[Service]) -> str:
    sections = [
        f"""[supervisord]
logfile={_escape(var / "log" / "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={_escape(pid_file)}
directory=/
{"user=root" if os.geteuid() == 0 else ""}
[unix_http_server]
file={_escape(socket)}
chmod=0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{_escape(socket)}"""
    ]
    for s in services:
        sections.append(
            f"""[program:{s.name}]
command={_escape(shlex.join(s.command))}
autostart=false
autorestart=true
startsecs=2
startretries=5
stopsignal={s.stop_signal}
stopwaitsecs={s.stop_grace_s}
stopasgroup={str(s.group_signal).lower()}
killasgroup=true
redirect_stderr=true
stdout_logfile={_escape(var / "log" / s.name)}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
{f"user={s.user}" if s.user else ""}"""
        )
    return "\n".join(sections) + "\n"


def _escape(text: str | Path) -> str:
    return str(text).replace("%", "%%")
