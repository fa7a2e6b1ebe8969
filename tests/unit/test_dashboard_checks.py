"""The dashboard's own checks: ESLint and Prettier, TypeScript, Vitest; its size, its lock file."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ee2_cli import dashboard
from ee2_cli.settings import StackError

MAX_BUNDLE_BYTES = 350_000
LOCK = dashboard.FOLDER / "package-lock.json"


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """What the checks need; the types of the REST API as the code describes them."""
    dashboard.install()
    dashboard.npm(dashboard.FOLDER, "run", "types")


@pytest.mark.parametrize(
    "check",
    [("run", "lint"), ("exec", "--", "tsc", "--noEmit"), ("run", "test")],
    ids=["lint", "types", "vitest"],
)
def test_checks(check: tuple[str, ...]) -> None:
    try:
        dashboard.npm(dashboard.FOLDER, *check)
    except StackError as e:
        pytest.fail(str(e))


def test_the_bundle_for_airflow_is_small() -> None:
    dashboard.build(print)
    bundle = dashboard.FOLDER / "dist" / "airflow" / "ee2-jobs.umd.js"
    assert len(gzip.compress(bundle.read_bytes())) < MAX_BUNDLE_BYTES


def test_what_airflow_loads_has_no_library_of_airflows() -> None:
    """A second React would know nothing of the page around it."""
    text = (dashboard.FOLDER / "dist" / "airflow" / "ee2-jobs.umd.js").read_text()
    assert "__SECRET_INTERNALS" not in text and "react.production" not in text
    for name in ("ReactRouterDOM", "ChakraUI", "ReactJSXRuntime"):
        assert name in text


def test_the_lock_file_names_no_place_to_download_from() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert len(packages) > 100
    assert [name for name, one in packages.items() if "resolved" in one] == []
    assert [name for name, one in packages.items() if name and "integrity" not in one] == []


def test_airflow_reads_nothing_below_it() -> None:
    """It would load every Python file in its folder of plugins, and npm brings some."""
    program = (
        "from airflow._shared.module_loading import find_path_from_directory as find\n"
        "import sys; print(*find(sys.argv[1], '.airflowignore'), sep='\\n')"
    )
    plugins = dashboard.FOLDER.parent
    done = subprocess.run(
        [sys.executable, "-c", program, plugins], capture_output=True, text=True, timeout=120
    )
    found = [line for line in done.stdout.splitlines() if line.endswith(".py")]
    assert found == [str(plugins / "ee2_plugin.py")], done.stderr[-500:]


def test_it_is_built_only_if_it_has_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(dashboard, "npm", lambda folder, *arguments: ran.append(arguments))
    assert dashboard.build(said.append, tmp_path) is False and len(said) == 1 and not ran
    for name in ("package.json", "package-lock.json", "src/a.ts", "dist/x", "node_modules/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert dashboard.build(said.append, tmp_path) is True
    assert [one[0] for one in ran] == ["ci", "exec", "exec"]
    assert dashboard.build(said.append, tmp_path) is False
    (tmp_path / "src" / "a.ts").write_text("other")
    assert dashboard.build(said.append, tmp_path) is True
