"""The conditions of a measurement: machine, versions, code, and what else the machine was busy with."""

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

QUIET = 0.15  # cores that other processes may keep busy; above it, a measurement is called "not quiet"

ROOT = Path(__file__).resolve().parent.parent


def machine() -> dict[str, Any]:
    """What the figures were measured on. Memory in bytes; `usable_cores` are those this process may use."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.release()}",
    }


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return _said_by("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    return platform.processor() or platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Python's version and those of the packages; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in sorted({"unmask", "numpy", *packages}):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def code(checkout: Path = ROOT) -> dict[str, Any]:
    """The commit, and whether files were changed since; None where this is no git checkout."""
    commit = _said_by("git", "-C", str(checkout), "rev-parse", "HEAD")
    changes = _said_by("git", "-C", str(checkout), "status", "--porcelain")
    return {"commit": commit or None, "changed": None if commit is None else bool(changes)}


def _said_by(*command: str) -> str | None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def load_average() -> float:
    """Of the last minute, the measured processes included: context, not what `Others` counts."""
    return round(os.getloadavg()[0], 2)


class Others:
    """How many cores everything but this process and its finished children keeps busy, from now on.

    Counted from the system's own books: processor seconds of all processes (and what the host of a virtual
    machine gave to others), less ours. None where the system keeps no such books that we can read.
    """

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.perf_counter(), _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """Since the beginning; children must have been waited for."""
        busy, own = _busy_seconds(), _own_seconds()
        if busy is None or self._busy is None:
            return None
        seconds = max(1e-6, time.perf_counter() - self._begun)
        return round(max(0.0, (busy - self._busy) - (own - self._own)) / seconds, 3)


def others_now(seconds: float = 0.5) -> float | None:
    """The cores that others keep busy while this process waits for so long."""
    others = Others()
    time.sleep(seconds)
    return others.cores()


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _busy_seconds() -> float | None:
    """Processor seconds since the system was started, idle time and waiting for disks left out."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, first[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        pass
    try:
        import psutil  # no /proc: macOS and others
    except ImportError:
        return None
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))
