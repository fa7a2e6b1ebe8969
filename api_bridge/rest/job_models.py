"""What `/jobs/{id}` and what lies below it answer."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from ee2_jobs.sharing import Right

_JOB_ID = "66f2a1b3c4d5e6f708192a3b"
_MS = 1727185950123


class ErrorLine(BaseModel):
    """A line of the log."""

    n: int = Field(examples=[1204], description="its number, from 0")
    text: str = Field(examples=["staging file is empty"])


class AppOfJob(BaseModel):
    """What was run. What the catalog knows is null while it does not answer."""

    method: str | None = Field(examples=["kb_uploadmethods.import_reads"])
    app_id: str | None = Field(examples=["kb_uploadmethods/import_reads"])
    service_ver: str | None = Field(examples=["c0ffee"], description="the code's commit")
    title: str | None = Field(examples=["Import reads"])
    version: str | None = Field(examples=["1.4.2"])
    image: str | None = Field(examples=["dockerhub-prod.kbase.us/kb_uploadmethods:c0ffee"])


class NarrativeOfJob(BaseModel):
    """Where it was started."""

    ws_id: int | None = Field(examples=[48213])
    title: str | None = Field(examples=["Soil metagenomes"])
    cell_id: str | None = None
    run_id: str | None = None
    tag: str | None = Field(default=None, examples=["release"])
    href: str | None = Field(
        default=None, examples=["https://narrative.kbase.us/narrative/48213"],
        description="its address; null: the setting narrative_url is empty",
    )


class Timings(BaseModel):
    """Times in ms; null: not (yet)."""

    created: int | None = Field(examples=[_MS])
    queued: int | None
    running: int | None
    finished: int | None
    wait_ms: int | None = Field(description="from created to running, or to now")
    run_ms: int | None = Field(description="from running to the end, or to now")


class RanksOfJob(BaseModel):
    """Where its times stand among the newest completed runs of its app: the shares, 0 to 1, of
    those that took less."""

    runs: int = Field(examples=[200], description="how many runs these are, at most 200")
    wait: float | None = Field(examples=[0.82], description="null while it waits")
    run: float | None = Field(examples=[0.35], description="null until it has run to its end")


class Limit(BaseModel):
    """How long it may run."""

    time_limit_s: float | None = Field(examples=[604800])
    rule: str | None = Field(description="which rule says so")
    limit_at: int | None = Field(description="when a running job reaches it, ms")


class Where(BaseModel):
    """Where the newest run is or was."""

    host: str | None = Field(examples=["node7"])
    slot: str | None = None
    group: str | None = Field(examples=["njs"])
    cluster: str | None = None
    route: str | None = None
    batch_system_id: str | None = None
    starts: int | None = Field(default=None, description="how often HTCondor has started it")


class Requested(BaseModel):
    """What it asked of the pool."""

    client_group: str | None = Field(examples=["njs"])
    cpus: int | float | None = Field(examples=[4])
    memory_mb: int | float | None = Field(examples=[2000])
    disk_gb: int | float | None = Field(examples=[30])


class Resources(BaseModel):
    """What it asked for, and what it has used."""

    requested: Requested
    used: dict[str, float] | None = Field(
        examples=[{"cpu_user_s": 12.5, "wall_s": 14.1, "peak_memory_mb": 210}]
    )


class Attempt(BaseModel):
    """One attempt at the job."""

    id: str = Field(examples=[_JOB_ID])
    attempt: int = Field(examples=[1])
    status: str = Field(examples=["error"])
    code_words: str | None
    host: str | None
    created: int | None
    finished: int | None
    run_ms: int | None


class BatchOfJob(BaseModel):
    """The batch that the job is of."""

    id: str = Field(examples=[_JOB_ID])
    role: str | None = Field(default=None, description="split, submit (a child) or aggregate")
    index: int | None = Field(default=None, description="place in its stage, from 0")
    children: int | None = Field(default=None, description="how many there are")


class Report(BaseModel):
    """The report that the app has made."""

    name: str | None
    ref: str | None = Field(examples=["48213/7/1"])


class ProducedObject(BaseModel):
    """An object that the output names, or that the job has saved."""

    ref: str = Field(examples=["48213/6/1"])
    name: str | None
    type: str | None = Field(description="null: not known here")
    bytes: int | None


class Output(BaseModel):
    """What came out."""

    state: str = Field(examples=["produced"], description="not yet, produced or not produced")
    report: Report | None
    objects: list[ProducedObject]
    more: int = Field(description="how many objects are not listed")


class SharedWith(BaseModel):
    """What a user may do with it because its owner shares it."""

    user: str = Field(examples=["ben"])
    right: Right = Field(
        examples=["manage"],
        description="read; or manage: also cancel it, run it again, and lower its priority",
    )


class Shared(BaseModel):
    """With whom its owner shares it, in the order of the alphabet."""

    users: list[SharedWith]
    more: int = Field(description="how many users are not listed")


class Can(BaseModel):
    """What the caller may do with the job now."""

    cancel: bool
    retry: bool
    share: bool
    reprioritise: bool


class AdminBox(BaseModel):
    """For administrators."""

    record: Any = Field(description="the record as it is stored; long values cut")
    cut: bool
    scheduler_type: str | None
    cancelled_by: str | None
    live: bool


class Tags(BaseModel):
    """What the caller has noted on a job, for nobody else."""

    star: bool = Field(examples=[True])
    labels: list[str] = Field(examples=[["paper 2"]])


class JobPage(BaseModel):
    """The page of a job. For the parent of a batch only `id`, `is_batch` and `batch`: its page is
    `/batches/{id}`."""

    id: str = Field(examples=[_JOB_ID])
    is_batch: bool
    status: str = Field(default="", examples=["error"])
    sentence: str = Field(default="", examples=["The app failed: staging file is empty"])
    code: int | None = Field(default=None, description="error code or terminated code")
    code_words: str | None = Field(default=None, examples=["the app failed"])
    error_line: ErrorLine | None = Field(default=None, description="the log's first error line")
    ended_by: str | None = Field(
        default=None,
        description="of a cancelled job: owner, user, administrator, batch, runner or engine",
    )
    reason: str | None = Field(default=None, description="why it was cancelled")
    owner: str = Field(default="", examples=["ana"])
    app: AppOfJob | None = None
    narrative: NarrativeOfJob | None = None
    timings: Timings | None = None
    ranks: RanksOfJob | None = Field(
        default=None, description="null also if the app's times are not at hand: ask again"
    )
    limit: Limit | None = None
    where: Where | None = None
    resources: Resources | None = None
    priority: int = 0
    attempts: list[Attempt] = Field(default=[], description="oldest first; itself among them")
    batch: BatchOfJob | None = None
    output: Output | None = None
    shared: Shared | None = Field(default=None, description="for its owner and administrators")
    can: Can | None = None
    run_url: str | None = Field(default=None, description="its run in Airflow")
    scheduler_id: str | None = Field(default=None, examples=["4711.0"])
    log_expired: int | None = None
    tags: Tags | None = None
    admin: AdminBox | None = None
    as_of: int = Field(examples=[_MS], description="the server's time, ms")


class IoPart(BaseModel):
    """A value."""

    value: Any
    bytes: int = Field(examples=[812], description="of all of it, as JSON")
    cut: bool = Field(description="something is left out: /jobs/{id}/io/raw has all of it")


class JobIo(BaseModel):
    """What went in and what came out; null: there is none."""

    id: str = Field(examples=[_JOB_ID])
    params: IoPart | None
    output: IoPart | None
    error: IoPart | None = Field(description="the app's own account of its error")
    names: dict[str, str] = Field(
        examples=[{"reads_1": "First reads of the pairs"}],
        description="what people call the parameters, as far as the app says so",
    )
    source_ws_objects: list[str]


class Transition(BaseModel):
    """A change of state."""

    at: int = Field(examples=[_MS])
    from_: str | None = Field(alias="from", examples=["queued"])
    to: str | None = Field(examples=["running"], description="null: set by hand, not known to what")
    by: str = Field(
        examples=["runner"],
        description="owner, user, administrator, batch, runner, pool or engine (also: not known)",
    )
    user: str | None = Field(description="who; administrators are named to administrators only")
    words: str | None = Field(examples=["on node7"])
    reason: str | None


class Transitions(BaseModel):
    """The changes of a job's state, oldest first."""

    id: str = Field(examples=[_JOB_ID])
    status: str
    transitions: list[Transition]


class CompareSide(BaseModel):
    """One of the jobs."""

    id: str = Field(examples=[_JOB_ID])
    status: str
    sentence: str
    code_words: str | None
    app: AppOfJob
    timings: Timings
    host: str | None
    requested: Requested
    cpu_s: float
    peak_memory_mb: float | None


class CompareParam(BaseModel):
    """A parameter."""

    path: str = Field(examples=["[0].reads.name"])
    values: list[Any] = Field(description="in the order of the jobs")
    has: list[bool] = Field(description="which of the jobs have it")
    same: bool


class Comparison(BaseModel):
    """A few jobs side by side."""

    jobs: list[CompareSide]
    params: list[CompareParam]
    more: int
    same: dict[str, bool] = Field(
        examples=[{"method": True, "version": True, "image": True, "host": False}]
    )


class CancelBody(BaseModel):
    """Why."""

    reason: str | None = Field(
        default=None, max_length=1000, description="shown to the owner; required with as_admin"
    )


class PriorityBody(CancelBody):
    """Which, and why."""

    priority: int = Field(ge=-20, le=20, description="higher first, among the user's own jobs")


class UnshareBody(CancelBody):
    """With whom no longer."""

    users: list[str] = Field(min_length=1, max_length=1000, examples=[["ben"]])


class ShareBody(UnshareBody):
    """With whom, and for what."""

    right: Right | None = Field(
        default=None, examples=["manage"],
        description="what they may do from now on: read, or manage (also cancel it, run it again "
        "and lower its priority); null: read, and who may do more goes on doing it",
    )


class NewState(BaseModel):
    """How the job stands now."""

    id: str = Field(examples=[_JOB_ID])
    status: str = Field(examples=["terminated"])
    sentence: str = Field(examples=["Cancelled."])
    priority: int = 0
    retry_id: str | None = Field(default=None, description="of the new attempt")
    changed: int | None = Field(default=None, description="how many jobs have the new priority")
    shared: list[SharedWith] | None = Field(
        default=None, description="with whom it is shared now, all of them"
    )
