"""One side of a benchmark, measured in a process of its own: `python -P benchmarks/child.py REQUEST RESULT`.

The request is a JSON file that the harness writes; what was measured is written to the other one. What the
side prints goes to the log that the harness keeps. The modules are those of PYTHONPATH: another checkout's as well, so
that nothing of this one is imported here.
"""

import argparse
import contextlib
import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    threads = request["threads"]
    if request["pin"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if request["kind"] == "arrange":
        result = arranged(request["function"], request["options"], Path(request["folder"]))
    elif request["kind"] == "judge":
        result = {"facts": dict(function_of(request["function"])(request["settings"]))}
    else:
        prepared = function_of(request["function"])(request["settings"])
        result = measured(prepared, threads, request["warmup"], request["repeat"])
    Path(sys.argv[2]).write_text(json.dumps(result, allow_nan=False), encoding="utf-8")


def function_of(name: str) -> Callable[..., Any]:
    """`package.module:function`, imported."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def arranged(name: str, options: list[str], folder: Path) -> dict[str, Any]:
    """Settings and data of a benchmark from the options of its command; those of every benchmark are passed over."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    function_of(name.partition(":")[0] + ":add_options")(parser)
    settings, data = function_of(name)(parser.parse_known_args(options)[0], folder)
    return {"settings": settings, "data": data}


def measured(prepared: Any, threads: int, warmup: int, repeat: int) -> dict[str, Any]:
    """Time and memory of prepared work, after `warmup` runs of it that do not count.

    Seconds are wall-clock, one for each of `repeat` runs; cpu_seconds are those of all threads in all of them, and of
    processes that they started and waited for; peak_bytes is the most that the whole process, or one of those, held
    while they ran, before_bytes what it held just before.
    """
    if "torch" in sys.modules:  # OMP_NUM_THREADS has said it already where torch is built with OpenMP
        sys.modules["torch"].set_num_threads(threads)
    for _ in range(warmup):
        prepared.work()
    gc.collect()
    forget_peak()
    before, cpu = peak_bytes(), cpu_seconds()
    seconds: list[float] = []
    done: list[float] = []
    for _ in range(repeat):
        begun = time.perf_counter()
        amount = prepared.work()
        seconds.append(time.perf_counter() - begun)
        done.append(amount)
    result = {
        "seconds": seconds,
        "done": done,
        "cpu_seconds": cpu_seconds() - cpu,
        "before_bytes": before,
        "peak_bytes": max(peak_bytes(), _bytes(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)),
    }
    return {**result, "facts": {} if prepared.facts is None else dict(prepared.facts())}


def cpu_seconds() -> float:
    """Of this process and of those it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def forget_peak() -> None:
    """Let the peak begin at what is held now, where the system can (Linux: man 5 proc, clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most physical memory that this process has held.

    On Linux VmHWM and not ru_maxrss: the latter begins, after fork and exec, with the peak of the parent.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024


def held_bytes() -> int:
    """The physical memory that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
