"""Shapes: the same for the same apps, readable, and safe to come back from MongoDB."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ee2_jobs.plan import MIXED, Shape, shape_of

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}\.[a-z][a-z0-9_]{0,20}", fullmatch=True)


def test_dag_ids_are_readable() -> None:
    assert shape_of("job", {"kb_Bowtie2.align_reads"}).dag_id == "kb_Bowtie2.align_reads.job"
    assert shape_of("batch", {"a.b", "a.c"}).dag_id == f"{MIXED}.batch"
    full = shape_of("split_aggregate", {"a.b"}, "a.s", "a.m").dag_id
    assert full.startswith("a.b.split_aggregate.")
    assert full != shape_of("split_aggregate", {"a.b"}, "a.s", "ee2_recipes.report").dag_id


@given(
    st.sampled_from(["job", "batch", "split_aggregate"]),
    st.sets(names, min_size=1, max_size=3),
    st.none() | names,
    st.none() | names,
)
def test_a_shape_survives_its_document(kind, methods, split, aggregate) -> None:  # type: ignore[no-untyped-def]
    shape = shape_of(kind, methods, split, aggregate)
    assert Shape.from_document(shape.document()) == shape
    assert len(shape.dag_id) <= 250


@pytest.mark.parametrize(
    "document",
    [
        {"_id": "x"},
        {"_id": "x", "kind": "job", "stages": []},
        {"_id": "x", "kind": "party", "stages": [{"name": "submit", "method": "a.b"}]},
        {"_id": "x", "kind": "job", "stages": [{"name": "dance", "method": "a.b"}]},
        {"_id": "x", "kind": "job", "stages": ["submit"]},
    ],
)
def test_a_bad_document_raises_and_does_not_become_a_shape(document: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Shape.from_document(document)
