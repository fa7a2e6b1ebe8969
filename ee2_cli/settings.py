"""The embedded stack's settings: environment variables `EE2_…`, or the same names in `ee2.env`.

They say where the stack keeps its state, which ports it takes and how large it is. The engine's own
settings are the `[ee2]` section of `airflow.cfg`.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPO = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
# Account of the pool when the stack is started by root, and the parent of its folders.
POOL_ACCOUNT = "ee2"
SYSTEM_DIR = Path("/var/lib/ee2")


class StackError(Exception):
    """Something a person can put right; the text says what, where and how."""


def _default_pool_cpus() -> int:
    # More slots than cores: small jobs mostly wait for starts and ends, and 'true' jobs ran at
    # 25/s with 8 slots on 2 cores against 16/s with 2.
    return max(20, 4 * (os.cpu_count() or 1))


def _default_pool_memory_mb() -> int:
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return memory_mb * 3 // 4


class StackSettings(BaseSettings):
    """What `./ee2` is told by its environment and by `ee2.env`."""

    model_config = SettingsConfigDict(
        env_prefix="EE2_", env_file=REPO / "ee2.env", frozen=True, extra="forbid"
    )

    var: Path | None = Field(default=None, description="folder of the stack's state")
    tools: Path | None = Field(default=None, description="folder of installed programs")
    airflow_port: int = Field(default=8080, ge=1, le=65535, description="Airflow and the RPC URL")
    mongo_port: int = Field(default=27117, ge=1, le=65535, description="MongoDB")
    condor_port: int = Field(default=9719, ge=1, le=65535, description="HTCondor, all daemons")
    postgres_port: int = Field(default=5532, ge=1, le=65535, description="PostgreSQL")
    database: Literal["sqlite", "postgres"] = Field(
        default="sqlite", description="Airflow's database"
    )
    api_workers: int = Field(default=1, ge=1, description="processes of Airflow's API server")
    pool_cpus: int = Field(
        default_factory=_default_pool_cpus, ge=1, description="cores the pool offers"
    )
    pool_memory_mb: int = Field(
        default_factory=_default_pool_memory_mb, ge=256, description="memory the pool offers, MB"
    )
    trigger_tick_s: float = Field(
        default=0.25, ge=0.05, le=5, description="how often the triggerer looks for work, s"
    )

    @field_validator("var", "tools")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else REPO / path.expanduser()

    @cached_property
    def is_root(self) -> bool:
        """Whether root starts the stack: then the pool runs as the account `ee2`."""
        return os.geteuid() == 0

    @cached_property
    def pool_user(self) -> str:
        """The account that HTCondor and all jobs run as."""
        return POOL_ACCOUNT if self.is_root else getpass.getuser()

    @cached_property
    def _home(self) -> Path | None:
        """Parent of state and programs where the pool's account cannot enter the repository."""
        if not self.is_root or _others_may_enter(REPO):
            return None
        return SYSTEM_DIR / f"{REPO.name}-{hashlib.sha256(str(REPO).encode()).hexdigest()[:8]}"

    @cached_property
    def var_dir(self) -> Path:
        """Where the stack keeps its state; StackError if the pool's account could not enter it."""
        path = self.var or (self._home / "var" if self._home else REPO / "var")
        return self._enterable("EE2_VAR", path)

    @cached_property
    def tools_dir(self) -> Path:
        """Where installed programs are kept; several stacks share it."""
        path = self.tools or (self._home / "tools" if self._home else REPO / ".tools")
        return self._enterable("EE2_TOOLS", path)

    def _enterable(self, setting: str, path: Path) -> Path:
        path = Path(os.path.normpath(path))
        if self.is_root and not _others_may_enter(path):
            raise StackError(
                f"The account {POOL_ACCOUNT}, which runs the jobs, cannot enter {path}. "
                f"Set {setting} to a folder that every account can enter, or leave it out."
            )
        return path

    @cached_property
    def airflow_url(self) -> str:
        """Address of the Airflow UI and API."""
        return f"http://{HOST}:{self.airflow_port}"

    @cached_property
    def rpc_url(self) -> str:
        """Address of the JSON-RPC methods."""
        return f"{self.airflow_url}/services/ee2"

    @cached_property
    def condor_prefix(self) -> Path:
        """Where HTCondor is unpacked if the system has none."""
        return self.tools_dir / "htcondor"


def _others_may_enter(path: Path) -> bool:
    """Whether an unrelated account can reach this folder (what is not there yet will be ours)."""
    for folder in (path, *path.parents):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            return False
    return True


def load_settings(**given: Any) -> StackSettings:
    """The settings; StackError names each one that is wrong and where it was read.

    given: settings that go before the environment and the file, by field name.
    """
    try:
        return StackSettings(**given)
    except ValidationError as e:
        wrong = []
        for p in e.errors():
            name = f"EE2_{str(p['loc'][0]).upper().removeprefix('EE2_')}"
            unknown = p["type"] == "extra_forbidden"
            wrong.append(f"  {name}: {'there is no such setting' if unknown else p['msg']}")
        text = "\n".join(wrong)
        raise StackError(
            f"Settings that must be corrected (environment, or {REPO / 'ee2.env'}):\n{text}"
        ) from None
