"""The OpenAPI description of what is not JSON-RPC, and the page that shows it.

All but the REST API is written by hand because the routes are plain ASGI; a fuzzer that reads it
(`tests/services/test_fuzz_rest.py`) holds it and the routes together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import swagger_ui_bundle
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from api_bridge.openapi_examples import AWE, RPC_ERROR, RPC_REQUEST, RPC_RESULT
from api_bridge.openapi_rest import described

Schema = dict[str, Any]

_ASSETS = Path(swagger_ui_bundle.swagger_ui_path)
_SERVED = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_TEXT: Schema = {"text/plain": {"schema": {"type": "string"}}}
_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{24}$", "example": "66f2a1b3c4d5e6f708192a3b"}


def _problem(text: str) -> Schema:
    return {"description": text, "content": _TEXT}


_NO_TOKEN = _problem("no token, or one that is not valid")
_NOT_FOUND = _problem("there is no such thing, or the caller may not see it")
_TRY_AGAIN = _problem("the job database does not answer at the moment; try again")


def _path(name: str, text: str, schema: Schema | None = None) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": schema or {"type": "string", "minLength": 1},
    }


def _query(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": schema}


_AS_ADMIN = _query("as_admin", "with an administrator's rights", {"type": "boolean"})
_SKIP = _query("skip", "leave out so many", {"type": "integer", "minimum": 0, "maximum": 10**8})


def _artifacts() -> Schema:
    where = [
        _path("submission", "id of the submission", _ID),
        _path("job", "id of the job that left the file", _ID),
        _path("name", "the file's name", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,50}$"}),
    ]
    file: Schema = {"schema": {"type": "string", "format": "binary"}}
    read: Schema = {
        "parameters": [
            _AS_ADMIN,
            _query(
                "frame", "for a frame in a page: HTML may run no script", {"type": "boolean"}
            ),
        ],
        "responses": {
            "200": {"description": "the file", "content": {"*/*": file}},
            "400": _problem("the name cannot be a file's"),
            "401": _NO_TOKEN,
            "403": _problem("an administrator's rights were asked for, and there are none"),
            "404": _NOT_FOUND,
            "503": _TRY_AGAIN,
        },
    }
    return {
        "parameters": where,
        "get": {
            **read,
            "summary": "Fetch a file that a job left",
            "operationId": "getArtifact",
            "tags": ["files"],
        },
        "head": {
            "parameters": [_AS_ADMIN],
            "summary": "How large the file is",
            "operationId": "headArtifact",
            "tags": ["files"],
            "responses": {
                code: {"description": answer["description"]}
                for code, answer in read["responses"].items()
            },
        },
        "put": {
            "summary": "Leave a file; with the job's own token, while it runs",
            "operationId": "putArtifact",
            "tags": ["files"],
            "requestBody": {"content": {"application/octet-stream": file}},
            "responses": {
                "201": {"description": "stored"},
                "400": _problem("the name cannot be a file's"),
                "401": _NO_TOKEN,
                "403": _problem("this is not the token of that job, or the job has ended"),
                "503": _TRY_AGAIN,
            },
        },
    }


def _page(summary: str, operation: str, kind: str, parameters: list[Schema]) -> Schema:
    return {
        "get": {
            "summary": summary,
            "operationId": operation,
            "tags": ["pages"],
            "parameters": parameters,
            "security": [{"airflow": []}],
            "responses": {
                "200": {"description": "the page", "content": {kind: _TEXT["text/plain"]}},
                "400": _problem("this is no id"),
                "401": _problem("not signed in to Airflow"),
                "404": _NOT_FOUND,
                "503": _TRY_AGAIN,
            },
        }
    }


def _pages() -> Schema:
    submission = _path("submission", "id of the submission", _ID)
    job = _path("job", "id of the job", _ID)
    return {
        "/ee2/jobs/{submission}": _page(
            "The jobs of a submission", "jobsPage", "text/html", [submission, _SKIP]
        ),
        "/ee2/jobs/{submission}/{job}/log": _page(
            "The log of a job", "logPage", "text/plain", [submission, job, _SKIP]
        ),
    }


_AWE_CODES = {
    "200": "done",
    "400": "what was asked is wrong",
    "401": "no token, one that is not valid, or too few rights",
    "404": "no such job, or not for this caller",
    "501": "AWE had this, and this service does not",
    "503": "the job database does not answer at the moment",
}


def _awe(summary: str, operation: str, parameters: list[Schema], **more: Any) -> Schema:
    answers: Schema = {
        code: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Awe"}}},
        }
        for code, text in _AWE_CODES.items()
    }
    told = {"status": 200, "data": AWE[operation], "error": None}
    answers["200"]["content"]["application/json"]["example"] = told
    return {
        "summary": summary,
        "operationId": operation,
        "tags": ["AWE"],
        "parameters": parameters,
        "security": [{"awe": []}],
        "responses": answers,
        **more,
    }


def _flag(name: str, text: str) -> Schema:
    return {
        **_query(name, text, {"type": "string", "enum": ["1"]}),
        "allowEmptyValue": True,
    }


def _awe_paths() -> Schema:
    job = _path("job", "AWE's id of the job, or this engine's")
    limit: Schema = {"type": "integer", "minimum": 0, "maximum": 500, "default": 25}
    upload: Schema = {
        "type": "object",
        "required": ["upload"],
        "properties": {
            "upload": {
                "type": "string",
                "format": "binary",
                "description": "the job document, JSON: info.name is the method, info.userattr may "
                "have params, wsid, service_ver, app_id, source_ws_objects, meta; one task",
            }
        },
    }
    listing = [
        _flag("query", "filter by document paths"),
        _flag("active", "jobs that have not ended"),
        _flag("suspend", "failed and suspended jobs"),
        _flag("registered", "both"),
        *(
            _query(path, f"only jobs with this {path}; several: comma", {"type": "string"})
            for path in ("state", "info.user", "info.name", "info.clientgroups")
        ),
        _query("date_start", "submitted or ended from then on", {"type": "string"}),
        _query("date_end", "submitted or ended before that", {"type": "string"}),
        _query("limit", "so many at most", limit),
        _query("offset", "leave out so many", {"type": "integer", "minimum": 0}),
        _query(
            "order",
            "sorted by",
            {"type": "string", "enum": ["info.submittime", "updatetime", "info.completedtime"]},
        ),
        _query("direction", "", {"type": "string", "enum": ["asc", "desc"]}),
    ]
    return {
        "/awe-api/job": {
            "get": _awe("The caller's jobs", "aweJobs", listing),
            "post": _awe(
                "Submit a job",
                "aweSubmit",
                [],
                requestBody={"content": {"multipart/form-data": {"schema": upload}}},
            ),
        },
        "/awe-api/job/{job}": {
            "parameters": [job],
            "get": _awe(
                "A job",
                "aweJob",
                [
                    _flag("position", "its place in the queue instead"),
                    _flag("report", "a short log instead"),
                ],
            ),
            "put": _awe(
                "Suspend, resume, or change the priority",
                "aweChange",
                [
                    _flag("suspend", "end it so that it can be resumed"),
                    _flag("resume", "run it again"),
                    _query("priority", "1 to 21, larger first", {"type": "integer"}),
                ],
            ),
            "delete": _awe("Cancel a job", "aweDelete", [_flag("full", "and show it no more")]),
        },
        "/awe-api/job/{job}/acl": {
            "parameters": [job],
            "get": _awe("Who may read and write a job", "aweAccess", []),
        },
        "/awe-api/queue": {
            "get": _awe(
                "How many jobs wait and run",
                "aweQueue",
                [_flag("json", "as numbers, not as a text")],
                security=[],
            )
        },
    }


def _rpc() -> Schema:
    request: Schema = {
        "type": "object",
        "required": ["version", "id", "method", "params"],
        "properties": {
            "version": {"type": "string", "enum": ["1.1"]},
            "id": {"type": "string"},
            "method": {"type": "string", "example": "execution_engine2.check_job"},
            "params": {"type": "array", "items": {}, "example": [{"job_id": "66f2…"}]},
        },
    }
    def answer(example: Schema) -> Schema:
        return {"application/json": {"schema": {"type": "object"}, "example": example}}

    return {
        "post": {
            "summary": "JSON-RPC 1.1: every method of EE2 and of the old services",
            "description": "The methods are described in `docs/api.md`.",
            "operationId": "rpc",
            "tags": ["JSON-RPC"],
            "requestBody": {
                "content": {"application/json": {"schema": request, "example": RPC_REQUEST}}
            },
            "responses": {
                "200": {"description": "`result` is a list with the result",
                        "content": answer(RPC_RESULT)},
                "500": {"description": "`error` has code, name and message",
                        "content": answer(RPC_ERROR)},
            },
        }
    }


def document(
    version: str, base: str, paths: Collection[str], mounted: Mapping[str, FastAPI]
) -> Schema:
    """The description. base: the address that the application is mounted at, as the browser sees
    it. paths: of the application's routes; the pages are described where they are served. mounted:
    applications that describe themselves, by their path."""
    found: Schema = {
        "/ee2": _rpc(),
        "/ee2/artifacts/{submission}/{job}/{name}": _artifacts(),
        **_awe_paths(),
    }
    found |= {path: page for path, page in _pages().items() if path in paths}
    schemas: Schema = {}
    for path, app in mounted.items():
        more, of_these = described(app, path)
        found |= more
        schemas |= of_these
    token: Schema = {"type": "apiKey", "in": "header", "name": "Authorization"}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "EE2 on Airflow",
            "version": version,
            "description": "The REST API of KBase's execution engine, its files and pages, its "
            "JSON-RPC address, and the resources of AWE that old clients use.",
        },
        "servers": [{"url": base}],
        "security": [{"token": []}, {"airflow": []}],
        "components": {
            "securitySchemes": {
                "token": {**token, "description": "a user's token, bare, or the job's own"},
                "awe": {**token, "description": "`OAuth` and a user's token"},
                "airflow": {"type": "apiKey", "in": "cookie", "name": "_token"},
            },
            "schemas": {
                **schemas,
                "Awe": {
                    "type": "object",
                    "required": ["status", "data", "error"],
                    "properties": {
                        "status": {"type": "integer"},
                        "data": {"nullable": True},
                        "error": {"type": "array", "nullable": True, "items": {"type": "string"}},
                        "limit": {"type": "integer"},
                        "offset": {"type": "integer"},
                        "total_count": {"type": "integer"},
                    },
                }
            },
        },
        "paths": found,
    }


def routes(
    version: Callable[[], str],
    paths: Callable[[], Collection[str]],
    mounted: Mapping[str, FastAPI],
) -> list[Route]:
    """`/ee2/openapi.json`, and `/ee2/docs` with the scripts that it needs: no other site is asked
    for them. version and paths are asked for at each request."""

    async def schema(request: Request) -> Response:
        base = request.url.path.removesuffix("/ee2/openapi.json")
        return JSONResponse(document(version(), base or "/", paths(), mounted))

    async def page(request: Request) -> Response:
        base = request.url.path.rstrip("/")
        answer = get_swagger_ui_html(
            openapi_url=base.removesuffix("/docs") + "/openapi.json",
            title="EE2 on Airflow: REST",
            swagger_js_url=f"{base}/swagger-ui-bundle.js",
            swagger_css_url=f"{base}/swagger-ui.css",
            swagger_favicon_url=f"{base}/favicon-32x32.png",
        )
        answer.headers["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
        )
        return answer

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _SERVED:
            return Response("Not Found", 404)
        return FileResponse(_ASSETS / name, headers={"Cache-Control": "max-age=86400"})

    return [
        Route("/ee2/openapi.json", schema),
        Route("/ee2/docs", page),
        Route("/ee2/docs/{name}", asset),
    ]
