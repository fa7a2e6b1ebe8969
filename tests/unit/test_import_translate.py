"""What becomes of each kind of row of the old services: pure translation, no database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from ee2_jobs.legacy.imports import ee2, njs, ujs
from ee2_jobs.legacy.imports.report import Report
from ee2_jobs.legacy.imports.values import Untranslatable, date_s, unescaped

OID = ObjectId("5f0c00000000000000000001")
STARTED = datetime(2018, 3, 4, 5, 6, 7, tzinfo=UTC)
UPDATED = datetime(2018, 3, 4, 6, 0, 0, tzinfo=UTC)
STARTED_S, UPDATED_S = STARTED.timestamp(), UPDATED.timestamp()


def row(**fields: Any) -> dict[str, Any]:
    """A started job of UJS."""
    return {
        "_id": OID, "user": "alice", "service": "alice", "desc": "queued", "progtype": "none",
        "prog": 0, "maxprog": None, "status": "in-progress", "started": STARTED,
        "created": STARTED, "updated": UPDATED, "estcompl": None, "complete": False,
        "error": False, "errormsg": None, "results": None, "shared": [],
        "authstrat": "kbaseworkspace", "authparam": "7", "meta": [], **fields,
    }  # fmt: skip


def unstarted(**fields: Any) -> dict[str, Any]:
    return {
        "_id": OID, "user": "alice", "created": STARTED, "updated": UPDATED,
        "authstrat": "DEFAULT", "authparam": "DEFAULT", "meta": [], **fields,
    }  # fmt: skip


def task(**fields: Any) -> dict[str, Any]:
    """A row of exec_tasks."""
    return {
        "_id": ObjectId(), "ujs_job_id": str(OID), "creation_time": 1_520_139_967_500,
        "exec_start_time": 1_520_140_000_250, "finish_time": 1_520_143_000_750,
        "queue_time": 32_750, "task_id": "123.0", "scheduler_type": "condor",
        "awe_job_id": "awe-1", "app_job_id": "app-1", "input_shock_id": "in",
        "output_shock_id": "out", "job_input": {"method": "m.f", "params": [1], "service_ver": "c"},
        **fields,
    }  # fmt: skip


def joined(of: dict[str, Any], by: dict[str, Any]) -> ujs.Imported:
    return njs.with_task(ujs.from_jobstate(of), by)


@pytest.mark.parametrize(
    ("of", "status", "extra"),
    [
        (unstarted(), "created", {}),
        (row(status="queued"), "error", {"error_code": 2, "finished": UPDATED_S}),
        (row(status="in-progress"), "error", {"error_code": 2, "finished": UPDATED_S}),
        (row(complete=True, status="error"), "completed", {"finished": UPDATED_S}),
        (
            row(complete=True, error=True, status="done", errormsg="trace"),
            "error",
            {"error_code": 0, "errormsg": "trace", "finished": UPDATED_S},
        ),
        (row(complete=True, canceledby="alice"), "terminated", {"terminated_code": 0}),
        (row(complete=True, canceledby="bob"), "terminated", {"terminated_code": 1}),
        (unstarted(complete=True, error=False, canceledby="alice"), "terminated", {}),
    ],
)
def test_the_state_follows_from_the_flags_and_never_from_the_text(
    of: dict[str, Any], status: str, extra: dict[str, Any]
) -> None:
    record = ujs.from_jobstate(of).record
    assert record["status"] == status
    assert {k: record[k] for k in extra} == extra
    assert record["updated"] == UPDATED_S
    assert record.get("running") == (STARTED_S if "started" in of else None)
    assert ("finished" in record) == (status != "created")
    assert ("error" in record) == (status == "error")
    assert record["scheduler_type"] == "ujs" and "submission" not in record


@pytest.mark.parametrize(
    ("of", "output", "status"),
    [
        (row(complete=True), {"result": [5]}, "completed"),  # NJS: completed
        (row(complete=True, error=True), {"error": {"message": "no"}}, "error"),  # suspend
        (row(complete=True, canceledby="alice"), {"is_canceled": 1}, "terminated"),  # cancelled
        (row(status="queued"), None, "error"),  # queued, at the end of the service
        (row(), None, "error"),  # in-progress
        (unstarted(), None, "error"),  # its submission failed
        (row(complete=True), {"error": {"message": "no", "error": None}}, "error"),
    ],
)
def test_the_state_of_a_job_that_njs_ran(
    of: dict[str, Any], output: dict[str, Any] | None, status: str
) -> None:
    record = joined(of, task(job_output=output)).record
    assert record["status"] == status
    unfinished = not of.get("complete")
    if status == "error":
        assert record["error_code"] == (2 if unfinished else 0)
        assert {"name", "code", "message", "error"} <= set(record["error"])
        assert record["errormsg"]
    assert record["finished"] == (UPDATED_S if unfinished else 1_520_143_000.75)
    expected = {"version": "1.1", "id": str(OID), "result": [5]}
    assert record.get("job_output") == (expected if status == "completed" else None)


def test_times_are_utc_and_seconds() -> None:
    east = datetime(2018, 3, 4, 7, 0, tzinfo=timezone(timedelta(hours=1)))
    assert date_s(east) == date_s(datetime(2018, 3, 4, 6, 0)) == UPDATED_S
    assert date_s(DatetimeMS(1500)) == 1.5
    assert date_s("2018") is None and date_s(DatetimeMS(2**62)) is None
    record = joined(row(complete=True), task(job_output={"result": [5]})).record
    assert record["queued"] == 1_520_139_967.5
    assert record["running"] == 1_520_140_000.25
    never = joined(row(complete=True, canceledby="alice"), task(exec_start_time=None)).record
    assert "running" not in never  # UJS's start of a job of NJS is its submission


def test_keys_are_unescaped_in_the_right_order() -> None:
    stored = {"a%2eb": [{"%24ref": 1}], "%25": {"50%25%2e": 2}, "%252e": 3, "%2524": 4}
    assert unescaped(stored) == {
        "a.b": [{"$ref": 1}], "%": {"50%.": 2}, "%2e": 3, "%24": 4,
    }  # fmt: skip
    job_input = {"method": "m.f", "service_ver": "c", "params": [{"x%2ey": 1}]}
    output = {"result": [{"%24v": 2}], "version": "1.1", "id": "9"}
    record = joined(row(complete=True), task(job_input=job_input, job_output=output)).record
    assert record["job_input"]["params"] == [{"x.y": 1}]
    assert record["job_output"] == {"version": "1.1", "id": str(OID), "result": [{"$v": 2}]}


def test_an_error_has_all_members_and_both_services_texts() -> None:
    whole = {"name": "E", "code": -1, "message": "short", "error": "trace", "more": 1}
    of = row(complete=True, error=True, status="short", errormsg="trace")
    record = joined(of, task(job_output={"error": whole})).record
    assert (record["error"], record["errormsg"]) == (whole, "short")
    record = joined(of, task(job_output={"error": {"message": "short"}})).record
    assert record["error"]["error"] == "trace"
    record = joined(of, task(job_output=None)).record
    assert record["error"] == {
        "name": "Error", "code": 0, "message": "short", "error": "trace",
    }  # fmt: skip
    assert joined(of, task(job_output={"error": "plain"})).record["errormsg"] == "plain"


def test_input_is_kept_and_what_is_unknown_says_so() -> None:
    given = {
        "method": "m.f", "params": [], "service_ver": "c0", "requested_release": "beta",
        "app_id": "m/f", "source_ws_objects": ["1/2/3"], "parent_job_id": "p", "wsid": "7",
        "meta": {"run_id": "r", "cell_id": "c", "other": "o"}, "rpc_context": {"run_id": "r"},
        "remote_url": "http://x",
    }  # fmt: skip
    job = joined(row(complete=True), task(job_input=given, job_output={"result": []}))
    assert job.record["job_input"] == {
        "wsid": 7, "method": "m.f", "params": [], "service_ver": "c0", "requested_release": "beta",
        "app_id": "m/f", "source_ws_objects": ["1/2/3"], "parent_job_id": "p",
        "narrative_cell_info": {"run_id": "r", "cell_id": "c"},
    }  # fmt: skip
    assert job.side["meta"] == given["meta"]
    assert job.side["rpc_context"] == {"run_id": "r"} and job.side["remote_url"] == "http://x"
    bare = joined(row(complete=True), task(job_input=None, parent_job_id="p"))
    assert bare.record["job_input"] == {
        "method": "UNKNOWN", "service_ver": "UNKNOWN", "parent_job_id": "p",
        "narrative_cell_info": {},
    }  # fmt: skip
    assert any("method and parameters are unknown" in note for note in bare.notes)


def test_the_workspace_is_kept_and_the_strategy_unchanged() -> None:
    assert ujs.from_jobstate(row()).record["wsid"] == 7
    assert joined(row(), task()).record["wsid"] == 7  # job_input names none
    moved = joined(row(), task(job_input={"method": "m.f", "service_ver": "c", "wsid": 9})).record
    assert (moved["wsid"], moved["authstrat"]) == (9, "kbaseworkspace")
    private = row(authstrat="DEFAULT", authparam="DEFAULT", shared=["rob"])
    record = ujs.from_jobstate(private).record
    assert "wsid" not in record
    assert (record["authstrat"], record["shared"]) == ("DEFAULT", ["rob"])
    for_own = joined(private, task(job_input={"method": "m.f", "service_ver": "c", "wsid": 9}))
    assert "wsid" not in for_own.record and for_own.record["job_input"]["wsid"] == 9
    odd = ujs.from_jobstate(row(authparam="seven"))
    assert "wsid" not in odd.record and "authparam" in odd.notes[0]
    assert "wsid" not in ujs.from_jobstate(row(authparam="9" * 30)).record


def test_schedulers_and_old_ids() -> None:
    new = joined(row(), task())
    assert (new.record["scheduler_type"], new.record["scheduler_id"]) == ("condor", "123.0")
    other = joined(row(), task(scheduler_type=None, schedulerType="condor", task_id=None))
    assert (other.record["scheduler_type"], other.record["scheduler_id"]) == ("condor", "awe-1")
    old = joined(row(), task(scheduler_type=None, task_id=None, awe_job_id=None)).record
    assert old["scheduler_type"] == "awe" and "scheduler_id" not in old
    side = new.side
    assert {k: side[k] for k in ("app_job_id", "input_shock_id", "output_shock_id",
                                 "queue_time_ms", "awe_job_id", "imported_from")} == {
        "app_job_id": "app-1", "input_shock_id": "in", "output_shock_id": "out",
        "queue_time_ms": 32_750, "awe_job_id": "awe-1", "imported_from": "njs",
    }  # fmt: skip


def test_what_the_published_transfer_lost_is_in_the_side_document() -> None:
    results = {
        "shocknodes": ["n"], "shockurl": None, "workspaceids": [], "workspaceurl": "w",
        "results": [{"servtype": "s", "url": "u", "id": "i", "desc": None}],
    }  # fmt: skip
    side = ujs.from_jobstate(
        row(
            service="svc", desc="what", progtype="task", prog=2, maxprog=3, estcompl=UPDATED,
            results=results, meta=[{"k": "a.b", "v": "1"}, {"k": "c", "v": "2"}], complete=True,
            canceledby="bob", status="enough",
        )
    ).side  # fmt: skip
    assert side == {
        "_id": OID, "service": "svc", "desc": "what", "progtype": "task", "prog": 2, "maxprog": 3,
        "estcompl": UPDATED_S, "started": STARTED_S, "canceledby": "bob", "status": "enough",
        "results": {
            "shocknodes": ["n"], "workspaceids": [], "workspaceurl": "w",
            "results": [{"server_type": "s", "url": "u", "id": "i"}],
        },
        "meta": {"a.b": "1", "c": "2"}, "imported_from": "ujs", "imported_updated": UPDATED_S,
    }  # fmt: skip
    assert ujs.from_jobstate(row(complete=True, results={})).side["results"] == {}
    # The published way back to UJS stored a mapping.
    assert ujs.from_jobstate(row(meta={"a": "b"})).side["meta"] == {"a": "b"}


def test_rows_of_which_no_record_can_be_made_say_why() -> None:
    with pytest.raises(Untranslatable, match="user is missing"):
        ujs.from_jobstate(row(user=None))
    with pytest.raises(Untranslatable, match="_id is not the id of a job"):
        ujs.from_jobstate(row(_id=5))
    with pytest.raises(Untranslatable, match="ujs_job_id is not the id of a job"):
        njs.task_job({"ujs_job_id": "x"})
    with pytest.raises(Untranslatable, match="key is missing"):
        ujs.from_userstate({"user": "a", "service": "s"})


def test_key_value_state() -> None:
    oid = ObjectId()
    given = {"_id": oid, "user": "a", "service": "s", "auth": 1, "key": "k", "value": None, "x": 1}
    assert ujs.from_userstate(given) == {
        "_id": oid, "user": "a", "service": "s", "auth": True, "key": "k", "value": None,
    }  # fmt: skip


def test_logs() -> None:
    log, notes = njs.from_log(
        {
            "ujs_job_id": str(OID), "original_line_count": 9, "stored_line_count": 3,
            "lines": [
                {"line_pos": 1, "line": "b", "is_error": True}, {"line_pos": 0, "line": "a"},
                {"line_pos": 2, "line": "c", "is_error": False, "ts": "2018-03-04T06:00:00"},
                {"line_pos": 3, "line": "d", "is_error": False, "ts": 1500}, {"line_pos": 4},
            ],
        }
    )  # fmt: skip
    assert log == {
        "_id": OID, "original_line_count": 9, "stored_line_count": 4,
        "lines": [
            {"line": "a", "linepos": 0, "error": False}, {"line": "b", "linepos": 1, "error": True},
            {"line": "c", "linepos": 2, "error": False, "ts": UPDATED_S},
            {"line": "d", "linepos": 3, "error": False, "ts": 1.5},
        ],
    }  # fmt: skip
    assert notes == ["lines without a text are left out"]
    assert njs.from_log({"ujs_job_id": str(OID)})[0]["lines"] == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"status": "finished"}, "status is none of"),
        ({"user": None}, "user is not a string"),
        ({"updated": STARTED}, "updated is not a number"),
        ({"wsid": "7"}, "wsid is not a whole number"),
        ({"child_jobs": [OID]}, "child_jobs is not a list of job ids"),
        ({"job_input": {"requirements": []}}, "job_input.requirements is not a mapping"),
        ({"job_output": {"result": [OID]}}, "cannot be sent as JSON"),
        ({"_id": "x"}, "_id is no ObjectId"),
    ],
)
def test_records_of_ee2_that_could_not_be_read(wrong: dict[str, Any], reason: str) -> None:
    # As an EE2 that took over from NJS left them (`ee2-api` 4.3).
    good = {
        "_id": OID, "user": "alice", "authstrat": "DEFAULT", "status": "error", "updated": 1.5,
        "running": 0, "msg": "x", "error_code": 0, "scheduler_type": "awe", "error": "text",
    }  # fmt: skip
    assert ee2.record_problem(good) is None
    assert reason in (ee2.record_problem({**good, **wrong}) or "")


def test_a_report_survives_its_mark() -> None:
    report = Report(read=3, made=1, already_here=1)
    for i in range(30):
        report.leave_out(i, "a.$b")
    report.note(OID, ["n"])
    again = Report.from_document(report.as_document())
    assert again == report
    assert again.left_out["a.$b"].count == 30 and len(again.left_out["a.$b"].first) == 20
