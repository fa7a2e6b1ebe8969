"""A script's way through the real stack with the Python client."""

from __future__ import annotations

from pathlib import Path

import pytest

from ee2_client import AsyncClient, Client, NoResult
from tests.conftest import Stack


def test_run_wait_result(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(stack.rpc_url, stack.token) as ee2:
        job_id = ee2.run_job("ee2_test.echo", ["hello", 1])
        done = ee2.wait(job_id, progress=True, timeout_s=120)
        assert done[job_id].end == "completed"
        assert ee2.result(job_id) == ["hello", 1]
        assert "job: completed" in capsys.readouterr().err
        batch = ee2.run_job_batch(
            [{"method": "ee2_test.echo", "params": [n]} for n in range(5)],
            aggregate={"recipe": "report"},
        )
        views = list(ee2.changes(batch.batch_id, timeout_s=180))
        last = views[-1][batch.batch_id]
        assert last.end == "completed" and last.child_counts == {"completed": 5}
        report = ee2.result(batch.batch_id)[0]["report"]
        assert "<table" in ee2.download(report, tmp_path / "report.html").read_text().lower()


async def test_a_job_that_fails(stack: Stack) -> None:
    async with AsyncClient(stack.rpc_url, stack.token) as ee2:
        job_id = await ee2.run_job("ee2_test.fail", [{"message": "no reads"}])
        assert (await ee2.wait(job_id, timeout_s=120))[job_id].end == "error"
        with pytest.raises(NoResult, match=f"Job {job_id} failed: .*no reads"):
            await ee2.result(job_id)
