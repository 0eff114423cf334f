"""Memory in long runs: what training frees is kept for the next step, and what is kept for each shape is bounded."""

import ctypes
import os
import sys

# parameters of mallopt (man 3 mallopt; malloc.h)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM = 2**31 - 1  # bytes free at the end of the heap that may stay: all
MMAP = 2**30  # bytes from which on an allocation is a mapping of its own
KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
FEW = 32  # a step needs six; one that is made anew takes 50 microseconds
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_few_kernels() -> None:
    """Let oneDNN keep few of the kernels that it makes for each shape, where nothing else was set from outside.

    Packed batches have another number of tokens in each step. Of the 1,024 that it keeps by default each holds
    kilobytes, so that a run grew for thousands of steps. It must be said before the first of them is made.
    """
    os.environ.setdefault(KERNELS, str(FEW))


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory; whether it does. Without glibc, or where that was set from outside, it does nothing.

    torch on a CPU takes each tensor from malloc. By default glibc maps what is above 32 MiB anew each time, and gives
    back what lies free at the end of the heap: every step then pays for fresh, zeroed pages of the same tensors. The
    process holds its peak until it ends. Calling it again changes nothing.
    """
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in VARIABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # other C libraries have a mallopt that means something else
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM))
