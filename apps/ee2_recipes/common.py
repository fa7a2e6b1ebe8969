"""What the recipes share: their input, their output, and a call of the engine."""
from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

CALL_S = 120


def read_input() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the options that the client gave (a mapping, or a list with one) and the children."""
    given = json.loads(Path("input.json").read_text())["params"][0]
    options = given.get("params") or {}
    if isinstance(options, list) and len(options) == 1:
        options = options[0]
    if not isinstance(options, Mapping):
        fail(f"The recipe's params must be a mapping of options, not {options!r}")
    return dict(options), given["children"]


def write_result(result: dict[str, Any]) -> None:
    """Leaves the result."""
    Path("output.json").write_text(json.dumps({"version": "1.1", "result": [result]}))


def fail(message: str) -> NoReturn:
    """Ends the job with an error for people."""
    print(message, file=sys.stderr, flush=True)
    error = {"code": -32000, "name": "Recipe", "message": message, "error": message}
    Path("output.json").write_text(json.dumps({"error": error}))
    sys.exit(1)


def text_option(options: Mapping[str, Any], name: str, hint: str) -> str:
    """Returns a mandatory option."""
    value = options.get(name)
    if not isinstance(value, str) or not value:
        fail(f"The recipe needs the option '{name}': {hint}")
    return value


def at(value: Any, path: str) -> Any:
    """Returns what stands in a result under a path such as `objects_created.0.ref`; None if
    nothing does."""
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def first(child: Mapping[str, Any]) -> Any:
    """Returns a child's result proper: KBase's methods return a list with one value."""
    result = child.get("result")
    return result[0] if isinstance(result, list) and result else result


def engine_url() -> str:
    """Returns the engine's address, as the runner left it for the app."""
    for line in Path("config.properties").read_text().splitlines():
        name, _, value = line.partition(" = ")
        if name == "job_service_url":
            return value.strip()
    fail("config.properties names no job_service_url")


def request(url: str, body: bytes | None = None) -> Any:
    """Opens an address of the engine with the job's token; the answer is to be closed."""
    token = Path("ee2_token").read_text().strip()
    asked = urllib.request.Request(url, body, {"Authorization": token})
    # The engine is this job's own server: no proxy stands between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(asked, timeout=CALL_S)


def call(method: str, params: Mapping[str, Any]) -> Any:
    """Calls a method of the engine; its only result. Ends the job if the engine refuses."""
    body = {"version": "1.1", "id": "1", "method": method, "params": [params]}
    try:
        with request(engine_url(), json.dumps(body).encode()) as answer:
            return json.load(answer)["result"][0]
    except urllib.error.HTTPError as e:
        try:
            message = json.load(e)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = str(e)
        fail(f"The engine refused {method}: {message}")
    except OSError as e:
        fail(f"The engine does not answer ({method}): {e}")


def job_id() -> str:
    """Returns the id of this job."""
    return str(json.loads(Path("input.json").read_text())["id"])
