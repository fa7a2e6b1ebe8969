"""When and how a batch has ended, from the states of its jobs."""

import pytest

from ee2_client import JobState, Progress
from ee2_jobs.waiting import batch_end


@pytest.mark.parametrize(
    ("status", "counts", "stages", "end"),
    [
        ("created", {}, {"split": "running", "aggregate": "created"}, None),
        ("created", {}, {"split": "error", "aggregate": "terminated"}, "error"),
        ("created", {"completed": 3, "running": 1}, {}, None),
        ("created", {"completed": 4}, {}, "completed"),
        ("created", {"completed": 3, "error": 1}, {}, "error"),
        ("created", {"completed": 3, "error": 1}, {"aggregate": "completed"}, "completed"),
        ("created", {"completed": 4}, {"aggregate": "queued"}, None),
        ("created", {"completed": 4}, {"aggregate": "error"}, "error"),
        ("terminated", {"terminated": 4}, {}, "terminated"),
        ("terminated", {"terminated": 3, "running": 1}, {}, None),
    ],
)
def test_the_engine_says_how_a_batch_ended(
    status: str, counts: dict[str, int], stages: dict[str, str], end: str | None
) -> None:
    assert batch_end(status, counts, stages) == end


@pytest.mark.parametrize(
    ("parent", "children", "counts", "end"),
    [
        ("created", [("1", "completed", None), ("2", "running", None)],
         {"completed": 1, "running": 1}, None),
        ("created", [("3", "completed", "1"), ("1", "error", None)], {"completed": 1}, "completed"),
        ("created", [("1", "completed", None), ("2", "error", None)],
         {"completed": 1, "error": 1}, "error"),
        ("created", [], {}, None),
        ("terminated", [("1", "terminated", None)], {"terminated": 1}, "terminated"),
        ("terminated", [("1", "running", None)], {"running": 1}, None),
    ],
)  # fmt: skip
def test_the_client_says_the_same_from_records(
    parent: str, children: list[tuple[str, str, str | None]], counts: dict[str, int],
    end: str | None,
) -> None:  # fmt: skip
    jobs = [JobState(job_id=i, status=s, retry_parent=root) for i, s, root in children]
    progress = Progress.of(JobState("b", parent, batch_job=True), jobs)
    assert (dict(progress.child_counts), progress.end) == (counts, end)
