"""Split - 20 jobs - aggregate, through EE2 and with HTCondor's DAGMan, in turn."""

from __future__ import annotations

import time

from bench.engine import Engine
from bench.figures import Figure, ratios, summary
from bench.pool import DagTimes, dagman
from ee2_cli.settings import StackError

CHILDREN = 20
PAUSE_S = 8


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    ours: list[float] = []
    peers: dict[str, list[DagTimes]] = {"default": [], "tuned": []}
    for _ in range(engine.runs(5, 1)):
        time.sleep(PAUSE_S)
        ours.append(_ours_s(engine))
        engine.settle()
        for name, times in peers.items():
            time.sleep(PAUSE_S)
            times.append(dagman(engine, CHILDREN, tuned=name == "tuned"))
            engine.settle()
    title = f"split - {CHILDREN} jobs - aggregate"
    figures = [Figure(title, "s", [[x] for x in ours], note="call to the aggregate completed")]
    for (name, times), target in zip(peers.items(), (0.3, 1.0), strict=True):
        whole = [t.dagman_s for t in times]
        last = [t.last_job_s for t in times]
        figures += [
            Figure(
                f"{title}: ratio to DAGMan, {name}",
                "x",
                ratios(ours, whole),
                target,
                peer=summary(f"DAGMan, {name}", "s", [[t] for t in whole]),
                note="until the user is told: the aggregate is completed, DAGMan has ended",
            ),
            Figure(
                f"{title}: ratio to the end of the last job of DAGMan, {name}",
                "x",
                ratios(ours, last),
                peer=summary(f"DAGMan, {name}, last job", "s", [[t] for t in last]),
            ),
        ]
    return figures


def _ours_s(engine: Engine) -> float:
    began_s = time.time()
    batch_id = engine.rpc.call(
        "run_split_aggregate",
        {
            "method": "ee2_test.true",
            "split": {"method": "ee2_test.split", "params": [{"children": CHILDREN}]},
            "aggregate": {"method": "ee2_test.sum", "params": []},
        },
    )
    query = {"batch_id": batch_id, "role": "aggregate"}
    record = engine.db.ee2_jobs.find_one(query, {"_id": 1})
    assert record is not None
    aggregate = engine.wait_job(str(record["_id"]))
    done = engine.db.ee2_jobs.count_documents(
        {"batch_id": batch_id, "role": "submit", "status": "completed"}
    )
    if aggregate["status"] != "completed" or done != CHILDREN:
        raise StackError(f"Batch {batch_id}: {done} jobs completed, the end: {aggregate}")
    return float(aggregate["finished"] - began_s)
