"""The REST side is what its OpenAPI document says, whatever is asked of it, by whomever.

Schemathesis makes the requests from the document: such as it allows, and such as it does not.
EE2_FUZZ: see test_fuzz_rpc.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CheckContext
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.requests import Request

from api_bridge.pages import Pages
from ee2_jobs.engine import Engine
from ee2_jobs.identity import Caller
from tests.services.conftest import free_port
from tests.services.rpc_support import Bridge
from tests.services.test_fuzz_rpc import examples

OPERATIONS = 13
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 8
REST = "/ee2/api/v1/"
REST_EXAMPLES = 4


class WholeBridge(Bridge):
    """With the pages, which Airflow's plugin adds; signed in is who a cookie names."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.app.router.routes += Pages(
            lambda: self.engine, self._viewer, lambda dag_id, run_id: "/run", _nobody
        ).routes()

    async def _make_engine(self) -> Engine:
        self.engine = await super()._make_engine()
        return self.engine

    async def _viewer(self, request: Request) -> Caller | None:
        user = request.cookies.get("session_of")
        return Caller(user) if user else None


async def _nobody(dag_id: str, run_id: str) -> None:
    """No run was triggered by hand."""


class Target:
    """The bridge, what its document says, and ids that are there."""

    def __init__(self, bridge: WholeBridge) -> None:
        self.bridge = bridge
        self.schema = schemathesis.openapi.from_url(f"{bridge.url}/openapi.json")
        self.job = bridge.job()
        ended = bridge.job()
        bridge.call("cancel_job", {"job_id": ended})
        token = bridge.token(self.job) or ""
        kept = bridge.http.put(
            f"{bridge.url}/artifacts/{self.job}/{self.job}/report",
            content=b"<p>done",
            headers={"Authorization": token},
        )
        assert kept.status_code == 201, kept.text
        self.there: dict[str, list[str]] = {
            "submission": [self.job, ended],
            "job": [self.job, ended],
            "name": ["report"],
            "job_id": [self.job, ended],
            "batch_id": [self.job],
        }

    def headers(self, who: str) -> dict[str, str]:
        """What says who asks."""
        if who == "nobody":
            return {}
        token = self.bridge.token(self.job if who == "job" else who) or ""
        return {"Authorization": token, "Cookie": f"session_of={who}"}


@pytest.fixture(scope="module")
def target(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A bridge of its own."""
    bridge = WholeBridge(mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port())
    bridge.start()
    yield Target(bridge)
    bridge.stop()


def no_server_error(ctx: CheckContext, response: Any, case: Any) -> None:
    """Nothing is answered with 5xx but what the document says is not offered, and JSON-RPC's
    errors."""
    offered = case.operation.definition.raw["responses"]
    allowed = {code for code in ("500", "501") if code in offered}
    assert response.status_code < 500 or str(response.status_code) in allowed
    text = response.content.decode("utf-8", "replace")
    assert "Traceback (most" not in text and "unexpected server error" not in text.lower()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("who", ["nobody", "alice", "bob", "root", "job"])
def test_what_the_document_says(target: Target, who: str, mode: GenerationMode) -> None:
    headers = target.headers(who)
    operations = [found.ok() for found in target.schema.get_all_operations()]
    by_hand = [one for one in operations if not one.path.startswith(REST)]
    assert len(by_hand) == OPERATIONS
    _ask_all(target, by_hand, headers, mode, EXAMPLES)
    assert target.bridge.call("ver")


@pytest.mark.parametrize(
    ("who", "mode"),
    [
        ("nobody", GenerationMode.POSITIVE),
        ("alice", GenerationMode.POSITIVE),
        ("alice", GenerationMode.NEGATIVE),
        ("root", GenerationMode.POSITIVE),
    ],
)
def test_what_the_document_says_of_rest(target: Target, who: str, mode: GenerationMode) -> None:
    operations = [found.ok() for found in target.schema.get_all_operations()]
    rest = [
        one for one in operations
        # Streams have no end.
        if one.path.startswith(REST) and "events" not in one.path.split("/")
    ]
    assert {"listJobs", "jobChanges", "exportJobs", "me"} <= {
        one.definition.raw["operationId"] for one in rest
    }
    counts = {"nobody": 1, "alice": REST_EXAMPLES, "root": REST_EXAMPLES}
    count = counts[who] if mode is GenerationMode.POSITIVE else 2
    _ask_all(target, rest, target.headers(who), mode, count)
    assert target.bridge.call("ver")


def _ask_all(
    target: Target, operations: list[Any], headers: dict[str, str], mode: GenerationMode,
    count: int,
) -> None:
    """So many requests of each operation; the answers are as the document says."""
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.definition.raw.get("parameters"):
            continue

        cases = operation.as_strategy(generation_mode=mode)

        @examples(count)
        @given(case=cases, there=st.booleans(), data=st.data())
        def ask(case: Any, there: bool, data: st.DataObject) -> None:
            if there:
                for name in case.path_parameters or {}:
                    if name in target.there:
                        known = target.there[name]
                        case.path_parameters[name] = data.draw(st.sampled_from(known))
            parts = [unquote(str(part)) for part in (case.path_parameters or {}).values()]
            # These make it another path.
            assume(not {"", ".", ".."} & set(parts))
            response = case.call(headers=headers)
            if any("\n" in part for part in parts):
                assert response.status_code == 404  # no route takes it; the host application's
                return
            if case.operation.path.startswith(REST) and any("/" in part for part in parts):
                return  # another path
            case.validate_response(response, checks=[no_server_error, *CHECKS], headers=headers)

        # What is wrong with a path of text alone makes it another path.
        with suppress(Unsatisfiable):
            ask()
