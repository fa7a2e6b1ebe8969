"""The JSON-RPC envelope: what is read, what is refused, what goes out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure

from api_bridge.envelope import (
    Envelope,
    Fault,
    Request,
    decode,
    encode_fault,
    encode_result,
)
from api_bridge.errors import fault_of
from api_bridge.rpc import read_body
from api_bridge.service import bare_token
from ee2_jobs.errors import Denied, InvalidInput, NotAuthenticated, Unavailable

TRANSIENT = OperationFailure("x", 251, {"errorLabels": ["TransientTransactionError"]})
GOOD: dict[str, Any] = {"version": "1.1", "id": "42", "method": "a.b", "params": [{"x": 1}]}


def refused(body: bytes) -> dict[str, Any]:
    with pytest.raises(Fault) as caught:
        decode(body)
    return json.loads(encode_fault(caught.value))


def encoded(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("changes", "version"),
    [({}, "1.1"), ({"version": ...}, "1.0"), ({"version": "7"}, "1.0"),
     ({"version": ..., "jsonrpc": "2.0"}, "2.0")],
)  # fmt: skip
def test_three_versions_are_served_in_their_own_form(changes: dict[str, Any], version: str) -> None:
    request = decode(encoded(**changes, context={}, unknown=1))
    assert request == Request(Envelope(version, "42", True), "a.b", [{"x": 1}])
    keys = {"1.1": {"version"}, "1.0": set(), "2.0": {"jsonrpc"}}[version]
    success = json.loads(encode_result(request.envelope, [1]))
    assert set(success) == keys | {"result", "id"}
    error = json.loads(encode_fault(Fault(-32000, "text", request.envelope)))
    assert set(error) == {"jsonrpc" if version == "2.0" else "version", "error", "id"}
    assert error.get("version", "2.0") == version
    detail = "data" if version == "2.0" else "error"
    assert error["error"] == {
        "name": "Server error", "code": -32000, "message": "text", detail: None
    }  # fmt: skip


@pytest.mark.parametrize("call_id", ["1", "", 7, -1, 1.5, 2**80])
def test_ids_come_back_as_they_were(call_id: Any) -> None:
    request = decode(encoded(id=call_id))
    assert json.loads(encode_result(request.envelope, None)) == {
        "version": "1.1", "result": None, "id": call_id
    }  # fmt: skip


def test_a_null_id_is_a_notification_and_gets_no_body() -> None:
    assert encode_result(decode(encoded(id=None)).envelope, [1]) == b""


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"nonsense", b'{"id":"1","version":"1.1","params":[NaN]}',
     b'{"id":"1","params":[-Infinity]}', b"[" * 100_000, b'{"a":' * 100_000],
)  # fmt: skip
def test_what_is_no_json_is_a_parse_error_without_id(body: bytes) -> None:
    answer = refused(body)
    assert set(answer) == {"version", "error"} and answer["version"] == "1.1"
    assert answer["error"]["code"] == -32700 and answer["error"]["name"] == "Parse error"
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"[]", "Batches"), (b"[{}]", "Batches"), (b"5", "mapping"), (b"null", "mapping"),
        (b'"x"', "mapping"), (encoded(id=...), "id"), (encoded(method=...), "method"),
        (encoded(params=...), "params"), (encoded(method="ab"), "dot"),
        (encoded(method="a.b.c"), "dot"), (encoded(method=5), "dot"), (encoded(id=[1]), "id"),
        (encoded(id={}), "id"), (encoded(id=True), "id"), (encoded(params=5), "params"),
        (encoded(params="x"), "params"), (encoded(jsonrpc="3.0"), "jsonrpc"),
        (encoded(jsonrpc=None), "jsonrpc"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_by_name(body: bytes, word: str) -> None:
    error = refused(body)["error"]
    assert error["code"] == -32600 and error["name"] == "Invalid request"
    assert word in error["message"]


def test_keyword_params_are_refused() -> None:
    answer = refused(encoded(params={"a": 1}))
    assert answer["id"] == "42" and answer["error"]["code"] == -32602
    assert answer["error"]["message"] == "expected positional params, not keyword"


def test_null_params_are_none() -> None:
    assert decode(encoded(params=None)).params == []


@pytest.mark.parametrize("number", [2**63, 2**64, 10**30, -(10**30), 1234567890123456789])
def test_whole_numbers_stay_whole(number: int) -> None:
    assert decode(encoded(params=[number])).params == [number]


def test_half_a_surrogate_pair_becomes_a_question_mark_and_a_whole_one_stays() -> None:
    body = rb'{"version":"1.1","id":"1","method":"a.b","params":["\ud800x","\ud83d\ude00"]}'
    assert decode(body).params == ["?x", "\U0001f600"]


@given(st.binary(max_size=200))
def test_no_body_breaks_the_decoder(body: bytes) -> None:
    try:
        decode(body)
    except Fault as fault:
        json.loads(encode_fault(fault))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
                                                                      allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_no_request_breaks_the_decoder(value: Any) -> None:
    for field in ("id", "method", "params", "version", "jsonrpc"):
        try:
            request = decode(encoded(**{field: value}))
            encode_result(request.envelope, request.params)
        except Fault as fault:
            json.loads(encode_fault(fault))


def test_keys_that_are_no_strings_can_be_sent() -> None:
    assert json.loads(encode_result(Envelope("1.1", "1", True), [{7: 1}]))["result"] == [{"7": 1}]


class Chunks:
    """A client that sends a body in pieces, and notes how many were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        chunk = self.chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}


def test_a_body_is_read_no_further_than_the_limit() -> None:
    client = Chunks(*[b"x" * 40] * 100)
    with pytest.raises(Fault, match=r"larger than 0.0001 MB.*max_body_mb"):
        asyncio.run(read_body({}, client, 100))
    assert client.asked == 3
    client = Chunks(b"x")
    with pytest.raises(Fault, match="larger than"):
        asyncio.run(read_body({b"content-length": b"101"}, client, 100))
    assert client.asked == 0
    assert asyncio.run(read_body({}, Chunks(b"x" * 50, b"y" * 50), 100)) == b"x" * 50 + b"y" * 50


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InvalidInput("what"), -32000, "^what$"),
        (Denied("no"), -32000, "^no$"),
        (Unavailable("the pool is away"), -32603, "^the pool is away$"),
        (AutoReconnect("mongo:27017 secret"), -32603, "^The job database does not answer"),
        (TRANSIENT, -32603, "^The job database"),
        (OperationFailure("secret", 2), 0, "^An unexpected server error occurred"),
        (DocumentTooLarge("x"), -32000, "larger than 16 MB"),
        (KeyError("secret"), 0, "^An unexpected server error occurred"),
    ],
)
def test_errors_go_out_by_kind_and_keep_secrets(error: Exception, code: int, text: str) -> None:
    fault = fault_of(error, Envelope("1.1", "1", True), "a.b")
    assert fault.code == code and "secret" not in fault.message
    with pytest.raises(Fault, match=text):
        raise fault


def test_tokens_come_bare_or_after_a_scheme() -> None:
    for header in ("T", " T ", "Bearer T", "bearer T", "OAuth T"):
        assert bare_token(header) == "T"
    assert bare_token("") == ""
    with pytest.raises(NotAuthenticated, match="^Authentication required for execution_engine2"):
        bare_token(None)
