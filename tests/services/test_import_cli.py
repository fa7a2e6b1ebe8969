"""`./ee2 import` as a command: messages, exit codes, the report, and a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ee2_cli.main import app
from ee2_jobs.legacy.imports import source
from tests.services.old_records import Old, fill_ee2, fill_old_services, opened

REPO = Path(__file__).parents[2]
NOWHERE = "mongodb://me:s3cret@127.0.0.1:1/"


@pytest.fixture
async def old(mongo_uri: str) -> AsyncIterator[Old]:
    async with opened(mongo_uri) as old:
        yield old


def ee2(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EE2_")}
    return subprocess.Popen(
        [sys.executable, "-m", "ee2_cli", "import", *arguments],
        env={**clean, "TERMINAL_WIDTH": "100", "COLUMNS": "200", **environment},
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def to(old: Old) -> str:
    return old.uri.replace("/?", f"/{old.target.name}?")


async def test_a_killed_command_goes_on_where_it_was(old: Old, tmp_path: Path) -> None:
    fill_old_services(old.client, old.target.name, jobs=600)
    old.database("ujs").jobstate.insert_one({"_id": "bad"})
    file = tmp_path / "report.json"
    arguments = (
        "ujs", "--from", old.uri, "--database", old.database("ujs").name, "--to", to(old),
        "--batch-rows", "20", "--report", str(file),
    )  # fmt: skip
    first = ee2(*arguments)
    deadline = time.monotonic() + 60
    while old.target.ee2_marks.count_documents({"report.made": {"$gte": 200}}) == 0:
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    half = old.target.ee2_jobs.count_documents({})
    assert 200 <= half < 600
    second = ee2(*arguments)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 3, err
    assert "jobstate: going on after" in err
    assert "_id is not the id of a job (bad)" in out
    assert old.target.ee2_jobs.count_documents({}) == 600
    report = json.loads(file.read_text())["collections"]["jobstate"]
    assert (report["read"], report["made"] + report["already_here"]) == (601, 600)
    assert report["already_here"] <= 20  # the batch that was written and not marked
    assert [f["first"] for f in report["left_out"]] == [["bad"]]


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        ("ujs --from mongodb://me:s3cret@p@h/", {}, "is not one of MongoDB: write"),
        ("ujs --from mongodb://me@127.0.0.1:1/", {"EE2_IMPORT_PASSWORD": "s3cret"},
         "The old database 127.0.0.1:1/userjobstate cannot be read: 127.0.0.1:1"),
        ("njs", {"EE2_IMPORT_FROM": NOWHERE}, "The old database 127.0.0.1:1/exec_engine"),
        ("ee2", {}, "Where are the records?"),
        ("ee2 --in-place --to mongodb://me:s3cret@p@h/", {}, "--to is no address of MongoDB"),
        ("ee2 --in-place", {"EE2_IMPORT_TO": NOWHERE}, "The database of --to cannot be used: 127"),
    ],
)  # fmt: skip
def test_messages_are_plain_and_never_hold_a_password(
    mongo_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    environment: dict[str, str],
    text: str,
) -> None:
    monkeypatch.setattr(source, "ANSWER_MS", 200)
    given = {"EE2_IMPORT_TO": mongo_uri, **environment}
    done = CliRunner().invoke(app, ["import", *arguments.split()], env=given)
    # main() prints the message of such an error and nothing else.
    assert type(done.exception).__name__ in ("StackError", "InvalidInput")
    assert text in str(done.exception)
    assert "s3cret" not in done.output + str(done.exception)


async def test_the_command_says_what_it_found(old: Old, tmp_path: Path) -> None:
    fill_old_services(old.client, old.target.name)
    arguments = ("--from", old.uri, "--database", old.database("njs").name, "--to", to(old))
    done = await asyncio.to_thread(CliRunner().invoke, app, ["import", "njs", *arguments,
                                                             "--dry-run"])  # fmt: skip
    assert done.exit_code == 0 and "7 rows of NJS wait" not in done.output
    assert "7 × no row of UJS" in done.output
    assert "Nothing was written" in done.output and "rows/s" in done.output
    fill_ee2(old.target)
    file = tmp_path / "r.json"
    in_place = ["--in-place", "--end-live", "--to", to(old), "--report", str(file)]
    done = await asyncio.to_thread(CliRunner().invoke, app, ["import", "ee2", *in_place])
    assert done.exit_code == 0
    assert "4 jobs of the old engine were ended (error code 2)" in done.output
    report = json.loads(file.read_text())
    assert (report["live_jobs"], report["ended_jobs"]) == (4, 4)


