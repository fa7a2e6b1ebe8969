"""What differs between the inputs of a batch's children, in a few words: a child's label."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bson import ObjectId
from cachetools import LRUCache, TTLCache

from ee2_jobs.model import Document, StageName
from ee2_jobs.page.values import cut, json_bytes, leaves
from ee2_jobs.store import Store

MAX_LABEL_BYTES = 77  # and the sign that something is cut
STEPS = (StageName.SPLIT.value, StageName.AGGREGATE.value)
_SAMPLE = 100  # children, from which is learnt what differs
_PLACES = 3  # differing values in a label
_LEAVES = 200  # of one child that are looked at
_VALUE_BYTES = 80
# Inputs larger than this are not read for a list: such a row has no label.
_MAX_INPUT_BYTES = 64_000
_KEPT_S = 30.0

_places: TTLCache[tuple[int, str], tuple[str, ...]] = TTLCache(1000, _KEPT_S)
# The inputs of a job never change.
_labels: LRUCache[tuple[ObjectId, tuple[str, ...]], str] = LRUCache(50_000)


def child_query(batch_id: str) -> Document:
    """The children of a batch as people count them: the newest attempt of each, without abandoned
    ones, and without the steps before and after."""
    return {
        "batch_id": batch_id,
        "role": {"$nin": list(STEPS)},
        "superseded": {"$ne": True},
        "abandoned": {"$ne": True},
    }


async def differing(store: Store, batch_id: str) -> tuple[str, ...]:
    """The places in the children's parameters whose values differ between them, those first that
    differ most; learnt from some of the children, and remembered for half a minute."""
    known = _places.get((id(store), batch_id))
    if known is not None:
        return known
    found = store.jobs.find(child_query(batch_id), {"params": _small_params()})
    values: dict[str, set[bytes]] = {}
    seen = 0
    async for child in found.limit(_SAMPLE):
        seen += 1
        for path, value in _few_leaves(child.get("params")):
            values.setdefault(path, set()).add(json_bytes(value))
    differ = [(path, len(of)) for path, of in values.items() if len(of) > 1]
    if not differ and seen > 1:
        differ = [(path, 0) for path, of in values.items() if len(of) == 1][:1]
    paths = tuple(path for path, _ in sorted(differ, key=lambda one: -one[1])[:_PLACES])
    if seen:
        _places[id(store), batch_id] = paths
    return paths


def label(params: Any, paths: Sequence[str]) -> str:
    """What differs, in words: `name=value`, the place shortened to its last name."""
    values = dict(_few_leaves(params))
    parts = []
    for path in paths:
        if path in values:
            value = values[path]
            text = value if isinstance(value, str) else json_bytes(value).decode()
            parts.append(f"{path.rsplit('.', 1)[-1]}={cut(text, _VALUE_BYTES)}")
    return ", ".join(parts)


async def labels(
    store: Store, batch_id: str, children: Collection[ObjectId]
) -> Mapping[ObjectId, str]:
    """The labels of some children of a batch, MAX_LABEL_BYTES each; those without one are left
    out."""
    paths = await differing(store, batch_id)
    if not paths:
        return {}
    wanted = [oid for oid in children if (oid, paths) not in _labels]
    if wanted:
        found = store.jobs.find({"_id": {"$in": wanted}}, {"params": _small_params()})
        async for child in found:
            text = " ".join(label(child.get("params"), paths).split())
            _labels[child["_id"], paths] = cut(text, MAX_LABEL_BYTES) or ""
    told = {oid: _labels.get((oid, paths)) for oid in children}
    return {oid: text for oid, text in told.items() if text}


def _small_params() -> Document:
    """For a projection: the parameters, unless they are large."""
    params = "$job_input.params"
    size = {"$bsonSize": {"params": params}}
    return {"$cond": [{"$lt": [size, _MAX_INPUT_BYTES]}, params, None]}


def _few_leaves(params: Any) -> Sequence[tuple[str, Any]]:
    return [leaf for leaf, _ in zip(leaves(params), range(_LEAVES), strict=False)]
