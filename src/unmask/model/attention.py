"""The one seam for attention: `SequenceLayout` says which tokens form a sequence, `attend` is all that reads it.

Two layouts of the same tokens:
  padded  (batch, length, ...) with a mask; what is exported, because it reads tensors only
  packed  (tokens, ...) with the lengths of the sequences that lie one after another; little padding is computed

However it is computed, the result is that of the formula on every layout (tests/model/test_attention.py).
"""

import inspect
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.model.layout import Group, SequenceLayout

__all__ = ["SequenceLayout", "attend"]

BLOCK = 32  # local attention takes at least so many queries at a time
BLOCKWISE_FROM = 4  # in blocks: shorter sequences take less time as rectangles


QKV = tuple[Tensor, Tensor, Tensor]  # query, key and value


def attend(
    qkv: QKV,
    layout: SequenceLayout,
    *,
    window: int | None = None,
    dropout: float = 0.0,
    query_positions: SequenceLayout | None = None,
) -> Tensor:
    """Scaled dot-product attention inside each sequence (Vaswani et al. 2017, section 3.2.1).

    query, key, value: (batch, length, heads, head_dim) padded or (tokens, heads, head_dim) packed; the result has the
    shape of query. Padded positions of the result are unspecified (never NaN).
    window: tokens that are seen on each side (None: all). With a window, time and memory of long sequences grow with
    their length, not with its square. dropout: on the weights.
    query_positions: `layout.gather(...)`; the queries are those of its positions alone, without a window.
    """
    assert query_positions is None or window is None, "a window is computed over all positions"
    query = qkv[0]
    if can_use_varlen(query, layout, window, dropout):
        return varlen(qkv, layout, window, query_positions or layout)
    if layout.attention_mask is None:
        return _packed(qkv, layout, window, dropout, query_positions)
    if is_blockwise(layout.max_seqlen, window):
        q, k, v = (x.flatten(0, 1) for x in qkv)
        return windowed((q, k, v), layout, 0, window, dropout).view(query.shape)
    return sdpa(qkv, layout.attention_mask, window, dropout)


def can_use_varlen(query: Tensor, layout: SequenceLayout, window: int | None, dropout: float) -> bool:
    """Whether torch's kernel for packed sequences (Dao 2023, FlashAttention-2) can compute this."""
    return (
        layout.cu_seqlens is not None
        and _is_recent_gpu(query.device)
        and query.dtype in (torch.bfloat16, torch.float16)
        and not dropout
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and (window is None or _varlen_has_windows())
    )


def varlen(qkv: QKV, layout: SequenceLayout, window: int | None, queries: SequenceLayout) -> Tensor:
    """Packed sequences on a GPU, as they lie."""
    from torch.nn.attention.varlen import varlen_attn  # a slow import

    more: dict[str, Any] = {} if window is None else {"window_size": (window, window)}
    lengths = (queries.cu_seqlens, layout.cu_seqlens, queries.max_seqlen, layout.max_seqlen)
    return varlen_attn(*qkv, *lengths, **more)  # type: ignore[arg-type,return-value]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _varlen_has_windows() -> bool:
    from torch.nn.attention.varlen import varlen_attn

    return "window_size" in inspect.signature(varlen_attn).parameters  # not in every version of torch


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _is_recent_gpu(device: torch.device) -> bool:
    return (
        device.type == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def _packed(
    qkv: QKV, layout: SequenceLayout, window: int | None, dropout: float, query_positions: SequenceLayout | None
) -> Tensor:
    """Packed sequences, group by group; neighbouring long ones together, where a window makes them linear."""
    query, key, value = qkv
    groups = layout.groups(key.shape[-2] * key.shape[-1])
    sections = _sections(groups, window)
    fewer = sections if query_positions is None else query_positions.groups_like(groups)
    queries = torch.split(query, [group.tokens for group in fewer])
    keys, values = (torch.split(x, [group.tokens for group in sections]) for x in (key, value))
    mixed, begin = [], 0
    for group, few, q, k, v in zip(sections, fewer, queries, keys, values, strict=True):
        if is_blockwise(group.max_seqlen, window):
            mixed.append(windowed((q, k, v), layout, begin, window, dropout))
        else:
            near = None if window is not None and window >= group.max_seqlen - 1 else window
            mixed.append(few.unpad(sdpa((few.pad(q), group.pad(k), group.pad(v)), group.mask, near, dropout)))
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


def sdpa(qkv: QKV, attention_mask: Tensor | None, window: int | None, dropout: float) -> Tensor:
    """Attention over a rectangle (batch, length, heads, head_dim), with torch's fused kernel of the device."""
    return _fused(qkv, visible_mask(qkv[0].shape[1], attention_mask, window, qkv[0].device), dropout)


def visible_mask(length: int, attention_mask: Tensor | None, window: int | None, device: torch.device) -> Tensor | None:
    """Which positions see which: bool, broadcast to (batch, heads, length, length); None when all see all."""
    near = None
    if window is not None:
        distance = torch.arange(length, device=device).unsqueeze(1) - torch.arange(length, device=device)
        near = distance.abs() <= window
    if attention_mask is None:
        return near
    keys = attention_mask[:, None, None, :]
    if near is None:
        return keys
    # a padded place may see itself, so that no row is empty: softmax over nothing is NaN
    return (keys & near) | torch.eye(length, dtype=torch.bool, device=device)


def _fused(qkv: QKV, visible: Tensor | None, dropout: float) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in qkv)
    if torch.compiler.is_exporting():
        # written out: the exporter adds to the fused kernel's formula what only rows that see nothing need
        scores = (q * q.shape[-1] ** -0.5) @ qkv[1].permute(0, 2, 3, 1)
        if visible is not None:
            scores = scores + torch.where(visible, 0.0, torch.finfo(scores.dtype).min)
        mixed: Tensor = scores.softmax(-1) @ v
        return mixed.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout).transpose(1, 2)


def is_blockwise(length: int, window: int | None) -> bool:
    """Whether sequences of this length are computed block by block: not where they are exported for any length."""
    return window is not None and not torch.compiler.is_compiling() and length > BLOCKWISE_FROM * max(window, BLOCK)


def windowed(qkv: QKV, layout: SequenceLayout, begin: int, window: int | None, dropout: float) -> Tensor:
    """Attention over a window, block by block (Beltagy et al. 2020, Longformer, section 3.1).

    query, key, value: each (rows, heads, head_dim), sequences one after another; begin: the index of the first row in
    the flattened layout. The rows are cut into blocks, whatever sequences they belong to: each block of queries sees
    itself and `window` rows on either side, and a mask keeps sequences apart.
    """
    assert window is not None
    query, key, value = qkv
    rows, block = len(query), max(window, BLOCK)
    count = -(-rows // block)
    visible = _band_mask(layout, begin, rows, block, window)
    blocks = F.pad(query, (0, 0, 0, 0, 0, count * block - rows)).view(count, block, *query.shape[1:])
    keys, values = (_Neighbourhoods.apply(x, count, block, window) for x in (key, value))  # type: ignore[no-untyped-call]
    return _fused((blocks, keys, values), visible, dropout).flatten(0, 1)[:rows]


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


def _band_mask(layout: SequenceLayout, begin: int, rows: int, block: int, window: int) -> Tensor:
    """Which rows near a block its queries see: bool (blocks, 1, block, block + 2 window), made once for all layers."""
    name = ("band", begin, rows, window)
    if name not in layout.cache:
        owner = _sequence_starts(layout)[begin : begin + rows]
        count = -(-rows // block)
        owner = F.pad(owner, (block, (count + 1) * block - rows), value=-1)
        queries = owner[block:-block].view(count, 1, block, 1)
        near = owner[block - window : len(owner) - block + window].unfold(0, block + 2 * window, block)
        steps = torch.arange(block + 2 * window, device=owner.device)
        distance = steps[:block].unsqueeze(1) + window - steps
        layout.cache[name] = (queries == near[:, None, None]) & (distance.abs() <= window)
    return layout.cache[name]  # type: ignore[no-any-return]


def _sequence_starts(layout: SequenceLayout) -> Tensor:
    """The index of the first token of the sequence that each row belongs to, int64 (rows,); -1 where padded."""
    positions = layout.position_ids.flatten()
    starts = torch.arange(len(positions), device=positions.device) - positions
    if layout.attention_mask is not None:
        return starts.masked_fill(~layout.attention_mask.flatten(), -1)
    return starts
