"""The methods of ee2_test: each takes params[0] (an object, all keys optional)."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(output: dict[str, Any]) -> None:
    Path("output.json").write_text(json.dumps(output))


def sleep(seconds: float = 10, tick_s: float = 1) -> dict[str, Any]:
    """Sleeps and prints a line at each tick."""
    end, tick = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        tick += 1
        print(f"tick {tick}, {left:.1f} s left", flush=True)
        time.sleep(min(tick_s, left))
    return {"slept_s": seconds}


def fail(how: str = "error", message: str = "This job was told to fail", exit_code: int = 3,
         signal: int = 11) -> dict[str, Any]:
    """Ends badly in the way asked for."""
    if how == "raise":
        raise RuntimeError(message)
    if how == "error":
        write({"error": {"code": -32000, "name": "ee2_test", "message": message, "error": ""}})
        sys.exit(1)
    print(message, file=sys.stderr, flush=True)
    if how == "signal":
        os.kill(os.getpid(), signal)
    os._exit(0 if how == "no_output" else exit_code)


def hog(memory_mb: int = 200, seconds: float = 5, processes: int = 1) -> dict[str, Any]:
    """Takes memory in steps, in each of some processes, and holds it."""
    for _ in range(processes - 1):
        if not os.fork():
            processes = 1
            break
    held = []
    for _ in range(0, memory_mb, 10):
        held.append(b"\1" * min(10, memory_mb) * 1024**2)
        time.sleep(0.01)
    time.sleep(seconds)
    return {"memory_mb": memory_mb}


def lines(count: int = 1000, stderr_every: int = 0, pause_s: float = 0) -> dict[str, Any]:
    """Prints numbered lines; every n-th one to stderr."""
    for number in range(count):
        to_stderr = stderr_every and number % stderr_every == 0
        print(f"line {number}", file=sys.stderr if to_stderr else sys.stdout, flush=pause_s > 0)
        if pause_s:
            time.sleep(pause_s)
    return {"count": count}


def fork(seconds: float = 600) -> dict[str, Any]:
    """Leaves a process in a session of its own, with its parent gone."""
    script = ("import os,sys,time\nif os.fork(): os._exit(0)\nos.setsid()\n"
              f"open('daemon.pid','w').write(str(os.getpid()))\ntime.sleep({float(seconds)})")
    subprocess.run([sys.executable, "-c", script], check=True)
    while not Path("daemon.pid").exists() or not Path("daemon.pid").read_text():
        time.sleep(0.01)
    return {"daemon_pid": int(Path("daemon.pid").read_text())}


def split(children: int = 3, fail: list[int] | None = None) -> dict[str, Any]:
    """Returns the parameters of the children."""
    return {"children": [
        {"params": [{"value": i, "fail": True} if i in (fail or []) else {"value": i}]}
        for i in range(children)
    ]}


def child(value: float = 1, seconds: float = 0, fail: bool = False) -> dict[str, Any]:
    """Returns its value, or fails."""
    time.sleep(seconds)
    if fail:
        raise RuntimeError(f"child {value} was told to fail")
    return {"value": value}


def sum_children(children: list[dict[str, Any]], params: Any = None) -> dict[str, Any]:
    """Adds up the values of the children that have a result."""
    done = [item["result"][0]["value"] for item in children if item.get("result")]
    return {"sum": sum(done), "children": len(children), "failed": len(children) - len(done)}


METHODS: dict[str, Callable[..., dict[str, Any]]] = {
    "sleep": sleep, "fail": fail, "hog": hog, "lines": lines, "fork": fork, "split": split,
    "child": child, "sum": sum_children,
}


def main() -> None:
    """Runs the method that input.json names."""
    request = json.loads(Path("input.json").read_text())
    name, params = request["method"].split(".")[1], request["params"]
    if name == "echo":
        result = params
    else:
        result = [METHODS[name](**(params[0] if params else {}))]
    write({"version": "1.1", "result": result})


if __name__ == "__main__":
    main()
