"""From what the pool says to a snapshot: holds, slots that are cut, what the collector has not
heard of yet."""

from typing import Any

from ee2_jobs.queue.snapshot import Share, Slot, State
from ee2_operators.condor.submit import HELD_BACK_SUBCODE
from ee2_operators.sampler import JOB_NAMES, from_ads


def row(number: int, **values: Any) -> list[Any]:
    given = {
        "EE2_JOB_ID": f"{number:024x}", "ClusterId": number, "ProcId": 0, "JobStatus": 1,
        "JobPrio": 0, "QDate": 5, "EE2_USER": "ana", "Owner": "ee2", "RequestCpus": 2,
        "RequestMemory": 1000, "RequestDisk": 2048, **values,
    }
    return [given.get(name) for name in JOB_NAMES]


def states(*rows: list[Any]) -> dict[int, str]:
    found = from_ads(1.0, {"jobs": rows, "slots": [], "users": []}, "njs")
    return {int(job.job_id, 16): job.state for job in found.jobs}


def test_who_holds_a_job() -> None:
    held = {"JobStatus": 5, "HoldReason": "why"}
    assert states(
        row(1, **held, HoldReasonCode=15),
        row(2, **held, HoldReasonCode=1, HoldReasonSubCode=HELD_BACK_SUBCODE),
        row(3, **held, HoldReasonCode=1, HoldReasonSubCode=0),
        row(4, **held, HoldReasonCode=34),
        row(5, JobStatus=3),
        row(6, JobStatus=6),
        row(7),
    ) == {
        1: State.WAITS, 2: State.WAITS, 3: State.HELD, 4: State.HELD, 5: State.OTHER,
        6: State.RUNNING, 7: State.IDLE,
    }


def test_what_an_ad_lacks() -> None:
    [job] = from_ads(1.0, {"jobs": [row(1, EE2_USER=None)], "slots": [], "users": []}, "njs").jobs
    assert (job.user, job.submitter, job.group, job.level) == ("ee2", "ee2", "njs", 0)
    [job] = from_ads(
        1.0, {"jobs": [row(1, AccountingGroup="ana@x", EE2_GROUP="hpc")], "slots": [], "users": []},
        "njs",
    ).jobs
    assert (job.submitter, job.group, job.disk_mb) == ("ana", "hpc", 2)


def slots(*rows: list[Any], **ad: Any) -> Slot:
    given = {
        "Name": "slot1@node1", "Machine": "node1", "PartitionableSlot": True, "State": "Unclaimed",
        "Cpus": 8, "Memory": 8000, "Disk": 8 * 1024, "TotalSlotCpus": 8, "TotalSlotMemory": 8000,
        "TotalSlotDisk": 8 * 1024, "groups": ["njs"], **ad,
    }
    [found] = from_ads(1.0, {"jobs": rows, "slots": [given], "users": []}, "njs").slots
    return found


def test_a_job_that_the_collector_has_not_heard_of_takes_its_place() -> None:
    runs = {"JobStatus": 2, "RemoteHost": "slot1_3@node1", "JobCurrentStartDate": 9}
    found = slots(row(1, **runs), row(2, **runs), row(3, **{**runs, "RemoteHost": "slot2@node1"}))
    assert (found.free_cpus, found.free_memory_mb, found.free_disk_mb) == (4, 6000, 4)
    # What others took is known to the collector alone.
    assert slots(row(1, **runs), Cpus=1, Memory=500).free_cpus == 1
    assert slots(row(1, RequestCpus=99, **runs)).free_cpus == 0


def test_slots_that_are_not_cut_and_slots_that_take_nothing() -> None:
    static = {"PartitionableSlot": None, "Cpus": 4, "Name": "slot3@node1"}
    assert slots(**static).free_cpus == 4
    busy = slots(**static, State="Claimed")
    assert (busy.cpus, busy.free_cpus, busy.drained) == (4, 0, False)
    assert slots(State="Drained").drained and slots(Draining=True).drained
    assert not slots().drained


def test_shares_by_submitter() -> None:
    users = [
        {"Name": "ana@ee2.local", "Priority": 510.5, "WeightedResourcesUsed": 2.0},
        {"Name": "<none>", "Priority": 500.0, "IsAccountingGroup": True},
        {"Name": "new@ee2.local"},
    ]
    found = from_ads(1.0, {"jobs": [], "slots": [], "users": users}, "njs")
    assert found.shares == {"ana": Share(510.5, 2.0)}
