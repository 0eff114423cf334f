"""Head: the module above the encoder that computes the outputs of a task, and their loss."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.learner.batch import Batch
from unmask.learner.loss import Loss, LossTerm
from unmask.learner.regularise import symmetric_kl
from unmask.model.attention import SequenceLayout
from unmask.model.encoder import Encoder
from unmask.model.encoder import init_linear as init_linear
from unmask.tasks import Task


class Head(nn.Module, ABC):
    """hidden, batch -> outputs, one for each sequence, token or position that the task reads.

    hidden: (tokens, hidden_size) of packed or (batch, length, hidden_size) of padded sequences, whose layout is
    `batch.output_layout`.
    output: what the outputs are called by a `Backend`; pretrained_prefixes: of the saved modules that pretraining
    trains as well; uses_in_batch_negatives: whether the loss of an example depends on the others of the batch;
    keeps_rows_together: whether the rows of one example must be in one batch; copies: how often each row is in a batch
    of training; reads_first: whether the first hidden state of each sequence is all that is read; shared_settings: in
    what two schemas must agree, beside name, labels and shapes, for the weights of the head to mean the same in both.
    """

    output = "logits"
    pretrained_prefixes: Sequence[str] = ()
    uses_in_batch_negatives = False
    keeps_rows_together = False
    copies = 1
    reads_first = False
    shared_settings: Sequence[str] = ()

    def __init__(self, task: Task[Any]) -> None:
        super().__init__()
        self.name = task.name

    @classmethod
    def class_for(cls, task: Task[Any]) -> "type[Head]":
        """Return the class of the head that the settings of a task name."""
        return cls

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        """Return BERT's class that computes the same outputs, None where there is none, and what they are called.

        family: of the encoder."""
        return None, task.labels

    def query_positions(self, layout: SequenceLayout) -> SequenceLayout | None:
        """Return the positions whose hidden states the head reads; None for all."""
        return layout.gather_first() if self.reads_first else None

    def training_outputs(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Compute what `loss` needs, where that is less than the outputs."""
        outputs: Tensor = self(hidden, batch)
        return outputs

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Compute the loss of the outputs of a batch, one term. In evaluation it is the plain loss, which is
        comparable whatever the settings."""

    def prepare(self, batch: Batch) -> Batch:
        """Prepare a batch for learning, on the CPU."""
        return batch

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        """Count the rows of the outputs of each sequence: (sequences,) int64, on the CPU."""
        return torch.ones(batch.num_sequences, dtype=torch.int64)

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """Compute how far apart two outputs for the same rows are, summed over the rows."""
        return symmetric_kl(first, second)

    def init_from_counts(self, task: Task[Any], rows: Sequence[EncodedRow]) -> None:
        """Initialise from the frequencies of targets in the rows to learn."""

    @property
    def lr_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate, by prefix of parameter names; such parameters are not decayed."""
        return {}

    def decoding_parameters(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that the task needs to decode the outputs."""
        return {}

    @abstractmethod
    def saved_modules(self) -> dict[str, nn.Module]:
        """Return what the bundle stores, by the prefix of its parameter names."""

    def load_from(self, modules: Mapping[str, nn.Module]) -> None:
        """Load saved modules, which hold the weights of a model now; nothing to do where they are the own."""

    def term(self, total: Tensor, count: int) -> Loss:
        """Make the loss of one term."""
        return Loss({self.name: LossTerm(total, count)})


def run_head(
    encoder: Encoder, head: Head, batch: Batch, compute: Callable[[Tensor, Batch], Tensor] | None = None
) -> Tensor:
    """Run the encoder and the head on a batch. compute: another method of the head."""
    batch = dataclasses.replace(batch, query_positions=head.query_positions(batch.layout))
    hidden = encoder(batch.input_ids, batch.layout, batch.token_type_ids, batch.query_positions)
    return (compute or head)(hidden, batch)


def targets_of_owners(name: str, rows: Sequence[EncodedRow]) -> npt.NDArray[Any]:
    """Concatenate the target of each example, whose rows share it."""
    return np.concatenate(list({row.owner: row.targets[name] for row in rows}.values()))
