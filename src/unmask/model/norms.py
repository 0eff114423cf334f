"""Normalisation over the last axis."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1, times a weight plus a bias for each axis (Ba et al. 2016). (..., width)

    torch's module; the result has the dtype of its input also under autocast, which computes it in float32. There is
    no bias in ModernBERT's.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps), times a weight for each axis (Zhang and Sennrich 2019, section 4). (..., width)

    torch's module, but for a gradient written out: on a CPU, torch's takes twice the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype == self.weight.dtype and not torch.compiler.is_compiling():
            return _RMS.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call,no-any-return]
        normal: Tensor = F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
        return normal.to(x.dtype)


class _RMS(torch.autograd.Function):
    """With r = 1 / rms, n = x r: the gradient is r (g w - n mean(g w n)) for x, the sum of g n for w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return x.mul(inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        normal = x * inverse
        product = gradient * normal
        mean = (product @ weight).div_(x.shape[-1]).unsqueeze(-1)
        for_x = (gradient * weight).addcmul_(normal, mean, value=-1).mul_(inverse)
        return for_x, product.flatten(0, -2).sum(0), None
