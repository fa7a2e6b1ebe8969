"""Each operation in the OpenAPI document has examples, and they are what the code takes and
gives."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from api_bridge.openapi import document
from api_bridge.openapi_rest import described
from api_bridge.rest.api import create_rest_app
from api_bridge.rest.common import Rest
from ee2_jobs.browse.words import parse


def _no_service() -> Any:
    raise AssertionError("describing asks for nothing")


APP = create_rest_app(Rest(_no_service))
PATHS, SCHEMAS = described(APP, "")
ROUTES = {r.operation_id: r for r in APP.routes if isinstance(r, APIRoute)}
ALL = document("1", "/services", (), {"/ee2/api/v1": APP})["paths"]
OPERATIONS = {
    one["operationId"]: one
    for path in ALL.values()
    for verb, one in path.items()
    if verb not in ("parameters", "head")
}
# A file of any kind has none.
FILES = {"getArtifact", "putArtifact"}


def answers(operation: dict[str, Any]) -> dict[str, Any]:
    """What it answers with when all is well, by kind."""
    good = [answer for code, answer in operation["responses"].items() if code < "300"]
    assert len(good) == 1
    found: dict[str, Any] = good[0].get("content", {})
    return found


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - FILES))
def test_each_operation_has_examples(name: str) -> None:
    operation = OPERATIONS[name]
    told = answers(operation)
    assert told, f"{name} does not say what it answers"
    asked = {
        kind: body for kind, body in operation.get("requestBody", {}).get("content", {}).items()
        if kind == "application/json"
    }
    for kind, content in (*told.items(), *asked.items()):
        assert content.get("example"), f"{name}: no example of {kind}"


@pytest.mark.parametrize("name", sorted(str(n) for n in ROUTES))
def test_the_examples_are_what_the_code_means(name: str) -> None:
    operation, route = OPERATIONS[name], ROUTES[name]
    told = answers(operation)
    if route.response_model is not None and "application/json" in told:
        TypeAdapter(route.response_model).validate_python(told["application/json"]["example"])
    for taken in route.dependant.body_params:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        kind: Any = taken.field_info.annotation
        TypeAdapter(kind).validate_python(example)
        if isinstance(example, dict) and "filter" in example:
            assert parse(example["filter"])


def test_all_routes_are_described() -> None:
    assert ROUTES.keys() <= OPERATIONS.keys()


def test_what_can_be_read_again_has_an_etag() -> None:
    """Lists as tables, streams and downloads have none."""
    without = {
        one["operationId"] for path in PATHS.values() for verb, one in path.items()
        if verb == "get" and "304" not in one["responses"]
    }  # fmt: skip
    assert without == {
        "jobEvents", "exportJobs", "logRaw", "jobIoRaw", "batchTable", "auditTable",
    }  # fmt: skip
