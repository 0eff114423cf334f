"""Precision: the number formats of weights and of what is computed with them."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

PrecisionName = Literal["auto", "float32", "bfloat16", "float64"]


@dataclass(frozen=True)
class Precision:
    """weights: how they are kept and updated; products: how matrices are multiplied, where that differs."""

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
