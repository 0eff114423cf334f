"""Memory that training frees is kept for the next step, where the C library would give it back to the system."""

import ctypes
import os
import sys

# parameters of mallopt (man 3 mallopt; malloc.h)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM = 2**31 - 1  # bytes free at the end of the heap that may stay: all
MMAP = 2**30  # bytes from which on an allocation is a mapping of its own
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


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
