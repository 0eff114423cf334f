"""Sums, maxima and softmax over each sequence of a packed batch: a few calls, however many sequences there are, and
nobody waits for a GPU."""

import torch
from torch import Tensor

from unmask.model.attention import Spans


def owners(spans: Spans) -> Tensor:
    """(tokens,) int64: the number of the sequence that each token belongs to."""
    assert spans.bounds is not None, "sequences are told apart in packed batches"
    places = torch.arange(sum(spans.lengths), device=spans.bounds.device)
    return torch.searchsorted(spans.bounds[1:].contiguous(), places.int(), right=True)


def lengths_of(spans: Spans) -> Tensor:
    """(sequences,) int32: the tokens of each sequence, on the device of the batch."""
    assert spans.bounds is not None, "sequences are told apart in packed batches"
    return spans.bounds.diff()


def sums(values: Tensor, spans: Spans) -> Tensor:
    """values (tokens, ...) -> (sequences, ...): their sums over each sequence."""
    return values.new_zeros(len(spans.lengths), *values.shape[1:]).index_add(0, owners(spans), values)


def greatest(values: Tensor, spans: Spans) -> Tensor:
    """values (tokens, ...) -> (sequences, ...): the greatest of each sequence; equal ones share the gradient."""
    owner = owners(spans).view(-1, *(1,) * (values.ndim - 1)).expand_as(values)
    lowest = values.new_full((len(spans.lengths), *values.shape[1:]), -torch.inf)
    return lowest.scatter_reduce(0, owner, values, "amax", include_self=False)


def softmax_of_sequences(scores: Tensor, spans: Spans) -> Tensor:
    """scores (tokens,) -> (tokens,): positive, with the sum 1 over each sequence."""
    owner = owners(spans)
    raised = (scores - greatest(scores.detach(), spans)[owner]).exp()
    return raised / sums(raised, spans)[owner]
