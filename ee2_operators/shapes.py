"""What the dag-processor reads: the documents of the shapes, or what was read last."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

log = logging.getLogger(__name__)

TIMEOUT_MS = 2000


def load_shapes(uri: str, snapshot: Path, only: str | None = None) -> list[dict[str, Any]]:
    """The documents of all shapes that Airflow has to know, or of one.

    A retired shape is left out once no submission of it is under way: a run whose DAG is gone never
    ends. While MongoDB is away the documents come from `snapshot`, which every good read writes:
    an exception here, or a shape that is missing, would stop the runs of all shapes.
    """
    try:
        documents = _read(uri, only)
    except PyMongoError as e:
        log.warning("MongoDB does not answer; the shapes are those of the last read: %s", e)
        return _last_read(snapshot, only)
    if only is None:
        _write(snapshot, documents)
    return documents


def _read(uri: str, only: str | None) -> list[dict[str, Any]]:
    fields = {"kind": 1, "stages": 1, "retired": 1}
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=TIMEOUT_MS) as client:
        database = client.get_default_database("ee2")
        query = {"_id": only} if only else {}
        documents = list(database["ee2_shapes"].find(query, fields).sort("_id"))
        retired = [d["_id"] for d in documents if d.get("retired")]
        if retired:
            under_way = {"shape": {"$in": retired}, "status": {"$ne": "ended"}}
            needed = set(database["ee2_submissions"].distinct("shape", under_way))
            documents = [d for d in documents if not d.get("retired") or d["_id"] in needed]
        return documents


def _last_read(snapshot: Path, only: str | None) -> list[dict[str, Any]]:
    try:
        documents = json.loads(snapshot.read_text())
    except (OSError, ValueError) as e:
        log.error("There is no usable last read either (%s): no DAG of a submission is known", e)
        return []
    return [d for d in documents if only in (None, d["_id"])]


def _write(snapshot: Path, documents: list[dict[str, Any]]) -> None:
    text = json.dumps(documents)
    try:
        if snapshot.exists() and snapshot.read_text() == text:
            return
        part = snapshot.with_name(f"{snapshot.name}.{os.getpid()}")
        part.write_text(text)
        part.replace(snapshot)
    except OSError as e:
        log.warning("The shapes could not be written to %s: %s", snapshot, e)
