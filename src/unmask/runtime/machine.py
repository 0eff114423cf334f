"""The machine and the process that a measurement is made on."""

import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from unmask.version import __version__

UNITS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
}
"""By flag of /proc/cpuinfo, the unit that makes products of matrices faster."""


@cache
def cpu_facts() -> dict[str, str]:
    """The facts of the first core; empty on systems without /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_version(package: str) -> str | None:
    """The version of an installed package."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and not for every prediction

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_machine(packages: Iterable[str]) -> dict[str, Any]:
    """The processor, its `units` for products (None where the system does not list them), `cores` that may be used,
    and the `versions` of Python, unmask and the packages that are installed."""
    facts = cpu_facts()
    flags = facts.get("flags")
    versions = {"python": platform.python_version(), "unmask": __version__}
    versions |= {package: found for package in packages if (found := package_version(package))}
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "units": None if flags is None else [name for flag, name in UNITS.items() if flag in flags.split()],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def peak_memory() -> int:
    """The most bytes that this process held in memory (VmHWM: no parent adds to that)."""
    status = Path("/proc/self/status")
    if status.exists() and "VmHWM:" in (facts := status.read_text()):
        return int(facts.partition("VmHWM:")[2].split()[0]) * 1024
    import resource  # not on every system

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
