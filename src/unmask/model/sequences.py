"""Sums, maxima and softmax over each sequence of a packed batch: a few calls, however many sequences there are, and
nobody waits for a GPU."""

import torch
from torch import Tensor

from unmask.model.attention import SequenceLayout


def sequence_ids(layout: SequenceLayout) -> Tensor:
    """(tokens,) int64: the number of the sequence that each token belongs to."""
    assert layout.cu_seqlens is not None, "sequences are told apart in packed batches"
    places = torch.arange(sum(layout.lengths), device=layout.cu_seqlens.device)
    return torch.searchsorted(layout.cu_seqlens[1:].contiguous(), places.int(), right=True)


def sequence_lengths(layout: SequenceLayout) -> Tensor:
    """(sequences,) int32: the tokens of each sequence, on the device of the batch."""
    assert layout.cu_seqlens is not None, "sequences are told apart in packed batches"
    return layout.cu_seqlens.diff()


def sequence_sums(values: Tensor, layout: SequenceLayout) -> Tensor:
    """values (tokens, ...) -> (sequences, ...): their sums over each sequence."""
    return values.new_zeros(len(layout.lengths), *values.shape[1:]).index_add(0, sequence_ids(layout), values)


def sequence_max(values: Tensor, layout: SequenceLayout) -> Tensor:
    """values (tokens, ...) -> (sequences, ...): the greatest of each sequence; equal ones share the gradient."""
    owner = sequence_ids(layout).view(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    lowest = values.new_full((len(layout.lengths), *values.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, owner, values, "amax", include_self=False)


def sequence_softmax(scores: Tensor, layout: SequenceLayout) -> Tensor:
    """scores (tokens,) -> (tokens,): positive, with the sum 1 over each sequence."""
    owner = sequence_ids(layout)
    raised = (scores - sequence_max(scores.detach(), layout)[owner]).exp()
    return raised / sequence_sums(raised, layout)[owner]
