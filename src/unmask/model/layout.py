"""Which tokens form a sequence: `SequenceLayout`, and what is computed by it: rectangles of packed sequences (`Group`),
and sums, maxima and softmax over each sequence."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

T = TypeVar("T", bound="SequenceLayout | Group")

CPU_CALL_COST = 9600  # overhead of a call, in numbers that it could have read; measured on a CPU
GPU_CALL_COST = 4096  # in rows: a GPU has computed so many before the next call arrives
MASK_COST = 0.3  # overhead of a mask and padding, for each row


@dataclass(frozen=True)
class SequenceLayout:
    """Which tokens form a sequence. Made by `SequenceLayout.padded` or `SequenceLayout.packed`.

    position_ids: (batch, length) or (tokens,) int64, the position of each token in its sequence, from 0
    first_tokens: (sequences,) int64, the index of each sequence's first token in the flattened layout
    max_seqlen: tokens in the longest sequence, or in the rows
    attention_mask: (batch, length) bool, padded only: True at tokens
    lengths, cu_seqlens: packed only: the tokens of each sequence, and (sequences + 1,) int32 where each begins
    token_indices: (tokens,) int64, of `gather` alone: the indices of the tokens in the batch they are gathered from
    cache: what `attend` computes from the layout, once for all layers
    """

    position_ids: Tensor
    first_tokens: Tensor
    max_seqlen: int
    attention_mask: Tensor | None = None
    lengths: tuple[int, ...] = ()
    cu_seqlens: Tensor | None = None
    token_indices: Tensor | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def padded(attention_mask: Tensor) -> "SequenceLayout":
        """Lay out rows of equal length; attention_mask (batch, length) bool, True at tokens, tokens first."""
        batch, length = attention_mask.shape
        positions = torch.arange(length, device=attention_mask.device).expand(batch, length)
        first = torch.arange(batch, device=attention_mask.device) * length
        return SequenceLayout(positions, first, length, attention_mask=attention_mask)

    @staticmethod
    def packed(lengths: Sequence[int]) -> "SequenceLayout":
        """Lay out sequences of these lengths (all above 0) one after another. Cheapest when sorted by length."""
        assert lengths and min(lengths) > 0, "a packed batch has no empty sequence"
        sizes = torch.tensor(lengths)
        bounds = F.pad(sizes.cumsum(0), (1, 0))
        positions = torch.arange(int(bounds[-1])) - bounds[:-1].repeat_interleave(sizes)
        return SequenceLayout(positions, bounds[:-1], max(lengths), lengths=tuple(lengths), cu_seqlens=bounds.int())

    def gather(self, token_indices: Tensor) -> "SequenceLayout":
        """The same packed sequences with these tokens and their first ones alone (int64, in any order)."""
        assert self.cu_seqlens is not None, "tokens are gathered from packed sequences"
        indices = torch.unique(torch.cat([self.first_tokens, token_indices]))
        owner = torch.searchsorted(self.cu_seqlens, indices, right=True) - 1
        lengths = torch.bincount(owner, minlength=len(self.lengths)).tolist()
        layout = SequenceLayout.packed(lengths)
        return replace(layout, position_ids=self.position_ids[indices], token_indices=indices)

    def gather_first(self) -> "SequenceLayout":
        """The first token of each sequence alone, without waiting for a GPU."""
        if self.attention_mask is not None:
            return SequenceLayout.padded(self.attention_mask[:, :1])
        first, count = self.first_tokens, len(self.lengths)
        rows = torch.arange(count + 1, device=first.device)
        zeros = torch.zeros_like(first)
        return SequenceLayout(zeros, rows[:-1], 1, None, (1,) * count, rows.int(), token_indices=first)

    @property
    def is_packed(self) -> bool:
        """Whether sequences lie one after another, without padding."""
        return self.attention_mask is None

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "SequenceLayout":
        """Apply a function to each tensor."""
        return replace(_map_tensors(self, function), cache={})

    def groups(self, row_size: int) -> "tuple[Group, ...]":
        """Plan packed sequences as calls on rectangles, whose rows are `row_size` numbers."""
        key = ("groups", row_size)
        if key not in self.cache:
            device = self.position_ids.device
            call = GPU_CALL_COST if device.type == "cuda" else CPU_CALL_COST / row_size
            self.cache[key] = tuple(group.to(device) for group in plan_groups(self.lengths, call))
        return self.cache[key]  # type: ignore[no-any-return]

    def groups_like(self, groups: "tuple[Group, ...]") -> "tuple[Group, ...]":
        """These sequences in the same groups as those of another layout of them."""
        if "like" not in self.cache:
            device, lengths = self.position_ids.device, iter(self.lengths)
            taken = (list(itertools.islice(lengths, group.count)) for group in groups)
            self.cache["like"] = tuple(Group.from_lengths(some).to(device) for some in taken)
        return self.cache["like"]  # type: ignore[no-any-return]


def _map_tensors(values: T, function: Callable[[Tensor], Tensor]) -> T:
    """A copy of a dataclass with a function applied to each tensor."""
    tensors: dict[str, Any] = {name: function(x) for name, x in vars(values).items() if isinstance(x, Tensor)}
    return replace(values, **tensors)


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences of a packed batch that are computed together, padded to the longest of them.

    source (count x max_seqlen,) int64: the token of each row, counted from the group's first, 0 where padded; target
    (tokens,) int64: the row of each token; padding int64: the padded rows; mask (count, max_seqlen) bool, True at
    tokens. All None when all are equally long: a view is enough.
    """

    count: int
    max_seqlen: int
    tokens: int
    source: Tensor | None = None
    target: Tensor | None = None
    padding: Tensor | None = None
    mask: Tensor | None = None

    @staticmethod
    def from_lengths(lengths: Sequence[int]) -> "Group":
        """Make the group of sequences of these lengths."""
        count, longest, tokens = len(lengths), max(lengths), sum(lengths)
        if tokens == count * longest:
            return Group(count, longest, tokens)
        mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
        flat = mask.flatten()
        target = flat.nonzero().squeeze(1)
        source = torch.zeros(len(flat), dtype=torch.int64)
        source[target] = torch.arange(tokens)
        return Group(count, longest, tokens, source, target, (~flat).nonzero().squeeze(1), mask)

    def to(self, device: torch.device) -> "Group":
        """Copy to a device, without waiting for a GPU."""
        return _map_tensors(self, lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))

    def pad(self, x: Tensor) -> Tensor:
        """Spread tokens over the rectangle: (tokens, ...) -> (count, max_seqlen, ...)"""
        rows = x if self.source is None else _GatherRows.apply(x, self.source, self.target, None)  # type: ignore[no-untyped-call]
        return rows.unflatten(0, (self.count, self.max_seqlen))  # type: ignore[no-any-return]

    def unpad(self, x: Tensor) -> Tensor:
        """Drop the padding: (count, max_seqlen, ...) -> (tokens, ...)"""
        rows = x.flatten(0, 1)
        if self.source is None:
            return rows
        return _GatherRows.apply(rows, self.target, self.source, self.padding)  # type: ignore[no-untyped-call,no-any-return]


def plan_groups(lengths: Sequence[int], call_cost: float) -> list[Group]:
    """Group neighbours so that calls, padded rows and masks cost least in all (dynamic programming).

    call_cost: overhead of a call, in rows.
    """
    runs = [(length, len(list(same))) for length, same in itertools.groupby(lengths)]
    best = [(0.0, 0)]  # of the first so many runs: the least cost, and where their last group begins
    for end in range(1, len(runs) + 1):
        longest = count = 0
        found = (math.inf, 0)
        for begin in range(end - 1, -1, -1):
            longest, count = max(longest, runs[begin][0]), count + runs[begin][1]
            equal = begin == end - 1
            cost = best[begin][0] + call_cost + count * longest * (1 if equal else 1 + MASK_COST)
            found = min(found, (cost, begin))
        best.append(found)
    edges, places = [len(runs)], list(itertools.accumulate((n for _, n in runs), initial=0))
    while edges[-1]:
        edges.append(best[edges[-1]][1])
    return [Group.from_lengths(lengths[places[a] : places[b]]) for a, b in itertools.pairwise(reversed(edges))]


class _GatherRows(torch.autograd.Function):
    """Select rows; `inverse` says which of them the gradient of each row of x is.

    That is a copy in both directions; torch would add the gradients up, row by row. unused: rows of x whose gradient
    is zero, because they were not selected.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, indices: Tensor, inverse: Tensor, unused: Tensor | None) -> Tensor:
        ctx.save_for_backward(inverse, unused)
        return x.index_select(0, indices)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, unused = ctx.saved_tensors
        rows = gradient.index_select(0, inverse)
        return rows if unused is None else rows.index_fill(0, unused, 0), None, None, None


def sequence_ids(layout: SequenceLayout) -> Tensor:
    """Return the number of the sequence that each token of a packed batch belongs to: (tokens,) int64."""
    assert layout.cu_seqlens is not None, "sequences are told apart in packed batches"
    places = torch.arange(sum(layout.lengths), device=layout.cu_seqlens.device)
    return torch.searchsorted(layout.cu_seqlens[1:].contiguous(), places.int(), right=True)


def sequence_lengths(layout: SequenceLayout) -> Tensor:
    """Count the tokens of each sequence, on the device of the batch: (sequences,)"""
    if layout.attention_mask is not None:
        return layout.attention_mask.sum(1)
    assert layout.cu_seqlens is not None
    return layout.cu_seqlens.diff()


def sequence_sums(values: Tensor, layout: SequenceLayout) -> Tensor:
    """Sum values over each sequence: (tokens, ...) or (batch, length, ...) -> (sequences, ...)"""
    if layout.attention_mask is not None:
        return values.masked_fill(_padding(values, layout), 0).sum(1)
    return values.new_zeros(len(layout.lengths), *values.shape[1:]).index_add(0, sequence_ids(layout), values)


def sequence_max(values: Tensor, layout: SequenceLayout) -> Tensor:
    """Take the greatest value of each sequence, whose gradient equal ones share: (tokens, ...) or (batch, length, ...)
    -> (sequences, ...)"""
    if layout.attention_mask is not None:
        return values.masked_fill(_padding(values, layout), -torch.inf).amax(1)
    owner = sequence_ids(layout).view(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    lowest = values.new_full((len(layout.lengths), *values.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, owner, values, "amax", include_self=False)


def sequence_softmax(scores: Tensor, layout: SequenceLayout) -> Tensor:
    """Make scores positive with the sum 1 over each sequence: (tokens,) -> (tokens,), or (batch, length) with 0 at
    padding."""
    if layout.attention_mask is not None:
        return scores.masked_fill(~layout.attention_mask, -torch.inf).softmax(1)
    owner = sequence_ids(layout)
    raised = (scores - sequence_max(scores.detach(), layout)[owner]).exp()
    return raised / sequence_sums(raised, layout)[owner]


def _padding(values: Tensor, layout: SequenceLayout) -> Tensor:
    assert layout.attention_mask is not None
    return ~layout.attention_mask.view(*values.shape[:2], *(1,) * (values.ndim - 2))
