"""Position schemes. Positions count from 0 within each sequence."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# factor on the sinusoid, so that it does not drown the token embeddings: 0.06, 0.1 and 0.3 learn less, 0.01 no more
# (docs/studies.md, "The quick start's network")
POSITION_SCALE = 0.03
ROTATED_TOGETHER = 512  # tokens: so many rows stay in a core's cache from one operation to the next


def sinusoidal(length: int, width: int) -> Tensor:
    """The fixed table of Vaswani et al. 2017 (Attention Is All You Need, section 3.5), float32 (length, width).

    table[p, 2i] = sin(p / 10000^(2i / width)), table[p, 2i + 1] = cos(p / 10000^(2i / width)):
    sine and cosine alternate over the width, as published. Computed in float64, since p / 10000^... loses
    digits in float32 at long lengths.
    """
    assert width % 2 == 0, "sine and cosine come in pairs"
    position = torch.arange(length, dtype=torch.float64, device="cpu").unsqueeze(1)
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


class Rotary(nn.Module):
    """Angles of rotary positions (Su et al. 2021, RoFormer, section 3.4.2). positions (...) int64 -> cosine, sine.

    Pair i of a head turns by position / base^(2i / head width). As in GPT-NeoX and ModernBERT, a pair is an
    axis of the first half of the head and the same of the second half. The tables, (length, head width) and
    (length, head width / 2) float32, are computed in float64; what is given has an axis for the heads.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, length: int, head_width: int, base: float) -> None:
        super().__init__()
        # on the CPU, also where parameters are made on no device (bundle)
        places, pairs = (
            torch.arange(*to, dtype=torch.float64, device="cpu")
            for to in ((0, length, 1), (0, head_width, 2))
        )
        angle = torch.outer(places, base ** (-pairs / head_width))
        self.register_buffer("cosine", angle.cos().repeat(1, 2).float(), persistent=False)
        self.register_buffer("sine", angle.sin().float(), persistent=False)

    def forward(self, positions: Tensor) -> "Turn":
        return F.embedding(positions, self.cosine).unsqueeze(-2), F.embedding(positions, self.sine).unsqueeze(
            -2
        )


Turn = tuple[
    Tensor, Tensor
]  # cosine (..., 1, head width) and sine (..., 1, head width / 2) of each token's angles


def rotated(x: Tensor, turn: Turn) -> Tensor:
    """x (..., heads, head width) turned by each token's angles; the products are taken in float32 at least."""
    cosine, sine = turn
    if x.device.type == "cpu" and x.dtype == cosine.dtype and not torch.compiler.is_compiling():
        return _Rotated.apply(x, cosine, sine)  # type: ignore[no-untyped-call,no-any-return]
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second * sine, first * sine], dim=-1)
    return (x * cosine + turned).to(x.dtype)


class _Rotated(torch.autograd.Function):
    """The same in fewer passes over memory, forwards and backwards: the gradient is turned the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turned(gradient, cosine, sine, -1), None, None


def _turned(x: Tensor, cosine: Tensor, sine: Tensor, sign: int) -> Tensor:
    half = sine.shape[-1]
    result = torch.empty(x.shape, dtype=x.dtype)
    parts = (torch.split(t.flatten(0, -3), ROTATED_TOGETHER) for t in (result, x, cosine, sine))
    for new, old, c, s in zip(*parts, strict=True):
        torch.mul(old, c, out=new)
        new[..., :half].addcmul_(old[..., half:], s, value=-sign)
        new[..., half:].addcmul_(old[..., :half], s, value=sign)
    return result
