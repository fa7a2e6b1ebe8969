"""FastAPI's description of the REST routes, in the older form that the rest of the document has.

FastAPI writes OpenAPI 3.1; the page that shows the document knows 3.0, as do many generators.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api_bridge.openapi_examples import add_examples

Schema = dict[str, Any]


def described(app: FastAPI, prefix: str) -> tuple[Schema, Schema]:
    """The paths of an application mounted at `prefix`, and the schemas that they refer to, in
    OpenAPI 3.0."""
    found = get_openapi(title="", version="", routes=app.routes)
    paths = {}
    for path, operations in found["paths"].items():
        for operation in operations.values():
            # Ours says 400, in another form.
            operation["responses"].pop("422", None)
        paths[prefix + path] = _older(operations)
    schemas = found.get("components", {}).get("schemas", {})
    theirs = ("HTTPValidationError", "ValidationError")
    older = {name: _older(s) for name, s in schemas.items() if name not in theirs}
    add_examples(paths, older)
    return paths, older


def _older(value: Any) -> Any:
    """A part of a 3.1 document as 3.0 says the same."""
    if isinstance(value, list):
        return [_older(one) for one in value]
    if not isinstance(value, dict):
        return value
    new = {name: _older(one) for name, one in value.items()}
    choices = new.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [one for one in choices if one != {"type": "null"}]
        del new["anyOf"]
        if len(rest) > 1:
            new = {**new, "anyOf": rest, "nullable": True}
        elif rest and "$ref" in rest[0]:
            # Beside a reference nothing counts.
            new = {**new, "allOf": rest, "nullable": True}
        else:
            new = {**(rest[0] if rest else {}), **new, "nullable": True}
    if isinstance(new.get("examples"), list):
        examples = new.pop("examples")
        if examples:
            new.setdefault("example", examples[0])
    if "const" in new and "enum" not in new:
        new["enum"] = [new.pop("const")]
    if isinstance(new.get("prefixItems"), list):
        new["items"] = {"anyOf": new.pop("prefixItems")}
    for word, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        bound = new.get(word)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            new = {**new, limit: bound, word: True}
    new.pop("propertyNames", None)
    return new
