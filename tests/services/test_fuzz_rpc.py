"""Whatever is sent, the answer is one that KBase's clients can read, and an error leaves nothing.

EE2_FUZZ=20 tries twenty times as many examples, other ones each time; without it they are the same
in every run. What failed is printed with all that it takes to send it again.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, currently_in_test_context, event, given, note, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from api_bridge.legacy.kbparallel import SUBMITS
from api_bridge.methods import METHODS, ver
from api_bridge.service import Method
from tests.services.conftest import free_port
from tests.services.rpc_support import Bridge

TIMES = int(os.environ.get("EE2_FUZZ", "1"))
ROOT = Path(__file__).parents[2]
ERROR_KEYS = {"name", "code", "message", "error", "data"}
# Nobody runs jobs here, so a client that waits is not to wait for long.
WAIT_S = 0.05
ADDRESSES = ["ee2", "ee2", "ee2/", "njs_wrapper", "userandjobstate", "narrativejobproxy"]
TERMINAL = ("completed", "error", "terminated")


def examples(count: int) -> settings:
    """Settings for so many examples."""
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def target(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A bridge of its own, with jobs."""
    bridge = Bridge(mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port())
    bridge.start()
    yield Target(bridge, mongo_uri)
    bridge.stop()


class Target:
    """A bridge under attack. Placeholders in what is sent (`@live`) stand for ids of its jobs."""

    def __init__(self, bridge: Bridge, mongo_uri: str) -> None:
        self.bridge = bridge
        self.db = MongoClient[dict[str, Any]](mongo_uri)[bridge.database]
        batch = bridge.call("run_job_batch", [{"method": "m.f"}] * 2, {"wsid": 7})
        ended = bridge.job()
        bridge.call("cancel_job", {"job_id": ended})
        self._ids = {
            "@live": bridge.job(),
            "@ended": ended,
            "@others": bridge.job(who="bob", wsid=8),
            "@batch": batch["batch_id"],
            "@child": batch["child_job_ids"][0],
            "@unknown": str(ObjectId()),
        }
        bridge.call("add_job_logs", {"job_id": ended}, [{"line": "a", "is_error": 0}])
        self._counts = self.counts()

    def filled(self, body: str) -> str:
        """With ids in place of placeholders. A job that an earlier example has ended is
        replaced."""
        if "@live" in body:
            job = self.db.ee2_jobs.find_one({"_id": ObjectId(self._ids["@live"])}, {"status": 1})
            if job is None or job["status"] in TERMINAL:
                self._ids["@live"] = self.bridge.job()
                self._counts = self.counts()
        for name, job_id in self._ids.items():
            body = body.replace(name, job_id)
        return body

    def token(self, who: str) -> str | None:
        """The header of a caller."""
        if who == "@live":
            self.filled("@live")
            return self.bridge.token(self._ids["@live"])
        return {"nobody": None, "garbage": "x" * 40, "": ""}.get(who, self.bridge.token(who))

    def counts(self) -> dict[str, int]:
        """How many documents of work there are."""
        names = ("ee2_jobs", "ee2_submissions", "ee2_legacy", "ee2_objects")
        return {name: self.db[name].count_documents({}) for name in names}

    def send(self, body: str | bytes, who: str = "alice", address: str = "ee2") -> Any:
        """POST it, and check the answer; the decoded answer, None for an empty one."""
        content = self.filled(body) if isinstance(body, str) else body
        token = self.token(who)
        headers = {} if token is None else {"Authorization": token}
        url = self.bridge.url.removesuffix("ee2") + address
        answer = self.bridge.http.post(url, content=content, headers=headers)
        if currently_in_test_context():
            note(f"{who}: {content[:3000]!r} -> {answer.status_code} {answer.content[:2000]!r}")
        result = checked(answer)
        failed = result is not None and "error" in result
        if currently_in_test_context():
            event(f"error {result['error']['code']}" if failed else "result")
        before, self._counts = self._counts, self.counts()
        if failed:
            assert self._counts == before, "an error left something behind"
        return result


def checked(answer: httpx.Response) -> Any:
    """The decoded answer, if its form is right; None for the empty answer to a notification."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code in (200, 500)
    if answer.status_code == 200 and not answer.content:
        return None
    body = answer.json()
    if answer.status_code == 200:
        assert "result" in body and "error" not in body
        assert body["result"] is None or isinstance(body["result"], list)
        return body
    assert "result" not in body
    error = body["error"]
    assert set(error) <= ERROR_KEYS and {"name", "code", "message"} <= set(error)
    assert isinstance(error["name"], str) and isinstance(error["code"], int)
    assert isinstance(error["message"], str) and error["message"].strip()
    for detail in (error.get("error"), error.get("data")):
        assert detail is None or isinstance(detail, str)
        assert "Traceback" not in (detail or "")
    text = error["message"]
    assert "Traceback" not in text and 'File "' not in text
    assert "unexpected server error" not in text.lower(), "a defect"
    return body


# --------------------------------------------------------------------------------- what is sent

PLACEHOLDERS = ["@live", "@live", "@ended", "@others", "@batch", "@child", "@unknown"]
HOSTILE = [
    "", " ", "\0", "a\0b", "$where", "$set", "a.b", ".", "..", "../../etc/passwd", "\ud800",
    "x\udfff", "\u202e", "\x07\x1b[2J", "\r\nX: y", "__proto__", "__class__", "{}", "%s%n", "'; --",
    "ALL", "null", "NaN", "Infinity", "-1", "1e999", "9" * 400, "0x10", "٣", "x" * 5000, "7", "m.f",
    "m", "R", "RCNES", "alice", "bob", "created", "running", "2020-01-01T00:00:00+0000",
    "2020-13-45", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1", "true", "njs",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 7, 8, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400,
    0.5, -0.0, 1e-320, 1e308, 1.7e12,
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(HOSTILE), st.sampled_from(PLACEHOLDERS),
    st.text(st.characters(codec=None, categories=None), max_size=12),
)  # fmt: skip
scalars = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(),
    st.floats(allow_nan=False, allow_infinity=False), texts,
)  # fmt: skip


@cache
def fields() -> list[str]:
    """The names of parameters that the code asks for: `params.get("x")`, `required(params, "x")`,
    `params["x"]`."""
    asked = re.compile(r"""(?:\.get\(|\w+\([a-z]\w*, |\[)["']([a-z][a-z0-9_]{1,30})["'][,)\]]""")
    found: set[str] = set()
    files = [*(ROOT / "api_bridge").rglob("*.py"), *(ROOT / "ee2_jobs").rglob("*.py")]
    for file in files:
        found |= set(asked.findall(file.read_text()))
    return sorted(found)


keys = st.one_of(st.sampled_from(fields()), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)
ids = st.sampled_from(PLACEHOLDERS)
numbers = st.sampled_from([0, 1, 7, 8, 99, -1, 2**40, 2**70])
# What gets past the first checks, so that the later ones are met.
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "job_id": ids,
    "batch_id": ids,
    "job_ids": st.lists(ids, max_size=3),
    "parent_job_id": ids,
    "method": st.sampled_from(["m.f", "m.s", "nosuch.f"]),
    "wsid": numbers,
    "workspace_id": numbers,
    "params": st.lists(values, max_size=2),
    "status": st.sampled_from(["created", "running", "error", "completed", "terminated"]),
    "user": st.sampled_from(["alice", "bob", "ALL"]),
    "meta": st.dictionaries(keys, scalars, max_size=2),
    "start_time": st.sampled_from([0, 1.5e9, "2020-01-01"]),
    "end_time": st.sampled_from([4e9, 1.7e12, "2035-01-01"]),
    "as_admin": st.sampled_from([1, 0, True]),
    "job_output": st.fixed_dictionaries(
        {"version": st.just("1.1"), "id": ids, "result": st.lists(values, max_size=2)}
    ),
    "claim": st.sampled_from(["a", "b"]),
    "lines": st.lists(st.fixed_dictionaries({"line": texts}, optional={"is_error": scalars,
                                                                      "ts": scalars}), max_size=3),
}  # fmt: skip


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """A parameter: some fields as they should be, some not."""
    names = draw(st.lists(st.sampled_from(sorted(LIKELY)), max_size=5, unique=True))
    mapping = {name: draw(LIKELY[name]) for name in names}
    mapping |= draw(st.dictionaries(keys, values, max_size=2))
    return mapping


BY_TYPE: dict[type, st.SearchStrategy[Any]] = {
    dict: mappings(),
    list: st.one_of(
        st.lists(mappings(), max_size=3), LIKELY["job_ids"], LIKELY["lines"],
        st.lists(values, max_size=3),
    ),
    str: st.one_of(ids, texts),
    int: st.one_of(numbers, st.sampled_from(NUMBERS)),
    object: values,
}  # fmt: skip
callers = st.sampled_from(
    ["alice", "alice", "alice", "root", "@live", "bob", "eva", "kbaseconcierge", "nobody",
     "garbage", ""]
)  # fmt: skip


CALLABLE = {
    **METHODS,
    # What KBase's modules call of each other.
    **{
        f"{module}._{name}": Method(ver, (dict,))
        for module, name in (
            *(f"{method}_submit".split(".") for method in ("m.f", "m.nosuch", *SUBMITS)),
            ("m", "check_job"),
            ("KBParallel", "check_job"),
        )
    },
}


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call of a method that exists, mostly with the right number and types of parameters."""
    name = draw(st.sampled_from(sorted(CALLABLE)))
    method = CALLABLE[name]
    params: Any
    if draw(st.integers(0, 9)):
        params = [
            draw(BY_TYPE[kind] if draw(st.integers(0, 9)) else values) for kind in method.takes
        ]
        if method.waits and params and isinstance(params[0], dict):
            params[0]["timeout_s"] = WAIT_S
    else:
        params = draw(st.lists(mappings() | values, max_size=4))
        if method.waits:
            params = params[:0]
    call: dict[str, Any] = {"version": "1.1", "id": "1", "method": name, "params": params}
    if not draw(st.integers(0, 9)):
        call["context"] = draw(values)
    return call


def text_of(value: Any) -> str:
    """JSON; halves of surrogate pairs stay as escapes."""
    return json.dumps(value)


# ------------------------------------------------------------------------------------ the tests


@examples(150)
@given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8")))
def test_any_bytes(target: Target, body: bytes) -> None:
    assert "error" in target.send(body)


@examples(150)
@given(body=values)
def test_any_json(target: Target, body: Any) -> None:
    assert "error" in target.send(text_of(body))


PARTS: dict[str, st.SearchStrategy[Any]] = {
    "version": st.sampled_from(["1.1", "1.0", "2.0"]) | values,
    "jsonrpc": st.sampled_from(["2.0", "2.0", "1.0"]) | values,
    "id": st.sampled_from(["1", 1, 1.5, None, 10**30]) | values,
    "method": st.sampled_from(["ver", "a.b.c", ".", "x.", "m._submit", "m._x"]) | texts,
    "params": values,
    "context": values,
    "extra": values,
}


@examples(300)
@given(
    call=calls(),
    parts=st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=2, unique=True),
    data=st.data(),
    who=callers,
    address=st.sampled_from(ADDRESSES),
)
def test_any_envelope(
    target: Target, call: dict[str, Any], parts: list[str], data: st.DataObject, who: str,
    address: str,
) -> None:
    """A call of which parts are missing or something else, at any of the addresses."""
    for part in parts:
        call.pop(part, None)
        if data.draw(st.integers(0, 4)):
            call[part] = data.draw(PARTS[part])
    target.send(text_of(call), who, address)


@examples(1500)
@given(call=calls(), who=callers)
def test_any_parameters(target: Target, call: dict[str, Any], who: str) -> None:
    target.send(text_of(call), who)


@examples(200)
@given(
    name=st.sampled_from(["run_job", "run_job_batch", "run_split_aggregate", "run_job_concierge"]),
    job=mappings(),
    more=mappings(),
    who=st.sampled_from(["alice", "root", "kbaseconcierge"]),
)
def test_any_submission(
    target: Target, name: str, job: dict[str, Any], more: dict[str, Any], who: str
) -> None:
    job = {"method": "m.f", **job}
    params: list[Any] = [job]
    if METHODS[f"execution_engine2.{name}"].takes[0] is list:
        params = [[job, {"method": "m.s"}], more]
    elif len(METHODS[f"execution_engine2.{name}"].takes) == 2:
        params = [job, more]
    call = {"version": "1.1", "id": "1", "method": f"execution_engine2.{name}", "params": params}
    target.send(text_of(call), who)


@examples(150)
@given(
    token=st.binary(max_size=60),
    more=st.lists(
        st.tuples(
            st.sampled_from([b"Content-Type", b"Access-Control-Request-Headers", b"Origin",
                             b"Accept-Encoding", b"X-Forwarded-For", b"Cookie", b"Expect"]),
            st.binary(max_size=40),
        ),
        max_size=3,
    ),
)  # fmt: skip
def test_any_header(target: Target, token: bytes, more: list[tuple[bytes, bytes]]) -> None:
    headers = [(b"Authorization", token), *more]
    forbidden = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # the HTTP parser refuses these
    headers = [(name, forbidden.sub(b"", value).strip()) for name, value in headers]
    body = text_of({"version": "1.1", "id": "1", "method": "execution_engine2.check_jobs",
                    "params": [{"job_ids": ["@ended"]}]}).encode()  # fmt: skip
    note(repr(headers))
    checked(target.bridge.http.post(target.bridge.url, content=body, headers=headers))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_has_a_limit(target: Target, opening: bytes) -> None:
    for levels in (101, 500, 1025, 100_000):
        closing = b"".join({b"[": b"]", b"{": b"}"}[bytes([c])] for c in reversed(opening)
                           if c in b"[{")
        nested = opening * levels + b"1" + closing * levels
        body = b'{"version":"1.1","id":"1","method":"execution_engine2.run_job","params":[' + (
            b'{"method":"m.f","params":[' + nested + b"]}]}"
        )
        assert "error" in target.send(body)


def test_a_body_has_a_limit(target: Target) -> None:
    limit = 5_000_000
    answer = target.send(b'{"version":"1.1","id":"1","params":["' + b"x" * limit + b'"]}')
    assert "larger than 5 MB" in answer["error"]["message"]
    # Without a length, in pieces.
    pieces = (b"x" * 100_000 for _ in range(60))
    reply = target.bridge.http.post(target.bridge.url, content=pieces)
    assert "larger than 5 MB" in checked(reply)["error"]["message"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /services/ee2 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
        b"POST /services/ee2 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST /services/ee2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET " + b"/" * 70_000,
    ],
)
def test_clients_that_break_off(target: Target, request_bytes: bytes) -> None:
    url = httpx.URL(target.bridge.url)
    with socket.create_connection((url.host, url.port), timeout=10) as client:
        client.sendall(request_bytes)
    assert target.bridge.call("ver")


def test_it_lives(target: Target) -> None:
    """After all that; the last test of the file."""
    assert target.bridge.call("ver")
    job = target.bridge.job()
    assert target.bridge.call("check_job", {"job_id": job})["status"] == "created"
    assert target.bridge.call("check_workspace_jobs", {"workspace_id": 7})["job_states"]
