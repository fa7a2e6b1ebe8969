"""Examples for the OpenAPI document: of each operation what it takes and what it answers.

They are put together from the examples that stand beside the fields. What has none there (counts,
times, ids of which there are many) is looked up here by its name, or `Model.name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

_ID = "66f2a1b3c4d5e6f708192a3b"
_IDS = [_ID, "66f2a1b3c4d5e6f708192a3c"]
_MS = 1727185950123
_HOUR_MS = 3_600_000

_LIKE: Mapping[str, Any] = {
    "id": _ID, "ids": _IDS, "gone": _IDS[1:], "job_id": _ID, "user": "ana", "owner": "ana",
    "status": "running", "sentence": "It runs on node7.", "text": "staging file 17 is empty",
    "action": "cancel", "reason": "no longer needed", "priority": -5,
    "code_words": "the app failed", "as_of": _MS, "created": _MS - _HOUR_MS,
    "today": _MS - 8 * _HOUR_MS, "since": _MS - _HOUR_MS, "last_used": _MS,
    "version": "1727185950:44", "total": 230, "done": 120, "count": 9, "more": 0,
    "elapsed_ms": _HOUR_MS, "cpu_hours": 12.5, "run_hours": 14.2, "hours_lost": 3.5, "cpu_s": 12.5,
    "wait_ms": 4000, "wall_ms": 14_100, "cpu_ms": 12_500, "running": 5, "waiting": 14, "cpus": 32,
    "cpus_claimed": 20, "load": 17.5, "memory_mb": 128_000, "memory_claimed_mb": 64_000, "jobs": 5,
    "ended_hour": 40, "failed_hour": 12, "ended_week": 2100, "failed_week": 60, "groups": ["njs"],
    "users": ["ben"], "active_user_names": ["ana", "ben"], "source_ws_objects": ["48213/5/1"],
    "is_batch": False, "paused": False, "cut": False, "as_admin": False, "drained": False,
    "Amounts.total": 384, "Amounts.claimed": 301, "Amounts.used": 260, "Amounts.free": 67,
    "Amounts.drained": 16,
    "Facets.status": {"error": 12, "completed": 480}, "Facets.group": {"njs": 492},
    "Facets.app": {"kb_uploadmethods/import_fastq": 492}, "Facets.user": {"ana": 492},
    "Excluded.reason": "it is completed",
    "AdminBox.record": {"_id": _ID, "user": "ana", "status": "error"},
    "IoPart.value": [{"reads": "48213/5/1", "k": 31}], "CompareParam.values": [21, 31],
    "CompareParam.has": [True, True], "CompareParam.same": False,
    "Mine.sizes": {"cpus": {"value": 16, "words": "16 cores per job, set by root on 2026-11-22"}},
    "State.drained": {"bigmem": {"by": "root", "at": _MS, "reason": "new disks"}},
    "Preview.users": [{"user": "ana", "held_back": 14}],
    "Notices.unread": {"value": 2, "exact": True},
    "LogDiff.hunks": [[
        {"sign": "-", "a": 1204, "b": None, "text": "staging file 17 is empty"},
        {"sign": "+", "a": None, "b": 1204, "text": "staging file 17 has 120 reads"},
        {"sign": " ", "a": 1205, "b": 1205, "text": "ends"},
    ]],
}  # fmt: skip
# Fields that do not go together.
_MODELS: Mapping[str, Schema] = {
    "Row": {
        "id": _ID, "status": "error", "app_id": "kb_Bowtie2/align_reads",
        "app_title": "Align paired reads with bowtie2", "method": "kb_Bowtie2.align_reads",
        "user": "ana", "ws_id": 48213, "narrative": "Soil metagenomes", "group": "njs",
        "node": "node7", "created": _MS - _HOUR_MS, "queued": _MS - _HOUR_MS + 900,
        "running": _MS - _HOUR_MS + 4000, "finished": _MS, "wait_ms": 4000,
        "run_ms": _HOUR_MS - 4000, "error_code": 1, "error_line": "staging file 17 is empty",
        "can_retry": True,
    },
    "Timings": {
        "created": _MS - _HOUR_MS, "queued": _MS - _HOUR_MS + 900,
        "running": _MS - _HOUR_MS + 4000, "finished": _MS, "wait_ms": 4000,
        "run_ms": _HOUR_MS - 4000,
    },
}  # fmt: skip
# Which of several forms an operation answers with.
_FORMS: Mapping[str, str] = {
    "setTimeRule": "Rule", "unsetTimeRule": "Rule", "setSizes": "Size", "unsetSizes": "Size",
}  # fmt: skip
# Of what is no JSON, or JSON of any form.
_CONTENTS: Mapping[str, Mapping[str, Any]] = {
    "jobEvents": {
        "text/event-stream": 'event: change\nid: 1727185950:44\ndata: {"items": [], "gone": '
        f'["{_ID}"], "as_of": {_MS}, "version": "1727185950:44"}}\n\n'
    },
    "exportJobs": {"text/csv": f"id,status,app_id\r\n{_ID},error,kb_Bowtie2/align_reads\r\n"},
    "logRaw": {
        "text/plain": "begins\nstaging file 17 is empty\n",
        "application/jsonl": f'{{"n":0,"t":{_MS},"err":false,"text":"begins"}}\n',
    },
    "jobIoRaw": {"application/json": [{"reads": "48213/5/1", "k": 31}]},
    "batchTable": {"text/csv": f"n,id,status\r\n0,{_ID},completed\r\n"},
    "auditTable": {
        "text/csv": "at,who,what,target,reason,details,outcome,error,made\r\n"
        "2026-11-22T10:30:00.000+00:00,root,pause,,new disks,,done,,\r\n"
    },
}

# Of what `openapi.py` describes by hand: JSON-RPC, and AWE's resources.
RPC_REQUEST: Schema = {
    "version": "1.1", "id": "17", "method": "execution_engine2.check_job",
    "params": [{"job_id": _ID}],
}  # fmt: skip
RPC_RESULT: Schema = {
    "version": "1.1", "id": "17", "result": [{"job_id": _ID, "user": "ana", "status": "running"}],
}  # fmt: skip
RPC_ERROR: Schema = {
    "version": "1.1", "id": "17",
    "error": {
        "name": "Server error", "code": -32000, "error": None,
        "message": f"Cannot find job with ids: ['{_ID}']",
    },
}  # fmt: skip
_AWE_JOB: Schema = {
    "id": _ID, "state": "in-progress", "info": {"name": "kb_Bowtie2.align_reads", "user": "ana"},
}  # fmt: skip
AWE: Mapping[str, Any] = {
    "aweJobs": [_AWE_JOB], "aweSubmit": _AWE_JOB, "aweJob": _AWE_JOB,
    "aweChange": f"job suspended: {_ID}", "aweDelete": f"job deleted: {_ID}",
    "aweAccess": {"owner": "ana", "read": ["ana", "ben"], "write": ["ana"], "delete": ["ana"]},
    "aweQueue": "+++++AWE server queue status+++++\ntotal jobs        : 12\n",
}  # fmt: skip


def add_examples(paths: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> None:
    """Give each body and each good answer of these operations an example, where it has none."""
    for operations in paths.values():
        for operation in operations.values():
            own = _CONTENTS.get(operation["operationId"], {})
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "schema" in media and "example" not in media:
                    media["example"] = _Maker(schemas, body=True).of(media["schema"])
            for code, answer in operation["responses"].items():
                for kind, media in answer.get("content", {}).items() if code < "300" else ():
                    if kind in own:
                        media["example"] = own[kind]
                    elif kind == "application/json" and "example" not in media:
                        form = _FORMS.get(operation["operationId"], "")
                        media["example"] = _Maker(schemas, form=form).of(media["schema"])


class _Maker:
    """Makes examples. body: of what a client sends: the fields that must be there, those with an
    example, and the reason. form: the model to take where there are several."""

    def __init__(
        self, schemas: Mapping[str, Schema], *, body: bool = False, form: str = ""
    ) -> None:
        self._schemas = schemas
        self._body = body
        self._form = form

    def of(self, schema: Schema, name: str = "", model: str = "") -> Any:
        """An example of what the schema says, by that name in that model; LookupError if none can
        be made."""
        if "example" in schema:
            return schema["example"]
        if f"{model}.{name}" in _LIKE:
            return _LIKE[f"{model}.{name}"]
        if schema.get("default") not in (None, "", {}):
            return schema["default"]
        if "$ref" in schema:
            model = schema["$ref"].rsplit("/")[-1]
            return self.of(self._schemas[model], name, model.rsplit("__")[-1])
        for word in ("allOf", "anyOf"):
            if word in schema:
                choices = schema[word]
                fitting = [c for c in choices if c.get("$ref", "").endswith(f"/{self._form}")]
                return self.of((fitting or choices)[0], name, model)
        if "properties" in schema:
            return self._object(schema, model)
        if schema.get("items", {}).keys() & {"$ref", "allOf"}:
            return [self.of(schema["items"], name, model)]
        if schema.get("enum"):
            return schema["enum"][0]
        if schema.get("nullable") and name != "reason":
            return None
        if name in _LIKE:
            return _LIKE[name]
        if schema.get("type") == "boolean":
            return True
        raise LookupError(f"no example for {model}.{name}: give the field one")

    def _object(self, schema: Schema, model: str) -> Schema:
        if model in _MODELS:
            return dict(_MODELS[model])
        needed = schema.get("required", ())
        made = {}
        for name, one in schema["properties"].items():
            if self._body and not (name in needed or "example" in one or name == "reason"):
                continue
            value = self.of(one, name, model)
            # What is not so is left out.
            if value is not None or name in needed:
                made[name] = value
        return made
