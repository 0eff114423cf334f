"""Sums, maxima and softmax over each sequence of a batch: a few calls, however many sequences there are, and nobody
waits for a GPU. Padded batches are reduced along their rows, packed ones by the number of each token's sequence."""

import torch
from torch import Tensor

from unmask.model.attention import SequenceLayout


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
