"""Heads of classification: one label for each text, by a linear layer or by an adaptive softmax."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.errors import UserError
from unmask.heads.pooled import PooledHead
from unmask.learner.batch import Batch
from unmask.learner.head import Head, targets_of_owners
from unmask.learner.loss import Loss, LossTerm
from unmask.model.config import EncoderConfig
from unmask.tasks.classify import AnyLoss, ClassifyTask, Focal, LogitAdjusted
from unmask.tasks.task import Task

ADAPTIVE_DIV_VALUE = 4  # how much narrower each cluster of rare labels is than the one before it (Grave et al. 2017)


class ClassifyHead(PooledHead):
    """One linear layer above the pooler, trained by (weighted, smoothed) cross-entropy or another loss of the settings.
    -> logits (sequences, labels)"""

    weights: Tensor | None
    log_priors: Tensor | None

    def __init__(self, task: ClassifyTask, encoder: EncoderConfig) -> None:
        super().__init__(task, encoder, len(task.labels))
        self.settings = task.settings
        self.register_buffer("weights", None, persistent=False)
        self.register_buffer("log_priors", None, persistent=False)

    @classmethod
    def class_for(cls, task: Task[Any]) -> type[Head]:
        return AdaptiveHead if task.settings.head == "adaptive" else ClassifyHead

    @classmethod
    def head_settings(cls, task: Task[Any]) -> dict[str, Any]:
        return {**super().head_settings(task), "head": task.settings.head}

    def init_from_counts(self, task: Task[Any], rows: Sequence[EncodedRow]) -> None:
        counts = np.bincount(targets_of_owners(self.name, rows), minlength=len(task.labels))
        self.log_priors = torch.from_numpy(counts / counts.sum()).log().float()
        if self.settings.class_weights == "balanced":
            self.weights = torch.from_numpy(counts.sum() / (len(counts) * counts)).float()

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        targets = batch.targets[self.name]
        if not self.training:
            total = F.cross_entropy(outputs, targets, reduction="sum")
            correct = (outputs.argmax(-1) == targets).sum()
            return Loss({self.name: LossTerm(total, len(targets), correct=correct)})
        smoothing = self.settings.label_smoothing
        total = summed_loss(self.settings.loss, outputs, targets, self.weights, smoothing, self.log_priors)
        return self.term(total, len(targets))


class AdaptiveHead(PooledHead):
    """Softmax over very many labels, most frequent first, the rare ones in clusters with smaller layers (Grave et
    al. 2017). -> log-probabilities (sequences, labels)"""

    def __init__(self, task: ClassifyTask, encoder: EncoderConfig) -> None:
        self.cutoffs = task.cutoffs()
        if encoder.hidden_size < ADAPTIVE_DIV_VALUE ** len(self.cutoffs):
            raise UserError(
                f"these are too many clusters for a hidden_size of {encoder.hidden_size}",
                given=f"task.cutoffs={self.cutoffs}",
                allowed=f"at most {int(math.log(encoder.hidden_size, ADAPTIVE_DIV_VALUE))} cutoffs, because each "
                "cluster has a quarter of the size before it",
            )
        super().__init__(task, encoder, len(task.labels))

    head_settings = ClassifyHead.head_settings

    def last_layer(self, encoder: EncoderConfig, outputs: int) -> nn.Module:
        return nn.AdaptiveLogSoftmaxWithLoss(encoder.hidden_size, outputs, self.cutoffs, div_value=ADAPTIVE_DIV_VALUE)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        return None, task.labels

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier.log_prob(self.pooled(hidden, batch).float())  # type: ignore[no-any-return,operator]

    def training_outputs(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(sequences,): the log-probability of each target; clusters without one are not computed."""
        pooled = self.pooled(hidden, batch).float()
        return self.classifier(pooled, batch.targets[self.name]).output  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        targets = batch.targets[self.name]
        logs = outputs if outputs.dim() == 1 else outputs.gather(1, targets.unsqueeze(1))
        return self.term(-logs.sum(), len(targets))

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "adaptive": self.classifier}


def summed_loss(
    loss: AnyLoss,
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    log_priors: Tensor | None = None,
) -> Tensor:
    """Sum the loss over rows (nats). logits (rows, labels), targets (rows,) int64, weights and log_priors (labels,).

    Class weights and label smoothing are those of the cross-entropy, which every loss is a change of: focal loss
    multiplies it, row by row, by (1 - p)^gamma with the probability p of the right label.
    """
    if isinstance(loss, LogitAdjusted):
        assert log_priors is not None, "the frequencies of the labels are needed"
        logits = logits + loss.tau * log_priors
    if not isinstance(loss, Focal):
        return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="sum")
    each = F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="none")
    logs = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    # 1 - p without loss of digits; a power below 1 has no slope at 0
    missed = (-torch.expm1(logs)).clamp_min(torch.finfo(logs.dtype).tiny)
    return (missed.pow(loss.gamma) * each).sum()
