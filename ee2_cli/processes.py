"""Which processes belong to a stack, and how they are ended; who holds a port.

A supervisor that was killed leaves its children behind, and a second set of daemons on the same
data does harm. So each service carries the mark EE2_STACK=<state folder> in its environment, which
its children inherit. PostgreSQL, which overwrites its environment, is known by its data folder.
HTCondor gets nothing of the caller's environment: its processes are `ee2_cli.htcondor`'s business.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import psutil

from ee2_cli.settings import HOST

MARK = "EE2_STACK"
# The data stores, on which the other services stand.
STORES = ("mongod", "postgres")


def of_stack(var_dir: Path) -> list[psutil.Process]:
    """All live processes of the stack in var_dir, except this one and its parents."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    return [p for p in psutil.process_iter() if p.pid not in own and _belongs(p, var_dir)]


def _belongs(process: psutil.Process, var_dir: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARK) == str(var_dir):
            return True
        data = var_dir / "postgres" / "data"
        return process.name() == "postgres" and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        return False


def workers(pid: int) -> set[int]:
    """The processes that a Python program has started with `multiprocessing` to share its work."""
    found = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.add(child.pid)
    return found


def end_all(var_dir: Path, grace_s: float = 5) -> list[str]:
    """End every process of the stack: asked first, killed after grace_s. Returns their names.

    Data stores get a minute, for they write what they have in memory. The others may hang: where
    the supervisor was killed, they can write no log any more. Processes start others while they
    end, so it looks again until nothing is left.
    """
    names: list[str] = []
    asked: set[int] = set()
    began = time.monotonic()
    while left := of_stack(var_dir):
        waited_s = time.monotonic() - began
        for process in left:
            try:
                name = process.name()
                if process.pid not in asked:
                    asked.add(process.pid)
                    names.append(name)
                    process.terminate()
                elif waited_s > (60 if name in STORES else grace_s):
                    process.kill()
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.1)
    return names


def port_owner(port: int) -> str | None:
    """Who listens on a TCP port of the loopback, in words; None if it is free."""
    with socket.socket() as probe:
        # As the servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            return "reserved for root"
        except OSError:
            pass
        else:
            return None
    for connection in psutil.net_connections("tcp"):
        if (
            connection.laddr
            and connection.laddr.port == port
            and connection.status == psutil.CONN_LISTEN
            and connection.pid
        ):
            try:
                process = psutil.Process(connection.pid)
                return f"used by {process.name()} (process {process.pid})"
            except psutil.NoSuchProcess:
                break
    return "used by another program"
