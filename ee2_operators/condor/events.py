"""What happened to a job in the pool, from any of HTCondor's three sources, in one form.

The sources are the cluster's user log (events as they happen), the schedd's queue (jobs that are
there now) and its history (jobs that have left).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened. Only `ended`, `held` and `removed` can be the end of a job."""

    SUBMITTED = "submitted"
    STARTED = "started"
    ENDED = "ended"  # the program ended by itself or by a signal, and HTCondor is done with it
    HELD = "held"
    RELEASED = "released"
    REMOVED = "removed"
    EVICTED = "evicted"  # stopped, and back in the queue
    LOST = "lost"  # the node, or the connection to it, is gone; HTCondor tries again
    AWAY = "away"  # where the job's route leads does not answer; HTCondor tries again
    BACK = "back"  # it answers again


# HTCondor's event numbers; those not named here (image size, attribute update …) tell us nothing.
_KINDS = {
    0: Kind.SUBMITTED,
    1: Kind.STARTED,
    4: Kind.EVICTED,
    5: Kind.ENDED,
    7: Kind.LOST,  # shadow exception
    9: Kind.REMOVED,
    12: Kind.HELD,
    13: Kind.RELEASED,
    22: Kind.LOST,  # disconnected
    24: Kind.LOST,  # reconnect failed
    25: Kind.BACK,
    26: Kind.AWAY,
}

_JOB_STATUS = {1: Kind.SUBMITTED, 2: Kind.STARTED, 3: Kind.REMOVED, 4: Kind.ENDED, 5: Kind.HELD}


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """One thing that happened to one job, at `time_ms` since the epoch.

    details, as far as they apply: exit_code, signal, hold_code, hold_subcode, reason (HTCondor's
    words), host, starts (how often the job was started).
    """

    cluster: int
    proc: int
    kind: Kind
    time_ms: int
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scheduler_id(self) -> str:
        """The job's id in the pool, as job records hold it."""
        return f"{self.cluster}.{self.proc}"


def from_log(raw: Mapping[str, Any]) -> PoolEvent | None:
    """An event of the user log; None for the kinds that do not matter here."""
    kind = _KINDS.get(raw["EventTypeNumber"])
    if kind is None or raw["Proc"] < 0:
        return None
    details = _details(
        exit_code=raw.get("ReturnValue") if raw.get("TerminatedNormally") else None,
        signal=raw.get("TerminatedBySignal"),
        hold_code=raw.get("HoldReasonCode"),
        hold_subcode=raw.get("HoldReasonSubCode"),
        reason=raw.get("HoldReason") or raw.get("Reason") or raw.get("Message")
        or raw.get("GridResource"),
        host=raw.get("SlotName") or raw.get("ExecuteHost"),
    )
    return PoolEvent(raw["Cluster"], raw["Proc"], kind, raw["time_ms"], details)


def from_ad(ad: Mapping[str, Any]) -> PoolEvent | None:
    """The last event of a job, from its ad in the queue or in the history.

    None for a status of HTCondor's that is neither (suspended, transferring output).
    """
    kind = _JOB_STATUS.get(ad["JobStatus"])
    if kind is None:
        return None
    held, by_signal = kind is Kind.HELD, ad.get("ExitBySignal")
    ended = kind is Kind.ENDED
    details = _details(
        exit_code=ad.get("ExitCode") if ended and not by_signal else None,
        signal=ad.get("ExitSignal") if ended and by_signal else None,
        hold_code=ad.get("HoldReasonCode") if held else None,
        hold_subcode=ad.get("HoldReasonSubCode") if held else None,
        reason=ad.get("HoldReason") if held else ad.get("RemoveReason"),
        host=ad.get("RemoteHost") or ad.get("LastRemoteHost"),
        starts=ad.get("NumJobStarts"),
    )
    time_ms = int(ad.get("EnteredCurrentStatus") or 0) * 1000
    return PoolEvent(ad["ClusterId"], ad["ProcId"], kind, time_ms, details)


def _details(**values: Any) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
