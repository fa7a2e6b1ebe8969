"""`./ee2 import`: records of the old services, and of an EE2 database, into this engine's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from ee2_cli.import_show import Bars, Done
    from ee2_jobs.legacy.imports.report import Report
    from ee2_jobs.legacy.imports.run import Kind
    from ee2_jobs.legacy.imports.source import Source
    from ee2_jobs.store import Store

T = TypeVar("T")
LEFT_OUT = 3  # the exit code if rows could not be translated

imports = typer.Typer(
    no_args_is_help=True,
    help="Bring records of the old services here.\n\n"
    "Passwords are best given by the environment: EE2_IMPORT_PASSWORD for --from, "
    "EE2_IMPORT_TO_PASSWORD for --to. The exit code is 3 if a row could not be translated.",
)
_From = Annotated[
    str, typer.Option("--from", envvar="EE2_IMPORT_FROM", help="The old MongoDB: mongodb://…")
]
_Database = Annotated[str, typer.Option(help="Its database")]
_To = Annotated[
    str | None,
    typer.Option(
        envvar="EE2_IMPORT_TO",
        help="The engine's MongoDB and database: mongodb://…/ee2. Left out: this stack's",
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read and translate everything, write nothing")
]
_Restart = Annotated[
    bool, typer.Option("--restart", help="From the first row, not from where a run was cut off")
]
_ReportFile = Annotated[
    Path | None, typer.Option("--report", dir_okay=False, help="Write the report as JSON, too")
]
_BatchRows = Annotated[int, typer.Option(min=1, max=100_000, help="Rows per batch")]
_Password = Annotated[str | None, typer.Option(envvar="EE2_IMPORT_PASSWORD", hidden=True)]
_ToPassword = Annotated[str | None, typer.Option(envvar="EE2_IMPORT_TO_PASSWORD", hidden=True)]


@dataclass(frozen=True)
class Target:
    """The engine's database: an address, or the stack's."""

    uri: str | None
    password: str | None = field(repr=False)


@imports.command("ujs")
def import_ujs(
    source: _From,
    database: _Database = "userjobstate",
    to: _To = None,
    dry_run: _DryRun = False,
    restart: _Restart = False,
    report: _ReportFile = None,
    batch_rows: _BatchRows = 1000,
    password: _Password = None,
    to_password: _ToPassword = None,
) -> None:
    """UserAndJobState: its jobs and key/value state. Stop the service first."""
    run = _moving("ujs", source, database, password, dry_run, restart, batch_rows)
    _go(Target(to, to_password), run, report, dry_run)


@imports.command("njs")
def import_njs(
    source: _From,
    database: _Database = "exec_engine",
    to: _To = None,
    dry_run: _DryRun = False,
    restart: _Restart = False,
    report: _ReportFile = None,
    batch_rows: _BatchRows = 1000,
    password: _Password = None,
    to_password: _ToPassword = None,
) -> None:
    """NarrativeJobService: inputs, outputs and logs of UJS's jobs; before or after `import ujs`."""
    run = _moving("njs", source, database, password, dry_run, restart, batch_rows)
    _go(Target(to, to_password), run, report, dry_run)


@imports.command("ee2")
def import_ee2(
    source: Annotated[
        str | None,
        typer.Option("--from", envvar="EE2_IMPORT_FROM", help="The old MongoDB: mongodb://…"),
    ] = None,
    database: _Database = "ee2",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Check the engine's own database; nothing is copied")
    ] = False,
    end_live: Annotated[
        bool, typer.Option("--end-live", help="End the jobs that the old engine left unfinished")
    ] = False,
    to: _To = None,
    dry_run: _DryRun = False,
    restart: _Restart = False,
    report: _ReportFile = None,
    batch_rows: _BatchRows = 1000,
    password: _Password = None,
    to_password: _ToPassword = None,
) -> None:
    """An EE2 database: copy its jobs and logs here, or check one that the engine uses in place."""
    from ee2_cli.settings import StackError

    end_live = end_live and not dry_run
    if in_place:
        run = _checking(batch_rows, end_live)
    elif source is None:
        raise StackError(
            "Where are the records? --from mongodb://… copies them; --in-place checks a database "
            "that the engine uses itself"
        )
    else:
        run = _moving(
            "ee2", source, database, password, dry_run, restart, batch_rows, end_live=end_live
        )
    _go(Target(to, to_password), run, report, dry_run)


def _moving(
    kind: Kind,
    uri: str,
    database: str,
    password: str | None,
    dry_run: bool,
    restart: bool,
    batch_rows: int,
    *,
    end_live: bool = False,
) -> Callable[[Store], Awaitable[Done]]:
    """A run that brings rows here."""
    from ee2_cli.import_show import Bars
    from ee2_jobs.legacy.imports import run, source

    options = run.Options(dry_run, restart, batch_rows)

    async def move(store: Store) -> Done:
        old = source.connect(uri, database, password)
        try:
            await _must_answer(old)
            with Bars() as bars:
                reports = await run.run(store, old, kind, options, bars.show)
        finally:
            await old.close()
        return await _account(store, old.name, bars, reports, end_live)

    return move


def _checking(batch_rows: int, end_live: bool) -> Callable[[Store], Awaitable[Done]]:
    """A run that reads the engine's own database."""
    from ee2_cli.import_show import Bars
    from ee2_jobs.legacy.imports import run, source

    async def check(store: Store) -> Done:
        with Bars() as bars:
            old = source.in_place(store)
            reports = await run.check(store, old, batch_rows, bars.show)
        return await _account(store, old.name, bars, reports, end_live)

    return check


async def _must_answer(old: Source) -> None:
    from pymongo.errors import PyMongoError

    from ee2_cli.settings import StackError

    try:
        await old.collections()
    except PyMongoError as e:
        raise StackError(f"The old database {old.name} cannot be read: {_reason(e)}") from None


async def _account(
    store: Store, source: str, bars: Bars, reports: Mapping[str, Report], end_live: bool
) -> Done:
    from ee2_cli.import_show import Done
    from ee2_jobs.legacy.imports import run

    live = await run.live_jobs(store)
    ended = await run.end_live_jobs(store) if end_live else 0
    waiting = await run.waiting(store)
    return Done(source, bars.seconds, bars.rows, reports, waiting, live, ended)


def with_target(
    target: Target, use: Callable[[Store], Awaitable[T]], cut_off: str = "The import was cut off"
) -> T:
    """Call `use` with the engine's database; StackError if it cannot be reached, or `cut_off` if it
    is lost on the way."""
    from pymongo.errors import PyMongoError

    from ee2_cli.settings import StackError
    from ee2_cli.user_commands import with_store

    async def guarded(store: Store) -> T:
        await store.client.admin.command("ping")
        try:
            return await use(store)
        except PyMongoError as e:
            raise StackError(
                f"{cut_off}: {_reason(e)}. Give the same command again: it goes on "
                "after the last part that was written"
            ) from None

    if target.uri is None:
        return with_store(guarded)
    return asyncio.run(_at_address(target, guarded))


async def _at_address(target: Target, use: Callable[[Store], Awaitable[T]]) -> T:
    from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

    from ee2_cli.settings import StackError
    from ee2_jobs.store import Store

    try:
        store = Store(str(target.uri), password=target.password)
    except (ConfigurationError, InvalidURI, ValueError):
        raise StackError(
            "--to is no address of MongoDB: write mongodb://USER@HOST:PORT/DATABASE, with letters "
            "such as @ : / in names and passwords percent-encoded"
        ) from None
    try:
        return await use(store)
    except PyMongoError as e:
        raise StackError(f"The database of --to cannot be used: {_reason(e)}") from None
    finally:
        await store.close()


def _reason(error: Exception) -> str:
    """The driver's text without its account of the topology."""
    return str(error).split(", Timeout:")[0].split(", full error:")[0]


def _go(
    target: Target,
    use: Callable[[Store], Awaitable[Done]],
    report_file: Path | None,
    dry_run: bool,
) -> None:
    """Run, print what was done, write the report, and end with the exit code."""
    from ee2_cli.import_show import as_json, show

    if report_file is not None:
        _write(report_file, "")  # a run may take an hour: tell it now if this cannot be done
    done = with_target(target, use)
    show(done, dry_run)
    if report_file is not None:
        _write(report_file, as_json(done, dry_run))
    if any(r.left_out for r in done.reports.values()):
        raise typer.Exit(LEFT_OUT)


def _write(report_file: Path, text: str) -> None:
    from ee2_cli.settings import StackError

    try:
        report_file.write_text(text)
    except OSError as e:
        raise StackError(f"The report cannot be written to {report_file}: {e}") from None
