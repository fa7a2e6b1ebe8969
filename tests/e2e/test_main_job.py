"""The main job on real input: what comes out of the split run is what an unsplit run gives."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conftest import Stack

EXAMPLES = Path("/usr/share/doc/bowtie2/examples")
INPUT = {
    "reads_1": str(EXAMPLES / "reads/reads_1.fq.gz"),
    "reads_2": str(EXAMPLES / "reads/reads_2.fq.gz"),
    "reference": str(EXAMPLES / "reference/lambda_virus.fa.gz"),
}


def fetch(stack: Stack, ref: str, target: Path) -> Path:
    """Download an artifact by its reference."""
    url = f"{stack.rpc_url}/artifacts/{ref.removeprefix('artifact:')}"
    reply = httpx.get(url, headers={"Authorization": stack.token}, timeout=60)
    target.write_bytes(reply.raise_for_status().content)
    return target


def records(alignment: Path) -> list[str]:
    """The alignment's records as sorted SAM lines."""
    text = subprocess.run(
        ["samtools", "view", str(alignment)], check=True, capture_output=True, text=True
    ).stdout
    return sorted(text.splitlines())


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bowtie2 on the whole input, without the engine."""
    folder = tmp_path_factory.mktemp("unsplit")
    script = (
        f"zcat {INPUT['reference']} > ref.fa && bowtie2-build -q ref.fa ref && "
        f"bowtie2 -x ref -1 {INPUT['reads_1']} -2 {INPUT['reads_2']} 2>summary "
        "| samtools sort -o whole.bam -"
    )
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, timeout=120)
    return folder / "whole.bam"


def test_the_merged_alignment_is_that_of_an_unsplit_run(
    any_stack: Stack, unsplit: Path, tmp_path: Path
) -> None:
    batch_id = any_stack.ee2(
        "run_split_aggregate",
        {"method": "kb_Bowtie2.align_reads", "params": [{**INPUT, "chunks": 8}]},
    )
    batch = any_stack.wait_batch(batch_id, 180)
    parent = batch["batch_jobstate"]
    assert parent["child_counts"] == {"completed": 8}, batch
    aggregate = any_stack.wait(parent["stage_jobs"]["aggregate"])
    assert aggregate["status"] == "completed", aggregate
    result = aggregate["job_output"]["result"][0]
    merged = fetch(any_stack, result["alignment"], tmp_path / "merged.bam")
    whole = records(unsplit)
    assert len(whole) == 20_000
    assert records(merged) == whole
    report = fetch(any_stack, result["report"], tmp_path / "report.html").read_text()
    assert "<svg" in report and "flagstat" in report.lower()
    assert any("overall alignment rate" in line for line in
               any_stack.log(batch["child_jobstates"][0]["job_id"]))
    strangers = httpx.get(f"{any_stack.rpc_url}/artifacts/{result['report'][9:]}", timeout=60)
    assert strangers.status_code in (401, 403)
