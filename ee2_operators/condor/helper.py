"""The process that speaks to HTCondor: JSON lines on stdin, JSON lines on stdout.

HTCondor's bindings hold the interpreter's lock for the whole of a call and a call cannot be bounded
from inside, so they live here, in a child that `pool.Pool` kills when it takes too long. It is run
by its path and imports nothing of this project. A submit is one transaction of the schedd: if the
process is killed in its middle, nothing of it remains.

Request: {"id", "call": name of a function below, "args": {...}}.
Reply: {"id", "ok": ...} or {"id", "error": {"kind": "unavailable" | "refused", "message"}}.
"""

import ctypes
import json
import os
import re
import signal
import sys
import warnings
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Never outlive the process that asks: a submit of a dead engine must not go on."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print must not get between the replies
    warnings.simplefilter("ignore")

import classad2  # noqa: E402  (only after stdout is safe)
import htcondor2  # noqa: E402

_schedd: Any = None


def schedd() -> Any:
    global _schedd
    if _schedd is None:
        name = os.environ.get("EE2_SCHEDD")
        collector = htcondor2.Collector()
        # Without a name locate() looks for this machine's own, which is not what is meant.
        ads = collector.locateAll(htcondor2.DaemonType.Schedd)
        ads = [ad for ad in ads if not name or ad["Name"] == name]
        if not ads:
            raise LookupError(
                f"the collector knows no schedd named {name!r}"
                if name
                else "the collector knows no schedd"
            )
        _schedd = htcondor2.Schedd(ads[0])
    return _schedd


def plain(ad: Any, names: list[str] | None = None) -> dict[str, Any]:
    """An ad as JSON values: expressions are evaluated, undefined values left out."""
    values = {}
    for name in names or ad.keys():
        if name in ad:
            value = ad.eval(name)
            # Undefined and error are numbers to Python.
            if isinstance(value, (bool, int, float, str)) and not isinstance(value, classad2.Value):
                values[name] = value
    return values


def quick(ad: Any) -> dict[str, Any]:
    """As `plain`, in a tenth of its time for an ad that holds mostly values: the ad as JSON, and
    only its expressions evaluated."""
    try:
        values: dict[str, Any] = json.loads(ad.printJson())
    except ValueError:
        return plain(ad)
    expressions = [
        name for name, v in values.items() if isinstance(v, str) and v.startswith("/Expr(")
    ]
    for name in expressions:
        del values[name]
    return values | plain(ad, expressions) if expressions else values


def submit(description: dict[str, str], items: list[dict[str, str]]) -> dict[str, int]:
    result = schedd().submit(htcondor2.Submit(description), itemdata=iter(items))
    return {
        "cluster_id": result.cluster(),
        "first_proc": result.first_proc(),
        "count": result.num_procs(),
    }


def query(constraint: str, projection: list[str], limit: int = -1) -> list[dict[str, Any]]:
    ads = schedd().query(constraint, projection=projection, limit=limit)
    return [plain(ad, projection) for ad in ads]


def history(
    constraint: str, projection: list[str], since_s: int, match: int = -1
) -> list[dict[str, Any]]:
    # The history is read from its end, and each ad's last change is the time it was written.
    since = classad2.ExprTree(f"EnteredCurrentStatus < {since_s}")
    ads = schedd().history(constraint, projection=projection, match=match, since=since)
    return [plain(ad, projection) for ad in ads]


def act(action: str, jobs: str | list[str], reason: str, subcode: int = 0) -> int:
    # A reason without a code is dropped by the bindings (25.14).
    result = schedd().act(getattr(htcondor2.JobAction, action), jobs, reason=(reason, subcode))
    return int(result["TotalSuccess"])


def edit(jobs: str | list[str], attribute: str, value: str) -> int:
    try:
        done = schedd().edit(jobs, attribute, value)
    except Exception:
        # A constraint that no job meets (any more) is an error to the bindings, and reads like any.
        if isinstance(jobs, str) and not schedd().query(jobs, projection=["ProcId"], limit=1):
            return 0
        raise
    return int(getattr(done, "count", done))  # by constraint it is the number itself (25.14)


def machines(projection: list[str]) -> list[dict[str, Any]]:
    ads = htcondor2.Collector().query(htcondor2.AdType.Startd, projection=projection)
    return [plain(ad, projection) for ad in ads]


def picture(
    constraint: str,
    projection: list[str],
    slot_projection: list[str],
    groups: dict[str, str | None],
) -> dict[str, Any]:
    """All that the sampler wants to know at one moment: jobs as rows of values in the order of the
    projection, slots with the names of the groups whose expression is true for them, and what the
    negotiator told the collector of its users (asking the negotiator itself would wait for the end
    of its cycle)."""
    rows = []
    for ad in schedd().query(constraint, projection=projection):
        values = quick(ad)
        rows.append([values.get(name) for name in projection])
    collector = htcondor2.Collector()
    expressions = {
        name: None if text is None else classad2.ExprTree(text) for name, text in groups.items()
    }
    wanted = slot_projection + sorted({n for e in groups.values() for n in _names(e or "")})
    slots = []
    for ad in collector.query(
        htcondor2.AdType.Startd, constraint='SlotType =!= "Dynamic"', projection=wanted
    ):
        slot = plain(ad, slot_projection)
        # An undefined value is no True.
        slot["groups"] = [
            name
            for name, expression in expressions.items()
            if expression is None or expression.eval(scope=ad, target=ad) is True
        ]
        slots.append(slot)
    names = ["Name", "Priority", "WeightedResourcesUsed", "IsAccountingGroup"]
    users = [
        plain(ad, names) for ad in collector.query(htcondor2.AdType.Accounting, projection=names)
    ]
    return {"jobs": rows, "slots": slots, "users": users}


def _names(expression: str) -> list[str]:
    """The words of an expression that may be names of attributes."""
    return re.findall(r"[A-Za-z_][A-Za-z0-9_]*", expression)


def events(logs: dict[str, int | None], limit: int) -> dict[str, Any]:
    """Events of user logs after the given offsets (None: from the start), at most `limit` a log."""
    found, offsets = [], dict(logs)
    for path, offset in logs.items():
        if not os.path.exists(path) or os.path.getsize(path) <= (offset or 0):
            continue
        log = htcondor2.JobEventLog.__new__(htcondor2.JobEventLog)
        log.__setstate__(({"_deadline": 0, "_filename": path}, offset or 0))
        with log:
            count = 0
            for event in log.events(stop_after=0):
                fields = plain(event._data)
                fields["time_ms"] = int(event.timestamp * 1000)
                fields["Proc"] = event.proc
                found.append(fields)
                count += 1
                if count == limit:
                    break
            offsets[path] = log.__getstate__()[1]
    return {"events": found, "offsets": offsets}


CALLS = {f.__name__: f for f in (submit, query, history, act, edit, machines, picture, events)}
# How the bindings and the daemons word it when nobody answers, or nobody who knows us.
UNAVAILABLE = (
    "connect",
    "communicat",
    "secman",
    "failed to fetch",
    "locat",
    "timeout",
    "timed out",
)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"id": request["id"], "ok": CALLS[request["call"]](**request["args"])}
    except Exception as problem:  # whatever it is, the asker has to hear of it
        text = " ".join(str(problem).split()) or type(problem).__name__
        unavailable = isinstance(problem, (LookupError, OSError)) or any(
            word in text.lower() for word in UNAVAILABLE
        )
        kind = "unavailable" if unavailable else "refused"
        return {"id": request["id"], "error": {"kind": kind, "message": text}}


def main() -> None:
    for line in sys.stdin:  # ends when the parent closes the pipe
        reply = answer(json.loads(line))
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
