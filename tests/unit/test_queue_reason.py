"""Each reason why a job waits, from the facts that make it so."""

from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.controls import Control, Controls
from ee2_jobs.limits.users import UserLimits
from ee2_jobs.queue.order import line_up
from ee2_jobs.queue.reason import CODES, Facts, Reason
from ee2_jobs.queue.snapshot import PoolJob, Slot, State
from tests.unit.queue_support import pool_job, slot

WAITS = State.WAITS.value
RUNNING = State.RUNNING.value


def why(
    job: PoolJob, *others: PoolJob, slots: tuple[Slot, ...] = (slot(),), mine: bool = True,
    **facts: Any,
) -> Reason:
    found = Facts(line_up(100.0, [job, *others], slots), **facts).of_pool_job(job, mine=mine)
    assert found.code in CODES
    assert found.text.endswith((".", "group.")) and ".." not in found.text
    return found


def test_the_engine_is_paused() -> None:
    paused = Controls(paused=Control("root", 1.0, "disks are full."))
    for state in (WAITS, State.IDLE.value):
        code, text = why(pool_job(1, state=state), controls=paused)
        assert code == "paused" and "by root: disks are full. Jobs" in text
    # What runs is no concern of it.
    assert why(pool_job(1, state=RUNNING), controls=paused).code == "starting"


def test_its_group_is_drained() -> None:
    drained = Controls(drained={"bigmem": Control("root", 1.0, None)})
    assert why(pool_job(1, group="bigmem", state=WAITS), controls=drained).code == "drained"
    assert why(pool_job(1, state=WAITS), controls=drained).code == "release"


def test_the_limit_names_its_number_and_counts_levels_apart() -> None:
    limits = UserLimits(default=10, own={"ana": 2})
    busy = [pool_job(2, state=RUNNING), pool_job(3)]
    code, text = why(pool_job(1, state=WAITS), *busy, limits=limits)
    assert (code, text) == ("limit", "Your limit of 2 running jobs is reached.")
    text = why(pool_job(1, state=WAITS), *busy, limits=limits, mine=False).text
    assert text == "The owner's limit of 2 running jobs is reached."
    assert why(pool_job(1, level=1, state=WAITS), *busy, limits=limits).code == "release"
    assert why(pool_job(1, user="ben", state=WAITS), *busy, limits=limits).code == "release"


def test_a_limit_of_none_at_all() -> None:
    code, text = why(pool_job(1, state=WAITS), limits=UserLimits(own={"ana": 0}))
    assert code == "limit" and "limit is 0" in text


def test_the_window_of_its_batch_is_full() -> None:
    job = pool_job(1, state=WAITS, window="w", window_places=1)
    running = pool_job(2, state=RUNNING, window="w", window_places=1)
    assert why(job, running) == (
        "window", "Its batch runs 1 job at a time, and all places are taken."
    )
    assert why(job).code == "release"


def test_no_machine_is_large_enough() -> None:
    code, text = why(pool_job(1, memory_mb=64_000))
    assert code == "no_such_slot"
    assert "64 GB of memory, and the largest machine of njs has 32 GB" in text
    assert "5 cores, and the largest machine of njs has 4" in why(pool_job(1, cpus=5)).text
    # Each is there, and no machine has both.
    wide, large = slot(cpus=64, free_cpus=64), slot("node2", memory_mb=99_000)
    found = why(pool_job(1, cpus=64, memory_mb=64_000), slots=(wide, large))
    assert found.code == "no_such_slot" and "no machine of njs has all of it" in found.text


def test_no_machine_in_the_group() -> None:
    assert why(pool_job(1, group="bigmem")).code == "no_machines"


@pytest.mark.parametrize("taken", [{"free_cpus": 0}, {"free_memory_mb": 10}, {"drained": True}])
def test_all_machines_are_busy(taken: dict[str, Any]) -> None:
    assert why(pool_job(1), slots=(slot(**taken),)).code == "slots_busy"


def test_there_is_room() -> None:
    assert why(pool_job(1)).code == "negotiation"


def test_htcondor_holds_it() -> None:
    code, text = why(pool_job(1, state=State.HELD.value, hold="Disk is full."))
    assert (code, text) == ("held", "HTCondor holds the job: Disk is full.")


def test_it_was_sent_elsewhere() -> None:
    found = why(pool_job(1, group="slurm", route="perlmutter"))
    assert found.code == "routed" and "perlmutter" in found.text


def record(status: str, **fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(f"{1:024x}"), "status": status, "user": "ana", **fields}


def test_jobs_that_the_pool_does_not_know() -> None:
    facts = Facts(line_up(100.0, []))
    assert facts.of_record(record("created")).code == "preparing"
    assert facts.of_record(record("estimating")).code == "preparing"
    assert facts.of_record(record("queued", queued=99.0)).code == "fresh"
    assert facts.of_record(record("queued", queued=50.0)).code == "not_seen"
    assert Facts(None).of_record(record("queued", queued=50.0)).code == "no_figures"


def test_a_user_whose_name_the_pool_abbreviates() -> None:
    """Limits are kept by the record's name, jobs counted by the pool's."""
    limits = UserLimits(own={"ana maria": 1})
    jobs = [pool_job(1, user="u-77", state=WAITS), pool_job(2, user="u-77", state=RUNNING)]
    facts = Facts(line_up(100.0, jobs), limits=limits)
    assert facts.of_record({**record("queued"), "user": "ana maria"}).code == "limit"
