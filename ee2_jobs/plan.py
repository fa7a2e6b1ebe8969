"""Plans and shapes: what a submission consists of, as plain data.

A plan is a submission's stages in order. Its shape is the plan without arguments: two submissions
of the same app have the same shape, and each shape is one Airflow DAG.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from ee2_jobs.model import StageName

Kind = Literal["job", "batch", "split_aggregate"]
MIXED = "mixed"


@dataclass(frozen=True)
class ShapeStage:
    """A stage of a shape: its name and the method it runs (`mixed` for children of several)."""

    name: StageName
    method: str


@dataclass(frozen=True)
class Shape:
    """A plan without its arguments. `dag_id` is readable and the same for the same shape."""

    kind: Kind
    stages: tuple[ShapeStage, ...]

    @property
    def dag_id(self) -> str:
        """Module, method and kind; with a short hash where split or aggregate add to those."""
        main = next(s.method for s in self.stages if s.name == StageName.SUBMIT)
        name = f"{main}.{self.kind}"
        if len(self.stages) == 1:
            return name
        stages = ";".join(f"{s.name}={s.method}" for s in self.stages)
        return f"{name}.{hashlib.sha1(stages.encode(), usedforsecurity=False).hexdigest()[:6]}"

    def document(self) -> dict[str, object]:
        """As kept in `ee2_shapes`; never deleted, only retired (a run needs its DAG to end)."""
        return {
            "_id": self.dag_id,
            "kind": self.kind,
            "stages": [{"name": s.name.value, "method": s.method} for s in self.stages],
            "retired": False,
        }

    @classmethod
    def from_document(cls, document: dict[str, object]) -> Shape:
        """The shape of a document; KeyError, TypeError or ValueError if it is no shape."""
        stages = document["stages"]
        if not isinstance(stages, list) or not stages:
            raise ValueError(f"the shape {document.get('_id')} has no stages")
        if document["kind"] not in ("job", "batch", "split_aggregate"):
            raise ValueError(f"the shape {document.get('_id')} has an unknown kind")
        return cls(
            kind=document["kind"],
            stages=tuple(ShapeStage(StageName(s["name"]), s["method"]) for s in stages),
        )


def shape_of(
    kind: Kind, methods: set[str], split: str | None = None, aggregate: str | None = None
) -> Shape:
    """The shape of a submission whose jobs run `methods`, with its split and aggregate methods."""
    main = methods.copy().pop() if len(methods) == 1 else MIXED
    stages = []
    if split is not None:
        stages.append(ShapeStage(StageName.SPLIT, split))
    stages.append(ShapeStage(StageName.SUBMIT, main))
    if aggregate is not None:
        stages.append(ShapeStage(StageName.AGGREGATE, aggregate))
    return Shape(kind, tuple(stages))
