"""Heads of the tasks on whole texts: one label, any number of labels, a number, above one vector for each text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.learner.batch import Batch
from unmask.learner.head import Head, init_linear, targets_of_owners
from unmask.learner.loss import Loss, LossTerm
from unmask.learner.regularise import symmetric_kl
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.pooler import Pooler
from unmask.tasks.classify import Classify, ClassifyTask, Focal, LogitAdjusted
from unmask.tasks.regress import RegressTask
from unmask.tasks.task import Task

ADAPTIVE_DIV_VALUE = 4  # how much narrower each cluster of rare labels is than the one before it (Grave et al. 2017)
CLUSTER_SHARES = (20, 4)  # a cluster of rare labels begins after a twentieth and after a quarter of the labels


class PooledHead(Head):
    """The pooler of the family, BERT's with tanh, dropout, and a linear layer. -> (sequences, outputs)"""

    shared_settings: Sequence[str] = ("pooling",)

    def __init__(self, task: Task[Any], encoder: EncoderConfig) -> None:
        super().__init__(task)
        self.pooler = Pooler(encoder, task.settings.pooling)
        self.reads_first = self.pooler.reads_first
        if self.reads_first:  # next-sentence prediction trains a pooler on [CLS]
            self.pretrained_prefixes = tuple(self.pooler.saved_modules())
        self.dropout = nn.Dropout(task.settings.classifier_dropout)
        self.classifier = self.last_layer(encoder, len(task.labels) or 1)

    def last_layer(self, encoder: EncoderConfig, outputs: int) -> nn.Module:
        return init_linear(nn.Linear(encoder.hidden_size, outputs), encoder)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        # BERT's own head reads the last [CLS]: under its name another library would predict otherwise
        known = FAMILIES[family].head.poolings
        return "BertForSequenceClassification" if task.settings.pooling in known else None, task.labels

    def pooled(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.dropout(self.pooler(hidden, batch.output_layout))  # type: ignore[no-any-return]

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier(self.pooled(hidden, batch))  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "classifier": self.classifier}


class ClassifyHead(PooledHead):
    """One linear layer above the pooler, trained by (weighted, smoothed) cross-entropy or another loss of the settings.
    -> logits (sequences, labels)"""

    weights: Tensor | None
    log_priors: Tensor | None
    shared_settings = ("pooling", "head")

    def __init__(self, task: ClassifyTask, encoder: EncoderConfig) -> None:
        super().__init__(task, encoder)
        self.settings = task.settings
        self.register_buffer("weights", None, persistent=False)
        self.register_buffer("log_priors", None, persistent=False)

    @classmethod
    def class_for(cls, task: Task[Any]) -> type[Head]:
        return AdaptiveHead if task.settings.head == "adaptive" else ClassifyHead

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
        return self.term(summed_loss(self.settings, outputs, targets, self.weights, self.log_priors), len(targets))


class AdaptiveHead(PooledHead):
    """Softmax over very many labels, most frequent first, the rare ones in clusters with smaller layers (Grave et
    al. 2017). -> log-probabilities (sequences, labels)"""

    shared_settings = ("pooling", "head")

    def last_layer(self, encoder: EncoderConfig, outputs: int) -> nn.Module:
        cutoffs = sorted({max(1, outputs // share) for share in CLUSTER_SHARES})
        return nn.AdaptiveLogSoftmaxWithLoss(encoder.hidden_size, outputs, cutoffs, div_value=ADAPTIVE_DIV_VALUE)

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
    settings: Classify, logits: Tensor, targets: Tensor, weights: Tensor | None, log_priors: Tensor | None
) -> Tensor:
    """Sum the loss over rows (nats). logits (rows, labels), targets (rows,) int64, weights and log_priors (labels,).

    Class weights and label smoothing are those of the cross-entropy, which every loss is a change of: focal loss
    multiplies it, row by row, by (1 - p)^gamma with the probability p of the right label.
    """
    loss, smoothing = settings.loss, settings.label_smoothing
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


class MultilabelHead(PooledHead):
    """One linear layer above the pooler, trained by binary cross-entropy of each label by itself, the mean over labels
    and rows. -> logits (sequences, labels)"""

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        targets = batch.targets[self.name].view_as(outputs)
        total = F.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="sum")
        return self.term(total, targets.numel())

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """Of each label by itself: predicted or not."""
        return symmetric_kl(*(torch.stack([x, torch.zeros_like(x)], -1) for x in (first, second)))


class RegressHead(PooledHead):
    """A number for each sequence, in the unit of the training rows, trained by the squared error in standard
    deviations. -> (sequences,)

    The last layer learns numbers of mean 0 and deviation 1, so that its learning rate does not depend on their unit;
    mean and deviation become part of its weights when it is saved.
    """

    mean: Tensor
    std: Tensor
    classifier: nn.Linear
    shared_settings = ("pooling", "activation")

    def __init__(self, task: RegressTask, encoder: EncoderConfig) -> None:
        super().__init__(task, encoder)
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
        """Fold mean and deviation into the last layer, which then is in the unit of the training rows."""
        folded = self.classifier
        if self.mean != 0 or self.std != 1:
            folded = nn.Linear(self.classifier.in_features, 1)
            with torch.no_grad():
                folded.weight.copy_(self.classifier.weight * self.std)
                folded.bias.copy_(self.classifier.bias * self.std + self.mean)
        return {**super().saved_modules(), "classifier": folded}

    def load_from(self, modules: Mapping[str, nn.Module]) -> None:
        folded = modules["classifier"]
        if folded is not self.classifier:
            assert isinstance(folded, nn.Linear)
            with torch.no_grad():
                self.classifier.weight.copy_(folded.weight / self.std)
                self.classifier.bias.copy_((folded.bias - self.mean) / self.std)
