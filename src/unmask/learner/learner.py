"""Learner: an encoder and whatever else learns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import nn

from unmask.learner.batch import Batch
from unmask.learner.loss import Loss
from unmask.model.encoder import Encoder


class Learner(nn.Module, ABC):
    """An encoder and whatever else learns. The training loop knows nothing but this.

    copies: how often each sequence is put into a batch that is learnt.
    backward_passes: how often the loop goes over each micro-batch, forward and backward, before the weights change: the
    gradients add up, and so do the losses. `Batch.backward_pass` is the number of the pass, from 0.
    uses_in_batch_negatives: whether the loss of an example depends on the others of the batch, so that a step that is
    cut into micro-batches would learn something else.
    lr_factors: prefix of parameter names -> factor on their learning rate; where several prefixes match, their product.
    no_weight_decay: prefixes of parameters that AdamW updates, without weight decay.
    """

    encoder: Encoder
    copies = 1
    backward_passes = 1
    uses_in_batch_negatives = False
    lr_factors: Mapping[str, float] = {}
    no_weight_decay: Sequence[str] = ()

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Prepare a batch on the CPU, in the prefetch thread, without weights."""
        return batch

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """Compute the loss of a batch; the encoder may run as often as it takes."""

    @abstractmethod
    def saved_modules(self) -> dict[str, nn.Module]:
        """Return what the bundle stores, by the prefix of its parameter names."""
