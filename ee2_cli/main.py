"""The commands of `./ee2`. What a command needs is imported when it runs: help must be quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ee2_cli import (
    control_commands,
    group_commands,
    import_commands,
    job_commands,
    limit_commands,
    migrate_command,
    user_commands,
)

if TYPE_CHECKING:
    from ee2_cli.settings import StackSettings

REPO = Path(__file__).resolve().parent.parent
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    name="ee2",
    help="EE2 on Airflow: run apps on HTCondor through Airflow, all of it on this machine.\n\n"
    "Start with: ./ee2 demo",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.add_typer(user_commands.users, name="user")
app.add_typer(user_commands.tokens, name="token")
app.add_typer(user_commands.workspaces, name="workspace")
app.add_typer(import_commands.imports, name="import")
app.add_typer(limit_commands.limits, name="limits")
job_commands.register(app)
control_commands.register(app)
group_commands.register(app)
app.command()(migrate_command.migrate)
dashboards = typer.Typer(help="The job dashboard.", no_args_is_help=True)
app.add_typer(dashboards, name="dashboard")

_errors = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command line; errors that a person can put right are printed without a traceback."""
    try:
        app(prog_name="ee2")
    except Exception as e:
        if not _is_plain(e):
            raise
        _errors.print(f"[red]ee2:[/red] {escape(str(e))}", soft_wrap=True)
        sys.exit(1)


def _is_plain(error: Exception) -> bool:
    import ee2_client
    from ee2_cli.htcondor import PoolError
    from ee2_cli.settings import StackError
    from ee2_jobs.errors import EngineError

    return isinstance(error, StackError | PoolError | EngineError | ee2_client.EngineError)


def _say(text: str) -> None:
    _errors.print(f"[dim]·[/dim] {escape(text)}", soft_wrap=True)


def _settings() -> StackSettings:
    from ee2_cli.settings import load_settings

    return load_settings()


@app.command()
def demo() -> None:
    """Start everything, align real reads in 8 pieces on HTCondor, and show the report."""
    from ee2_cli import demo, stack

    settings = _settings()
    state = stack.up(settings, _say)
    demo.run(settings, Console(highlight=False))
    _show_addresses(state.as_json())


@app.command()
def up() -> None:
    """Set up what is missing and start everything."""
    from ee2_cli import stack

    _show_addresses(stack.up(_settings(), _say).as_json())


@app.command()
def down() -> None:
    """Stop everything; no process is left."""
    from ee2_cli import stack

    stack.down(_settings(), _say)


@app.command()
def restart(
    service: Annotated[
        str | None, typer.Argument(help="One service; all of them if left out")
    ] = None,
) -> None:
    """Stop and start one service, or everything."""
    from ee2_cli import stack

    stack.restart(_settings(), service, _say)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs")] = False,
) -> None:
    """Show the services and the addresses. The exit code is 3 if something does not run."""
    from rich.table import Table

    from ee2_cli import stack

    state = stack.status(_settings())
    if as_json:
        print(json.dumps(state.as_json(), indent=2))
    else:
        table = Table("service", "state", "process", "address", box=None)
        for s in state.services:
            color = "green" if s.state == "running" else "red"
            pid = str(s.pid or "")
            table.add_row(s.name, f"[{color}]{s.state}[/{color}]", pid, s.address or "")
        Console().print(table)
        if state.is_up:
            _show_addresses(state.as_json())
    if not state.is_up:
        raise typer.Exit(3)


@dashboards.command("build")
def dashboard_build() -> None:
    """Build the dashboard, if its sources have changed since it was built."""
    from ee2_cli import dashboard

    if not dashboard.build(_say):
        _say("the dashboard is as its sources are")


@app.command()
def audit(
    target: Annotated[str | None, typer.Option(help="Only about this job or batch")] = None,
    who: Annotated[str | None, typer.Option(help="Only by this administrator")] = None,
    limit: Annotated[int, typer.Option("-n", min=1, help="How many of the newest")] = 50,
) -> None:
    """Show what administrators changed, the newest first."""
    from ee2_cli.show import audit_table
    from ee2_cli.user_commands import with_store
    from ee2_jobs import audit as entries

    audit_table(
        with_store(lambda store: entries.entries(store, target=target, who=who, limit=limit))
    )


@app.command(context_settings=PASS_ON)
def test(context: typer.Context) -> None:
    """Run the tests against real services; arguments go to pytest (-h: pytest's own -- --help)."""
    from ee2_cli import dashboard, install

    settings = _settings()
    install.programs(settings, _say, for_tests=True)
    install.pool(settings, _say)
    dashboard.build(_say)
    # All tests run in two processes (`Halves` in tests/conftest.py): some mostly wait. What fails
    # is tried once more, and listed as RERUN: two cores are few for a pool and a browser.
    arguments = context.args or ["-n", "2", "--reruns", "1", "-raR"]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=REPO)
    raise typer.Exit(done.returncode)


@app.command(context_settings=PASS_ON)
def bench(context: typer.Context) -> None:
    """Measure the running stack; the figures go to bench/results. Names of families measure these
    only, --quick is for a first look: see docs/reference/benchmarks.md."""
    from ee2_cli import stack

    stack.up(_settings(), _say)
    done = subprocess.run([sys.executable, "-m", "bench", *context.args], cwd=REPO)
    raise typer.Exit(done.returncode)


def _show_addresses(state: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(f"Airflow    {state['airflow_url']}", soft_wrap=True)
    console.print(
        f"log-in     {state['airflow_user']} / {escape(str(state['airflow_password']))}",
        soft_wrap=True,
    )
    console.print(f"dashboard  {state['airflow_url']}/plugin/ee2-jobs", soft_wrap=True)
    console.print(f"           {state['rpc_url']}/dashboard (with a token)", soft_wrap=True)
    console.print(f"JSON-RPC   {state['rpc_url']}", soft_wrap=True)
