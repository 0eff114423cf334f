"""Head of regression."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.heads.pooled import PooledHead
from unmask.learner.batch import Batch
from unmask.learner.loss import Loss
from unmask.model.config import EncoderConfig
from unmask.tasks.regress import RegressTask
from unmask.tasks.task import Task


class RegressHead(PooledHead):
    """A number for each sequence, in the unit of the training rows, trained by the squared error in standard
    deviations. -> (sequences,)

    The last layer learns numbers of mean 0 and deviation 1, so that its learning rate does not depend on their unit;
    mean and deviation become part of its weights when it is saved.
    """

    mean: Tensor
    std: Tensor
    classifier: nn.Linear

    def __init__(self, task: RegressTask, encoder: EncoderConfig) -> None:
        super().__init__(task, encoder, 1)
        self.register_buffer("mean", torch.tensor(0.0), persistent=False)
        self.register_buffer("std", torch.tensor(1.0), persistent=False)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        return super().public_architecture(task, family)[0], ["number"]

    def init_from_counts(self, task: Task[Any], rows: Sequence[EncodedRow]) -> None:
        """Learn numbers of the mean and deviation of the training rows."""
        assert isinstance(task, RegressTask)
        self.mean.fill_(task.statistics.mean)
        self.std.fill_(task.statistics.std)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        standard: Tensor = super().forward(hidden, batch).squeeze(-1).float()
        return standard * self.std + self.mean

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        error = (outputs - batch.targets[self.name]) / self.std
        return self.term(error.square().sum(), len(error))

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """The squared difference in deviations: numbers have no distribution to compare."""
        return ((first - second) / self.std).square().sum()

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**super().saved_modules(), "classifier": self._folded()}

    def load_from(self, modules: Mapping[str, nn.Module]) -> None:
        folded = modules["classifier"]
        if folded is not self.classifier:
            assert isinstance(folded, nn.Linear)
            with torch.no_grad():
                self.classifier.weight.copy_(folded.weight / self.std)
                self.classifier.bias.copy_((folded.bias - self.mean) / self.std)

    def _folded(self) -> nn.Linear:
        """Return the last layer in the unit of the training rows; itself where it learnt them as they are."""
        if self.mean == 0 and self.std == 1:
            return self.classifier
        folded = nn.Linear(self.classifier.in_features, 1)
        with torch.no_grad():
            folded.weight.copy_(self.classifier.weight * self.std)
            folded.bias.copy_(self.classifier.bias * self.std + self.mean)
        return folded
