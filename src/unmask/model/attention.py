"""The one seam for attention: `Spans` says which tokens form a sequence, `attend` is all that reads it.

Two layouts of the same tokens:
  padded  (batch, length, ...) with a mask; what is exported, because it reads tensors only
  packed  (tokens, ...) with the lengths of the sequences that lie one after another; little padding is computed

Every backend agrees with `reference` on every layout that it supports (tests/model/test_attention.py).
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.errors import UserError
from unmask.model.config import AttnImplementation
from unmask.model.layout import Group, SequenceLayout

__all__ = ["SequenceLayout", "attend"]

BLOCK = 32  # local attention takes at least so many queries at a time
BLOCKWISE_FROM = 4  # in blocks: shorter sequences take less time as rectangles


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SequenceLayout,
    *,
    window: int | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    backend: AttnImplementation = "auto",
    query_positions: SequenceLayout | None = None,
) -> Tensor:
    """Scaled dot-product attention inside each sequence (Vaswani et al. 2017, section 3.2.1).

    query, key, value: (batch, length, heads, head width) padded or (tokens, heads, head width) packed; the
    result has their shape. What stands at padded places of the result is unspecified (never NaN).
    window: tokens seen on each side (None: all); causal: no token sees a later one; dropout: on the weights.
    With a window, time and memory of long sequences grow with their length, not with its square.
    asked: `spans.only(...)`; the queries are then those of its places alone. Neither windows nor causal.
    Raises UserError where `varlen` is asked for and cannot run; `auto` takes it where it can, and sdpa elsewhere.
    """
    assert query_positions is None or (window is None and not causal), "which places see which is told by all of them"
    if backend in ("auto", "varlen"):
        lacking = why_not_varlen(query, layout, window, dropout)
        if lacking is None:
            return varlen(query, key, value, layout, window, causal, query_positions)
        if backend == "varlen":
            raise UserError(
                "the attention varlen cannot be used here",
                because=lacking,
                to_do="model.attn_implementation=auto",
            )
    rectangle = BACKENDS["reference" if backend == "reference" else "sdpa"]
    # what is exported takes sequences of any length, so it cannot ask how long they are
    blockwise = rectangle is sdpa and not torch.compiler.is_compiling()
    if query_positions is not None:
        return _attend_gathered(query, key, value, layout, query_positions, dropout, rectangle)
    if layout.attention_mask is None:
        return _packed(query, key, value, layout, window, causal, dropout, rectangle, blockwise)
    if blockwise and is_blockwise(layout.max_seqlen, window):
        flat = (query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1))
        return windowed(flat, layout, 0, window, causal, dropout).view(query.shape)
    return rectangle(query, key, value, layout.attention_mask, window, causal, dropout)


def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SequenceLayout,
    window: int | None,
    causal: bool,
    dropout: float,
    padded_backend: Callable[..., Tensor],
    blockwise: bool,
) -> Tensor:
    """Packed sequences, group by group; neighbouring long ones together, where a window makes them linear."""
    sections = _sections(layout.groups(query.shape[-2] * query.shape[-1]), window if blockwise else None)
    sizes = [tokens for tokens, _ in sections]
    parts = [torch.split(x, sizes) for x in (query, key, value)]
    mixed, begin = [], 0
    for (tokens, group), *given in zip(sections, *parts, strict=True):
        if group is None:
            mixed.append(windowed(given, layout, begin, window, causal, dropout))
        else:
            reach = None if window is not None and window >= group.max_seqlen - 1 else window
            spread = (group.pad(x) for x in given)
            mixed.append(group.unpad(padded_backend(*spread, group.mask, reach, causal, dropout)))
        begin += tokens
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _attend_gathered(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SequenceLayout,
    query_positions: SequenceLayout,
    dropout: float,
    padded_backend: Callable[..., Tensor],
) -> Tensor:
    """Packed sequences, group by group: the places that are asked for see all of their sequence."""
    groups = layout.groups(key.shape[-2] * key.shape[-1])
    fewer = query_positions.groups_like(groups)
    queries = torch.split(query, [group.tokens for group in fewer])
    keys, values = (torch.split(x, [group.tokens for group in groups]) for x in (key, value))
    mixed = [
        few.unpad(padded_backend(few.pad(q), all_.pad(k), all_.pad(v), all_.mask, None, False, dropout))
        for few, all_, q, k, v in zip(fewer, groups, queries, keys, values, strict=True)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _sections(groups: tuple[Group, ...], window: int | None) -> list[tuple[int, Group | None]]:
    """Tokens that are computed together: of a group, or (None) of all neighbouring sequences that are long."""
    sections: list[tuple[int, Group | None]] = []
    for group in groups:
        if not is_blockwise(group.max_seqlen, window):
            sections.append((group.tokens, group))
        elif sections and sections[-1][1] is None:
            sections[-1] = (sections[-1][0] + group.tokens, None)
        else:
            sections.append((group.tokens, None))
    return sections


def visible_mask(
    length: int, attention_mask: Tensor | None, window: int | None, causal: bool, device: torch.device
) -> Tensor | None:
    """Which places see which: bool, broadcast to (batch, heads, length, length); None when all see all."""
    seen = None
    if window is not None or causal:
        distance = torch.arange(length, device=device).unsqueeze(1) - torch.arange(length, device=device)
        seen = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
        if window is not None:
            seen = seen & (distance.abs() <= window)
    if attention_mask is None:
        return seen
    keys = attention_mask[:, None, None, :]
    if seen is None:
        return keys
    # a padded place may see itself, so that no row is empty: softmax over nothing is NaN
    return (keys & seen) | torch.eye(length, dtype=torch.bool, device=device)


def reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """The formula, written out: softmax(Q K^T / sqrt(d)) V over (batch, length, heads, head width)."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    seen = visible_mask(query.shape[1], attention_mask, window, causal, query.device)
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value)


def sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention: the fused kernel of the device at hand."""
    seen = visible_mask(query.shape[1], attention_mask, window, causal, query.device)
    return _fused(query, key, value, seen, dropout)


def _fused(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout).transpose(1, 2)


BACKENDS: dict[str, Callable[..., Tensor]] = {"reference": reference, "sdpa": sdpa}  # for a rectangle


def is_blockwise(length: int, window: int | None) -> bool:
    """Whether sequences of this length are computed block by block."""
    return window is not None and length > BLOCKWISE_FROM * max(window, BLOCK)


def windowed(
    query_key_value: Sequence[Tensor],
    layout: SequenceLayout,
    begin: int,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """Attention over a window, block by block (Beltagy et al. 2020, Longformer, section 3.1).

    given: query, key, value, each (rows, heads, head width), sequences one after another; begin: the place of the
    first row in the flattened layout of `spans`. The rows are cut into blocks, whatever sequences they belong to:
    each block of queries sees itself and `window` rows on either side, and a mask keeps sequences apart.
    """
    assert window is not None
    query, key, value = query_key_value
    rows, block = len(query), max(window, BLOCK)
    count = -(-rows // block)
    seen = _band_mask(layout, begin, rows, block, window, causal)
    blocks = F.pad(query, (0, 0, 0, 0, 0, count * block - rows)).view(count, block, *query.shape[1:])
    keys, values = (_Neighbourhoods.apply(x, count, block, window) for x in (key, value))  # type: ignore[no-untyped-call]
    return _fused(blocks, keys, values, seen, dropout).flatten(0, 1)[:rows]


class _Neighbourhoods(torch.autograd.Function):
    """x (rows, ...) -> (count, block + 2 window, ...): each block with its neighbours, overlapping views of a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, block: int, window: int) -> Tensor:
        ctx.sizes = len(x), count, block, window
        line = x.new_zeros(((count + 2) * block, *x.shape[1:]))
        line[block : block + len(x)] = x
        shape = (count, block + 2 * window, *x.shape[1:])
        step = line.stride(0)
        return line.as_strided(shape, (block * step, *line.stride()), (block - window) * step)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows, count, block, window = ctx.sizes
        line = gradient.new_zeros((count + 2, block, *gradient.shape[2:]))
        before, own, after = torch.split(gradient, [window, block, window], dim=1)
        line[1:-1] = own
        line[:-2, block - window :] += before
        line[2:, :window] += after
        return line.flatten(0, 1)[block : block + rows], None, None, None


def _band_mask(layout: SequenceLayout, begin: int, rows: int, block: int, window: int, causal: bool) -> Tensor:
    """Which rows near a block its queries see: bool (blocks, 1, block, block + 2 window), made once for all layers."""
    known = ("band", begin, rows, window, causal)
    if known not in layout.cache:
        owner = _sequence_ids(layout)[begin : begin + rows]
        count = -(-rows // block)
        owner = F.pad(owner, (block, (count + 1) * block - rows), value=-1)
        queries = owner[block:-block].view(count, 1, block, 1)
        near = owner[block - window : len(owner) - block + window].unfold(0, block + 2 * window, block)
        steps = torch.arange(block + 2 * window, device=owner.device)
        distance = steps[:block].unsqueeze(1) + window - steps
        seen = distance >= 0 if causal else distance >= -window
        layout.cache[known] = (queries == near[:, None, None]) & (seen & (distance <= window))
    return layout.cache[known]  # type: ignore[no-any-return]


def _sequence_ids(layout: SequenceLayout) -> Tensor:
    """The first place of the sequence that each row belongs to, int64 (rows,); -1 where padded."""
    positions = layout.position_ids.flatten()
    owner = torch.arange(len(positions), device=positions.device) - positions
    if layout.attention_mask is not None:
        return owner.masked_fill(~layout.attention_mask.flatten(), -1)
    return owner


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SequenceLayout,
    window: int | None,
    causal: bool,
    query_positions: SequenceLayout | None,
) -> Tensor:
    """torch.nn.attention.varlen: packed sequences on a GPU, as they lie (Dao 2023, FlashAttention-2)."""
    kernel = _kernel()
    assert kernel is not None
    more: dict[str, Any] = {}
    if _supports("window_size"):
        side = -1 if window is None else window  # -1: all
        more["window_size"] = (side, 0 if causal else side)
    elif causal:
        more["is_causal"] = True
    mixed: Tensor = kernel(
        query=query,
        key=key,
        value=value,
        cu_seq_q=(query_positions or layout).cu_seqlens,
        cu_seq_k=layout.cu_seqlens,
        max_q=(query_positions or layout).max_seqlen,
        max_k=layout.max_seqlen,
        **more,
    )
    return mixed


def why_not_varlen(query: Tensor, layout: SequenceLayout, window: int | None, dropout: float) -> str | None:
    """Why `varlen` cannot compute this; None where it can."""
    if layout.cu_seqlens is None:
        return "it takes packed sequences only"
    if not _is_recent_gpu(query.device):
        return "it needs an NVIDIA GPU of compute capability 8.0 or above"
    if query.dtype not in (torch.bfloat16, torch.float16):
        return "it computes in bfloat16 and float16 only"
    if dropout:
        return "it cannot drop attention weights"
    if query.shape[-1] % 8 or query.shape[-1] > 256:
        return "it needs heads whose width is a multiple of 8, at most 256"
    if not _supports("query"):
        return "this build of torch does not have it"
    if window is not None and not _supports("window_size"):
        return "the windows of local layers need a newer torch"
    return None


def _kernel() -> Callable[..., Any] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _supports(option: str) -> bool:
    """Whether the kernel is there and has this argument: they are not the same in every version of torch."""
    kernel = _kernel()
    return kernel is not None and option in inspect.signature(kernel).parameters


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_recent_gpu(device: torch.device) -> bool:
    return (
        device.type == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability(device) >= (8, 0)
    )
