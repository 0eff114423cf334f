"""Learner: whatever is trained. Loss: sums and counts, divided once by the global count."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unmask.data.batch import Batch
from unmask.model.encoder import Encoder


@dataclass(frozen=True)
class LossTerm:
    """One term of a loss: the sum over what was scored, how much was scored, and its weight in the whole."""

    sum: Tensor
    count: int
    weight: float = 1.0
    correct: Tensor | None = None  # how many were predicted right; computed in evaluation only


@dataclass(frozen=True)
class Loss:
    """The terms of one micro-batch by name. A mean exists only after the counts of the whole step are known."""

    terms: Mapping[str, LossTerm]

    def share(self, counts: Mapping[str, int]) -> Tensor:
        """This micro-batch's share of the step's loss, where `counts` are those of the whole step."""
        terms = [part.sum * (part.weight / max(1, counts[name])) for name, part in self.terms.items()]
        return torch.stack(terms).sum()


class Learner(nn.Module, ABC):
    """An encoder and whatever else learns. The training loop knows nothing but this.

    prepare: CPU work on a batch, in the prefetch thread; uses no weights.
    forward: batch -> Loss; may run the encoder as often as it needs.
    passes: how often the loop goes over each micro-batch, forward and backward, before the weights change: the
    gradients add up, and so do the losses. `Batch.turn` says which pass it is, from 0.
    lr_factors: prefix of parameter names -> factor on their learning rate; where several prefixes match, their product.
    no_weight_decay: prefixes of parameters that AdamW updates, without weight decay.
    """

    encoder: Encoder
    lr_factors: Mapping[str, float] = {}
    no_weight_decay: Sequence[str] = ()

    @property
    def backward_passes(self) -> int:
        return 1

    @property
    def uses_in_batch_negatives(self) -> bool:
        """Whether the loss of an example hangs on those beside it in the batch, so that a step that is cut into
        micro-batches would learn something else."""
        return False

    def prepare(self, batch: Batch, seed: int) -> Batch:
        return batch

    @abstractmethod
    def forward(self, batch: Batch) -> Loss: ...

    @abstractmethod
    def saved_modules(self) -> dict[str, nn.Module]:
        """What the bundle keeps, by the prefix of its parameter names."""
