"""Jobs that go on to a Slurm cluster, a real one of this machine's own: opt-in, because it needs
root and Slurm's programs and puts a file into /etc/slurm.

    apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
    EE2_TEST_SLURM=1 pytest tests/services/test_slurm.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ee2_jobs.client_groups import ClientGroups
from ee2_jobs.model import StageName
from ee2_operators.parts import Parts
from ee2_operators.stage import StageTry, run_stage
from tests.services.conftest import free_port
from tests.services.test_routes import FIGURES, RoutedBridge, parts, server, until

__all__ = ["parts", "server"]  # fixtures
pytestmark = pytest.mark.skipif(
    os.environ.get("EE2_TEST_SLURM") != "1",
    reason="opt-in: EE2_TEST_SLURM=1; see the top of this file for what it needs",
)
CONF = Path("/etc/slurm/slurm.conf")  # where the pool's sbatch looks
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
CONTENT = """
ClusterName=ee2test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES State=UP
"""
log = logging.getLogger(__name__)


class Slurm:
    """A controller and a node, with their state in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._controller: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of it; returns when the node takes jobs."""
        (self.folder / "munge").mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        files = [f"--{n}-file={self.folder}/munge/{n}" for n in ("key", "pid", "log", "seed")]
        socket = f"--socket={self.folder}/munge/socket"
        self._others.append(
            subprocess.Popen(["munged", "--foreground", "--force", *files, socket])
        )
        host = os.uname().nodename.partition(".")[0]
        content = CONTENT.format(
            host=host, folder=self.folder, controller_port=free_port(), node_port=free_port()
        )
        (self.folder / "slurm.conf").write_text(content)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        CONF.parent.mkdir(exist_ok=True)
        CONF.symlink_to(self.folder / "slurm.conf")
        self.start_controller()
        self._others.append(subprocess.Popen(["slurmd", "-D", "-f", self.folder / "slurm.conf"]))
        end = time.monotonic() + 30
        while "idle" not in self.says("sinfo", "-h", "-o", "%T"):
            assert time.monotonic() < end, "Slurm's node does not come up"
            time.sleep(0.3)

    def start_controller(self) -> None:
        self._controller = subprocess.Popen(["slurmctld", "-D", "-f", self.folder / "slurm.conf"])

    def stop_controller(self) -> None:
        assert self._controller is not None
        self._controller.terminate()
        self._controller.wait(30)

    def says(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        if CONF.is_symlink():
            CONF.unlink()
        for process in (self._controller, *reversed(self._others)):
            if process is not None:
                process.terminate()
                process.wait(30)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A Slurm cluster of one node."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0 or missing:
        pytest.fail(f"needs root, and these programs that are not here: {', '.join(missing)}")
    if CONF.exists():
        pytest.fail(f"{CONF} is there: this machine has a Slurm of its own")
    folder = Path(tempfile.mkdtemp(prefix="ee2-test-slurm-"))
    folder.chmod(0o755)
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def groups(slurm: Slurm) -> ClientGroups:
    """One group in our pool and one on Slurm."""
    hpc = {**FIGURES, "cpus": 2, "route": "hpc"}
    routes = {"hpc": {"slurm": {"partition": "debug"}}}
    return ClientGroups.model_validate(
        {"default": "near", "groups": {"near": FIGURES, "hpc": hpc}, "routes": routes}
    )


async def test_a_batch_partly_on_slurm(server: RoutedBridge, parts: Parts, slurm: Slurm) -> None:
    """Held back by a limit, run, cancelled: as in our own pool, and it is told where."""
    jobs = [{"method": f"w.{name}"} for name in ("hpc_0", "near_0", "hpc_300")]
    short, near, long = server.call("run_job_batch", jobs, {})["child_job_ids"]
    server.db.ee2_limits.insert_one({"_id": "user:alice", "kind": "user", "places": 0})
    this = StageTry(server.started.ids[-1], StageName.SUBMIT, 1)
    running = asyncio.create_task(run_stage(parts, this, log))
    await until(lambda: server.record(near).get("scheduler_id"), 20, "the queue")
    await asyncio.sleep(2)
    assert slurm.says("squeue", "-h") == ""

    server.db.ee2_limits.delete_one({"_id": "user:alice"})
    await until(lambda: server.record(long)["status"] == "running", 60, "the job to run in Slurm")
    where = server.record(long)["where"]
    batch_id = where.pop("batch_id")
    assert where == {
        "host": os.uname().nodename, "route": "hpc", "group": "hpc", "cluster": "ee2test",
    }  # fmt: skip
    assert slurm.says("squeue", "-h", "-j", batch_id, "-o", "%T %C") == "RUNNING 2\n"
    server.call("cancel_job", {"job_id": long})
    await asyncio.wait_for(running, 60)
    assert [server.record(j)["status"] for j in (short, near, long)] == [
        "completed", "completed", "terminated"]  # fmt: skip
    lines = server.call("get_job_logs", {"job_id": short, "skip_lines": 0})["lines"]
    assert "in hpc" in [line["line"] for line in lines]
    assert server.record(near)["where"]["route"] == "pool"
    await until(lambda: slurm.says("squeue", "-h") == "", 30, "Slurm to be empty")


async def test_jobs_wait_while_slurm_is_away(
    server: RoutedBridge, parts: Parts, slurm: Slurm
) -> None:
    job_id = server.call("run_job", {"method": "w.hpc_0"})
    slurm.stop_controller()
    try:
        this = StageTry(server.started.ids[-1], StageName.SUBMIT, 1)
        running = asyncio.create_task(run_stage(parts, this, log))
        await asyncio.sleep(25)  # sbatch has failed meanwhile
        assert server.record(job_id)["status"] == "queued"
    finally:
        slurm.start_controller()
    await asyncio.wait_for(running, 100)
    assert server.record(job_id)["status"] == "completed"
