"""`./ee2 user`, `token` and `workspace`, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from typer.testing import CliRunner

from ee2_cli import airflow, settings, user_commands
from ee2_cli.main import app
from ee2_cli.settings import StackError
from ee2_jobs.errors import InvalidInput, NotAuthenticated, NotFound
from ee2_jobs.identity import LocalIdentity
from ee2_jobs.store import Store


class Stack:
    """The commands on a database of their own; what Airflow is asked for is only noted."""

    def __init__(self, mongo_uri: str, database: str) -> None:
        self.database = database
        self.asked_airflow: list[str] = []
        self._uri = mongo_uri

    def use(self, use: Callable[[Store], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            store = Store(self._uri, self.database)
            try:
                return await use(store)
            finally:
                await store.close()

        return asyncio.run(call())

    def ee2(self, *arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, env={"TERMINAL_WIDTH": "120", "COLUMNS": "120"})
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def user_of(self, token: str) -> str:
        async def find(store: Store) -> str:
            return (await LocalIdentity(store, "k" * 32).caller(token)).user

        return str(self.use(find))


@pytest.fixture
def stack(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    stack = Stack(mongo_uri, f"test_{ObjectId()}")
    nowhere = SimpleNamespace(var_dir=tmp_path, airflow_url="http://127.0.0.1:9")
    monkeypatch.setattr(settings, "load_settings", lambda: nowhere)
    monkeypatch.setattr(user_commands, "with_store", stack.use)

    def add(_: Any, keys: Any, name: str, password: str) -> bool:
        stack.asked_airflow.append(f"add {name}")
        return True

    def remove(_: Any, keys: Any, name: str) -> None:
        stack.asked_airflow.append(f"remove {name}")

    monkeypatch.setattr(airflow, "add_user", add)
    monkeypatch.setattr(airflow, "remove_user", remove)
    yield stack
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(stack.database)


def test_a_removed_users_tokens_stop_working(stack: Stack) -> None:
    stack.ee2("user", "add", "rob", "--display-name", "Rob [the] R.", "--role", "admin_read")
    stack.ee2("user", "add", "zoe")
    tokens = [stack.ee2("token", "create", "rob").strip() for _ in range(2)]
    other = stack.ee2("token", "create", "zoe").strip()
    assert stack.user_of(tokens[0]) == "rob"
    shown = stack.ee2("user", "list").splitlines()
    assert "Rob [the] R." in shown[1] and "admin_read" in shown[1] and "zoe" in shown[2]
    assert "rob is removed, and 2 tokens with it" in stack.ee2("user", "remove", "rob")
    assert stack.asked_airflow == ["add rob", "add zoe", "remove rob"]
    for token in tokens:
        with pytest.raises(NotAuthenticated):
            stack.user_of(token)
    assert stack.user_of(other) == "zoe"
    assert "rob" not in stack.ee2("user", "list")
    with pytest.raises(NotFound, match="There is no user 'rob'"):
        stack.ee2("user", "remove", "rob")
    with pytest.raises(StackError, match="the user of this stack itself"):
        stack.ee2("user", "remove", "admin")


def test_a_token_is_listed_and_revoked(stack: Stack) -> None:
    stack.ee2("user", "add", "rob")
    token = stack.ee2("token", "create", "rob", "--name", "laptop", "--days", "2").strip()
    other = stack.ee2("token", "create", "rob").strip()
    lines = stack.ee2("token", "list", "rob").splitlines()
    assert "laptop" in lines[1] and "never" in lines[2]
    assert token not in "".join(lines) and other not in "".join(lines)
    stack.ee2("token", "revoke", lines[1].split()[0])
    with pytest.raises(NotAuthenticated):
        stack.user_of(token)
    assert stack.user_of(other) == "rob"
    for wrong in ("abc", "laptop", ".*"):
        with pytest.raises(InvalidInput, match="is no token's id: see ./ee2 token list"):
            stack.ee2("token", "revoke", wrong)


def test_a_workspace_is_listed_and_removed(stack: Stack) -> None:
    for name in ("rob", "zoe"):
        stack.ee2("user", "add", name)
    stack.ee2("workspace", "add", "12", "--owner", "rob", "--public")
    stack.ee2("workspace", "share", "12", "zoe", "w")
    assert stack.ee2("workspace", "list").splitlines()[1].split()[:4] == [
        "12", "rob", "yes", "zoe:w",
    ]
    stack.ee2("workspace", "remove", "12")
    assert "rob" not in stack.ee2("workspace", "list")
    for gone in (("remove", "12"), ("share", "12", "zoe", "r")):
        with pytest.raises(NotFound, match="There is no workspace 12"):
            stack.ee2("workspace", *gone)
