"""The rates at which processors multiply matrices at best, as their makers publish them."""

import re
from pathlib import Path

import torch

# dense products, FLOP/s (sparse ones are published as twice as many): of 16-bit numbers with sums in float32, and of
# float32 outside of tensor cores, which is what torch does unless it is told to round. By NVIDIA's data sheets of
# H200, H100, A100, L40S, L4, A10, T4 and V100, and, for the GeForce cards, the white papers of GA102 (Ampere) and AD102
# (Ada), appendix A. The first pattern that is found in the name that CUDA gives counts.
GPUS = (
    (r"H200 NVL", 835e12, 60e12),
    (r"H200", 989e12, 67e12),
    (r"H100 PCIe", 756e12, 51e12),
    (r"H100 NVL", 835e12, 60e12),
    (r"H100", 989e12, 67e12),
    (r"A100", 312e12, 19.5e12),
    (r"L40S", 362e12, 91.6e12),
    (r"L4", 121e12, 30.3e12),
    (r"A10", 125e12, 31.2e12),
    (r"T4", 65e12, 8.1e12),
    (r"V100-SXM2", 125e12, 15.7e12),
    (r"V100-PCIE", 112e12, 14e12),
    (r"RTX 4090$", 165.2e12, 82.6e12),
    (r"RTX 3090$", 71e12, 35.6e12),
)
BEFORE_BFLOAT16 = re.compile(r"\b(T4|V100)\b")  # they have float16 only

ZEN4 = 25  # the family of AMD's processors that have AVX-512 in units of 256 bits (Zen 4); Zen 5 is 26


def peak_flops(device: str, dtype: torch.dtype, threads: int = 1) -> float | None:
    """FLOP/s of dense products at best; None where it is not known.

    device: "cpu", or the name of a GPU (torch.cuda.get_device_name); threads: of a CPU, one on each core.
    """
    if device == "cpu":
        return cpu_peak_flops(cpu_facts(), dtype, threads)
    for pattern, half, single in GPUS:
        if re.search(rf"\b{pattern}(\b|$)", device):
            if dtype == torch.bfloat16 and BEFORE_BFLOAT16.search(device):
                return None
            return {torch.bfloat16: half, torch.float16: half, torch.float32: single}.get(dtype)
    return None


def cpu_facts() -> dict[str, str]:
    """What Linux says of the first core (/proc/cpuinfo), with the highest clock where it is known; else nothing."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    try:
        kilohertz = float(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text())
        return {**facts, "cpu MHz": str(kilohertz / 1000)}
    except (OSError, ValueError):
        return facts


def cpu_peak_flops(facts: dict[str, str], dtype: torch.dtype, threads: int) -> float | None:
    """Threads x clock x FLOPs of a cycle, from the facts of /proc/cpuinfo; None for what is not an x86 with FMA.

    A nominal figure: two units for fused multiply-adds are assumed, of 512 bits with AVX-512 (but for Zen 4), of 256
    with AVX2 and FMA. Cores that run above the clock that the system tells pass it, those with one unit fall short.
    bfloat16 in AVX-512 takes twice as many numbers, AMX (Intel, "Optimization Reference Manual", chapter on AMX) 1,024
    multiply-adds a cycle.
    """
    flags = set(facts.get("flags", "").split())
    try:
        clock = float(facts["cpu MHz"]) * 1e6
    except (KeyError, ValueError):
        return None
    if not {"avx2", "fma"} <= flags:
        return None
    halves = facts.get("vendor_id") == "AuthenticAMD" and facts.get("cpu family") == str(ZEN4)
    single = 2 * 2 * (16 if "avx512f" in flags and not halves else 8)
    cycle: dict[torch.dtype, int | None] = {torch.float32: single, torch.float64: single // 2}
    if "amx_bf16" in flags:
        cycle[torch.bfloat16] = 2 * 1024
    elif "avx512_bf16" in flags:
        cycle[torch.bfloat16] = 2 * single
    each = cycle.get(dtype)
    return None if each is None else threads * clock * each
