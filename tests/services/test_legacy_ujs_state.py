"""What programs keep for a user with UserAndJobState, over the wire."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.fakes.kbase_clients import PythonClient, ServerError
from tests.services.rpc_support import Bridge

VALUES: list[Any] = [
    "text", 7, 0, 1.5, True, False, [], {}, [1, [None]], {"a": {"b.c": 1, "$d": [None]}}, "",
    2**63 - 1, "ü\u2028",
]  # fmt: skip


class State:
    """One user's client: `alice.get_state("service", "key", 0)`."""

    def __init__(self, bridge: Bridge, user: str) -> None:
        self.token = bridge.tokens.get(user, user)
        self._client = PythonClient(bridge.url.replace("/ee2", "/userandjobstate/"), self.token)

    def __getattr__(self, name: str) -> Any:
        return lambda *params: self._client.call(f"UserAndJobState.{name}", *params)


@pytest.fixture
def alice(bridge: Bridge) -> State:
    bridge.db.ee2_user_state.delete_many({})
    return State(bridge, "alice")


@pytest.fixture
def rob(bridge: Bridge) -> State:
    return State(bridge, "rob")


def refused(text: str, call: Any, *params: Any) -> None:
    with pytest.raises(ServerError) as raised:
        call(*params)
    assert (raised.value.message, raised.value.code) == (text, -32500)


def test_a_value_from_its_keeping_to_its_end(alice: State) -> None:
    none = "There is no key k for the unauthorized service s_1"
    refused(none, alice.get_state, "s_1", "k", 0)
    assert alice.has_state("s_1", "k", 0) == 0
    assert alice.get_has_state("s_1", "k", 0) == [0, None]
    assert alice.list_state("s_1", 0) == alice.list_state_services(0) == []
    assert alice.set_state("s_1", "k", {"a": 1}) is None
    assert alice.get_state("s_1", "k", 0) == {"a": 1}
    assert alice.has_state("s_1", "k", 0) == 1
    assert alice.get_has_state("s_1", "k", 0) == [1, {"a": 1}]
    alice.set_state("s_1", "k", "other")
    alice.set_state("s_1", "k2", 1)
    assert alice.get_state("s_1", "k", 0) == "other"
    assert alice.list_state("s_1", 0) == ["k", "k2"]
    assert alice.list_state_services(0) == ["s_1"]
    assert alice.remove_state("s_1", "k") is None
    assert alice.remove_state("s_1", "k") is None
    refused(none, alice.get_state, "s_1", "k", 0)
    assert alice.list_state("s_1", 0) == ["k2"]


def test_what_a_service_keeps_with_its_token(alice: State, rob: State) -> None:
    """The service is rob: its values and those in its name do not meet."""
    assert alice.set_state_auth(rob.token, "k", 1) is None
    alice.set_state("rob", "k", 2)
    alice.set_state("rob", "only", 3)
    assert (alice.get_state("rob", "k", 1), alice.get_state("rob", "k", 0)) == (1, 2)
    assert (alice.list_state("rob", 1), alice.list_state("rob", 0)) == (["k"], ["k", "only"])
    assert alice.list_state_services(1) == alice.list_state_services(0) == ["rob"]
    refused("There is no key only for the authorized service rob", alice.get_state, "rob", "only",
            1)  # fmt: skip
    alice.remove_state("rob", "k")
    assert alice.get_has_state("rob", "k", 1) == [1, 1]
    alice.remove_state_auth(rob.token, "k")
    assert alice.get_has_state("rob", "k", 1) == [0, None]
    assert alice.list_state_services(1) == []


def test_users_do_not_meet(alice: State, rob: State) -> None:
    alice.set_state("s", "k", 1)
    assert rob.has_state("s", "k", 0) == 0
    rob.remove_state("s", "k")
    rob.set_state("s", "k", 2)
    assert (alice.get_state("s", "k", 0), rob.get_state("s", "k", 0)) == (1, 2)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(alice: State, value: Any) -> None:
    alice.set_state("s", "k", value)
    there, back = alice.get_has_state("s", "k", 0)
    assert there == 1 and back == value and type(back) is type(value)


def test_null_is_a_value(bridge: Bridge, alice: State) -> None:
    alice.set_state("s", "k", None)
    assert alice.has_state("s", "k", 0) == 1
    assert alice.get_has_state("s", "k", 0) == [1, None]
    body = {"version": "1.1", "id": "1", "method": "UserAndJobState.get_state",
            "params": ["s", "k", 0]}  # fmt: skip
    assert bridge.post(body, alice.token).json()["result"] == [None]


@pytest.mark.parametrize(
    ("text", "method", "params"),
    [
        ("service cannot be null or the empty string", "set_state", ["", "k", 1]),
        ("service cannot be null or the empty string", "get_state", [None, "k", 0]),
        ("service exceeds the maximum length of 100", "has_state", ["s" * 101, "k", 0]),
        ("key cannot be null or the empty string", "set_state", ["s", None, 1]),
        ("key exceeds the maximum length of 100", "remove_state", ["s", "k" * 101]),
        ("Illegal character in service name a-b: -", "set_state", ["a-b", "k", 1]),
        ("Illegal character in service name a b: \u0020", "list_state", ["a b", 0]),
        ("auth must be a number, not null", "get_state", ["s", "k", None]),
        ("Service token cannot be null or the empty string", "set_state_auth", ["", "k", 1]),
        ("Service token cannot be null or the empty string", "remove_state_auth", [None, "k"]),
        ("Couldn't validate the server token. The authentication server said: Error connecting to "
         "auth service: 401 Unauthorized\n10020 Invalid token", "set_state_auth", ["x", "k", 1]),
        ("Value cannot be > 1000000 bytes when serialized", "set_state", ["s", "k", "ü" * 500_000]),
        ("value: MongoDB can only handle up to 8-byte ints", "set_state", ["s", "k", 2**63]),
    ],
)  # fmt: skip
def test_texts(bridge: Bridge, alice: State, text: str, method: str, params: list[Any]) -> None:
    refused(text, getattr(alice, method), *params)
    assert bridge.db.ee2_user_state.count_documents({}) == 0


def test_the_largest_value(alice: State) -> None:
    alice.set_state("s", "k", "x" * 999_998)
    assert len(alice.get_state("s", "k", 0)) == 999_998
    refused("Value cannot be > 1000000 bytes when serialized", alice.set_state, "s", "k",
            "x" * 999_999)  # fmt: skip


def test_who_has_no_token_has_no_state(bridge: Bridge) -> None:
    nobody = PythonClient(bridge.url.replace("/ee2", "/userandjobstate"), None)
    with pytest.raises(ServerError) as raised:
        nobody.call("UserAndJobState.list_state_services", 0)
    assert raised.value.code == -32400
    assert raised.value.message == (
        "Token validation failed: Authorization is required for this method but no credentials "
        "were provided"
    )
    wrong_type = State(bridge, "alice")
    with pytest.raises(ServerError, match="Wrong type of parameter 3") as raised:
        wrong_type.get_state("s", "k", "yes")
    assert raised.value.code == -32602


def test_a_key_is_kept_once(bridge: Bridge, alice: State) -> None:
    threads = [
        threading.Thread(target=alice.set_state, args=("s", "k", n)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bridge.db.ee2_user_state.count_documents({"user": "alice", "service": "s"}) == 1
    assert alice.get_state("s", "k", 0) in range(8)
