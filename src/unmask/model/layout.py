"""Which tokens form a sequence: `Spans`, and the rectangles that packed sequences are computed in: `Group`."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CPU_CALL_COST = 9600  # what a call more costs beside its work, in numbers that it could have read; measured on a CPU
GPU_CALL_COST = 4096  # a GPU is through with so many before the next call is there
MASK_COST = 0.3  # what a mask and padding cost, for each row


@dataclass(frozen=True)
class SequenceLayout:
    """Which tokens form a sequence. Made by `Spans.padded` or `Spans.packed`.

    positions: (batch, length) or (tokens,) int64, the place of each token in its sequence, from 0
    first: (sequences,) int64, the place of each sequence's first token in the flattened layout
    longest: tokens in the longest sequence, or in the rows
    bounds: (sequences + 1,) int32, packed only: where each sequence begins, and the end
    places: (tokens,) int64, of `only` alone: where the tokens stand in the batch that they were taken from
    made: what `attend` has made of them, once for all layers
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
        """mask (batch, length) bool, True at tokens, tokens first."""
        batch, length = attention_mask.shape
        positions = torch.arange(length, device=attention_mask.device).expand(batch, length)
        first = torch.arange(batch, device=attention_mask.device) * length
        return SequenceLayout(positions, first, length, attention_mask=attention_mask)

    @staticmethod
    def packed(lengths: "list[int] | tuple[int, ...]") -> "SequenceLayout":
        """Sequences of these lengths (all above 0) one after another. Cheapest when sorted by length."""
        assert lengths and min(lengths) > 0, "an empty sequence has no place in a packed batch"
        sizes = torch.tensor(lengths)
        bounds = F.pad(sizes.cumsum(0), (1, 0))
        positions = torch.arange(int(bounds[-1])) - bounds[:-1].repeat_interleave(sizes)
        return SequenceLayout(positions, bounds[:-1], max(lengths), lengths=tuple(lengths), cu_seqlens=bounds.int())

    def gather(self, token_indices: Tensor) -> "SequenceLayout":
        """The same packed sequences with nothing but these places and their first ones (int64, in any order)."""
        assert self.cu_seqlens is not None, "places are taken from packed sequences"
        kept = torch.unique(torch.cat([self.first_tokens, token_indices]))
        owner = torch.searchsorted(self.cu_seqlens, kept, right=True) - 1
        lengths = torch.bincount(owner, minlength=len(self.lengths)).tolist()
        spans = SequenceLayout.packed(lengths)
        return replace(spans, position_ids=self.position_ids[kept], token_indices=kept)

    def gather_first(self) -> "SequenceLayout":
        """Nothing but the first place of each packed sequence; nobody waits for a GPU."""
        count = len(self.lengths)
        rows = torch.arange(count + 1, device=self.first_tokens.device)
        return SequenceLayout(
            torch.zeros_like(self.first_tokens),
            rows[:-1],
            1,
            None,
            (1,) * count,
            rows.int(),
            token_indices=self.first_tokens,
        )

    @property
    def is_packed(self) -> bool:
        return self.attention_mask is None

    def to(self, device: torch.device | str) -> "SequenceLayout":
        """The same on another device; copies to a GPU are not waited for."""
        return self.map_tensors(lambda tensor: _to_device(tensor, device))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> "SequenceLayout":
        """The same with each tensor as `move` gives it."""
        given = {
            name: getattr(self, name)
            for name in ("position_ids", "first_tokens", "attention_mask", "cu_seqlens", "token_indices")
        }
        moved: dict[str, Any] = {name: None if x is None else function(x) for name, x in given.items()}
        return replace(self, cache={}, **moved)

    def groups(self, row_size: int) -> "tuple[Group, ...]":
        """Packed sequences as calls on rectangles, whose rows are `width` numbers."""
        known = ("groups", row_size)
        if known not in self.cache:
            device = self.position_ids.device
            call = GPU_CALL_COST if device.type == "cuda" else CPU_CALL_COST / row_size
            self.cache[known] = tuple(group.to(device) for group in plan_groups(self.lengths, call))
        return self.cache[known]  # type: ignore[no-any-return]

    def groups_like(self, groups: "tuple[Group, ...]") -> "tuple[Group, ...]":
        """These sequences in the same groups as those of another layout of them."""
        if "like" not in self.cache:
            device, ends = self.position_ids.device, itertools.accumulate(group.count for group in groups)
            self.cache["like"] = tuple(
                Group.from_lengths(self.lengths[end - group.count : end]).to(device)
                for group, end in zip(groups, ends, strict=True)
            )
        return self.cache["like"]  # type: ignore[no-any-return]


def _to_device(x: Tensor | None, device: torch.device | str) -> Any:
    return None if x is None else x.to(device, non_blocking=torch.device(device).type == "cuda")


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences of a packed batch that are computed together, padded to the longest of them.

    source (count x longest,) int64: the token that stands in each row, counted from the group's first, 0 where
    padded; target (tokens,) int64: the row of each token; holes int64: the padded rows; mask (count, longest)
    bool, True at tokens. All None when all are equally long: a view is enough.
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
        count, longest, tokens = len(lengths), max(lengths), sum(lengths)
        if tokens == count * longest:
            return Group(count, longest, tokens)
        mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
        taken = mask.flatten()
        target = taken.nonzero().squeeze(1)
        source = torch.zeros(len(taken), dtype=torch.int64)
        source[target] = torch.arange(tokens)
        return Group(count, longest, tokens, source, target, (~taken).nonzero().squeeze(1), mask)

    def to(self, device: torch.device) -> "Group":
        names = ("source", "target", "padding", "mask")
        return replace(self, **{name: _to_device(getattr(self, name), device) for name in names})

    def pad(self, x: Tensor) -> Tensor:
        """(tokens, ...) -> (count, longest, ...)"""
        rows = x if self.source is None else _GatherRows.apply(x, self.source, self.target, None)  # type: ignore[no-untyped-call]
        return rows.unflatten(0, (self.count, self.max_seqlen))  # type: ignore[no-any-return]

    def unpad(self, x: Tensor) -> Tensor:
        """(count, longest, ...) -> (tokens, ...)"""
        rows = x.flatten(0, 1)
        if self.source is None:
            return rows
        return _GatherRows.apply(rows, self.target, self.source, self.padding)  # type: ignore[no-untyped-call,no-any-return]


def plan_groups(lengths: Sequence[int], call_cost: float) -> list[Group]:
    """Neighbours put together so that calls, padded rows and masks cost least in all (dynamic programming).

    call: what a call costs beside its work, in rows.
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
    """The rows `places`; `inverse` says which of them the gradient of each row of x is.

    That is a copy in both directions; torch would add the gradients up, row by row. holes: rows of x whose
    gradient is zero, because nothing was made of them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, inverse: Tensor, holes: Tensor | None) -> Tensor:
        ctx.save_for_backward(inverse, holes)
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, holes = ctx.saved_tensors
        rows = gradient.index_select(0, inverse)
        return rows if holes is None else rows.index_fill(0, holes, 0), None, None, None
