"""`./ee2 run`, `batch`, `jobs`, `result`, …: jobs from the shell, through the JSON-RPC methods."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ee2_client import Client

Method = Annotated[str, typer.Argument(help="Module.method, for example kb_Bowtie2.align_reads")]
JobId = Annotated[str, typer.Argument(help="Id of a job or batch")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended")]
Wait = Annotated[
    bool, typer.Option("--wait", "--follow", "-f", help="Stay until it has ended; show how it goes")
]
Priority = Annotated[
    int | None,
    typer.Option(min=-20, max=20, help="Among the same user's waiting jobs, higher goes first"),
]
Workspace = Annotated[int | None, typer.Option("--wsid", min=1, help="Workspace of the jobs")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (apps, run, batch, jobs, result, get, logs, cancel, retry, share, priority):
        app.command()(command)


def apps() -> None:
    """List the apps of this stack with their methods."""
    from ee2_cli.show import app_table
    from ee2_cli.user_commands import with_store
    from ee2_jobs.catalog import current_apps

    app_table(with_store(current_apps))


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
    priority: Priority = None,
    wait: Wait = False,
) -> None:
    """Run an app; prints the id of the job (of the batch, with --split)."""
    given = _json(params)
    with _engine() as engine:
        start = engine.run_split_aggregate if split else engine.run_job
        order = {} if priority is None else {"priority": priority}
        job_id = start(method, given, wsid=wsid, **order)
        print(job_id, flush=True)
        if wait:
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
        typer.Option(
            help="What to make of the results: a recipe (report, set, table, or a method of the "
            "app) or Module.method"
        ),
    ] = None,
    aggregate_params: Annotated[
        str | None, typer.Option(help="Its parameters: JSON or @FILE, as {\"field\": …}")
    ] = None,
    abort: Annotated[
        bool, typer.Option("--abort", help="Cancel the rest when a job fails")
    ] = False,
    priority: Priority = None,
    wait: Wait = False,
) -> None:
    """Run an app many times, once per element of PARAMS; prints the id of the batch."""
    from ee2_cli.settings import StackError

    all_params = _json(params)
    if not isinstance(all_params, list):
        raise StackError("PARAMS must be a list with one element per job")
    options: dict[str, Any] = {}
    if aggregate:
        options["aggregate"] = {"method" if "." in aggregate else "recipe": aggregate}
        if aggregate_params:
            options["aggregate"]["params"] = _json(aggregate_params)
    elif aggregate_params:
        raise StackError("--aggregate-params needs --aggregate")
    if priority is not None:
        options["priority"] = priority
    if abort:
        options["on_child_error"] = "abort"
    with _engine() as engine:
        children = [{"method": method, "params": p} for p in all_params]
        batch_id = engine.run_job_batch(children, wsid=wsid, **options).batch_id
        print(batch_id, flush=True)
        if wait:
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
        wanted = {"job_ids": ids, "return_list": 0, "as_admin": 1}
        found = engine.call("check_jobs", wanted, safe=True) if ids else {}
        states = [state or {"failure": f"There is no job {i}"} for i, state in found.items()]
        if as_json:
            print(json.dumps(states, indent=2))
        else:
            job_table(states)


def result(job_id: JobId) -> None:
    """Print what a job returned, as JSON; of a batch, what its aggregate did."""
    with _engine() as engine:
        print(json.dumps(engine.result(job_id), indent=2))


def get(
    artifact: Annotated[str, typer.Argument(help="As a result names it: artifact:…/…/NAME")],
    file: Annotated[
        Path | None, typer.Argument(help="File or folder to put it; NAME if left out")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file")] = False,
) -> None:
    """Fetch a file that a job has left; prints where it is."""
    from ee2_cli.settings import StackError
    from ee2_jobs.artifacts import Artifact

    name = Artifact.parse(artifact.removeprefix("artifact:")).name.rsplit("/", 1)[-1]
    target = file or Path(name)
    if target.is_dir():
        target /= name
    if target.exists() and not force:
        raise StackError(f"{target} exists: name another file, or overwrite it with --force")
    with _engine() as engine:
        print(engine.download(artifact, target))


def logs(job_id: JobId, follow: Follow = False) -> None:
    """Print the log of a job."""
    with _engine() as engine:
        for line in engine.logs(job_id, follow=follow):
            print(line.text, file=sys.stderr if line.is_error else sys.stdout, flush=True)


def cancel(job_ids: Annotated[list[str], typer.Argument(help="Jobs and batches")]) -> None:
    """Cancel jobs; of a batch, all its jobs."""
    with _engine() as engine:
        for job_id in job_ids:
            engine.cancel(job_id)


def retry(
    job_ids: Annotated[list[str], typer.Argument(help="Jobs and batches")],
) -> None:
    """Run jobs again that failed or were cancelled; of a batch, all of its jobs that did.

    Prints one line per job: its id, and the id of the new attempt.
    """
    with _engine() as engine:
        states = engine.check_jobs(job_ids, exclude_fields=["job_input", "job_output"])
        batches = [i for i, state in states.items() if state and state.batch_job]
        single = [i for i in job_ids if i not in batches]
        answers = engine.retry(single) if single else []
        for batch_id in batches:
            again = engine.retry_by_status(batch_id)
            if not again:
                print(f"Batch {batch_id}: no job of it can be retried", file=sys.stderr)
            answers += again
    for answer in answers:
        if answer.error is not None:
            print(answer.error, file=sys.stderr)
        else:
            print(answer.job_id, answer.retry_id)
    if any(answer.error is not None for answer in answers):
        raise typer.Exit(1)


def share(
    job_id: JobId,
    users: Annotated[list[str] | None, typer.Argument(help="Names of users")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take every right away from these users")
    ] = False,
    manage: Annotated[
        bool | None,
        typer.Option("--manage/--read", help="They may also cancel it and retry it; or no longer"),
    ] = None,
) -> None:
    """Let users read a job that is in no workspace; of a batch, all its jobs. Prints who may."""
    if remove and manage is not None:
        raise typer.BadParameter("--remove takes every right away: leave out --manage and --read")
    with _engine() as engine:
        if users:
            method = "unshare_job" if remove else "share_job"
            given = {"job_id": job_id, "users": users, "as_admin": 1}
            if manage is not None:
                given["right"] = "manage" if manage else "read"
            engine.call(method, given)
        shared = engine.call("get_job_shared", {"job_id": job_id, "as_admin": 1})
        print(f"Shared with {', '.join(shared)}" if shared else "Shared with nobody")


def priority(
    job_id: JobId,
    value: Annotated[int, typer.Argument(min=-20, max=20, help="Higher goes first")],
    reason: Annotated[str, typer.Option(help="Why, for the audit")] = "",
) -> None:
    """Change the priority of a waiting job, or of all waiting jobs of a batch."""
    with _engine() as engine:
        asked = {"job_id": job_id, "priority": value, "as_admin": 1, "reason": reason}
        changed = engine.call("set_priority", asked)["changed"]
        print(f"{changed} waiting job{'' if changed == 1 else 's'} changed")


def _engine() -> Client:
    """The engine of this stack, with the command line's own token."""
    from ee2_cli.rpc import connect
    from ee2_cli.settings import load_settings
    from ee2_cli.stack import require_started, token_file

    settings = load_settings()
    require_started(settings)
    return connect(settings.rpc_url, token_file(settings).read_text())


def _follow(engine: Client, job_id: str) -> None:
    """Show how it goes, then the result, if there is one, and how to fetch the files in it."""
    from ee2_cli.show import artifacts_in, follow
    from ee2_client import NoResult

    if follow(engine, job_id).end != "completed":
        raise typer.Exit(1)
    try:
        returned = engine.result(job_id)
    except NoResult:  # an app without output, a batch without an aggregate: no failure
        return
    print(json.dumps(returned, indent=2))
    for artifact in artifacts_in(returned):
        print(f"To fetch it: ./ee2 get {artifact}", file=sys.stderr)


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
