"""Classification of a text or of a pair of texts: one label each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask import metrics
from unmask.config import config, dump, setting
from unmask.data.batch import SPECIAL, Batch, Row
from unmask.data.memory import Source
from unmask.data.tables import Example, Unknown, check_labels, read_examples
from unmask.errors import UserError
from unmask.learner import Loss, Part
from unmask.model.attention import Spans
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.pooler import Pooler, Pooling
from unmask.tasks.task import Evidence, Head, Reading, Shown, Task, TaskLearner
from unmask.text.tokenizer import Tokenizer

CONFUSED = 8  # pairs of labels shown to people
SHOWN = 300  # characters of a text in a report


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

    @property
    def task(self) -> type[Task[Any]]:
        return ClassifyTask


@dataclass(frozen=True)
class Evaluation:
    """Accuracy and macro-F1 over the labels of the task and, after them, those that it does not know; each with
    its 95 % bootstrap interval."""

    rows: int
    accuracy: metrics.Interval
    macro_f1: metrics.Interval
    confusion: list[list[int]]  # [true label][predicted label]
    per_label: list[dict[str, Any]]

    def __repr__(self) -> str:
        return f"Evaluation({self.rows:,} rows, accuracy {self.accuracy}, macro-F1 {self.macro_f1})"

    @property
    def figures(self) -> dict[str, metrics.Interval]:
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1}

    @property
    def confused(self) -> list[dict[str, Any]]:
        """What was wrongly predicted for which true label, the most frequent first."""
        labels = [row["label"] for row in self.per_label]
        wrong = [
            {"label": labels[true], "predicted": labels[said], "rows": rows}
            for true, row in enumerate(self.confusion)
            for said, rows in enumerate(row)
            if true != said and rows
        ]
        return sorted(wrong, key=lambda pair: -pair["rows"])

    def tables(self) -> list[Shown]:
        scores = [
            (row["label"], *(f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1")), row["n"])
            for row in self.per_label
        ]
        shown = [Shown(("label", "precision", "recall", "F1", "rows"), scores)]
        if self.confused:
            pairs = [(pair["label"], pair["predicted"], pair["rows"]) for pair in self.confused[:CONFUSED]]
            shown.append(Shown(("most often confused: true", "predicted", "rows"), list(pairs)))
        return shown

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "confused": self.confused}


@dataclass(frozen=True)
class Label:
    """A predicted label with its probability."""

    name: str
    score: float

    def __repr__(self) -> str:
        return f"Label(name={self.name!r}, score={self.score:.2f})"


class ClassifyTask(Task[list[Label]]):
    """How examples become sequences, and hidden states labels again: every label, the most probable first."""

    metric = "accuracy"
    baseline = "majority"
    settings: Classify

    def __init__(self, settings: Classify, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        super().__init__(settings, tokenizer, labels)
        self.numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def build(cls, settings: Classify, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        return cls(settings, tokenizer, cls.labels_of(train))

    @classmethod
    def restore(cls, settings: Classify, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"])

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

    @property
    def public(self) -> tuple[str | None, list[str]]:
        # BERT's own head reads [CLS]: under its name another library would predict otherwise from the mean
        return "BertForSequenceClassification" if self.settings.pooling == "cls" else None, self.labels

    @classmethod
    def read(cls, path: Source, reading: Reading) -> list[Example]:
        return read_examples(
            path,
            columns=reading.columns,
            on_error=reading.on_error,
            require_labels=True,
            encoding=reading.encoding,
            format=reading.format,
        )

    def read_new(self, path: Source, reading: Reading) -> list[Example]:
        return read_examples(
            path,
            columns=reading.columns,
            on_error=reading.on_error,
            encoding=reading.encoding,
            format=reading.format,
        )

    def read_test(self, path: Source, reading: Reading) -> list[Example]:
        return self.read(path, reading)

    @classmethod
    def known(
        cls, examples: Sequence[Example], labels: Iterable[str], of: str, unknown: Unknown = "stop"
    ) -> list[Example]:
        return check_labels(examples, labels, of, unknown)

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

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[Row]) -> "ClassifyLearner":
        return ClassifyLearner(encoder, self.head(encoder.config), self.settings, self.class_weights(train))

    def evidence(self, outputs: Tensor, batch: Batch) -> list[Evidence]:
        """The logarithm of the probability of each label."""
        return list(outputs.float().log_softmax(-1).cpu().numpy())

    def judge(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> dict[str, float]:
        known = [number for number, row in enumerate(rows) if "classify" in row.targets]
        logs = np.stack([evidence[number] for number in known])
        wanted = np.concatenate([rows[number].targets["classify"] for number in known])
        return {
            "classify.loss": -float(logs[np.arange(len(wanted)), wanted].mean(dtype=np.float64)),
            "classify.accuracy": float(
                (logs.argmax(-1) == wanted).sum() / len(rows)
            ),  # no other label is right
        }

    def decode(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> list[list[Label]]:
        """Labels of each example, the most probable first."""
        return [
            [
                Label(self.labels[number], float(np.exp(logs[number])))
                for number in np.argsort(-logs, kind="stable")
            ]
            for logs in evidence
        ]

    def best(self, prediction: list[Label]) -> Label:
        return prediction[0]

    def likelihood(self, prediction: list[Label]) -> float:
        return prediction[0].score

    def score(
        self, examples: Sequence[Example], predictions: Sequence[list[Label]], seed: int = 0
    ) -> Evaluation:
        unknown = {label for example in examples for label in example.labels} - set(self.labels)
        labels = [*self.labels, *sorted(unknown)]
        numbers = {label: number for number, label in enumerate(labels)}
        said, truth = (
            np.array([numbers[label] for label in some])
            for some in (self.compared(examples, predictions), self.reference(examples))
        )
        count = len(labels)
        scores = metrics.per_label(truth, said, count)
        return Evaluation(
            rows=len(truth),
            accuracy=metrics.bootstrap(metrics.accuracy, truth, said, count, seed=seed),
            macro_f1=metrics.bootstrap(metrics.macro_f1, truth, said, count, seed=seed),
            confusion=metrics.confusion(truth, said, count).tolist(),
            per_label=[{"label": name, **asdict(s)} for name, s in zip(labels, scores, strict=True)],
        )

    def reference(self, examples: Sequence[Example]) -> list[str]:
        return [example.label or "" for example in examples]

    def compared(self, examples: Sequence[Example], predictions: Sequence[list[Label]]) -> list[str]:
        return [prediction[0].name for prediction in predictions]

    def words(self, examples: Sequence[Example]) -> list[tuple[list[str], list[str]]]:
        """A whole text is one word here, and all texts are alike: what is left is the most frequent label."""
        return [([""], [example.label or ""]) for example in examples]

    def from_words(self, examples: Sequence[Example], tags: Sequence[Sequence[str]]) -> list[str]:
        return [tag for (tag,) in tags]

    def sample(self, example: Example, prediction: list[Label]) -> dict[str, Any]:
        best = prediction[0]
        return {
            "text": example.text[:SHOWN],
            "label": example.label,
            "predicted": best.name,
            "probability": round(best.score, 4),
        }

    def record(self, example: Example, prediction: list[Label], every: bool) -> dict[str, Any]:
        first = prediction[0]
        row = {
            "id": example.id,
            "line": example.line,
            "label": first.name,
            "score": round(first.score, 6),
        }
        return row | ({"scores": {x.name: round(x.score, 6) for x in prediction}} if every else {})

    def columns(self, every: bool) -> list[str]:
        return ["id", "line", "label", "score", *(self.labels if every else [])]

    def lines(self, example: Example, prediction: list[Label], every: bool) -> list[list[object]]:
        """One, with the probability of each label in a column of its own where all are asked for."""
        scores = {label.name: round(label.score, 6) for label in prediction}
        first = prediction[0].name
        others = [scores[label] for label in self.labels] if every else []
        return [[example.id, example.line, first, scores[first], *others]]

    def schema(self) -> dict[str, Any]:
        """What a bundle needs to make this task again."""
        return {**dump(self.settings), "labels": self.labels}


class ClassifyHead(Head):
    """BERT's: pooler with tanh, dropout, one linear layer. hidden (tokens, width) -> logits (sequences, labels)."""

    def __init__(self, settings: Classify, encoder: EncoderConfig, labels: int) -> None:
        super().__init__()
        self.pooler = Pooler(encoder, settings.pooling)
        self.dropout = nn.Dropout(settings.head_dropout)
        self.classifier = nn.Linear(encoder.width, labels)
        nn.init.normal_(self.classifier.weight, std=encoder.init_std)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        pooled = self.dropout(self.pooler(hidden, batch.layout))
        return self.classifier(pooled)  # type: ignore[no-any-return]

    def asks(self, spans: Spans) -> Spans | None:
        return spans.firsts() if self.pooler.pooling == "cls" else None

    def published(self) -> dict[str, nn.Module]:
        return {"pooler": self.pooler.dense, "classifier": self.classifier}


class ClassifyLearner(TaskLearner):
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
        logits = self.outputs(batch)
        wanted = batch.targets["classify"]
        if not self.training:  # the plain loss: comparable whatever the training loss was
            total = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            correct = (logits.argmax(-1) == wanted).sum()
            return Loss({"classify": Part(total, len(wanted), correct=correct)})
        total = nn.functional.cross_entropy(
            logits, wanted, weight=self.weights, label_smoothing=self.smoothing, reduction="sum"
        )
        return Loss({"classify": Part(total, len(wanted))})
