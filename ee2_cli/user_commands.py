"""`./ee2 user`, `token`, `workspace`: the local users, how they call, and what they share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from ee2_jobs.store import Store

T = TypeVar("T")

users = typer.Typer(no_args_is_help=True, help="The users of this stack.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens with which programs call the engine.")
workspaces = typer.Typer(no_args_is_help=True, help="Workspaces, and who may use their jobs.")
WorkspaceId = Annotated[int, typer.Argument(min=1, help="Id of the workspace")]


@users.callback()
@tokens.callback()
@workspaces.callback()
def _group() -> None:
    pass


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, underscores")],
    display_name: Annotated[str, typer.Option(help="The name as people write it")] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="admin or admin_read: rights over others' jobs")
    ] = None,
) -> None:
    """Add a user to the engine and to Airflow (where it gets the role EE2User and a password)."""
    from ee2_cli import airflow
    from ee2_cli.keys import load_keys
    from ee2_cli.settings import load_settings
    from ee2_jobs import identity

    settings = load_settings()
    with_store(lambda store: identity.add_user(store, name, display_name, tuple(role or ())))
    password = secrets.token_urlsafe(12)
    if airflow.add_user(settings, load_keys(settings.var_dir), name, password):
        print(f"{name} can log in at {settings.airflow_url} with the password {password}")
    else:
        print(f"{name} was in Airflow already; name and roles are set")


@users.command("list")
def list_users() -> None:
    """Show the engine's users and their roles."""
    from ee2_jobs import identity

    rows = [
        (user.name, user.display_name, " ".join(user.roles))
        for user in with_store(identity.list_users)
    ]
    _print_table(("user", "name", "roles"), rows)


@users.command("remove")
def remove_user(name: Annotated[str, typer.Argument(help="Who is to be removed")]) -> None:
    """Remove a user from the engine and from Airflow. All tokens of the user stop working (within
    45 s); jobs and workspaces stay."""
    from ee2_cli import airflow
    from ee2_cli.keys import load_keys
    from ee2_cli.settings import StackError, load_settings
    from ee2_jobs import identity

    if name == airflow.ADMIN:
        raise StackError(f"{name} is the user of this stack itself: ./ee2 works by it")
    settings = load_settings()
    count = with_store(lambda store: identity.remove_user(store, name))
    airflow.remove_user(settings, load_keys(settings.var_dir), name)
    print(f"{name} is removed, and {count} token{'' if count == 1 else 's'} with it")


@tokens.command("create")
def create_token(
    user: Annotated[str, typer.Argument(help="Whose token it is")],
    name: Annotated[str, typer.Option(help="What it is for")] = "",
    days: Annotated[float | None, typer.Option(min=0.01, help="Valid for so many days")] = None,
) -> None:
    """Make a token. It is shown once: only its hash is kept."""
    from ee2_jobs import identity

    print(with_store(lambda store: identity.create_token(store, user, name, days)))


@tokens.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Argument(help="Whose; all users' if left out")] = None,
) -> None:
    """Show which tokens there are (not the tokens themselves: nobody has them)."""
    from ee2_jobs import identity

    found = with_store(lambda store: identity.list_tokens(store, user))
    rows = [
        (t.id, t.user, t.name, _day(t.created_s), _day(t.expires_s) if t.expires_s else "never")
        for t in found
    ]
    _print_table(("id", "user", "for", "made", "ends"), rows)


@tokens.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="Its id, as ./ee2 token list shows it")],
) -> None:
    """Take a token away. It stops working within 45 s."""
    from ee2_jobs import identity

    with_store(lambda store: identity.revoke_token(store, token_id))


@workspaces.command("list")
def list_workspaces() -> None:
    """Show the workspaces and who may use their jobs."""
    from ee2_jobs import workspaces

    rows = [
        (
            str(ws.id), ws.owner, "yes" if ws.public else "no",
            " ".join(f"{user}:{right}" for user, right in sorted(ws.acl.items()) if right != "n"),
            ws.name,
        )
        for ws in with_store(workspaces.list_workspaces)
    ]
    _print_table(("id", "owner", "public", "shared with", "name"), rows)


@workspaces.command("remove")
def remove_workspace(wsid: WorkspaceId) -> None:
    """Mark a workspace deleted. Its jobs stay, for their owners only; its id is not used again."""
    from ee2_jobs import workspaces

    with_store(lambda store: workspaces.remove_workspace(store, wsid))


@workspaces.command("add")
def add_workspace(
    wsid: WorkspaceId,
    owner: Annotated[str, typer.Option(help="The user whom it belongs to")],
    public: Annotated[bool, typer.Option("--public", help="All users may read its jobs")] = False,
) -> None:
    """Add a workspace; jobs are put into it with --wsid."""
    from ee2_jobs.identity import require_user
    from ee2_jobs.workspaces import create_workspace

    async def add(store: Store) -> None:
        await require_user(store, owner)
        await create_workspace(store, wsid, owner, public=public)

    with_store(add)


@workspaces.command("share")
def share_workspace(
    wsid: WorkspaceId,
    user: Annotated[str, typer.Argument(help="Who gets the right")],
    permission: Annotated[
        Literal["r", "w", "a", "n"],
        typer.Argument(help="r: read its jobs; w: run and cancel, too; a: administer; n: nothing"),
    ],
) -> None:
    """Give a user a right in a workspace, or take it away (n)."""
    from ee2_jobs import workspaces
    from ee2_jobs.identity import require_user

    async def share(store: Store) -> None:
        await require_user(store, user)
        await workspaces.share_workspace(store, wsid, user, permission)

    with_store(share)


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).strftime("%Y-%m-%d")


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def with_store(use: Callable[[Store], Awaitable[T]]) -> T:
    """Call `use` with the stack's database; StackError if it is not running. On a stack
    that was never started nothing is made."""
    from pymongo.errors import ServerSelectionTimeoutError

    from ee2_cli import mongo
    from ee2_cli.keys import load_keys
    from ee2_cli.settings import StackError, load_settings
    from ee2_cli.stack import require_started
    from ee2_jobs.store import Store

    settings = load_settings()
    require_started(settings)

    async def call() -> T:
        store = Store(mongo.uri(settings, load_keys(settings.var_dir).mongo_password))
        try:
            return await use(store)
        except ServerSelectionTimeoutError:
            raise StackError("The stack is not running: start it with ./ee2 up") from None
        finally:
            await store.close()

    return asyncio.run(call())
