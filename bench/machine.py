"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench.engine import Engine
from ee2_cli.settings import StackError

PACKAGES = ("apache-airflow", "pymongo", "htcondor", "fastapi", "uvicorn", "orjson")


def describe(engine: Engine) -> dict[str, Any]:
    """As it stands in the files of results. `load` is of the minutes before the measurement: well
    above 0 means that something else ran on the machine."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "system": _system(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "mongod": engine.db.client.server_info()["version"],
        "htcondor_pool": _pool_version(engine),
        "pool_cpus": engine.settings.pool_cpus,
        "database": engine.settings.database,
        "api_workers": engine.settings.api_workers,
        "versions": versions,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return sys.platform


def _pool_version(engine: Engine) -> str:
    try:
        return engine.pool_tool("condor_version").split()[1]
    except (StackError, IndexError):
        return "unknown"
