"""The jobs of the seeded database: a year of them, those that are live, those with a trouble."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.browser.seed_records import APPS, ATTACK, NAMES, Document, Records, error

SOIL, MARINE, HOSTILE, RIGHT_TO_LEFT, LONG, OTHER = 48213, 48214, 48215, 48216, 48217, 48218
BENS_SHARED, BENS_OWN, CHOS_COURSE, DELETED = 48300, 48301, 48302, 48999
YEAR_S = 365 * 86400
_ANAS = (SOIL, SOIL, SOIL, MARINE, MARINE, OTHER, HOSTILE, RIGHT_TO_LEFT, LONG, None)
_MESSAGES = (
    *["staging file is empty"] * 6, *["Sample sheet: the barcode is not in the run"] * 4,
    *["bowtie2-align exited with value 137: out of memory"] * 2,
)  # fmt: skip
_BOWTIE, _IMPORT, _SPADES = (
    NAMES[name]
    for name in ("kb_Bowtie2.align_reads", "kb_uploadmethods.import_fastq", "kb_SPAdes.run_SPAdes")
)
_FASTQC, _CHECKM = NAMES["kb_fastqc.run_fastqc"], NAMES["kb_Msuite.run_checkM"]


@dataclass
class Found:
    """Records by what is special about them."""

    jobs: dict[str, Document] = field(default_factory=dict)
    batches: dict[str, Document] = field(default_factory=dict)
    anas_live: list[Document] = field(default_factory=list)


def history(records: Records, finished: int, others: int) -> list[Document]:
    """What ended in the last year, more of it lately."""
    rnd, jobs = records.random, []
    people = ["ana"] * finished + rnd.choices(
        ("ben", "cho", *(f"user{n:02d}" for n in range(1, 21))), k=others
    )
    weights = [1 / (n + 1.5) for n in range(len(APPS))]
    for user in people:
        age_s = 900 + rnd.random() ** 2 * YEAR_S
        app = rnd.choices(APPS, weights)[0]
        wsid: int | None = {"ben": BENS_OWN, "cho": CHOS_COURSE}.get(user, 50_000)
        if user == "ana":
            wsid = rnd.choice(_ANAS)
        jobs.append(
            records.job(user, app, records.status(app), records.now_s - age_s - app.run_s, wsid)
        )
    return jobs


def live(records: Records, found: Found) -> list[Document]:
    """22 live jobs of ana (three live batches are hers, too), and those of others."""
    now, rnd = records.now_s, records.random
    states = ["running"] * 7 + ["queued"] * 9 + ["estimating"] + ["created"] * 2
    jobs = []
    for n, state in enumerate(states):
        app = APPS[n % len(APPS)]
        waited = rnd.uniform(5, 120) if state == "running" else None
        age_s = {"running": 200 + n * 777, "queued": 60 + n * 140}.get(state, 3 + n * 0.5)
        job = records.job("ana", app, state, now - age_s, _ANAS[n % len(_ANAS)], wait_s=waited)
        jobs.append(job)
        if state in ("running", "queued"):
            found.jobs.setdefault(state, job)
    jobs.append(records.job("ana", _BOWTIE, "running", now - 80_000, SOIL, wait_s=600))
    found.jobs["near_limit"] = jobs[-1]
    silent = records.job("ana", _CHECKM, "running", now - 5000, MARINE, wait_s=60)
    silent["seen"] = now - 700
    jobs.append(silent)
    found.jobs["silent"] = silent
    first = records.job("ana", _IMPORT, "error", now - 3000, SOIL, run_s=60, wait_s=9, code=1)
    again = records.job("ana", _IMPORT, "running", now - 1000, SOIL, wait_s=30)
    jobs.append(again)
    found.jobs |= {"retrying_1": first, "retrying": again}
    _family(first, again)
    found.anas_live += jobs
    return [*jobs, first, *_others(records, found)]


def _family(first: Document, *more: Document) -> None:
    """Later attempts of a job."""
    first["retry_ids"] = [str(job["_id"]) for job in more]
    for job in more:
        job["retry_parent"] = str(first["_id"])
    for job in (first, *more[:-1]):
        job["superseded"] = True


def _others(records: Records, found: Found) -> list[Document]:
    now, rnd = records.now_s, records.random
    ben = records.job("ben", _BOWTIE, "running", now - 1200, BENS_SHARED, wait_s=40)
    secret = records.job("ben", _SPADES, "running", now - 2400, BENS_OWN, wait_s=40)
    cho = records.job("cho", _SPADES, "running", now - 600, CHOS_COURSE, wait_s=25)
    by_name = records.job("ben", _FASTQC, "completed", now - 9000, None, shared=["ana"])
    found.jobs |= {
        "bens_shared": ben, "bens_own": secret, "chos": cho, "shared_by_name": by_name,
    }  # fmt: skip
    jobs = [ben, secret, cho, by_name]
    for _ in range(60):
        user, app = rnd.choice(("ben", "cho", "user01", "user07", "user12")), rnd.choice(APPS)
        state = rnd.choice(("running", "queued", "queued"))
        wsid = {"ben": BENS_OWN, "cho": CHOS_COURSE}.get(user, 50_000)
        age_s = rnd.uniform(100, 20_000)
        waited = rnd.uniform(1, 90)
        jobs.append(records.job(user, app, state, now - age_s, wsid, wait_s=waited))
    return jobs


def troubles(records: Records, found: Found) -> list[Document]:
    """Jobs of ana that have ended, each with something to show."""
    now = records.now_s
    message = "staging file reads_17.fastq is empty"
    failed = records.job("ana", _IMPORT, "error", now - 5400, SOIL, wait_s=48, run_s=610, code=1)
    failed |= {"errormsg": message, "error": error(1, message)}
    long_log = records.job("ana", _SPADES, "completed", now - 40_000, SOIL, wait_s=900, run_s=9000)
    report = records.job("ana", _BOWTIE, "completed", now - 7200, SOIL, wait_s=75, run_s=1500)
    _add_output(report)
    tries = [
        records.job("ana", _IMPORT, "error", now - 86400 + n * 4000, MARINE, run_s=90, code=1)
        for n in range(2)
    ]
    good = records.job("ana", _IMPORT, "completed", now - 76_000, MARINE, run_s=300)
    _family(tries[0], tries[1], good)
    over = records.job("ana", _CHECKM, "error", now - 30_000, OTHER, run_s=14_400, code=3)
    over |= {"time_limit_s": 14_400, "time_limit_rule": "4 h for kb_Msuite.run_checkM, set by root"}
    by_admin = records.job("ana", _SPADES, "terminated", now - 20_000, OTHER, run_s=700)
    by_admin |= {
        "terminated_code": 1,
        "ended_by": {"kind": "admin", "user": "root", "reason": "The node is taken down"},
    }
    no_output = records.job("ana", _FASTQC, "completed", now - 11_000, None, run_s=3)
    no_output["job_output"] = {"version": "1.1", "id": str(no_output["_id"]), "result": []}
    old = records.job("ana", _BOWTIE, "completed", now - 300 * 86400, DELETED, log_expired=now)
    hidden = records.job("ben", _IMPORT, "error", now - 4000, BENS_OWN, run_s=50, code=1)
    found.jobs |= {
        "failed": failed, "long_log": long_log, "report": report, "retried_1": tries[0],
        "retried_2": tries[1], "retried": good, "over_limit": over, "by_admin": by_admin,
        "no_output": no_output, "log_expired": old, "bens_failed": hidden,
        "hostile": _hostile(records),
    }  # fmt: skip
    return [job for name, job in found.jobs.items() if name in _TROUBLES]


_TROUBLES = frozenset(
    "failed long_log report retried_1 retried_2 retried over_limit by_admin no_output log_expired "
    "bens_failed hostile".split()
)


def _hostile(records: Records) -> Document:
    """Every text that a client or an app gives is an attack."""
    job = records.job(
        "ana", _BOWTIE, "error", records.now_s - 6000, HOSTILE, wait_s=30, run_s=200, code=1
    )
    message = f"{ATTACK} </script><script>window.attacked=1</script> \u202etxt\u202c \x1b[31mred"
    job |= {"errormsg": message, "error": error(1, message)}
    what: dict[str, Any] = job["job_input"]
    what |= {"app_id": f"kb_evil/{ATTACK}", "method": f"kb_evil.{ATTACK}"}
    what["service_ver"] = '"><script>window.attacked=1</script>'
    what["params"] = [
        {
            ATTACK: ATTACK, "__proto__": {"polluted": True}, "constructor": "x",
            "href": "javascript:window.attacked=1", "long": "A" * 5000, "word": "no-blank-" * 200,
            "right_to_left": "\u202etxt.exe\u202c", "ref": "48213/5/1", "empty": "",
            "nothing": None,
            "deep": {"a": {"b": {"c": {"d": [1, 2, {"e": f"</textarea>{ATTACK}"}]}}}},
            "file": f"reads {ATTACK}.fastq", "many": list(range(300)),
        }
    ]  # fmt: skip
    what["narrative_cell_info"] = {"run_id": ATTACK, "cell_id": ATTACK, "tag": ATTACK[:30]}
    return job


def report_objects(job: Document) -> list[tuple[str, str, str, Document]]:
    """(name, reference, type, data) of what the job with a report has saved."""
    artifact = f"artifact:{job['submission']}/{job['_id']}/report.html"
    report: Document = {
        "text_message": "Two samples were aligned.", "warnings": ["S0002 has few reads"],
        "objects_created": [{"ref": "48213/701/1", "description": "Alignment of S0001"}],
        "direct_html_link_index": 0,
        "html_links": [{"name": "report.html", "label": "Alignment report", "URL": artifact}],
    }  # fmt: skip
    return [
        (f"report_{job['_id']}", "48213/700/1", "KBaseReport.Report", report),
        ("S0001_alignment", "48213/701/1", "KBaseRNASeq.RNASeqAlignment", {"reads": "x" * 48_000}),
        (f"S0002 {ATTACK}", "48213/702/1", "KBaseRNASeq.RNASeqAlignment", {"reads": "x" * 9000}),
    ]


def _add_output(job: Document) -> None:
    objects = report_objects(job)
    result = {
        "report_name": objects[0][0], "report_ref": objects[0][1],
        "alignment_ref": "48213/701/1", "failed_ref": "48213/702/1",
        "report": f"artifact:{job['submission']}/{job['_id']}/report.html", "samples": 2,
    }  # fmt: skip
    job["job_output"] = {"version": "1.1", "id": str(job["_id"]), "result": [result]}
    job["saved"] = [{"name": name, "ref": ref} for name, ref, _, _ in objects]


def batches(records: Records, found: Found) -> list[Document]:
    """Batches of ana: 500 with 12 failed; 10,000 under way; one with stages, under way, and one
    that is done; a small one."""
    now = records.now_s

    def messages(n: int, child: Document) -> None:
        if child["status"] == "error":
            text = _MESSAGES[n // 40 % len(_MESSAGES)]
            child |= {"errormsg": text, "error": error(1, text)}

    states = ["completed"] * 500
    for n in range(12):
        states[n * 40 + 7] = "error"
    states[492:] = ["running"] * 8
    five = records.batch("ana", _IMPORT, now - 7000, SOIL, states, messages)
    many = ["completed"] * 6200 + ["running"] * 300 + ["queued"] * 3460
    for n in range(40):
        many.insert(n * 150, "error")
    big = records.batch("ana", _FASTQC, now - 15_000, OTHER, many, messages)
    parts = ["completed"] * 20 + ["running"] * 4
    going = _staged(records, now - 5000, parts, "created")
    done = _staged(records, now - 90_000, ["completed"] * 16, "completed")
    small = records.batch("ana", _FASTQC, now - 50_000, MARINE, ["completed"] * 3)
    found.batches |= {
        "five_hundred": five[0], "ten_thousand": big[0], "stages": going[0], "stages_done": done[0],
        "small": small[0],
    }  # fmt: skip
    found.anas_live += [five[0], big[0], going[0]]
    return [*five, *big, *going, *done, *small]


def _staged(
    records: Records, made_s: float, parts: list[str], aggregate: str
) -> list[Document]:
    """A split-process-aggregate batch."""
    jobs = records.batch("ana", _BOWTIE, made_s + 120, SOIL, parts)
    batch_id = str(jobs[0]["_id"])
    steps = []
    for role, state in (("split", "completed"), ("aggregate", aggregate)):
        at_s = made_s if role == "split" else made_s + 4000
        step = records.job(
            "ana", _BOWTIE, state, at_s, SOIL, wait_s=9, run_s=100, batch_id=batch_id,
            submission=batch_id, role=role, stage=role,
        )  # fmt: skip
        steps.append(step)
    return [*jobs, *steps]
