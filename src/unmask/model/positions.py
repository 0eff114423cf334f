"""Position schemes. Positions count from 0 within each sequence."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# factor on the sinusoid, so that it does not drown the token embeddings: 0.06, 0.1 and 0.3 learn less, 0.01 no more
# (docs/studies.md, "The quick start's network")
POSITION_SCALE = 0.03
ROTARY_CHUNK = 512  # tokens: so many rows stay in a core's cache from one operation to the next


def sinusoidal_table(length: int, hidden_size: int) -> Tensor:
    """The fixed table of Vaswani et al. 2017 (Attention Is All You Need, section 3.5), float32 (length, hidden_size).

    table[p, 2i] = sin(p / 10000^(2i / hidden_size)), table[p, 2i + 1] = cos(p / 10000^(2i / hidden_size)):
    sine and cosine alternate, as published. Computed in float64, since p / 10000^... loses
    digits in float32 at long lengths.
    """
    assert hidden_size % 2 == 0, "sine and cosine come in pairs"
    position = torch.arange(length, dtype=torch.float64, device="cpu").unsqueeze(1)
    frequency = 10000.0 ** (-torch.arange(0, hidden_size, 2, dtype=torch.float64, device="cpu") / hidden_size)
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


class RotaryEmbedding(nn.Module):
    """Angles of rotary positions (Su et al. 2021, RoFormer, section 3.4.2). position_ids (...) int64 -> cosine, sine.

    Pair i of a head turns by position / theta^(2i / head_dim). As in GPT-NeoX and ModernBERT, a pair is an axis of the
    first half of the head and the same of the second half. The tables, (length, head_dim) and (length, head_dim / 2)
    float32, are computed in float64; the result has an axis for the heads.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, max_position_embeddings: int, head_dim: int, rope_theta: float) -> None:
        super().__init__()
        # on the CPU, also where parameters are made on no device (bundle)
        places = torch.arange(max_position_embeddings, dtype=torch.float64, device="cpu")
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float64, device="cpu")
        angle = torch.outer(places, rope_theta ** (-pairs / head_dim))
        self.register_buffer("cos", angle.cos().repeat(1, 2).float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, position_ids: Tensor) -> "CosSin":
        """Look up the angles."""
        return F.embedding(position_ids, self.cos).unsqueeze(-2), F.embedding(position_ids, self.sin).unsqueeze(-2)


CosSin = tuple[Tensor, Tensor]  # cosine (..., 1, head_dim) and sine (..., 1, head_dim / 2) of each token's angles


def apply_rotary(x: Tensor, cos_sin: CosSin) -> Tensor:
    """Turn x (..., heads, head_dim) by each token's angles; the products are computed in float32 at least."""
    cosine, sine = cos_sin
    if x.device.type == "cpu" and x.dtype == cosine.dtype and not torch.compiler.is_compiling():
        return _ApplyRotary.apply(x, cosine, sine)  # type: ignore[no-untyped-call,no-any-return]
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second * sine, first * sine], dim=-1)
    return (x * cosine + turned).to(x.dtype)


class _ApplyRotary(torch.autograd.Function):
    """The same in fewer passes over memory, forwards and backwards: the gradient is turned the other way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _rotate(gradient, cosine, sine, -1), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    half = sin.shape[-1]
    result = torch.empty(x.shape, dtype=x.dtype)
    parts = (torch.split(t.flatten(0, -3), ROTARY_CHUNK) for t in (result, x, cos, sin))
    for new, old, c, s in zip(*parts, strict=True):
        torch.mul(old, c, out=new)
        new[..., :half].addcmul_(old[..., half:], s, value=-sign)
        new[..., half:].addcmul_(old[..., :half], s, value=sign)
    return result
