"""Any number of labels for a text or a pair of texts, each decided by itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask import console, metrics, rowmetrics
from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.labels import SEPARATORS
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.metrics import Interval, SentenceCounts
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.classifyhead import ClassifyHead, LabelsLearner
from unmask.tasks.task import METRIC_TITLES, Head, Logits, ScoreTable
from unmask.tasks.texts import (
    Label,
    Ranking,
    TextTask,
    label_probabilities,
    labelled_logits,
    round_probabilities,
)
from unmask.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify

HALF = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelsEvaluation:
    """Figures over all decisions (micro) and labels (macro), the share of rows whose labels are all right, and each
    label by itself; with 95 % bootstrap intervals over rows. given: labels given a row on average; true: of the data.
    """

    rows: int
    figures: Mapping[str, Interval]
    given: float
    true: float
    per_label: list[dict[str, Any]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{METRIC_TITLES[name]} {interval}" for name, interval in self.figures.items())
        return f"LabelsEvaluation({self.rows:,} rows, {shown})"

    def tables(self) -> list[ScoreTable]:
        scores: list[tuple[object, ...]] = [
            (
                row["label"],
                *(f"{100 * row[key]:.1f}" for key in ("precision", "recall")),
                f"{100 * row['f1']:.1f} [{100 * row['f1_low']:.1f}, {100 * row['f1_high']:.1f}]",
                row["threshold"] if row["threshold"] is None else f"{row['threshold']:.3f}",
                row["n"],
            )
            for row in self.per_label
        ]
        return [ScoreTable(("label", "precision", "recall", "F1 [95 %]", "threshold", "rows"), scores)]

    def to_dict(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


def best_threshold(labelled: npt.NDArray[np.bool_], probabilities: Floats) -> float:
    """The probability from which a label should be given, by F1 on these rows: (rows,) each.

    Half way between two rows beside one another; of equally good ones the nearest to 0.5, which it is too where no
    row has the label.
    """
    if not labelled.any():
        return HALF
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    hits = labelled[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(probabilities) + 1) + labelled.sum())
    ends = np.append(ordered[1:] < ordered[:-1], True)  # no threshold divides equal rows
    below = np.append(ordered[1:], 0.0)
    middle = (ordered + below) / 2
    holds_half = (below < HALF) & (ordered >= HALF)
    middle = np.where(holds_half, HALF, middle)
    best = [number for number in np.flatnonzero(ends) if f1[number] >= f1[ends].max() - 1e-12]
    return float(min((middle[number] for number in best), key=lambda one: (abs(one - HALF), one)))


class LabelsTask(TextTask[Sequence[Label]]):
    """Any number of labels for each text. A prediction is every label with its probability, the most probable first;
    given are those at or above their threshold.
    """

    kind = "labels"
    ranks = True
    metrics = ("micro_f1", "macro_f1", "subset_accuracy", "auc")
    baseline = "majority"

    def __init__(
        self,
        settings: "Classify",
        tokenizer: Tokenizer,
        labels: Sequence[str],
        thresholds: Sequence[float] | None = None,
    ) -> None:
        super().__init__(settings, tokenizer, labels)
        self.thresholds = np.array(thresholds or [HALF] * len(self.labels))
        self.needs_calibration = settings.tune_thresholds
        self.separator = next(
            (mark for mark in SEPARATORS if not any(mark in label for label in self.labels)), SEPARATORS[0]
        )

    @classmethod
    def build(cls, settings: "Classify", tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        labels = sorted({label for example in train for label in example.label_set or ()})
        if not labels:
            raise UserError(
                f"{train[0].source}: there is nothing to learn",
                given=f"{len(train):,} rows without a single label",
                to_do="check the label column (--label-column)",
            )
        always = [label for label in labels if all(label in (example.label_set or ()) for example in train)]
        if len(always) == len(labels):
            raise UserError(
                f"{train[0].source}: there is nothing to tell apart",
                given=f"{len(train):,} rows, all labelled {', '.join(labels)}",
                to_do="check the label column (--label-column)",
            )
        return cls(settings, tokenizer, labels)

    @classmethod
    def restore(cls, settings: "Classify", tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"], schema.get("thresholds"))

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "thresholds": self.thresholds.tolist()}

    def target_of(self, example: Example) -> npt.NDArray[np.float32]:
        target = np.zeros(len(self.labels), dtype=np.float32)
        target[[self.label_ids[label] for label in example.label_set or ()]] = 1
        return target

    def head(self, encoder: EncoderConfig) -> ClassifyHead:
        return ClassifyHead(self.settings, encoder, len(self.labels))

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> LabelsLearner:
        return LabelsLearner(encoder, self.head(encoder.config))

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """The probability of each label."""
        return list(outputs.float().sigmoid().cpu().numpy())

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        rows, logits = self.merge_windows(rows, logits)
        shares, wanted = labelled_logits(rows, logits)
        tiny = np.finfo(np.float32).tiny
        right = np.where(wanted > 0, shares, 1 - shares.astype(np.float64))
        loss = -float(np.log(np.maximum(right, tiny)).mean())
        if self.metric == "auc":
            return {"classify.loss": loss, self.metric_key: rowmetrics.auc(wanted, shares)}
        said = [self._above_threshold(one) for one in logits]
        counts = counted(self.reference(examples), said, self._with_unknown(examples))
        return {"classify.loss": loss, self.metric_key: value(counts, self.metric)}

    def _with_unknown(self, examples: Sequence[Example]) -> list[str]:
        """The labels of the task and, after them, others that the examples have."""
        return [*self.labels, *sorted({label for one in examples for label in one.labels} - set(self.labels))]

    def calibrate(self, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]) -> None:
        shares = np.stack(self.merge_windows(rows, logits)[1]).astype(np.float64)
        for number, label in enumerate(self.labels):
            positive = np.array([label in (example.label_set or ()) for example in examples])
            self.thresholds[number] = best_threshold(positive, shares[:, number])
        low, high = self.thresholds.min(), self.thresholds.max()
        console.note(
            f"thresholds of {len(self.labels):,} labels found on {len(examples):,} dev rows, {low:.3f} to {high:.3f}: "
            "figures on these rows flatter the model"
        )

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[Sequence[Label]]:
        return [Ranking(self.labels, shares, top_k) for shares in self.merge_windows(rows, logits)[1]]

    def _above_threshold(self, shares: Logits) -> list[str]:
        return [self.labels[number] for number in np.flatnonzero(shares >= self.thresholds)]

    def top_prediction(self, prediction: Sequence[Label]) -> list[Label]:
        """The labels that are given, the most probable first."""
        return [one for one in prediction if one.score >= self.thresholds[self.label_ids[one.label]]]

    def comparable(self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]]) -> list[list[str]]:
        return [sorted(one.label for one in self.top_prediction(prediction)) for prediction in predictions]

    def reference(self, examples: Sequence[Example]) -> list[list[str]]:
        return [list(example.label_set or ()) for example in examples]

    def probabilities(self, predictions: Sequence[Sequence[Label]]) -> list[list[float]] | None:
        return round_probabilities(label_probabilities(predictions, self.label_ids)) if self.metric == "auc" else None

    def score(
        self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]], seed: int = 0
    ) -> LabelsEvaluation:
        truth, said = self.reference(examples), self.comparable(examples, predictions)
        counts = counted(truth, said, self._with_unknown(examples))
        figures = {}
        for name in dict.fromkeys((self.metric, "micro_f1", "macro_f1", "subset_accuracy")):
            if name == "auc":
                wanted = np.stack([self.target_of(example.keep_labels(self.labels)) for example in examples])
                shares = label_probabilities(predictions, self.label_ids)
                figures[name] = rowmetrics.bootstrap_rows(rowmetrics.auc, wanted, shares, seed=seed)
            else:
                figures[name] = bootstrap(counts, name, seed)
        thresholds = dict(zip(self.labels, self.thresholds.tolist(), strict=True))
        return LabelsEvaluation(
            rows=len(truth),
            figures=figures,
            given=sum(map(len, said)) / len(said),
            true=sum(map(len, truth)) / len(truth),
            per_label=[row | {"threshold": thresholds.get(row["label"])} for row in of_labels(counts, seed)],
        )

    def constant_baseline(self, train: Sequence[Example]) -> list[str]:
        """The labels that at least half of the rows have; the most frequent one where there are none such."""
        counts = Counter(label for example in train for label in example.label_set or ())
        often = sorted(label for label, count in counts.items() if 2 * count >= len(train))
        return often or [min(counts, key=lambda label: (-counts[label], label))]

    def to_record(self, example: Example, prediction: Sequence[Label], all_scores: bool) -> dict[str, Any]:
        given = self.top_prediction(prediction)
        return {
            "id": example.id,
            "line": example.line,
            "labels": [one.label for one in given],
            "scores": {one.label: round(one.score, 6) for one in (prediction if all_scores else given)},
        }

    def columns(self, all_scores: bool) -> list[str]:
        return ["id", "line", "labels", *(self.labels if all_scores else [])]

    def to_rows(self, example: Example, prediction: Sequence[Label], all_scores: bool) -> list[list[object]]:
        given = self.separator.join(one.label for one in self.top_prediction(prediction))
        others = self.scores(prediction) if all_scores else []
        return [[example.id, example.line, given, *others]]


def counted(truth: Sequence[Sequence[str]], said: Sequence[Sequence[str]], labels: Sequence[str]) -> SentenceCounts:
    """What was right, true and given of each of these labels, row by row."""
    numbers = {label: number for number, label in enumerate(labels)}
    actual, given = np.zeros((len(truth), len(labels))), np.zeros((len(truth), len(labels)))
    for table, rows in ((actual, truth), (given, said)):
        for row, names in enumerate(rows):
            table[row, [numbers[name] for name in names]] = 1
    return SentenceCounts(tuple(labels), actual * given, actual, given)


def whole_rows(counts: SentenceCounts) -> SentenceCounts:
    """The same with a whole row as the one thing that is right or wrong: its accuracy is the subset accuracy."""
    right = (counts.actual == counts.given).all(axis=1, keepdims=True).astype(np.float64)
    ones = np.ones_like(right)
    return SentenceCounts(("",), right, ones, ones)


def value(counts: SentenceCounts, name: str) -> float:
    """micro_f1, macro_f1 or subset_accuracy."""
    if name == "subset_accuracy":
        return whole_rows(counts).score(metrics.accuracy)
    return counts.score(metrics.METRICS[name])


def bootstrap(counts: SentenceCounts, name: str, seed: int) -> Interval:
    """The same with its interval."""
    if name == "subset_accuracy":
        return metrics.bootstrap_sentences(metrics.accuracy, whole_rows(counts), seed=seed)
    return metrics.bootstrap_sentences(metrics.METRICS[name], counts, seed=seed)


def difference(a: SentenceCounts, b: SentenceCounts, name: str, seed: int) -> Interval:
    """That of a less that of b, on the same rows."""
    metric = metrics.accuracy if name == "subset_accuracy" else metrics.METRICS[name]
    if name == "subset_accuracy":
        a, b = whole_rows(a), whole_rows(b)
    return metrics.paired_difference_sentences(metric, a, b, seed=seed)


def of_labels(counts: SentenceCounts, seed: int) -> list[dict[str, Any]]:
    """Precision, recall, F1 with its interval, and n of each label."""
    rows = []
    for number, (label, score) in enumerate(counts.per_label().items()):
        alone = slice(number, number + 1)
        one = SentenceCounts((label,), counts.hits[:, alone], counts.actual[:, alone], counts.given[:, alone])
        f1 = metrics.bootstrap_sentences(metrics.micro_f1, one, seed=seed)
        rows.append({"label": label, **asdict(score), "f1_low": f1.low, "f1_high": f1.high})
    return rows
