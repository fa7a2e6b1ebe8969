"""The stack with nothing to do: what all its processes take of processor and memory."""

from __future__ import annotations

import time

import psutil

from bench.engine import Engine
from bench.figures import Figure
from ee2_cli import stack

SECONDS = 60
SETTLE_S = 20


def measure(engine: Engine) -> list[Figure]:
    """The figures of this family."""
    engine.settle()
    time.sleep(SETTLE_S)
    seconds = engine.runs(SECONDS, 20)
    cpu, memory, names = [], [], {}
    for _ in range(engine.runs(3, 1)):
        before, began = _cpu_s(engine), time.perf_counter()
        time.sleep(seconds)
        after, took_s = _cpu_s(engine), time.perf_counter() - began
        used_s = {name: after[name] - before.get(name, 0.0) for name in after}
        cpu.append([100 * sum(used_s.values()) / took_s])
        sizes_mb = _memory_mb(engine)
        memory.append([sum(sizes_mb.values()) / 1024])
        names = {n: (100 * used_s[n] / took_s, sizes_mb.get(n, 0.0)) for n in used_s}
    note = "last run, % of a core and MiB: " + ", ".join(
        f"{name} {percent:.1f} / {mb:.0f}" for name, (percent, mb) in names.items()
    )
    return [
        Figure("idle stack: processor", "% of one core", cpu, 20, note=note),
        Figure("idle stack: memory (PSS)", "GiB", memory, 1.8, note=note),
    ]


def _services(engine: Engine) -> dict[str, list[psutil.Process]]:
    """Each service with all its descendants, and supervisord above them."""
    found = {}
    for service in stack.status(engine.settings).services:
        process = psutil.Process(service.pid)
        found[service.name] = [process, *process.children(recursive=True)]
        parent = process.parent()
        if parent is not None:
            found["supervisord"] = [parent]
    return found


def _cpu_s(engine: Engine) -> dict[str, float]:
    """Processor time by service, s, with that of children which have ended."""
    used = {}
    for name, processes in _services(engine).items():
        used[name] = 0.0
        for process in processes:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used[name] += times.user + times.system
            if name != "supervisord":  # its ended children are services that were restarted
                used[name] += times.children_user + times.children_system
    return used


def _memory_mb(engine: Engine) -> dict[str, float]:
    """Memory by service, MiB; what processes share is counted once (PSS)."""
    sizes = {}
    for name, processes in _services(engine).items():
        sizes[name] = 0.0
        for process in processes:
            try:
                sizes[name] += process.memory_full_info().pss / 2**20
            except psutil.NoSuchProcess:
                continue
    return sizes
