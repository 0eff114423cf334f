"""Sides of a benchmark that need no library, for the tests of the harness: imported by its child processes."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Prepared, Settings


def counting(settings: Settings) -> Prepared:
    """Each run of the work does one unit more than the one before, and the file of the side tells how often it ran."""
    runs: list[int] = []
    prepared = _count(settings, "prepared.txt") + 1

    def work() -> float:
        runs.append(len(runs))
        time.sleep(0.001)
        return float(len(runs))

    def facts() -> Mapping[str, Any]:
        threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")}
        (Path(settings["keep"]) / "left.txt").write_text("kept")
        about = {"runs": len(runs), "process": os.getpid(), "size": settings["size"], "prepared": prepared}
        return {**about, **threads}

    return Prepared(work, facts)


def other(settings: Settings) -> Prepared:
    prepared = counting(settings)
    return Prepared(prepared.work, lambda: {**prepared.facts(), "size": settings["size"] + 1})  # type: ignore[misc]


def hungry(settings: Settings) -> Prepared:
    """Holds 64 MiB while it works, and as much before that it has given back."""
    del settings
    bytearray(os.urandom(1) * 2**27)

    def work() -> float:
        block = bytearray(os.urandom(1) * 2**26)
        return float(len(block))

    return Prepared(work)


def crashing(settings: Settings) -> Prepared:
    if settings.get("crash_after") == _count(settings):
        print("about to divide", file=sys.stderr)
        raise ZeroDivisionError("no rounds are left in this side")
    return counting(settings)


def killed(settings: Settings) -> Prepared:
    del settings
    os.kill(os.getpid(), 9)
    raise AssertionError


def endless(settings: Settings) -> Prepared:
    del settings
    time.sleep(60)
    raise AssertionError


def _count(settings: Settings, name: str = "count.txt") -> int:
    """How often this side was prepared before: its folder stays from round to round."""
    file = Path(settings["keep"]) / name
    count = int(file.read_text()) if file.is_file() else 0
    file.write_text(str(count + 1))
    return count


def judge(settings: Settings) -> Mapping[str, Any]:
    kept = (Path(settings["keep"]) / "left.txt").read_text()
    return {"seed": settings["seed"], "kept": kept, "grade": 10.0 + settings["seed"]}


def spawning(settings: Settings) -> Prepared:
    """Works in a process of its own, which holds 192 MiB and takes a tenth of a second of the processor."""
    del settings
    code = "import time; block = bytearray(3 * 2**26)\nwhile time.process_time() < 0.1: pass"

    def work() -> float:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1.0

    return Prepared(work)
