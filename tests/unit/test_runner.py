"""The runner as a real process, with real apps, against a server over real HTTP."""
from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.rpc_server import (
    JOB_ID,
    RUNNER,
    SUBMISSION_ID,
    TOKEN,
    FakeServer,
    run_runner,
    start_runner,
)

METHODS = RUNNER.parents[1] / "apps" / "ee2_test" / "methods.py"
TRUE = {"kind": "command", "command": ["/bin/true"], "output": "none"}
OTHER_JOB = "5f0c0000000000000000cccc"


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = load(RUNNER)
pack = load(RUNNER.with_name("pack.py")).pack
Serve = Callable[..., FakeServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(app: dict[str, Any], params: Any = None, **claim: Any) -> FakeServer:
        servers.append(FakeServer(app, params, **claim))
        return servers[-1]

    yield start
    for server in servers:
        server.fault = lambda method: None
        server.stop()


def shell(script: str, output: str = "none") -> dict[str, Any]:
    return {"kind": "command", "command": ["/bin/sh", "-c", script], "output": output}


def method(serve: Serve, name: str, params: Any, **claim: Any) -> FakeServer:
    server = serve({"kind": "command", "command": [sys.executable, "-B", str(METHODS)]}, params,
                   **claim)
    server.claim["job"]["method"] = f"ee2_test.{name}"
    return server


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def the_error(server: FakeServer) -> dict[str, Any]:
    assert len(server.finished) == 1
    error = server.finished[0]["error"]
    assert set(error) == {"message", "name", "code", "error"}
    assert isinstance(error["code"], int)
    assert all(isinstance(error[key], str) for key in ("message", "name", "error"))
    return error


# ------------------------------------------------------------------------------ a job that works


def test_true_job_takes_two_calls_on_one_connection(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    assert run_runner(server, tmp_path) == (0, "")
    assert [name for _, name, _ in server.calls] == ["claim", "finish"]
    assert len(server._connections) == 1
    done = server.finished[0]
    assert (done["output"], done["error_code"]) == ({}, None)
    assert done["usage"]["exit_code"] == 0 and done["usage"]["signal"] is None
    assert done["usage"]["host"] == os.uname().nodename
    claim = server.calls[0][2]
    assert claim["job_id"] == JOB_ID and len(claim["claim"]) == 32
    assert claim["where"]["route"] == "pool"
    assert done["claim"] == claim["claim"]
    assert server.headers[0]["Authorization"] == TOKEN


@pytest.mark.parametrize(
    ("environment", "ad", "where", "scheduler_id"),
    [
        ({}, {}, {"route": "pool"}, None),
        (
            {"_CONDOR_SLOT": "slot1_2"},
            {"ClusterId": "7", "GlobalJobId": '"ee2@sub#7.0#1"', "EE2_GROUP": '"njs"'},
            {"route": "pool", "slot": "slot1_2", "cluster": "ee2@sub", "group": "njs"},
            "7.0",
        ),
        (
            {"EE2_ROUTE": "far", "EE2_SCHEDULER_ID": "7.3", "EE2_GROUP": "big"},
            {"ClusterId": "91", "ProcId": "2", "GlobalJobId": '"other#91.2#1"'},
            {"route": "far", "cluster": "other", "group": "big", "batch_id": "91.2"},
            "7.3",
        ),
        (
            {"EE2_ROUTE": "hpc", "EE2_SCHEDULER_ID": "8.0", "EE2_GROUP": "hpc",
             "SLURM_JOB_ID": "55", "SLURM_CLUSTER_NAME": "cori"},
            {},
            {"route": "hpc", "cluster": "cori", "group": "hpc", "batch_id": "55"},
            "8.0",
        ),
    ],
)  # fmt: skip
def test_it_tells_where_it_runs(
    environment: dict[str, str], ad: dict[str, str], where: dict[str, str],
    scheduler_id: str | None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("EE2_ROUTE", "EE2_SCHEDULER_ID", "EE2_GROUP", "_CONDOR_SLOT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runner.whereabouts(ad) == where
    assert runner.scheduler_id_of(ad) == scheduler_id


def test_echo_returns_params_of_every_json_kind(serve: Serve, tmp_path: Path) -> None:
    params = [{"a": [1, 2.5, None, True], "ü": "€😀\n\u0000", "big": 2**60}, "x"]
    server = method(serve, "echo", params)
    assert run_runner(server, tmp_path)[0] == 0
    assert server.finished[0]["output"] == {"version": "1.1", "id": JOB_ID, "result": params}


def test_work_directory_and_environment(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("env > seen_env; pwd -P > seen_pwd; cat /proc/$$/cmdline | tr '\\0' ' ' "
                         "> seen_argv; cat > seen_stdin"), [{"x": 1}])
    ad = tmp_path / "ad"
    ad.write_text('ClusterId = 12\nProcId = 3\nRequestCpus = 4\nNumShadowStarts = 2\n')
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert run_runner(server, scratch, _CONDOR_JOB_AD=str(ad), SECRET="s3cret")[0] == 0
    work = scratch / "work"
    given = json.loads((work / "input.json").read_text())
    assert given["method"] == "ee2_test.echo" and given["params"] == [{"x": 1}]
    assert given["version"] == "1.1" and given["id"] == JOB_ID
    assert given["context"]["service_ver"] == "abc"
    assert (work / "token").read_text() == TOKEN
    assert (work / "ee2_token").read_text() == TOKEN
    for name in ("token", "ee2_token"):
        assert stat.S_IMODE((work / name).stat().st_mode) == 0o600
    assert "kbase_endpoint = http://kb/services" in (work / "config.properties").read_text()
    env = (work / "seen_env").read_text()
    assert TOKEN not in env and "s3cret" not in env
    assert "EE2_CPUS=4" in env and f"KB_WORK_DIR={work}" in env and f"HOME={work}/tmp" in env
    assert (work / "seen_pwd").read_text().strip() == str(work.resolve())
    assert (work / "seen_argv").read_text().rstrip().endswith(" async")
    assert TOKEN not in (work / "seen_argv").read_text()
    assert (work / "seen_stdin").read_text() == ""
    claim = server.calls[0][2]
    assert (claim["scheduler_id"], claim["starts"]) == ("12.3", 2)


def test_own_temporary_folder_is_removed(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("pwd"))
    assert run_runner(server, None, TMPDIR=str(tmp_path))[0] == 0
    assert server.texts[0].startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_do_is_quiet(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    server.claim = {"proceed": False, "reason": "cancelled"}
    assert run_runner(server, tmp_path)[0] == 0
    assert [name for _, name, _ in server.calls] == ["claim"]
    assert not (tmp_path / "work").exists()


def test_refused_claim_is_exit_1(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    server.fault = lambda method: "refuse"
    code, err = run_runner(server, tmp_path)
    assert code == 1 and "not your job" in err


def test_an_app_gets_the_users_token_where_the_server_gives_it(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(shell("cat token ee2_token > seen; env >> seen"), user_token="alices")
    assert run_runner(server, tmp_path)[0] == 0
    seen = (tmp_path / "work" / "seen").read_text()
    assert seen.startswith(f"alices{TOKEN}") and seen.count("alices") == 1, "not in its environment"
    assert (tmp_path / "work" / "token").stat().st_mode & 0o777 == 0o600
    server = serve(TRUE, user_token="alices", delegate=["/bin/sh", "-c", "echo $KB_AUTH_TOKEN"])
    out, _ = start_runner(server.url, tmp_path).communicate(timeout=20)
    assert out.split() == ["alices"]


def test_delegate_becomes_the_other_runner(serve: Serve, tmp_path: Path) -> None:
    script = tmp_path / "jobrunner"
    script.write_text('#!/bin/sh\necho "$@" $KB_AUTH_TOKEN $KB_ADMIN_AUTH_TOKEN $JOB_ID '
                      '$CLIENTGROUP "$CONDOR_ID"\nexit 7\n')
    script.chmod(0o755)
    server = serve(TRUE, delegate=[str(script), "-x"], client_group="njs")
    ad = tmp_path / "ad"
    ad.write_text("ClusterId = 12\nProcId = 3\n")
    process = start_runner(server.url, tmp_path, _CONDOR_JOB_AD=str(ad))
    out, _ = process.communicate(timeout=20)
    assert out.split() == ["-x", JOB_ID, server.url, TOKEN, TOKEN, JOB_ID, "njs", "12.3"]
    assert process.returncode == 7


# ---------------------------------------------------------------------------------- log lines


def test_lines_have_time_stamps_and_streams(serve: Serve, tmp_path: Path) -> None:
    before = int(time.time() * 1000)
    server = serve(shell("echo out; sleep 0.05; echo err >&2; sleep 0.05; printf 'no newline'"))
    run_runner(server, tmp_path)
    assert [(x["line"], x["is_error"]) for x in server.lines] == [
        ("out", 0), ("err", 1), ("no newline", 0)]
    stamps = [line["ts"] for line in server.lines]
    assert stamps == sorted(stamps) and before <= stamps[0] < stamps[-1] <= time.time() * 1000
    assert server.times("report") == []  # a short job's lines go with its finish


def test_odd_bytes_long_lines_and_progress(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell(
        r"printf 'bad \377 byte\r\n'; printf '10%%\r20%%\r'; sleep 0.1; printf '30%%\r\n';"
        r"head -c 100000 /dev/zero | tr '\0' x; echo; echo end"))
    run_runner(server, tmp_path)
    bad, progress, long, end = server.texts
    assert bad == "bad \ufffd byte"
    assert progress == "30%"
    assert long == "x" * 65536 + " … [line cut here, 34464 more bytes]"
    assert end == "end"


def test_many_lines_arrive_complete_and_in_order(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "lines", [{"count": 25_000}])
    assert run_runner(server, tmp_path)[0] == 0
    assert server.texts == [f"line {i}" for i in range(25_000)]
    assert max(len(batch) for batch in server.stored.values()) <= 1000


def test_lines_arrive_while_the_job_runs(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "sleep", [{"seconds": 4, "tick_s": 0.5}], log_flush_s=0.2)
    process = start_runner(server.url, tmp_path)
    until(lambda: len(server.texts) >= 3)
    assert not server.finished
    assert process.wait(60) == 0
    assert len(server.texts) >= 8


def test_outage_and_restart_lose_nothing_and_double_nothing(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "lines", [{"count": 300, "pause_s": 0.02}], log_flush_s=0.2)
    process = start_runner(server.url, tmp_path)
    until(lambda: server.texts)
    server.stop()
    time.sleep(2.5)
    server.start()
    assert process.wait(60) == 0
    assert server.texts == [f"line {i}" for i in range(300)]
    assert server.finished[-1]["output"]["result"] == [{"count": 300}]


@pytest.mark.parametrize("fault", ["503", "html", "die", "lost", "trouble"])
def test_broken_answers_are_retried_with_the_same_key(
    serve: Serve, tmp_path: Path, fault: str
) -> None:
    server = method(serve, "lines", [{"count": 80, "pause_s": 0.02}], log_flush_s=0.2)
    seen: dict[str, int] = {}

    def broken(name: str) -> str | None:
        seen[name] = seen.get(name, 0) + 1
        return fault if seen[name] in (1, 3) else None

    server.fault = broken
    assert run_runner(server, tmp_path)[0] == 0
    assert server.texts == [f"line {i}" for i in range(80)]
    assert len({json.dumps(params) for params in server.finished}) == 1
    claims = {params["claim"] for _, name, params in server.calls}
    assert len(claims) == 1
    if fault == "lost":
        sent = [p["key"] for _, name, p in server.calls if name == "report" and p["lines"]]
        assert len(sent) > len(set(sent))


def test_hanging_server_does_not_block_the_app(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "lines", [{"count": 30_000, "pause_s": 0.00001}], log_flush_s=0.2)
    hang = True
    server.fault = lambda name: "hang" if hang and name == "report" else None
    process = start_runner(server.url, tmp_path)
    until(lambda: server.times("report"))
    until(lambda: (tmp_path / "work" / "output.json").exists())
    hang = False
    assert process.wait(60) == 0
    assert server.texts == [f"line {i}" for i in range(30_000)]


def test_queue_spills_to_a_file_and_keeps_order(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "MEMORY_BYTES", 5_000)
    queue = runner.LogQueue("c", str(tmp_path / "x" / "log"))
    sent: list[str] = []
    keys = []

    def send() -> None:
        key, lines = queue.head()
        assert queue.head() == (key, lines)  # the same until it is done
        keys.append(key)
        sent.extend(line["line"] for line in lines)
        queue.done()

    for number in range(7_500):
        queue.add(f"{number}", 0, 1)
        if number == 5_500:
            send()
            send()
    assert (tmp_path / "x" / "log").stat().st_size > 10_000
    while queue.head()[0]:
        send()
    assert sent == [str(number) for number in range(7_500)]
    assert len(set(keys)) == len(keys)
    assert (tmp_path / "x" / "log").stat().st_size == 0
    assert not queue.more()


def test_full_spill_file_says_what_is_lost(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "MEMORY_BYTES", 0)
    monkeypatch.setattr(runner, "SPILL_BYTES", 100_000)
    queue = runner.LogQueue("c", str(tmp_path / "log"))
    for number in range(10_000):
        queue.add(f"{number}", 0, 1)
    sent = []
    while queue.head()[0]:
        sent += [line["line"] for line in queue.head()[1]]
        queue.done()
    lost = 10_000 - (len(sent) - 1)
    assert lost > 0 and any(line.startswith(f"[{lost} log lines were lost") for line in sent)


def test_progress_without_newlines_is_shown_now_and_then(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "PROGRESS_SECONDS", 0.1)
    queue = runner.LogQueue("c", str(tmp_path / "log"))
    out, into = os.pipe()
    os.set_blocking(out, False)
    reader = runner.LineReader(out, 0, queue)
    for percent in range(30):
        os.write(into, b"\r%d%%" % percent)
        assert reader.read()
        time.sleep(0.02)
    os.write(into, b"\r100%\n")
    os.close(into)
    assert not reader.read()
    lines = [line["line"] for line in queue.head()[1]]
    assert 3 <= len(lines) <= 8 and lines[-1] == "100%"


# ---------------------------------------------------------------------------- how a job can end


@pytest.mark.parametrize(("params", "message", "error_code"), [
    ({"how": "error", "message": "too few reads"}, "too few reads", 1),
    ({"how": "exit", "exit_code": 9, "message": "no licence"},
     "The app failed with exit code 9. Its last message: no licence", 1),
    ({"how": "signal", "signal": 11}, "The app crashed (signal 11, SIGSEGV).", 1),
    ({"how": "signal", "signal": 9}, "most often the node had run out of memory", 1),
    ({"how": "raise", "message": "oh"}, "Its last message: RuntimeError: oh", 1),
    ({"how": "no_output"}, "wrote no output.json", 4),
])
def test_bad_ends(
    serve: Serve, tmp_path: Path, params: Any, message: str, error_code: int
) -> None:
    server = method(serve, "fail", [params])
    assert run_runner(server, tmp_path)[0] == 0
    assert message in the_error(server)["message"]
    assert server.finished[0]["error_code"] == error_code
    usage = server.finished[0]["usage"]
    if params["how"] == "signal":
        assert (usage["exit_code"], usage["signal"]) == (None, params["signal"])
    if params["how"] == "no_output":
        error = the_error(server)
        assert (error["code"], error["name"]) == (-32601, "Output not found")
    if params["how"] == "raise":
        assert "Traceback" in the_error(server)["error"]
        assert len(the_error(server)["error"].splitlines()) <= 20


@pytest.mark.parametrize(("text", "message"), [
    ("not json", "cannot be used"), ("[1]", "an object is needed"), ("{}", "neither a list"),
    ('{"result": [NaN]}', "NaN is not a JSON value"), ('{"result": [1]', "cannot be used"),
    ('{"result": [1]} x', "unexpected text"), ("[" * 100_000, "cannot be used"),
    ('{"error": "just text"}', "just text"),
])
def test_unusable_output(serve: Serve, tmp_path: Path, text: str, message: str) -> None:
    source = tmp_path / "text"
    source.write_text(text)
    server = serve(shell(f"cp {source} output.json", "json"))
    assert run_runner(server, tmp_path)[0] == 0
    assert message in the_error(server)["message"]


def test_too_large_output(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("truncate -s 1025M output.json", "json"))
    assert run_runner(server, tmp_path)[0] == 0
    assert the_error(server)["name"] == "Too much output from a method"


def test_output_that_the_server_refuses_ends_as_an_error(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "echo", [1])
    server.fault = lambda name: "refuse" if name == "finish" and server.times(
        "finish") == server.times("finish")[:1] else None
    assert run_runner(server, tmp_path)[0] == 0
    assert "did not take the app's output: not your job" in the_error(server)["message"]


def make_program(folder: Path, kind: str) -> str:
    path = folder / kind
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text({"no interpreter": "#!/no/such/shell\n"}.get(kind, "#!/bin/sh\n"))
        path.chmod(0o644 if kind == "not executable" else 0o755)
    return str(path)


@pytest.mark.parametrize(("kind", "reason"), [
    ("missing", "there is no such file"), ("folder", "it is a folder"),
    ("not executable", "may not be executed"), ("no interpreter", "interpreter named in its first"),
])
def test_program_that_cannot_start(serve: Serve, tmp_path: Path, kind: str, reason: str) -> None:
    server = serve({"kind": "command", "command": [make_program(tmp_path, kind)]})
    assert run_runner(server, tmp_path)[0] == 0
    message = the_error(server)["message"]
    assert reason in message and str(tmp_path / kind) in message
    assert os.uname().nodename in message


# ------------------------------------------------------------------------------ stopping a job


def test_cancel_is_noticed_within_five_seconds(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("trap 'echo bye; exit 0' TERM; echo $$; while :; do sleep 0.1; done"))
    process = start_runner(server.url, tmp_path)
    until(lambda: server.texts)
    server.canceled = True
    begun = time.monotonic()
    assert process.wait(60) == 0
    assert time.monotonic() - begun < 15
    assert "bye" in server.texts
    assert not alive(int(server.texts[0]))
    assert server.finished[0]["error"]["name"] == "Job cancelled"


def test_quiet_job_sends_only_heartbeats(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("sleep 2.6"), heartbeat_s=1)
    assert run_runner(server, tmp_path)[0] == 0
    assert 1 <= len(server.times("report")) <= 3
    assert all(p["lines"] == [] for _, name, p in server.calls if name == "report")


def test_refused_heartbeat_stops_the_job(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("sleep 60"), heartbeat_s=1)
    server.fault = lambda name: "refuse" if name == "report" else None
    begun = time.monotonic()
    assert run_runner(server, tmp_path)[0] == 0
    assert time.monotonic() - begun < 40


def test_deaf_app_is_killed_after_the_grace(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("trap '' TERM; echo $$; while :; do sleep 0.1; done"),
                   limits={"time_s": 1, "memory_mb": None})
    begun = time.monotonic()
    assert run_runner(server, tmp_path)[0] == 0
    assert 5.5 < time.monotonic() - begun < 40
    assert not alive(int(server.texts[0]))
    error = the_error(server)
    assert "time limit of 1 s" in error["message"]
    assert server.finished[0]["error_code"] == 3
    assert server.finished[0]["usage"]["signal"] == signal.SIGKILL


def test_a_time_limit_that_changes_while_the_app_runs(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("echo $$; sleep 60"), log_flush_s=0.2, heartbeat_s=0.5,
                   limits={"time_s": 50, "time_rule": "50 s for all jobs", "memory_mb": None})
    process = start_runner(server.url, tmp_path)
    until(lambda: server.texts)
    server.limits = {"time_s": 1, "time_rule": "1 s for m.f, set by root on 2026-11-22: a note"}
    begun = time.monotonic()
    assert process.wait(60) == 0
    assert time.monotonic() - begun < 40
    assert server.finished[0]["error_code"] == 3
    assert the_error(server)["message"].startswith(
        "The job reached its time limit of 1 s and was stopped. The limit is 1 s for m.f, set by "
        "root on 2026-11-22: a note. Ask for a longer time limit"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_runner(serve: Serve, tmp_path: Path, number: int) -> None:
    server = serve(shell("echo $$; sleep 60"), log_flush_s=0.2)
    process = start_runner(server.url, tmp_path)
    until(lambda: server.texts)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert server.finished[0]["error_code"] == 2
    assert the_error(server)["message"].startswith("The job was stopped by the scheduler")
    assert not alive(int(server.texts[0]))


def test_signal_before_the_claim_is_answered(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    server.fault = lambda name: "hang"
    process = start_runner(server.url, tmp_path)
    until(lambda: server.times("claim"))
    process.terminate()
    assert process.wait(60) == 75


def test_memory_limit_counts_the_whole_tree(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "hog", [{"memory_mb": 60, "processes": 3, "seconds": 30}],
                    limits={"time_s": None, "memory_mb": 120})
    assert run_runner(server, tmp_path)[0] == 0
    message = the_error(server)["message"]
    assert "limit of 120 MB" in message
    assert server.finished[0]["error_code"] == 1
    assert 120 < server.finished[0]["usage"]["peak_memory_mb"] < 400


def test_memory_shared_by_workers_counts_once(serve: Serve, tmp_path: Path) -> None:
    script = ("import os,time\nheld=b'1'*80*1024**2\nfor _ in range(3):\n  if not os.fork(): "
              "time.sleep(2.5); os._exit(0)\ntime.sleep(2.5)")
    server = serve({"kind": "command", "command": ["/usr/bin/python3", "-c", script],
                    "output": "none"}, limits={"time_s": None, "memory_mb": 150})
    assert run_runner(server, tmp_path)[0] == 0
    assert "output" in server.finished[0]


def test_usage_is_measured(serve: Serve, tmp_path: Path) -> None:
    script = ("import time\nheld=b'1'*50*1024**2\nend=time.process_time()+0.5\n"
              "while time.process_time()<end: pass\ntime.sleep(0.5)")
    server = serve(shell(f'/usr/bin/python3 -c "{script}"'))
    run_runner(server, tmp_path)
    usage = server.finished[0]["usage"]
    assert 0.4 < usage["cpu_user_s"] + usage["cpu_system_s"] < 1.5
    assert usage["wall_s"] > 0.9
    assert 50 <= usage["peak_memory_mb"] < 120


def test_daemon_does_not_outlive_the_job(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "fork", [{}])
    begun = time.monotonic()
    assert run_runner(server, tmp_path)[0] == 0
    assert time.monotonic() - begun < 40
    pid = server.finished[0]["output"]["result"][0]["daemon_pid"]
    assert not alive(pid)


def test_helper_may_write_its_last_lines(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("(sleep 0.4; echo late) & echo early"))
    run_runner(server, tmp_path)
    assert server.texts == ["early", "late"]


def test_unreachable_server_at_the_claim_is_exit_75(tmp_path: Path, monkeypatch: Any) -> None:
    # The whole wait is five minutes; here its end is reached at once.
    monkeypatch.setattr(runner, "CLAIM_SECONDS", 1.0)
    server = FakeServer(TRUE)
    server.stop()
    waits: list[float] = []
    monkeypatch.setattr(runner.time, "sleep", waits.append)
    clock = iter(x * 0.1 for x in range(1000))
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    with pytest.raises(runner.Unavailable):
        runner.retry(runner.CLAIM_SECONDS, runner.Server(server.url, TOKEN, JOB_ID).call,
                     "claim", {})
    assert 1 <= len(waits) <= 4
    for n, wait in enumerate(waits):  # doubling, up to half of it more or less at random
        assert 0.5 * 0.2 * 2**n <= wait <= 1.5 * 0.2 * 2**n


def test_server_that_comes_late_is_waited_for(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    server.stop()
    process = start_runner(server.url, tmp_path)
    time.sleep(1.2)
    server.start()
    assert process.wait(60) == 0 and server.finished


def test_finish_that_cannot_be_told_is_not_exit_0(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "FINISH_SECONDS", 0.0)
    server = FakeServer(TRUE)
    server.stop()
    client = runner.Server(server.url, TOKEN, JOB_ID)
    queue = runner.LogQueue("c", str(tmp_path / "log"))
    assert runner.finish(client, queue, None, {"output": {}, "usage": {}}) == 70


# --------------------------------------------------------------------------------- artifacts


def test_artifacts_come_and_go(serve: Serve, tmp_path: Path) -> None:
    ref = f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/a file.txt"
    server = serve(shell(
        "cp \"$(/usr/bin/python3 -c 'import json; print(json.load(open(\"input.json\"))[\"params\"]"
        "[0][\"in\"][1])')\" artifacts/copy.txt; mkdir artifacts/deep; echo 2 > artifacts/deep/b; "
        "echo '{\"result\": [{\"x\": [\"artifact:copy.txt\", \"plain\", \"" + ref
        + "\"]}]}' > output.json", "json"), [{"in": ["x", ref], "same": ref}])
    content = os.urandom(700_000)
    server.artifacts[f"{SUBMISSION_ID}/{OTHER_JOB}/a%20file.txt"] = content
    assert run_runner(server, tmp_path)[0] == 0
    own = f"{SUBMISSION_ID}/{JOB_ID}"
    assert server.finished[0]["output"]["result"] == [
        {"x": [f"artifact:{own}/copy.txt", "plain", ref]}]
    assert server.artifacts[f"{own}/copy.txt"] == content
    assert server.artifacts[f"{own}/deep/b"] == b"2\n"
    assert len(server.times("GET")) == 1  # a file named twice is fetched once


@pytest.mark.parametrize("fault", ["503", "die", "lost"])
def test_artifact_transfers_are_retried(serve: Serve, tmp_path: Path, fault: str) -> None:
    ref = f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/in"
    server = serve(shell(f"cp inputs/{OTHER_JOB}/in artifacts/out"), [ref])
    server.artifacts[ref[9:]] = b"x" * 300_000
    server.chunked = True
    seen: set[str] = set()

    def once(name: str) -> str | None:
        first = name not in seen
        seen.add(name)
        return fault if first and name in ("GET", "PUT") else None

    server.fault = once
    assert run_runner(server, tmp_path)[0] == 0
    assert server.artifacts[f"{SUBMISSION_ID}/{JOB_ID}/out"] == b"x" * 300_000


def test_kept_references_are_not_fetched(serve: Serve, tmp_path: Path) -> None:
    ref = f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/big"
    server = serve({**shell("grep -q artifact: input.json"), "artifacts": "keep"}, [ref])
    assert run_runner(server, tmp_path)[0] == 0
    assert "output" in server.finished[0] and not server.times("GET")


def test_missing_input_artifact_is_named(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE, [f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/gone.bam"])
    assert run_runner(server, tmp_path)[0] == 0
    assert "gone.bam" in the_error(server)["message"]


def test_output_that_names_no_file_is_an_error(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("echo '{\"result\": [\"artifact:nope\"]}' > output.json", "json"))
    assert run_runner(server, tmp_path)[0] == 0
    assert "'nope'" in the_error(server)["message"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "", "a//b", "a\\b", "a\nb", "."])
def test_artifact_names_stay_inside(serve: Serve, tmp_path: Path, name: str) -> None:
    with pytest.raises(runner.JobError):
        runner.checked_name(name)


def test_traversal_in_params_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE, [f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/../../../x"])
    assert run_runner(server, tmp_path)[0] == 0
    assert the_error(server)["name"] == "Invalid artifact name"
    assert not server.times("GET")


def test_cancel_during_a_transfer(serve: Serve, tmp_path: Path) -> None:
    ref = f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/in"
    server = serve(TRUE, [ref], heartbeat_s=0.5)
    server.canceled = True
    server.fault = lambda name: "503" if name == "GET" else None
    assert run_runner(server, tmp_path, timeout_s=20)[0] == 0
    assert the_error(server)["name"] == "Job cancelled"


# -------------------------------------------------------------------------------- containers


FAKE_ENGINE = """#!/bin/sh
echo "$@" >> {log}
if [ "$1" = run ]; then
  for part in "$@"; do case "$part" in --volume=*|--bind=*)
    work="${{part#*=}}"; work="${{work%%:*}}"; esac; done
  cd "$work" && {script}
fi
"""


def fake_engine(folder: Path, name: str, script: str) -> Path:
    log = folder / "engine.log"
    program = folder / name
    program.write_text(FAKE_ENGINE.format(log=log, script=script))
    program.chmod(0o755)
    return log


@pytest.mark.parametrize("engine", ["docker", "podman", "apptainer", "singularity"])
def test_container_argv(tmp_path: Path, monkeypatch: Any, engine: str) -> None:
    fake_engine(tmp_path, engine, "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://x")
    container = runner.Container("kbase/app:1", "ee2-name")
    argv = container.argv("/w", {"EE2_CPUS": "2"}, 500)
    assert argv[0] == str(tmp_path / engine) and argv[1] == "run" and argv[-1] == "async"
    assert "--env=KB_WORK_DIR=/kb/module/work" in argv and "--env=EE2_CPUS=2" in argv
    if engine in ("docker", "podman"):
        assert argv[-2] == "kbase/app:1" and "--volume=/w:/kb/module/work" in argv
        assert "--memory=500m" in argv and argv[argv.index("--name") + 1] == "ee2-name"
        assert "--rm" in argv and "--init" in argv
    else:
        assert argv[-2] == "docker://kbase/app:1" and "--bind=/w:/kb/module/work" in argv
        assert "--cleanenv" in argv


def test_container_job_and_its_removal(serve: Serve, tmp_path: Path) -> None:
    log = fake_engine(tmp_path, "podman",
                      "grep -q /kb/module/work/inputs/ input.json && echo '{\"result\": [1]}' "
                      "> output.json")
    server = serve({"kind": "container", "image": "kbase/app:1"},
                   [f"artifact:{SUBMISSION_ID}/{OTHER_JOB}/in"])
    server.artifacts[f"{SUBMISSION_ID}/{OTHER_JOB}/in"] = b"1"
    code, _ = run_runner(server, tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert code == 0 and server.finished[0]["output"]["result"] == [1]
    said = log.read_text()
    assert TOKEN not in said
    assert f"rm --force ee2-{JOB_ID}-" in said


def test_no_container_engine_is_explained(serve: Serve, tmp_path: Path) -> None:
    server = serve({"kind": "container", "image": "kbase/app:1"})
    empty = tmp_path / "empty"
    empty.mkdir()
    run_runner(server, tmp_path, PATH=str(empty))
    message = the_error(server)["message"]
    assert "kbase/app:1" in message and "none of docker, podman, apptainer" in message


# ------------------------------------------------------------------------------------ details


def test_json_is_the_same_as_the_packages() -> None:
    values = [None, True, -1.5e300, "\U0001f600\"\\\u2028", [[], {}], {"a": {"b": [1]}}]
    assert json.loads(runner.dumps(values)) == values == runner.loads(json.dumps(values))
    with pytest.raises(ValueError):
        runner.dumps([float("nan")])
    with pytest.raises(ValueError):
        runner.loads("")


@pytest.mark.parametrize(("url", "parts"), [
    ("http://h:81/a/b", ("h", 81, "/a/b")), ("https://h", ("h", 443, "/")),
    ("http://h/x", ("h", 80, "/x")), ("http://[::1]:8/x", ("::1", 8, "/x")),
    ("http://[::1]/x", ("::1", 80, "/x")),
])
def test_urls(url: str, parts: tuple[str, int, str]) -> None:
    http = runner.Http(url)
    assert (http.host, http.port, http.path) == parts


def test_chunked_answers(serve: Serve, tmp_path: Path) -> None:
    server = method(serve, "echo", ["y" * 5000])
    server.chunked = True
    assert run_runner(server, tmp_path)[0] == 0
    assert server.finished[0]["output"]["result"] == ["y" * 5000]


def test_no_thread_and_no_costly_import_for_a_short_job(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    code = (f"import sys\nsys.argv=['r','{JOB_ID}','{server.url}']\n"
            "import os; keep=os._exit\n"
            "def show(c):\n print(' '.join(sys.modules)); sys.stdout.flush(); keep(c)\n"
            f"os._exit=show\nexec(compile(open('{RUNNER}').read(),'r','exec'))")
    done = subprocess.run(["/usr/bin/python3", "-IS", "-c", code], input=TOKEN + "\n", text=True,
                          capture_output=True, check=True,
                          env={"_CONDOR_SCRATCH_DIR": str(tmp_path)}, timeout=20)
    loaded = set(done.stdout.split())
    assert not loaded & {"json", "re", "enum", "socket", "signal", "threading", "subprocess",
                         "tempfile", "ssl", "http", "collections"}


def test_connection_closed_while_idle_is_opened_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(shell("sleep 0.7"))
    server.stop()
    server.idle_s = 0.2
    server.start()
    assert run_runner(server, tmp_path) == (0, "")
    assert len(server.times("claim")) == len(server.times("finish")) == 1


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
@pytest.mark.parametrize("trusted", [True, False])
def test_https_checks_the_certificate(serve: Serve, tmp_path: Path, trusted: bool) -> None:
    pem = tmp_path / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-keyout", str(pem), "-out", str(tmp_path / "cert"), "-subj", "/CN=test",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "cert").read_text())
    server = serve(TRUE)
    server.stop()
    server.certificate = pem
    server.start()
    env = {"SSL_CERT_FILE": str(tmp_path / "cert")} if trusted else {}
    process = start_runner(server.url, tmp_path, **env)
    if trusted:
        assert process.wait(60) == 0 and server.finished
    else:
        assert process.stderr
        assert "certificate verify failed" in process.stderr.readline()
        process.kill()
        assert not server.calls


@pytest.mark.parametrize("same_version", [True, False])
def test_packed_runner_is_the_same_runner(
    serve: Serve, tmp_path: Path, same_version: bool
) -> None:
    packed = tmp_path / "packed"
    pack(RUNNER, packed)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    text = packed.read_text()
    start = text.index('== "') + 4
    magic = text[start:text.index('"', start)]
    if not same_version:
        packed.write_text(text.replace(f'== "{magic}"', '== "00000000"'))
    server = method(serve, "lines", [{"count": 3}])
    assert run_runner(server, tmp_path, program=packed) == (0, "")
    assert server.texts == ["line 0", "line 1", "line 2"]
    assert server.finished[0]["output"]["result"] == [{"count": 3}]


def test_two_runners_of_one_job_have_different_claims(serve: Serve, tmp_path: Path) -> None:
    server = serve(TRUE)
    threads = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        threads.append(threading.Thread(target=run_runner, args=(server, folder)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len({params["claim"] for _, name, params in server.calls if name == "claim"}) == 2


def test_a_command_of_the_apps_folder_is_found(serve: Serve, tmp_path: Path) -> None:
    """Words that name files of the folder become those files; programs are looked for on PATH."""
    (tmp_path / "hello.py").write_text(
        "import json, sys\n"
        "open('output.json', 'w').write(json.dumps({'version': '1.1', 'result': sys.argv[1:]}))\n"
    )
    app = {"kind": "command", "command": ["python3", "hello.py", "word"], "folder": str(tmp_path)}
    server = serve(app)
    assert run_runner(server, tmp_path) == (0, "")
    assert server.finished[0]["output"]["result"] == ["word", "async"]
