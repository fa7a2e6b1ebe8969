"""A stage of a submission as one HTCondor cluster: pure functions from values to a description.

No text of a user gets into a description. HTCondor's submit language expands `$`, ends values at
newlines and quotes by its own rules, so everything here is an id, a number, a path or an address
from the settings, each checked for the characters it may have.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from ee2_operators.condor.routes import GridRoute, on_route

EXIT_UNREACHABLE = 75  # the runner could not reach the server to claim its job
MAX_STARTS = 12  # the runner tries for 5 minutes each time: a server outage of an hour is survived
GRACE_S = 10  # between SIGTERM and SIGKILL, for the runner to end the app and tell the server
TIME_LIMIT_MARGIN_S = 60  # the runner keeps the limit itself; the pool steps in when it does not
NO_TIME_LIMIT_S = 30 * 86400  # of a job without a limit, so that no slot is lost for ever
# Subcodes of our own hold rule; HTCondor's own hold codes for the same things have these numbers.
MEMORY_SUBCODE, TIME_LIMIT_SUBCODE = 34, 47
FORGOTTEN_HOLD_S = 86400  # a held job that nobody removed in this time goes by itself
# A job that waits for admission (`admission.py`) is on hold in one of two ways. It was submitted
# on hold, which has a code of HTCondor's own that nothing else of ours has; or it was held back
# later, which is a hold as by hand with a subcode of ours.
WAITS_HOLD_CODE, BY_HAND_HOLD_CODE = 15, 1
HELD_BACK_SUBCODE = 9215
WAITS = (
    f"(JobStatus == 5 && (HoldReasonCode =?= {WAITS_HOLD_CODE}"
    f" || (HoldReasonCode =?= {BY_HAND_HOLD_CODE} && HoldReasonSubCode =?= {HELD_BACK_SUBCODE})))"
)

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_ID = re.compile(r"[0-9a-f]{24}")
_PATH = re.compile(r"/[A-Za-z0-9_./+@%=:-]*")
_URL = re.compile(r"https?://[A-Za-z0-9_./:\[\]@%~+=&?-]+")
_EXPRESSION = re.compile(r"""[A-Za-z0-9_ ."=!<>&|()?:+*/,\[\]{}@-]+""")


class BadSubmission(ValueError):
    """A value that must not get into a submit description; the message names it."""


def _checked(name: str, value: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadSubmission(f"{name} cannot be given to HTCondor: {value!r}")
    return value


def _positive(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadSubmission(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def pool_name(text: str) -> str:
    """A name as job ads carry it, in EE2_USER and EE2_GROUP: itself, or a digest of one that has
    characters which an ad should not have."""
    if _WORD.fullmatch(text):
        return text
    return f"u-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class StageKey:
    """One try of one stage. Its cluster carries these three and is found again by them."""

    submission_id: str
    stage: str
    try_number: int

    def __post_init__(self) -> None:
        _checked("submission_id", self.submission_id, _ID)
        _checked("stage", self.stage, _WORD)
        if isinstance(self.try_number, bool) or not isinstance(self.try_number, int):
            raise BadSubmission(f"try_number must be a whole number, not {self.try_number!r}")

    def __str__(self) -> str:
        return f"{self.submission_id}.{self.stage}.{self.try_number}"

    def constraint(self) -> str:
        """ClassAd expression that is true for this stage's jobs."""
        return (
            f'(EE2_SUBMISSION == "{self.submission_id}" && EE2_STAGE == "{self.stage}"'
            f" && EE2_TRY == {self.try_number})"
        )


def of_round(round_number: int) -> str:
    """ClassAd expression that is true for the jobs of a try's round. A first round carries no
    number, so that a cluster is found whatever version of the engine submitted it."""
    return f"EE2_ROUND =?= {round_number if round_number > 1 else 'undefined'}"


def by_route(name: str | None) -> str:
    """ClassAd expression that is true for the jobs of a route; None: those of our own pool."""
    return "EE2_ROUTE =?= undefined" if name is None else f'EE2_ROUTE =?= "{name}"'


@dataclass(frozen=True, slots=True)
class StageJob:
    """One job of a stage.

    requirements: ClassAd expression about the machine (a client group's route), None for any.
    priority: among the same user's jobs, higher first.
    time_limit_s: of one run of the app, None for no limit of its own.
    group: its client group. level: 0 for what a user submitted, 1 for what such a job submitted...
    waits: whether it is put into the queue on hold, to be released by the admission.
    """

    job_id: str
    cpus: int = 1
    memory_mb: int = 100
    disk_gb: int = 1
    requirements: str | None = None
    priority: int = 0
    time_limit_s: int | None = None
    waits: bool = False
    group: str | None = None
    level: int = 0

    def __post_init__(self) -> None:
        _checked("job_id", self.job_id, _ID)
        _positive("cpus", self.cpus)
        _positive("memory_mb", self.memory_mb)
        _positive("disk_gb", self.disk_gb)
        if self.requirements is not None:
            _checked("requirements", self.requirements, _EXPRESSION)
        if self.time_limit_s is not None:
            _positive("time_limit_s", self.time_limit_s)
        if self.level:
            _positive("level", self.level)


@dataclass(frozen=True, slots=True)
class StageSubmission:
    """All that is needed to put a stage on the pool.

    runner: path of the runner, on this machine and, with a shared file system, on the nodes.
    rpc_url: where the runner asks for its job.
    stage_dir: folder that the pool's account can enter and write to.
    accounting_user: the name that HTCondor's fair share counts the jobs under, None for the
        engine's own.
    user: whose jobs they are, None if nobody's limits are to hold for them.
    window: the name of the window in which the jobs count, None for none; window_places: how many
        of them may be active at a time.
    round_number: from 2 on for a further cluster of the try, with new attempts of what failed.
    route: by which all of its jobs go, None for our own pool.
    """

    key: StageKey
    jobs: tuple[StageJob, ...]
    runner: str
    rpc_url: str
    stage_dir: str
    accounting_user: str | None = None
    window: str | None = None
    round_number: int = 1
    user: str | None = None
    window_places: int | None = None
    route: GridRoute | None = None

    def __post_init__(self) -> None:
        if not self.jobs:
            raise BadSubmission(f"stage {self.key} has no jobs to submit")
        for name in ("runner", "stage_dir"):
            _checked(name, getattr(self, name), _PATH)
        _checked("rpc_url", self.rpc_url, _URL)
        if self.accounting_user is not None:
            _checked("accounting_user", self.accounting_user, _WORD)
        if self.window is not None:
            _checked("window", self.window, _WORD)
            _positive("window_places", self.window_places or 0)
        _positive("round_number", self.round_number)
        if self.route is not None:
            _checked("route", self.route.name, _WORD)


def pool_time_limit_s(limit_s: int | None) -> int:
    """When the pool itself stops a job with this time limit (None: without one), s."""
    return NO_TIME_LIMIT_S if limit_s is None else limit_s + TIME_LIMIT_MARGIN_S


def log_path(stage_dir: str, key: StageKey) -> str:
    """The cluster's user log: every event of its jobs."""
    return str(PurePosixPath(stage_dir) / f"{key}.log")


def files_dir(stage_dir: str, key: StageKey) -> str:
    """Folder of the stage's small files; whoever submits makes it and puts the tickets there."""
    return str(PurePosixPath(stage_dir) / str(key))


def ticket_path(stage_dir: str, key: StageKey, job_id: str) -> str:
    """File with the job's token, which the runner gets on its standard input."""
    return f"{files_dir(stage_dir, key)}/{job_id}.ticket"


def stderr_path(stage_dir: str, key: StageKey, job_id: str) -> str:
    """File with what the runner itself said on its standard error; the app's output is a log."""
    return f"{files_dir(stage_dir, key)}/{job_id}.err"


def describe(sub: StageSubmission) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The submit description of a stage and one item for each of its jobs, in their order.

    Proc n of the cluster is job n. What is the same for all jobs stands in the description, which
    makes a large submit a third faster. Pure: nothing is read or written.
    """
    files = files_dir(sub.stage_dir, sub.key)
    unreachable = f"ExitCode =?= {EXIT_UNREACHABLE} && NumJobStarts < {MAX_STARTS}"
    # Undefined until the job runs and until its memory was first sampled, hence =?=.
    too_long = "(time() - JobCurrentStartExecutingDate > EE2_TIME_LIMIT_S) =?= True"
    # Sampled, and the runner itself counts: only a clear excess is stopped.
    too_large = "(MemoryUsage > RequestMemory * 5 / 4 + 64) =?= True"
    description = {
        "universe": "vanilla",
        "executable": sub.runner,
        "arguments": f"$(ee2_job_id) {sub.rpc_url}",
        "input": f"{files}/$(ee2_job_id).ticket",
        "output": "/dev/null",
        "error": f"{files}/$(ee2_job_id).err",
        "log": log_path(sub.stage_dir, sub.key),
        "initialdir": files,
        "getenv": "False",
        # On a shared file system nothing is copied. Elsewhere the runner and the ticket are taken
        # to the node, and nothing comes back: the runner sends what counts.
        "should_transfer_files": "IF_NEEDED",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_output_files": '""',
        "request_cpus": "$(ee2_cpus)",
        "request_memory": "$(ee2_memory_mb)MB",
        "request_disk": "$(ee2_disk_gb)GB",
        "requirements": "$(ee2_requirements)",
        "priority": "$(ee2_priority)",
        "batch_name": sub.key.submission_id,
        "My.EE2_SUBMISSION": f'"{sub.key.submission_id}"',
        "My.EE2_STAGE": f'"{sub.key.stage}"',
        "My.EE2_TRY": str(sub.key.try_number),
        "My.EE2_JOB_ID": '"$(ee2_job_id)"',
        "My.EE2_GROUP": '"$(ee2_group)"',
        "My.EE2_LEVEL": "$(ee2_level)",
        # Every end leaves the queue at once, except "could not reach the server": that runs again.
        "on_exit_remove": f"({unreachable}) =!= True",
        "leave_in_queue": "False",
        # Not a stat of each job's files at submit; one that is missing shows when the job starts.
        "skip_filechecks": "True",
        # HTCondor's allowed_execute_duration did not stop a job without file transfer (23.9).
        "My.EE2_TIME_LIMIT_S": "$(ee2_time_limit_s)",
        "periodic_hold": f"JobStatus == 2 && ({too_long} || {too_large})",
        "periodic_hold_reason": (
            f'ifThenElse({too_long}, "The job ran longer than its time limit.",'
            ' "The job used more memory than it asked for.")'
        ),
        "periodic_hold_subcode": (
            f"ifThenElse({too_long}, {TIME_LIMIT_SUBCODE}, {MEMORY_SUBCODE})"
        ),
        # Held jobs are removed as soon as the watcher has seen them; this is for when nobody
        # watches. Jobs that somebody put on hold (1) or submitted so (15) are left alone.
        "periodic_remove": (
            f"JobStatus == 5 && HoldReasonCode =!= {BY_HAND_HOLD_CODE}"
            f" && HoldReasonCode =!= {WAITS_HOLD_CODE}"
            f" && time() - EnteredCurrentStatus > {FORGOTTEN_HOLD_S}"
        ),
        "kill_sig": "SIGTERM",
        "job_max_vacate_time": str(GRACE_S),
        # The slot of a short stage serves the next stage at once, without a negotiation: start
        # after submit 0.05 s instead of 1 to 2 s.
        "keep_claim_idle": "5",
    }
    if sub.accounting_user is not None:
        description["accounting_group_user"] = sub.accounting_user
    if sub.user is not None:
        description["My.EE2_USER"] = f'"{pool_name(sub.user)}"'
    if sub.round_number > 1:
        description["My.EE2_ROUND"] = str(sub.round_number)
    if sub.window is not None:
        description["My.EE2_WINDOW"] = f'"{sub.window}"'
        description["My.EE2_WINDOW_PLACES"] = str(sub.window_places)
    if any(job.waits for job in sub.jobs):
        description["hold"] = "$(ee2_waits)"
    if sub.route is not None:
        description = on_route(sub.route, description)
    items = [_item(job) for job in sub.jobs]
    common = dict(set.intersection(*(set(item.items()) for item in items)))
    common.pop("ee2_job_id", None)  # of a stage of one job: an item cannot be empty
    own = [{name: v for name, v in item.items() if name not in common} for item in items]
    return common | description, own


def _item(job: StageJob) -> dict[str, str]:
    return {
        "ee2_job_id": job.job_id,
        "ee2_cpus": str(job.cpus),
        "ee2_memory_mb": str(job.memory_mb),
        "ee2_disk_gb": str(job.disk_gb),
        "ee2_requirements": job.requirements or "True",
        "ee2_priority": str(job.priority),
        "ee2_time_limit_s": str(pool_time_limit_s(job.time_limit_s)),
        "ee2_waits": str(job.waits),
        "ee2_group": pool_name(job.group) if job.group else "",
        "ee2_level": str(job.level),
    }
