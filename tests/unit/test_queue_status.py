"""The lights of the status page, and who and what stands out in the overview."""

import time

import pytest

from ee2_jobs.controls import Control, Controls
from ee2_jobs.queue import status
from ee2_jobs.queue.capacity import capacity
from ee2_jobs.queue.figures import Figures
from ee2_jobs.queue.history import History
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.overview import by_reason, largest_users
from ee2_jobs.queue.reason import Facts
from ee2_jobs.queue.snapshot import Share, Snapshot, State
from tests.unit.queue_support import pool_job, slot

NOW = time.time()


def figures(snapshot: Snapshot | None, **facts: Controls) -> Figures:
    return Figures(Facts(snapshot, **facts), History())  # type: ignore[arg-type]


def test_submission() -> None:
    calm = figures(None)
    assert status._submission(calm, 0).light == "ok"
    assert status._submission(calm, 3).light == "warning"
    assert status._submission(calm, 1000).text.startswith("1,000+ accepted submissions")
    paused = figures(None, controls=Controls(Control("root", 1.0, "new disks")))
    found = status._submission(paused, 0)
    assert found.light == "warning" and "paused: new disks." in found.text
    assert "root" not in found.text


@pytest.mark.parametrize(
    ("mark", "light", "words"),
    [
        ({}, "unknown", "Nothing was told"),
        ({"at": NOW - 500, "airflow": {}}, "bad", "last heard of"),
        ({"at": NOW, "airflow": None}, "warning", "does not tell"),
        ({"at": NOW, "airflow": {"scheduler": "healthy"}}, "ok", "healthy"),
        ({"at": NOW, "airflow": {"scheduler": "unhealthy", "triggerer": "healthy"}}, "bad",
         "of scheduler: not healthy"),
    ],
)
def test_scheduler(mark: dict[str, object], light: str, words: str) -> None:
    found = status._scheduler(mark, NOW)
    assert found.light == light and words in found.text


def test_workers() -> None:
    def workers(snapshot: Snapshot | None, mark: dict[str, object] | None = None) -> status.Part:
        return status._workers(figures(snapshot), mark or {}, NOW)

    assert workers(None).light == "unknown"
    assert workers(line_up(NOW, [])).light == "bad"
    assert workers(line_up(NOW - 999, [], [slot()])).light == "unknown"
    fine = workers(line_up(NOW, [], [slot(free_cpus=1), slot("node2")]))
    assert (fine.light, fine.text) == ("ok", "2 machines with 8 cores, 3 of them in use.")
    emptied = workers(line_up(NOW, [], [slot(), slot("node2", drained=True)]))
    assert emptied.light == "warning" and "1 machine being emptied" in emptied.text
    away = {"problem": "no answer.", "at": NOW, "since": NOW - 600}
    found = workers(line_up(NOW - 600, [], [slot()]), away)
    assert found.light == "bad" and found.text.endswith("UTC.")  # why: for administrators


def test_groups_of_another_cluster_have_none_of_the_pools_machines() -> None:
    found = capacity(line_up(NOW, [], [slot()]), {"njs": "pool", "hpc": "slurm"}, ["njs"])
    whole, njs, hpc = found
    assert (whole.machines, njs.machines, hpc.machines) == (1, 1, 0)
    assert (njs.drained, hpc.drained, hpc.cluster) == (True, False, "slurm")
    assert hpc.cpus.total == 0


def test_ten_largest_users_and_what_waits() -> None:
    jobs = [pool_job(n, user=f"u{n % 12}", state=State.RUNNING.value, cpus=n) for n in range(1, 13)]
    jobs += [pool_job(100 + n) for n in range(3)]
    jobs += [pool_job(200, state=State.HELD.value, hold="no disk")]
    snapshot = line_up(NOW, jobs, [slot()], {"u11": Share(777.77, 1.0)})
    users = largest_users(snapshot)
    assert len(users) == 10 and [u.user for u in users[:2]] == ["u0", "u11"]
    assert users[1].priority == 777.8 and users[0].priority is None
    line = list(snapshot.jobs[: len(snapshot.places)])
    found = [(one.code, one.count) for one in by_reason(figures(snapshot), line)]
    assert found == [("negotiation", 3), ("held", 1)]
