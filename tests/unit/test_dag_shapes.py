"""From shapes to DAGs, and what the dag-processor reads, without any service."""

import json
from pathlib import Path

import pytest

pytest.importorskip("airflow")

from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.triggers.base import TaskFailedEvent

from ee2_jobs.model import StageName
from ee2_jobs.plan import MIXED, Shape, ShapeStage, shape_of
from ee2_operators import admin
from ee2_operators.chores import Chore
from ee2_operators.chores.common import Done
from ee2_operators.dag import build_dag
from ee2_operators.operators import STAGE_OPERATORS, JobsLink
from ee2_operators.shapes import load_shapes

NOBODY_THERE = "mongodb://127.0.0.1:1/ee2?serverSelectionTimeoutMS=50"
JOB = shape_of("job", {"m.f"})
FULL = shape_of("split_aggregate", {"m.f"}, split="m.s", aggregate="m.a")
SHAPES = [
    JOB,
    FULL,
    shape_of("batch", {"m.f", "m.g"}),
    shape_of("batch", {"m.f"}, aggregate="ee2_recipes.report"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.dag_id)
def test_tasks_are_the_stages_in_a_row(shape: Shape) -> None:
    dag = build_dag(shape)
    names = [s.name.value for s in shape.stages]
    assert [t.task_id for t in dag.topological_sort()] == names
    assert dag.dag_id == shape.dag_id
    for task, before in zip(dag.topological_sort(), [None, *names], strict=False):
        assert task.upstream_task_ids == ({before} if before else set())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.dag_id)
def test_no_worker_and_no_limit_of_airflows(shape: Shape) -> None:
    dag = build_dag(shape)
    assert dag.max_active_runs >= 100_000 and dag.max_active_tasks >= 100_000
    assert dag.catchup is False and dag.schedule is None
    for task in dag.tasks:
        assert task.start_from_trigger and task.retries == 0
        args = type(task).start_trigger_args
        assert args is not None and args.trigger_kwargs == {"stage": task.task_id}
        # Trap 7: a timeout of Airflow's would fail the task through a worker and stop no job.
        assert args.timeout is None and task.execution_timeout is None


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.dag_id)
def test_two_builds_are_one_version(shape: Shape) -> None:
    again = Shape.from_document(json.loads(json.dumps(shape.document())))
    first, second = (LazyDeserializedDAG.from_dag(build_dag(s)).data for s in (shape, again))
    for data in (first, second):
        data["dag"].pop("fileloc")
    assert first == second


def test_it_survives_airflows_serialization() -> None:
    data = LazyDeserializedDAG.from_dag(build_dag(FULL)).data
    dag = DagSerialization.from_dict(data)
    assert dag.tags == {"ee2", "m", "split_aggregate"}
    task = dag.get_task("submit")
    assert task.start_from_trigger
    assert "ee2_operators.trigger.StageTrigger" in json.dumps(data)


def test_texts_name_the_apps() -> None:
    dag = build_dag(FULL)
    assert "m.s" in dag.doc_md and "m.f" in dag.doc_md and "m.a" in dag.doc_md
    mixed = build_dag(shape_of("batch", {"m.f", "m.g"}))
    assert MIXED not in (mixed.description or "") and "several apps" in (mixed.description or "")


def test_the_link_is_on_every_stage() -> None:
    assert set(JobsLink.operators) == set(STAGE_OPERATORS.values())
    assert set(STAGE_OPERATORS) == set(StageName)


def test_without_mongodb_the_last_read_counts(tmp_path: Path) -> None:
    snapshot = tmp_path / "shapes.json"
    snapshot.write_text(json.dumps([JOB.document(), FULL.document()]))
    assert [d["_id"] for d in load_shapes(NOBODY_THERE, snapshot)] == [JOB.dag_id, FULL.dag_id]
    only = load_shapes(NOBODY_THERE, snapshot, FULL.dag_id)
    assert [d["_id"] for d in only] == [FULL.dag_id]


@pytest.mark.parametrize("content", [None, "", "{not json"])
def test_without_a_last_read_nothing_is_raised(tmp_path: Path, content: str | None) -> None:
    snapshot = tmp_path / "shapes.json"
    if content is not None:
        snapshot.write_text(content)
    assert load_shapes(NOBODY_THERE, snapshot) == []


@pytest.mark.parametrize(
    "document",
    [
        {"_id": "x", "kind": "job", "stages": []},
        {"_id": "x", "kind": "nonsense", "stages": [{"name": "submit", "method": "m.f"}]},
        {"_id": "x", "kind": "job", "stages": [{"name": "later", "method": "m.f"}]},
        {"_id": "x", "kind": "job"},
    ],
)
def test_a_bad_document_is_no_shape(document: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError, TypeError)):
        Shape.from_document(document)


def test_a_shape_without_jobs_has_no_dag() -> None:
    with pytest.raises(StopIteration):
        build_dag(Shape("job", (ShapeStage(StageName.SPLIT, "m.s"),)))


async def test_a_chore_ends_within_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 7 and 8: a trigger of ours keeps its own time, and never ends with an exception."""

    async def for_ever(work: object) -> Done:
        import asyncio

        await asyncio.sleep(60)
        return Done("late")

    monkeypatch.setattr(admin, "current_parts", lambda: None)
    monkeypatch.setattr(admin, "CHORES", {"for ever": Chore(for_ever, "slept", 0.05)})
    events = [e async for e in admin.AdminTrigger("for ever").run()]
    assert len(events) == 1 and isinstance(events[0], TaskFailedEvent)
    events = [e async for e in admin.AdminTrigger("no such chore").run()]
    assert len(events) == 1 and isinstance(events[0], TaskFailedEvent)
