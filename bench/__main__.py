"""`python -m bench`: what `./ee2 bench` starts once the stack is up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.main import FAMILIES, RESULTS, run
from ee2_cli.htcondor import PoolError
from ee2_cli.settings import StackError, load_settings


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Families to measure; all if left out")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(FAMILIES)}; may be repeated")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer runs, for a first look; nothing is written")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the files of results")] = RESULTS,
) -> None:
    """Measure the running stack; each family of figures is written to a file."""
    try:
        families = [*(names or ()), *(only or ())]
        run(load_settings(), families, quick=quick, results=None if quick else results)
    except (StackError, PoolError) as e:
        print(f"ee2 bench: {e}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
