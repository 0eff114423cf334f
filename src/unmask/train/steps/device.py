"""What a run makes of its device: the number formats of weights and products, and how memory is held."""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

PrecisionName = Literal["auto", "float32", "bfloat16", "float64"]

# parameters of mallopt (man 3 mallopt; malloc.h)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM = 2**31 - 1  # bytes free at the end of the heap that may stay: all
MMAP = 2**30  # bytes from which on an allocation is a mapping of its own
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
FEW = 32  # a step needs six; one that is made anew takes 50 microseconds


@dataclass(frozen=True)
class Precision:
    """weights_dtype: of weights and their updates; matmul_dtype: of products of matrices, where that differs."""

    weights_dtype: torch.dtype = torch.float32
    matmul_dtype: torch.dtype | None = None

    def autocast(self, device: str) -> AbstractContextManager[Any]:
        """A context for forward passes."""
        kind = torch.device(device).type
        return nullcontext() if self.matmul_dtype is None else torch.autocast(kind, self.matmul_dtype)


def resolve_precision(name: PrecisionName, device: str) -> Precision:
    """What a name means on a device: auto is bfloat16 products on a GPU that has them, else float32."""
    if name == "auto":
        gpu = torch.device(device).type == "cuda"
        name = "bfloat16" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if name == "bfloat16":
        return Precision(torch.float32, torch.bfloat16)
    return Precision(torch.float64 if name == "float64" else torch.float32)


def limit_kernel_cache() -> None:
    """Let oneDNN cache few of the kernels that it makes for each shape, where nothing else was set from outside.

    Packed batches have another number of tokens in each step. Of the 1,024 that it caches by default each holds
    kilobytes, so that a run grew for thousands of steps. It must be set before the first of them is made.
    """
    os.environ.setdefault(KERNELS, str(FEW))


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, where nothing else was set from outside.

    torch on a CPU takes each tensor from malloc. By default glibc maps what is above 32 MiB anew each time, and gives
    back what lies free at the end of the heap: every step then pays for fresh, zeroed pages of the same tensors. The
    process holds its peak until it ends. Other C libraries have a mallopt that means something else.
    """
    if platform.libc_ver()[0] == "glibc" and not any(os.environ.get(name) for name in VARIABLES):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, MMAP)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM)
