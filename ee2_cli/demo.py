"""`./ee2 demo`: Debian's example reads, cut into pieces, aligned on HTCondor and merged again."""

from __future__ import annotations

from rich.console import Console

from ee2_cli.rpc import connect
from ee2_cli.settings import StackError, StackSettings
from ee2_cli.show import follow
from ee2_cli.stack import token_file

METHOD = "kb_Bowtie2.align_reads"
EXAMPLES = "/usr/share/doc/bowtie2/examples"
PARAMS = {
    "reads_1": f"{EXAMPLES}/reads/reads_1.fq.gz",
    "reads_2": f"{EXAMPLES}/reads/reads_2.fq.gz",
    "reference": f"{EXAMPLES}/reference/lambda_virus.fa.gz",
    "chunks": 8,
}


def run(settings: StackSettings, console: Console) -> None:
    """Run the main job, show how it goes, fetch its report and print where it is."""
    with connect(settings.rpc_url, token_file(settings).read_text()) as engine:
        console.print(
            f"\nAligning 10,000 pairs of reads of the lambda phage, cut into {PARAMS['chunks']} "
            f"pieces ({METHOD})",
            soft_wrap=True,
        )
        batch_id = engine.run_split_aggregate(METHOD, [PARAMS])
        how = follow(engine, batch_id, console)
        if how.end != "completed":
            raise StackError(
                f"The run ended in {how.end}. Look at ./ee2 jobs {batch_id} and at its page in "
                f"Airflow, {settings.airflow_url}"
            )
        target = settings.var_dir / "reports" / f"{batch_id}.html"
        report = engine.download(engine.result(batch_id)[0]["report"], target)
    console.print(f"\nreport     {report.as_uri()}", soft_wrap=True)
