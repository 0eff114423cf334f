"""Classification of a text or of a pair of texts: one label each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask import metrics
from unmask.config import config, dump, setting
from unmask.data.batch import SPECIAL, Batch, Row
from unmask.data.tables import Example, check_labels
from unmask.errors import UserError
from unmask.learner import Learner, Loss, Part
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.pooler import Pooler, Pooling
from unmask.text.tokenizer import Tokenizer


@config
class Classify:
    """Settings of classification."""

    name: Literal["classify"] = "classify"
    length: int = setting(
        default=128, ge=8, description="longest input in tokens; longer texts are cut, which is said"
    )
    pooling: Pooling = setting(
        default="cls", description="one vector per text: the [CLS] state, or the mean over tokens"
    )
    head_dropout: float = setting(default=0.1, ge=0, lt=1, description="before the last layer")
    class_weights: Literal["none", "balanced"] = setting(
        default="none", description="balanced: each class weighs the same in sum (n / (classes x count))"
    )
    label_smoothing: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the target spread over all labels (Szegedy et al. 2016, section 7)",
    )


@dataclass(frozen=True)
class Evaluation:
    """Accuracy and macro-F1 over the labels of the task, each with its 95 % bootstrap interval."""

    rows: int
    accuracy: metrics.Interval
    macro_f1: metrics.Interval
    confusion: list[list[int]]  # [true label][predicted label]
    per_label: list[dict[str, Any]]

    def __repr__(self) -> str:
        return f"Evaluation({self.rows:,} rows, accuracy {self.accuracy}, macro-F1 {self.macro_f1})"


@dataclass(frozen=True)
class Label:
    """A predicted label with its probability."""

    name: str
    score: float

    def __repr__(self) -> str:
        return f"Label(name={self.name!r}, score={self.score:.2f})"


class ClassifyTask:
    """How examples become sequences, and hidden states labels again."""

    def __init__(self, settings: Classify, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.labels = list(labels)
        self.truncated = 0  # texts cut in the last call of `encode`
        self.numbers = {label: number for number, label in enumerate(self.labels)}

    @staticmethod
    def labels_of(examples: Sequence[Example]) -> list[str]:
        """The label set of training rows, sorted. Raises UserError where there is nothing to tell apart."""
        labels = sorted({example.label for example in examples if example.label is not None})
        if len(labels) < 2:
            raise UserError(
                f"{examples[0].source}: classification needs at least two labels",
                given=f"{len(examples)} rows, all labelled {labels[0]!r}" if labels else "no labels",
                to_do="check the label column (--label-column)",
            )
        return labels

    def encode(self, examples: Sequence[Example]) -> list[Row]:
        """One sequence per example; its label as target where there is one. Raises UserError for a new label."""
        check_labels([example for example in examples if example.label is not None], self.labels)
        pairs = [example.pair for example in examples]
        encoded = self.tokenizer.encode_batch(
            [example.text for example in examples],
            pairs if any(pair is not None for pair in pairs) else None,
            max_length=self.settings.length,
        )
        self.truncated = sum(one.truncated for one in encoded)
        rows = []
        for number, (example, one) in enumerate(zip(examples, encoded, strict=True)):
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if example.label is not None:
                targets["classify"] = np.array([self.numbers[example.label]])
            flags = np.array(one.special, dtype=np.uint8) * np.uint8(SPECIAL)
            rows.append(
                Row(np.array(one.ids), np.array(one.segments), flags, number, owner=number, targets=targets)
            )
        return rows

    def class_weights(self, examples: Sequence[Example]) -> Tensor | None:
        """(labels,) float32, or None when all weigh 1."""
        if self.settings.class_weights == "none":
            return None
        counts = Counter(example.label for example in examples)
        return torch.tensor([len(examples) / (len(self.labels) * counts[label]) for label in self.labels])

    def head(self, encoder: EncoderConfig) -> "ClassifyHead":
        return ClassifyHead(self.settings, encoder, len(self.labels))

    def decode(self, probabilities: npt.NDArray[np.float32]) -> list[list[Label]]:
        """(examples, labels) -> labels of each example, the most probable first."""
        return [
            [Label(self.labels[number], float(row[number])) for number in np.argsort(-row, kind="stable")]
            for row in probabilities
        ]

    def score(self, predicted: Sequence[str], reference: Sequence[str], seed: int = 0) -> Evaluation:
        """Compare predicted labels with the true ones, row by row."""
        said, truth = self.numbered(predicted), self.numbered(reference)
        count = len(self.labels)
        scores = metrics.per_label(truth, said, count)
        return Evaluation(
            rows=len(truth),
            accuracy=metrics.bootstrap(metrics.accuracy, truth, said, count, seed=seed),
            macro_f1=metrics.bootstrap(metrics.macro_f1, truth, said, count, seed=seed),
            confusion=metrics.confusion(truth, said, count).tolist(),
            per_label=[{"label": name, **asdict(s)} for name, s in zip(self.labels, scores, strict=True)],
        )

    def numbered(self, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Labels as their places in the label set."""
        return np.array([self.numbers[label] for label in labels])

    def schema(self) -> dict[str, Any]:
        """What a bundle needs to make this task again."""
        return {**dump(self.settings), "labels": self.labels}


class ClassifyHead(nn.Module):
    """BERT's: pooler with tanh, dropout, one linear layer. hidden (tokens, width) -> logits (sequences, labels)."""

    def __init__(self, settings: Classify, encoder: EncoderConfig, labels: int) -> None:
        super().__init__()
        self.pooler = Pooler(encoder, settings.pooling)
        self.dropout = nn.Dropout(settings.head_dropout)
        self.classifier = nn.Linear(encoder.width, labels)
        nn.init.normal_(self.classifier.weight, std=encoder.init_std)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        pooled = self.dropout(self.pooler(hidden, batch.spans))
        return self.classifier(pooled)  # type: ignore[no-any-return]

    def published(self) -> dict[str, nn.Module]:
        return {"pooler": self.pooler.dense, "classifier": self.classifier}


class ClassifyLearner(Learner):
    """Encoder and head, trained by (weighted, smoothed) cross-entropy."""

    def __init__(
        self, encoder: Encoder, head: ClassifyHead, settings: Classify, weights: Tensor | None
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.smoothing = settings.label_smoothing
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch) -> Loss:
        logits = self.head(self.encoder(batch.ids, batch.spans, batch.segments), batch)
        wanted = batch.targets["classify"]
        if not self.training:  # the plain loss: comparable whatever the training loss was
            total = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            correct = (logits.argmax(-1) == wanted).sum()
            return Loss({"classify": Part(total, len(wanted), correct=correct)})
        total = nn.functional.cross_entropy(
            logits, wanted, weight=self.weights, label_smoothing=self.smoothing, reduction="sum"
        )
        return Loss({"classify": Part(total, len(wanted))})

    def published(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, **self.head.published()}
