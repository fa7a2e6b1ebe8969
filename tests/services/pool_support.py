"""Fixtures of the tests that need HTCondor: one real pool per test session."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ee2_cli import htcondor
from ee2_cli.settings import load_settings
from ee2_operators.condor.pool import Pool, PoolAddress


@pytest.fixture(scope="session")
def pool_config() -> Iterator[htcondor.PoolConfig]:
    """A running pool: the one that EE2_TEST_POOL describes (JSON of a PoolConfig), or a new one."""
    if given := os.environ.get("EE2_TEST_POOL"):
        fields = json.loads(given)
        fields.update(prefix=Path(fields["prefix"]), local_dir=Path(fields["local_dir"]))
        yield htcondor.PoolConfig(**fields)
        return
    base = Path(tempfile.mkdtemp(prefix="ee2-test-pool-"))
    base.chmod(0o755)
    # The stack's own programs: to fetch and patch them again would take half a minute.
    prefix = Path(os.environ.get("EE2_TEST_POOL_PREFIX", load_settings().condor_prefix))
    user = "nobody" if os.geteuid() == 0 else None
    port = int(os.environ.get("EE2_TEST_POOL_PORT", "18110"))
    cfg = htcondor.PoolConfig(prefix, base / "pool", port, user)
    htcondor.install(cfg.prefix)
    htcondor.configure(cfg)
    master = subprocess.Popen(htcondor.master_command(cfg))
    try:
        htcondor.wait_ready(cfg)
        yield cfg
    finally:
        master.send_signal(getattr(signal, f"SIG{htcondor.STOP_SIGNAL}"))
        master.wait(60)
        htcondor.kill_orphans(cfg)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def address(pool_config: htcondor.PoolConfig) -> PoolAddress:
    client = htcondor.client_config(pool_config)
    host, port = client["collector"].split(":")
    return PoolAddress(host, int(port), client["token_directory"], None, client["trust_domain"])


@pytest.fixture
async def pool(address: PoolAddress) -> AsyncIterator[Pool]:
    async with Pool(address) as pool:
        yield pool


@pytest.fixture
def stage_folder(pool_config: htcondor.PoolConfig) -> Iterator[Path]:
    """A folder that the pool's account can write to."""
    folder = Path(tempfile.mkdtemp(prefix="ee2-test-stage-"))
    group = pwd.getpwnam(pool_config.user).pw_gid if pool_config.user else os.getgid()
    os.chown(folder, -1, group)
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # jobs may still be on their way out
