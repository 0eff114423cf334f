"""The one seam for attention: `Spans` says which tokens form a sequence, `attend` is all that reads it.

Two layouts of the same tokens:
  padded  (batch, length, ...) with a mask; what is exported, because it reads tensors only
  packed  (tokens, ...) with the lengths of the sequences that lie one after another; no padding is computed

Every backend agrees with `reference` on every layout that it supports (tests/model/test_attention.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

BackendName = Literal["auto", "reference", "sdpa"]

GROUP_STEP = 16  # packed sequences whose lengths round up to the same multiple share one call


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences of a packed batch that are computed together, padded to the longest of them.

    `index` (count, longest) int64: the place of each token in the packed batch, 0 where padded;
    `mask` (count, longest) bool, True at tokens; both None when all are equally long: a view is enough.
    """

    start: int
    stop: int
    count: int
    longest: int
    index: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class Spans:
    """Which tokens form a sequence. Made by `Spans.padded` or `Spans.packed`.

    positions: (batch, length) or (tokens,) int64, the place of each token in its sequence, from 0
    first: (sequences,) int64, the place of each sequence's first token in the flattened layout
    """

    positions: Tensor
    first: Tensor
    mask: Tensor | None = None
    lengths: tuple[int, ...] = ()
    groups: tuple[Group, ...] = field(default=(), repr=False)

    @staticmethod
    def padded(mask: Tensor) -> "Spans":
        """mask (batch, length) bool, True at tokens, tokens first."""
        batch, length = mask.shape
        positions = torch.arange(length, device=mask.device).expand(batch, length)
        first = torch.arange(batch, device=mask.device) * length
        return Spans(positions, first, mask=mask)

    @staticmethod
    def packed(lengths: "list[int] | tuple[int, ...]") -> "Spans":
        """Sequences of these lengths (all above 0) one after another. Cheapest when sorted by length."""
        assert lengths and min(lengths) > 0, "an empty sequence has no place in a packed batch"
        sizes = torch.tensor(lengths)
        first = sizes.cumsum(0) - sizes
        positions = torch.arange(int(sizes.sum())) - first.repeat_interleave(sizes)
        return Spans(positions, first, lengths=tuple(lengths), groups=tuple(_groups(lengths)))

    @property
    def is_packed(self) -> bool:
        return self.mask is None

    @property
    def longest(self) -> int:
        return max(self.lengths) if self.mask is None else self.mask.shape[1]

    def to(self, device: torch.device | str) -> "Spans":
        """The same on another device."""
        return self.moved(lambda tensor: tensor.to(device, non_blocking=True))

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Spans":
        """The same with each tensor as `move` gives it."""

        def moved(x: Tensor | None) -> Tensor | None:
            return None if x is None else move(x)

        groups = tuple(replace(g, index=moved(g.index), mask=moved(g.mask)) for g in self.groups)
        return Spans(move(self.positions), move(self.first), moved(self.mask), self.lengths, groups)


def _groups(lengths: "list[int] | tuple[int, ...]") -> list[Group]:
    groups, at, place = [], 0, 0
    while at < len(lengths):
        end = at + 1
        step = -(-lengths[at] // GROUP_STEP)
        while end < len(lengths) and -(-lengths[end] // GROUP_STEP) == step:
            end += 1
        members = lengths[at:end]
        longest, total = max(members), sum(members)
        index = mask = None
        if min(members) != longest:
            sizes = torch.tensor(members)
            first = place + sizes.cumsum(0) - sizes
            steps = torch.arange(longest)
            mask = steps < sizes.unsqueeze(1)
            index = torch.where(mask, first.unsqueeze(1) + steps, 0)
        groups.append(Group(place, place + total, end - at, longest, index, mask))
        at, place = end, place + total
    return groups


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spans: Spans,
    *,
    window: int | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    backend: BackendName = "auto",
) -> Tensor:
    """Scaled dot-product attention inside each sequence (Vaswani et al. 2017, section 3.2.1).

    query, key, value: (batch, length, heads, head width) padded or (tokens, heads, head width) packed; the
    result has their shape. What stands at padded places of the result is unspecified (never NaN).
    window: tokens seen on each side (None: all); causal: no token sees a later one; dropout: on the weights.
    """
    rectangle = BACKENDS["sdpa" if backend == "auto" else backend]
    if spans.mask is not None:
        return rectangle(query, key, value, spans.mask, window, causal, dropout)
    parts = []
    for group in spans.groups:
        shape = (group.count, group.longest, *query.shape[1:])
        if group.index is None or group.mask is None:
            cut = [x[group.start : group.stop].view(shape) for x in (query, key, value)]
            parts.append(rectangle(*cut, None, window, causal, dropout).reshape(-1, *query.shape[1:]))
        else:
            flat = group.index.flatten()
            cut = [x.index_select(0, flat).view(shape) for x in (query, key, value)]
            parts.append(rectangle(*cut, group.mask, window, causal, dropout)[group.mask])
    return torch.cat(parts)


def allowed(
    length: int, mask: Tensor | None, window: int | None, causal: bool, device: torch.device
) -> Tensor | None:
    """Which places see which: bool, broadcast to (batch, heads, length, length); None when all see all."""
    seen = None
    if window is not None or causal:
        distance = torch.arange(length, device=device).unsqueeze(1) - torch.arange(length, device=device)
        seen = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
        if window is not None:
            seen = seen & (distance.abs() <= window)
    if mask is None:
        return seen
    keys = mask[:, None, None, :]
    if seen is None:
        return keys
    # a padded place may see itself, so that no row is empty: softmax over nothing is NaN
    return (keys & seen) | torch.eye(length, dtype=torch.bool, device=device)


def reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """The formula, written out: softmax(Q K^T / sqrt(d)) V over (batch, length, heads, head width)."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    seen = allowed(query.shape[1], mask, window, causal, query.device)
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value)


def sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention: the fused kernel of the device at hand."""
    seen = allowed(query.shape[1], mask, window, causal, query.device)
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout).transpose(1, 2)


BACKENDS: dict[str, Callable[..., Tensor]] = {"reference": reference, "sdpa": sdpa}
