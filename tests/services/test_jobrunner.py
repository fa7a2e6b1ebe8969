"""KBase's JobRunner in place of ours, by the setting `runner_delegate`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ee2_jobs.engine import Engine
from tests.services.conftest import free_port
from tests.services.rpc_support import Bridge

ROOT = Path(__file__).parents[2]
JOBRUNNER = ROOT / "tests/fakes/jobrunner.py"


class DelegatingBridge(Bridge):
    """A bridge whose runners hand over to the stand-in for JobRunner."""

    async def _make_engine(self) -> Engine:
        engine = await super()._make_engine()
        delegate = {"runner_delegate": f"{sys.executable} {JOBRUNNER}"}
        return replace(engine, settings=engine.settings.model_copy(update=delegate))


@pytest.fixture
def delegating(mongo_uri: str, tmp_path: Path) -> Iterator[Bridge]:
    bridge = DelegatingBridge(mongo_uri, tmp_path, free_port())
    bridge.start()
    yield bridge
    bridge.stop()


def test_jobrunner_does_the_job(delegating: Bridge, tmp_path: Path) -> None:
    job_id = delegating.call("run_job", {"method": "m.f", "params": [1]})
    done = subprocess.run(
        [sys.executable, "-IS", ROOT / "runner/ee2_runner.py", job_id, delegating.url],
        input=delegating.token(job_id), text=True, capture_output=True, timeout=60,
        env={"PATH": os.environ["PATH"], "_CONDOR_SCRATCH_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    state = delegating.call("check_job", {"job_id": job_id})
    assert state["status"] == "completed" and state["running"], state
    assert state["job_output"]["result"] == [{"method": "m.f"}]
    lines = delegating.call("get_job_logs", {"job_id": job_id})["lines"]
    texts = [line["line"] for line in lines]
    assert len(texts) == 4 and texts[1].startswith(f"Running job {job_id} (")
    assert texts[2:] == ["Client group: njs", "Job is done"]
