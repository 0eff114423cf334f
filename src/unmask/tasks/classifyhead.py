"""What stands on the encoder for a label, several labels or a number of a text, and how each learns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unmask.data.batch import Batch
from unmask.learner import Loss, LossTerm
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.pooler import Pooler
from unmask.tasks.losses import summed_loss
from unmask.tasks.regularise import symmetric_kl
from unmask.tasks.task import Head, TaskLearner, head_inputs

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify


ADAPTIVE_DIV_VALUE = 4  # how much narrower each cluster of rare labels is than the one before it (Grave et al. 2017)


class PooledHead(Head):
    """The pooler of the family, BERT's with tanh, and dropout. hidden (tokens, width) -> (sequences, width)."""

    def __init__(self, settings: "Classify", encoder: EncoderConfig) -> None:
        super().__init__()
        self.pooler = Pooler(encoder, settings.pooling)
        if self.pooler.reads_first:  # next-sentence prediction trains a pooler on [CLS]
            self.pretrained_prefixes = tuple(self.pooler.saved_modules())
        self.dropout = nn.Dropout(settings.classifier_dropout)

    def pooled(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.dropout(self.pooler(hidden, batch.output_layout))  # type: ignore[no-any-return]

    def query_positions(self, layout: SequenceLayout) -> SequenceLayout | None:
        return layout.gather_first() if self.pooler.reads_first else None


class ClassifyHead(PooledHead):
    """One linear layer above the pooler. hidden (tokens, width) -> logits (sequences, labels)."""

    def __init__(self, settings: "Classify", encoder: EncoderConfig, labels: int) -> None:
        super().__init__(settings, encoder)
        self.classifier = nn.Linear(encoder.hidden_size, labels)
        nn.init.normal_(self.classifier.weight, std=encoder.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier(self.pooled(hidden, batch))  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "classifier": self.classifier}


class AdaptiveHead(PooledHead):
    """Softmax over very many labels, most frequent first, the rare ones in clusters with smaller layers (Grave et
    al. 2017). hidden (tokens, width) -> log-probabilities (sequences, labels).
    """

    def __init__(self, settings: "Classify", encoder: EncoderConfig, labels: int, cutoffs: Sequence[int]) -> None:
        super().__init__(settings, encoder)
        self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(
            encoder.hidden_size, labels, list(cutoffs), div_value=ADAPTIVE_DIV_VALUE
        )

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.adaptive.log_prob(self.pooled(hidden, batch).float())

    def of_targets(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(sequences,): the log-probability of each label that is right; clusters without one are not computed."""
        pooled = self.pooled(hidden, batch).float()
        return self.adaptive(pooled, batch.targets["classify"]).output  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "adaptive": self.adaptive}


class NumberHead(PooledHead):
    """A number for each sequence, (sequences,), in the unit of the training rows.

    The last layer learns numbers of mean 0 and deviation 1, so that its rate does not hang on their unit; mean and
    deviation become part of its weights when it is published.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: "Classify", encoder: EncoderConfig) -> None:
        super().__init__(settings, encoder)
        self.classifier = nn.Linear(encoder.hidden_size, 1)
        nn.init.normal_(self.classifier.weight, std=encoder.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self.register_buffer("mean", torch.tensor(0.0), persistent=False)
        self.register_buffer("std", torch.tensor(1.0), persistent=False)

    def init_from_statistics(self, mean: float, std: float) -> None:
        """Learn numbers of this mean and deviation."""
        self.mean.fill_(mean)
        self.std.fill_(std)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        standard: Tensor = self.classifier(self.pooled(hidden, batch)).squeeze(-1).float()
        return standard * self.std + self.mean

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "classifier": self._folded()}

    def load_from(self, modules: Mapping[str, nn.Module]) -> None:
        folded = modules["classifier"]
        if folded is not self.classifier:
            assert isinstance(folded, nn.Linear)
            with torch.no_grad():
                self.classifier.weight.copy_(folded.weight / self.std)
                self.classifier.bias.copy_((folded.bias - self.mean) / self.std)

    def _folded(self) -> nn.Linear:
        """The last layer in the unit of the training rows; itself where it learnt them as they are."""
        if self.mean == 0 and self.std == 1:
            return self.classifier
        folded = nn.Linear(self.classifier.in_features, 1)
        with torch.no_grad():
            folded.weight.copy_(self.classifier.weight * self.std)
            folded.bias.copy_(self.classifier.bias * self.std + self.mean)
        return folded


class ClassifyLearner(TaskLearner):
    """Encoder and head, trained by (weighted, smoothed) cross-entropy or what the settings take in its place."""

    def __init__(
        self,
        encoder: Encoder,
        head: ClassifyHead,
        settings: "Classify",
        weights: Tensor | None = None,
        priors: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.settings = settings
        self.weights: Tensor | None
        self.priors: Tensor | None
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("priors", priors, persistent=False)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        logits, wanted = outputs, batch.targets["classify"]
        if not self.training:  # the plain loss: comparable whatever the training loss was
            total = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            correct = (logits.argmax(-1) == wanted).sum()
            return Loss({"classify": LossTerm(total, len(wanted), correct=correct)})
        smoothing = self.settings.label_smoothing
        total = summed_loss(self.settings.loss, logits, wanted, self.weights, smoothing, self.priors)
        return Loss({"classify": LossTerm(total, len(wanted))})


class AdaptiveLearner(TaskLearner):
    """Encoder and adaptive softmax, trained by cross-entropy."""

    head: AdaptiveHead

    def __init__(self, encoder: Encoder, head: AdaptiveHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def outputs(self, batch: Batch) -> Tensor:
        """(sequences,): what is said of the labels that are right; all labels where passes are compared."""
        if self.regulariser is not None:
            return super().outputs(batch)  # type: ignore[no-any-return]
        return self.head.of_targets(*head_inputs(self.encoder, self.head, batch))

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        wanted = batch.targets["classify"]
        said = outputs if outputs.dim() == 1 else outputs.gather(1, wanted.unsqueeze(1))
        return Loss({"classify": LossTerm(-said.sum(), len(wanted))})


class LabelsLearner(TaskLearner):
    """Encoder and head, trained by binary cross-entropy of each label by itself, the mean over labels and rows."""

    def __init__(self, encoder: Encoder, head: ClassifyHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        wanted = batch.targets["classify"].view_as(outputs)
        total = nn.functional.binary_cross_entropy_with_logits(outputs.float(), wanted, reduction="sum")
        return Loss({"classify": LossTerm(total, wanted.numel())})

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """Of each label by itself: given or not."""
        return symmetric_kl(*(torch.stack([x, torch.zeros_like(x)], -1) for x in (first, second)))


class NumberLearner(TaskLearner):
    """Encoder and head, trained by the squared error of the number less its mean, in deviations."""

    head: NumberHead

    def __init__(self, encoder: Encoder, head: NumberHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        error = (outputs - batch.targets["classify"]) / self.head.std
        return Loss({"classify": LossTerm(error.square().sum(), len(error))})

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """The squared difference in deviations: numbers have no distribution to compare."""
        return ((first - second) / self.head.std).square().sum()
