"""What a client asks for, checked: from RunJobParams to a `JobRequest` and to the record.

Rules and texts: `ee2-api` 2.4 and 2.5 of EE2; texts that said only a key's name or a Python error
there say what is wrong here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from ee2_jobs.errors import InvalidInput, shown
from ee2_jobs.model import Document, StageName, Status, missing, now_s
from ee2_jobs.priority import parse_priority
from ee2_jobs.requirements import Requirements

CELL_KEYS = ("run_id", "token_id", "tag", "cell_id")
_INT64 = 2**63
MAX_DEPTH = 100
MAX_LABEL = 1000  # letters of what is copied into each job of a batch
MAX_REFS = 10_000  # of one job; in one call the Workspace takes as many


@dataclass(frozen=True)
class JobRequest:
    """One job that a client asks for, its form checked; nothing looked up yet."""

    module: str
    function: str
    params: Any
    app_id: str | None
    service_ver: str | None
    source_ws_objects: tuple[str, ...]
    cell: dict[str, str]
    wsid: int | None
    parent_job_id: str | None
    job_requirements: Any
    priority: int | None = None

    @property
    def method(self) -> str:
        """`module.function`."""
        return f"{self.module}.{self.function}"


def parse_request(params: Any, *, in_batch: bool = False) -> JobRequest:
    """A RunJobParams mapping, checked. Raises InvalidInput that names the field; unknown keys are
    ignored (rule C-18)."""
    if not isinstance(params, Mapping):
        raise InvalidInput("params must be a mapping")
    module, function = parse_method(params.get("method"))
    request = JobRequest(
        module=module,
        function=function,
        params=storable(params.get("params"), "params"),
        app_id=parse_app_id(params.get("app_id"), module),
        service_ver=_text(params, "service_ver"),
        source_ws_objects=parse_refs(params.get("source_ws_objects")),
        cell=parse_cell(params.get("meta")),
        wsid=None if in_batch else parse_wsid(params.get("wsid")),
        parent_job_id=parse_parent_id(params.get("parent_job_id")),
        job_requirements=params.get("job_requirements"),
        priority=parse_priority(params.get("priority")),
    )
    if in_batch:
        if params.get("wsid") is not None:
            raise InvalidInput("Workspace ids are not allowed in RunJobParams in Batch Mode")
        if request.parent_job_id:
            raise InvalidInput("batch jobs may not specify a parent job ID")
    return request


def _text(params: Mapping[str, Any], field: str) -> str | None:
    value = params.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be a string, not {shown(value)}")
    return value.strip() or None


def parse_method(value: Any, field: str = "method") -> tuple[str, str]:
    """`Module.function` as (module, function)."""
    if value is None or value == "":
        raise InvalidInput(
            f"Unrecognized {field}: '{value}'. Please input module_name.function_name"
        )
    if not isinstance(value, str):
        raise InvalidInput(
            f"{field} must be a string module_name.function_name, not {shown(value)}"
        )
    if value.count(".") != 1:
        if "." not in value:
            raise InvalidInput(
                f"Unrecognized {field}: '{value}'. Please input module_name.function_name"
            )
        raise InvalidInput(f"Expected exactly one '.' in {field} ID '{value}'")
    if any(unicodedata.category(c).startswith("C") for c in value):
        raise InvalidInput(f"{field} ID contains control characters")
    module, function = (part.strip() for part in value.split("."))
    if not module:
        raise InvalidInput(f"Missing input parameter: module portion of {field} ID")
    if not function:
        raise InvalidInput(f"Missing input parameter: method portion of {field} ID")
    return module, function


def parse_app_id(value: Any, module: str) -> str | None:
    """`mod/app`, `mod.app` or bare `mod`; the module must be the method's."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"app_id must be a string, not {shown(value)}")
    text = value.strip()
    if not text:
        return None
    if len(text) > MAX_LABEL:
        raise InvalidInput(f"application ID may have {MAX_LABEL} letters at most")
    if any(unicodedata.category(c).startswith("C") for c in text):
        raise InvalidInput("application ID contains control characters")
    if "/" in text and "." in text:
        raise InvalidInput(f"Application ID '{text}' has both '/' and '.' separators")
    for separator in ("/", "."):
        if separator not in text:
            continue
        if text.count(separator) > 1:
            raise InvalidInput(f"Expected exactly one '{separator}' in application ID '{text}'")
        first, second = (part.strip() for part in text.split(separator))
        if not first:
            raise InvalidInput("Missing input parameter: module portion of application ID")
        if not second:
            raise InvalidInput("Missing input parameter: application portion of application ID")
        if first != module:
            raise InvalidInput(f"Application module '{first}' must equal method module '{module}'")
        return text
    if text != module:
        raise InvalidInput(f"Application module '{text}' must equal method module '{module}'")
    return text


def parse_parent_id(value: Any) -> str | None:
    """`parent_job_id`, as EE2 any text; a short one, because each job of a batch has it."""
    if value is None:
        return None
    if not isinstance(value, str | int) or len(text := str(value)) > MAX_LABEL:
        raise InvalidInput(f"parent_job_id must be a job's id, not {shown(str(value)[:MAX_LABEL])}")
    return text


def parse_wsid(value: Any, field: str = "wsid") -> int | None:
    """A workspace id: null or a whole number from 1 on."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{field} must be a whole number, not {shown(value)}")
    if value < 1:
        raise InvalidInput(f"{field} must be at least 1")
    if value >= _INT64:
        raise InvalidInput(f"{field}: there is no workspace {value}")
    return value


def parse_refs(value: Any) -> tuple[str, ...]:
    """`source_ws_objects`: UPAs `workspace/object/version`, blanks around the parts removed."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidInput("source_ws_objects must be a list")
    if len(value) > MAX_REFS:
        raise InvalidInput(f"source_ws_objects: at most {MAX_REFS} objects, not {len(value)}")
    refs = []
    for i, ref in enumerate(value):
        parts = [p.strip() for p in ref.split("/")] if isinstance(ref, str) else []
        if len(parts) != 3 or not all(_is_upa_part(p) for p in parts):
            raise InvalidInput(
                f"source_ws_objects index {i}, '{ref}', is not a valid Unique Permanent Address"
            )
        refs.append("/".join(parts))
    return tuple(refs)


def _is_upa_part(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 19 and int(part) > 0


def parse_cell(meta: Any) -> dict[str, str]:
    """The narrative cell of `meta`; other keys are dropped, values must be strings."""
    if meta is None:
        return {}
    if not isinstance(meta, Mapping):
        raise InvalidInput("meta must be a mapping")
    cell = {}
    for key in CELL_KEYS:
        value = meta.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InvalidInput(f"meta.{key} must be a string, not {shown(value)}")
        if len(value) > MAX_LABEL:
            raise InvalidInput(f"meta.{key} may have {MAX_LABEL} letters at most")
        cell[key] = value
    return cell


def storable(value: Any, field: str) -> Any:
    """The value, if MongoDB can hold it: whole numbers within 64 bit, at most MAX_DEPTH levels, no
    NUL in a key. InvalidInput names the field."""
    pending = [([value], 0)]
    while pending:
        container, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{field}: nested more than {MAX_DEPTH} levels deep")
        for item in container:
            if isinstance(item, dict):
                if any("\0" in key for key in item):
                    raise InvalidInput(f"{field}: a key contains the NUL character")
                pending.append((list(item.values()), depth + 1))
            elif isinstance(item, list):
                pending.append((item, depth + 1))
            elif isinstance(item, int) and not -_INT64 <= item < _INT64:
                raise InvalidInput(f"{field}: MongoDB can only handle up to 8-byte ints")
    return value


def required(params: Mapping[str, Any], field: str) -> Any:
    """The value of a mandatory key; InvalidInput names it when it is absent."""
    if field not in params:
        raise missing(field)
    return params[field]


def job_document(
    request: JobRequest,
    *,
    user: str,
    service_ver: str,
    requirements: Requirements,
    submission: str,
    stage: StageName,
    index: int,
    wsid: int | None,
    priority: int,
    batch_id: str | None = None,
) -> Document:
    """The record of a new job in state `created`, as EE2 stores it (nulls left out)."""
    job_input: Document = {
        "method": request.method,
        "service_ver": service_ver,
        "source_ws_objects": list(request.source_ws_objects),
        "requirements": requirements.record(),
        "narrative_cell_info": request.cell,
    }
    if request.params is not None:
        job_input["params"] = request.params
    if request.app_id is not None:
        job_input["app_id"] = request.app_id
    if request.parent_job_id is not None:
        job_input["parent_job_id"] = request.parent_job_id
    document: Document = {
        "_id": ObjectId(),
        "user": user,
        "authstrat": "kbaseworkspace",
        "status": Status.CREATED.value,
        "updated": now_s(),
        "batch_job": False,
        "child_jobs": [],
        "retry_ids": [],
        "retry_saved_toggle": False,
        "job_input": job_input,
        "submission": submission,
        "role": stage.value,
        "stage": stage.value,
        "index": index,
        "try": 1,
        "priority": priority,
    }
    if wsid is not None:
        document["wsid"] = job_input["wsid"] = wsid
    if batch_id is not None:
        document["batch_id"] = batch_id
    if requirements.requested:
        document["job_requirements"] = dict(requirements.requested)
    return document


def parent_document(
    oid: ObjectId, *, user: str, wsid: int | None, cell: dict[str, str], children: list[str]
) -> Document:
    """The record of a batch's parent (`ee2-api` 2.5.1). It stays `created` until it is cancelled:
    clients stop asking about the children of a parent that has ended."""
    document: Document = {
        "_id": oid,
        "user": user,
        "authstrat": "kbaseworkspace",
        "status": Status.CREATED.value,
        "updated": now_s(),
        "batch_job": True,
        "child_jobs": children,
        "retry_ids": [],
        "retry_saved_toggle": False,
        "job_input": {
            "method": "batch",
            "app_id": "batch",
            "service_ver": "batch",
            "source_ws_objects": [],
            "narrative_cell_info": cell,
        },
    }
    if wsid is not None:
        document["wsid"] = wsid
    return document
