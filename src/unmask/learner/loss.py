"""Loss: sums and counts, divided once by the global count."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree


@dataclass(frozen=True)
class LossTerm:
    """One term of a loss: the sum over its targets, how many there are, and its weight in the whole."""

    sum: Tensor
    count: int
    weight: float = 1.0
    correct: Tensor | None = None  # how many were predicted right; computed in evaluation only


@dataclass(frozen=True)
class Loss:
    """The terms of one micro-batch by name. A mean exists only after the counts of the whole step are known."""

    terms: Mapping[str, LossTerm]

    def share(self, counts: Mapping[str, int]) -> Tensor:
        """Compute this micro-batch's share of the step's loss, where `counts` are those of the whole step."""
        terms = [term.sum * (term.weight / max(1, counts[name])) for name, term in self.terms.items()]
        return torch.stack(terms).sum()


# FSDP2 looks for the tensors in what a learner returns: it must know when a backward pass begins
for kind in (Loss, LossTerm):
    _pytree.register_dataclass(kind)
