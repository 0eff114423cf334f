"""The one seam for attention: `SequenceLayout` says which tokens form a sequence, `attend` is all that reads it.

Two layouts of the same tokens:
  padded  (batch, length, ...) with a mask; what is exported, because it reads tensors only
  packed  (tokens, ...) with the lengths of the sequences that lie one after another; little padding is computed

Every backend agrees with `reference` on every layout that it supports (tests/model/test_attention.py).
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.errors import UserError
from unmask.model.config import AttnImplementation
from unmask.model.layout import Group, SequenceLayout

__all__ = ["SequenceLayout", "attend"]

Backend = Callable[..., Tensor]  # query, key, value, attention_mask, pattern
BLOCK = 32  # local attention takes at least so many queries at a time
BLOCKWISE_FROM = 4  # in blocks: shorter sequences take less time as rectangles


class Pattern(NamedTuple):
    """Which tokens see which. window: tokens on each side (None: all); causal: no token sees a later one; dropout: on
    the weights."""

    window: int | None = None
    causal: bool = False
    dropout: float = 0.0


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

    query, key, value: (batch, length, heads, head_dim) padded or (tokens, heads, head_dim) packed; the result has the
    shape of query. Padded positions of the result are unspecified (never NaN).
    window, causal, dropout: see `Pattern`. With a window, time and memory of long sequences grow with their length, not
    with its square.
    query_positions: `layout.gather(...)`; the queries are those of its positions alone. Neither window nor causal.
    Raises UserError where `varlen` is chosen and cannot run; `auto` takes it where it can, and sdpa elsewhere.
    """
    assert query_positions is None or (window is None and not causal), "a window is computed over all positions"
    pattern = Pattern(window, causal, dropout)
    if backend in ("auto", "varlen"):
        lacking = why_not_varlen(query, layout, window, dropout)
        if lacking is None:
            return varlen(query, key, value, layout, pattern, query_positions)
        if backend == "varlen":
            raise UserError(
                "the attention varlen cannot be used here", given=lacking, hint="model.attn_implementation=auto"
            )
    rectangle = BACKENDS["reference" if backend == "reference" else "sdpa"]
    # what is exported takes sequences of any length, so it cannot ask how long they are
    blockwise = window if rectangle is sdpa and not torch.compiler.is_compiling() else None
    if layout.attention_mask is None:
        return _packed(query, key, value, layout, pattern, rectangle, blockwise, query_positions)
    if is_blockwise(layout.max_seqlen, blockwise):
        flat = (query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1))
        return windowed(flat, layout, 0, pattern).view(query.shape)
    return rectangle(query, key, value, layout.attention_mask, pattern)


def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SequenceLayout,
    pattern: Pattern,
    rectangle: Backend,
    blockwise: int | None,
    query_positions: SequenceLayout | None,
) -> Tensor:
    """Packed sequences, group by group; neighbouring long ones together, where a window makes them linear."""
    groups = layout.groups(key.shape[-2] * key.shape[-1])
    sections = _sections(groups, blockwise)
    fewer = sections if query_positions is None else query_positions.groups_like(groups)
    queries = torch.split(query, [group.tokens for group in fewer])
    keys, values = (torch.split(x, [group.tokens for group in sections]) for x in (key, value))
    mixed, begin = [], 0
    for group, few, q, k, v in zip(sections, fewer, queries, keys, values, strict=True):
        if is_blockwise(group.max_seqlen, blockwise):
            mixed.append(windowed((q, k, v), layout, begin, pattern))
        else:
            all_seen = pattern.window is not None and pattern.window >= group.max_seqlen - 1
            near = pattern._replace(window=None) if all_seen else pattern
            mixed.append(few.unpad(rectangle(few.pad(q), group.pad(k), group.pad(v), group.mask, near)))
        begin += group.tokens
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _sections(groups: tuple[Group, ...], window: int | None) -> list[Group]:
    """The groups, with neighbours whose sequences are long as one."""
    sections: list[Group] = []
    for group in groups:
        if sections and all(is_blockwise(one.max_seqlen, window) for one in (sections[-1], group)):
            sections[-1] = replace(sections[-1], tokens=sections[-1].tokens + group.tokens)
        else:
            sections.append(group)
    return sections


def visible_mask(length: int, attention_mask: Tensor | None, pattern: Pattern, device: torch.device) -> Tensor | None:
    """Which positions see which: bool, broadcast to (batch, heads, length, length); None when all see all."""
    window, causal, _ = pattern
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


def reference(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, pattern: Pattern) -> Tensor:
    """The formula, written out: softmax(Q K^T / sqrt(d)) V over (batch, length, heads, head_dim)."""
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    seen = visible_mask(query.shape[1], attention_mask, pattern, query.device)
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    weights = F.dropout(scores.softmax(-1), pattern.dropout, training=pattern.dropout > 0)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value)


def sdpa(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, pattern: Pattern) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention: the fused kernel of the device at hand."""
    seen = visible_mask(query.shape[1], attention_mask, pattern, query.device)
    return _fused(query, key, value, seen, pattern.dropout)


def _fused(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, dropout: float) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout).transpose(1, 2)


BACKENDS: dict[str, Backend] = {"reference": reference, "sdpa": sdpa}  # for a rectangle


def is_blockwise(length: int, window: int | None) -> bool:
    """Whether sequences of this length are computed block by block."""
    return window is not None and length > BLOCKWISE_FROM * max(window, BLOCK)


def windowed(
    query_key_value: tuple[Tensor, Tensor, Tensor], layout: SequenceLayout, begin: int, pattern: Pattern
) -> Tensor:
    """Attention over a window, block by block (Beltagy et al. 2020, Longformer, section 3.1).

    query, key, value: each (rows, heads, head_dim), sequences one after another; begin: the index of the first row in
    the flattened layout. The rows are cut into blocks, whatever sequences they belong to: each block of queries sees
    itself and `window` rows on either side, and a mask keeps sequences apart.
    """
    window, causal, dropout = pattern
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
    pattern: Pattern,
    query_positions: SequenceLayout | None,
) -> Tensor:
    """torch.nn.attention.varlen: packed sequences on a GPU, as they lie (Dao 2023, FlashAttention-2)."""
    window, causal, _ = pattern
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
