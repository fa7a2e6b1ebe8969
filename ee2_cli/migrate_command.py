"""`./ee2 migrate`: bring a database into the form that the engine needs, before it is used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ee2_jobs.migrations import Progress
    from ee2_jobs.store import Store

PENDING = 3  # the exit code of a dry run that found something to do


def migrate(
    to: Annotated[
        str | None,
        typer.Option(
            envvar="EE2_MIGRATE_TO",
            help="The engine's MongoDB and database: mongodb://…/ee2. Left out: this stack's",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is to be done; change nothing")
    ] = False,
    password: Annotated[
        str | None, typer.Option(envvar="EE2_MIGRATE_PASSWORD", hidden=True)
    ] = None,
) -> None:
    """Add the indexes that this version needs, on a live database: readers and writers go on.

    The API server does the same when it starts; on a large database run this before, so that the
    start need not wait. A run that was cut off goes on where it was. With --dry-run the exit code
    is 3 if something is to be done.
    """
    from ee2_cli.import_commands import Target, with_target
    from ee2_jobs import migrations

    async def run(store: Store) -> int:
        todo = await migrations.pending(store)
        if dry_run:
            for one in todo:
                print(f"{one.number:3}  {one.name}: to be done")
        else:
            await migrations.migrate(store, _Show())
        return len(todo)

    count = with_target(Target(to, password), run, "The migration was cut off")
    if not count:
        print("Nothing is to be done: the database is as this version needs it")
    elif dry_run:
        raise typer.Exit(PENDING)


class _Show:
    """Prints each migration when it is done; on a terminal, one line that moves meanwhile."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def __call__(self, at: Progress) -> None:
        what = f"{at.migration.number:3}  {at.migration.name}"
        if at.took_s is not None:
            self._clear()
            print(f"{what}: {at.took_s:.1f} s", flush=True)
        elif self._terminal:
            share = "" if at.share is None else f", {at.share:.0%} of an index"
            self._clear()
            print(f"{what}: {at.running_s:.0f} s{share} …", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
