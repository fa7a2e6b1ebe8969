"""`./ee2 run | batch | jobs | logs | cancel`: jobs from the shell, through the JSON-RPC methods."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ee2_cli.rpc import Rpc

# How many log lines are asked for at a time.
_LOG_PAGE = 5000
Method = Annotated[str, typer.Argument(help="Module.method, for example kb_Bowtie2.align_reads")]
JobId = Annotated[str, typer.Argument(help="Id of a job or batch")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended")]
Workspace = Annotated[int | None, typer.Option("--wsid", min=1, help="Workspace of the jobs")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (run, batch, jobs, logs, cancel):
        app.command()(command)


def run(
    method: Method,
    params: Annotated[
        str, typer.Argument(help="The app's parameters: JSON, @FILE, or - for standard input")
    ] = "[]",
    wsid: Workspace = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Split, process and aggregate, as the app declares; PARAMS are the split's",
        ),
    ] = False,
    follow: Follow = False,
) -> None:
    """Run an app; prints the id of the job (of the batch, with --split)."""
    given: dict[str, Any] = {"method": method, "params": _json(params), "wsid": wsid}
    with _engine() as engine:
        job_id = engine.call("run_split_aggregate" if split else "run_job", given)
        print(job_id)
        if follow:
            _follow(engine, job_id)


def batch(
    method: Method,
    params: Annotated[
        str,
        typer.Argument(help="A list with the parameters of each job: JSON, @FILE, or - for input"),
    ],
    wsid: Workspace = None,
    aggregate: Annotated[
        str | None,
        typer.Option(help="What to make of the results: a recipe (report) or Module.method"),
    ] = None,
    abort: Annotated[
        bool, typer.Option("--abort", help="Cancel the rest when a job fails")
    ] = False,
    follow: Follow = False,
) -> None:
    """Run an app many times, once per element of PARAMS; prints the id of the batch."""
    from ee2_cli.settings import StackError

    all_params = _json(params)
    if not isinstance(all_params, list):
        raise StackError("PARAMS must be a list with one element per job")
    options: dict[str, Any] = {"wsid": wsid}
    if aggregate:
        options["aggregate"] = {"method" if "." in aggregate else "recipe": aggregate}
    if abort:
        options["on_child_error"] = "abort"
    with _engine() as engine:
        children = [{"method": method, "params": p} for p in all_params]
        batch_id = engine.call("run_job_batch", children, options)["batch_id"]
        print(batch_id)
        if follow:
            _follow(engine, batch_id)


def jobs(
    job_ids: Annotated[
        list[str] | None, typer.Argument(help="Jobs and batches; the latest ones if left out")
    ] = None,
    limit: Annotated[int, typer.Option("-n", min=1, help="How many of the latest")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="The whole records")] = False,
) -> None:
    """Show jobs: the given ones, or the latest."""
    from ee2_cli.show import job_table

    with _engine() as engine:
        ids = job_ids or _latest(limit)
        states = engine.call("check_jobs", {"job_ids": ids, "as_admin": 1})["job_states"]
        if as_json:
            print(json.dumps(states, indent=2))
        else:
            job_table(states)


def logs(job_id: JobId, follow: Follow = False) -> None:
    """Print the log of a job."""
    from ee2_cli.rpc import CallFailed
    from ee2_cli.show import ENDED

    with _engine() as engine:
        seen = 0
        while True:
            # asked before the lines, so that the last lines are not missed
            status = engine.call("get_job_status", {"job_id": job_id, "as_admin": 1})["status"]
            page = {"job_id": job_id, "skip_lines": seen, "limit": _LOG_PAGE, "as_admin": 1}
            try:
                lines = engine.call("get_job_logs", page)["lines"]
            except CallFailed as e:
                if "Cannot find job log" not in str(e):
                    raise
                lines = []
            for line in lines:
                print(line["line"], file=sys.stderr if line["is_error"] else sys.stdout, flush=True)
            seen += len(lines)
            if not lines and (status in ENDED or not follow):
                return
            if not lines:
                time.sleep(0.5)


def cancel(job_ids: Annotated[list[str], typer.Argument(help="Jobs and batches")]) -> None:
    """Cancel jobs; of a batch, all its jobs."""
    with _engine() as engine:
        for job_id in job_ids:
            engine.call("cancel_job", {"job_id": job_id, "as_admin": 1})


def _engine() -> Rpc:
    """The engine of this stack, with the command line's own token."""
    from ee2_cli.rpc import Rpc
    from ee2_cli.settings import StackError, load_settings
    from ee2_cli.stack import token_file

    settings = load_settings()
    file = token_file(settings)
    if not file.exists():
        raise StackError("The stack was never started: start it with ./ee2 up")
    return Rpc(settings.rpc_url, file.read_text())


def _follow(engine: Rpc, job_id: str) -> None:
    from ee2_cli.show import follow

    if follow(engine, job_id).end != "completed":
        raise typer.Exit(1)


def _json(text: str) -> Any:
    """The value of an argument that is JSON, @FILE or -."""
    from ee2_cli.settings import StackError

    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text()
        return json.loads(text)
    except OSError as e:
        raise StackError(f"The file {text[1:]} cannot be read: {e.strerror}") from None
    except ValueError as e:
        raise StackError(f"The parameters are not JSON: {e}") from None


def _latest(limit: int) -> list[str]:
    """Ids of the latest jobs that are not children of a batch."""
    from ee2_cli.user_commands import with_store

    async def find(store: Any) -> list[str]:
        found = store.jobs.find({"batch_id": None}, {"_id": 1}).sort("_id", -1).limit(limit)
        return [str(job["_id"]) async for job in found]

    return with_store(find)
