"""Any number of labels for a text or a pair of texts, each decided by itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask import console, metrics, rowmetrics
from unmask.data.batch import Batch, Row
from unmask.data.labels import SEPARATORS
from unmask.data.tables import Example
from unmask.errors import UserError
from unmask.metrics import Interval, SentenceCounts
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.tasks.classifyhead import ClassifyHead, LabelsLearner
from unmask.tasks.task import TITLES, Evidence, Head, Shown
from unmask.tasks.texts import Label, Ranking, TextTask, known_targets, rounded, shares_of
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
        shown = ", ".join(f"{TITLES[name]} {interval}" for name, interval in self.figures.items())
        return f"LabelsEvaluation({self.rows:,} rows, {shown})"

    def tables(self) -> list[Shown]:
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
        return [Shown(("label", "precision", "recall", "F1 [95 %]", "threshold", "rows"), scores)]

    def told(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


def best_threshold(positive: npt.NDArray[np.bool_], share: Floats) -> float:
    """The probability from which a label should be given, by F1 on these rows: (rows,) each.

    Half way between two rows beside one another; of equally good ones the nearest to 0.5, which it is too where no
    row has the label.
    """
    if not positive.any():
        return HALF
    order = np.argsort(-share, kind="stable")
    ordered = share[order]
    hits = positive[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(share) + 1) + positive.sum())
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
    measures = ("micro_f1", "macro_f1", "subset_accuracy", "auc")
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
        self.calibrates = settings.tune_thresholds
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

    def wanted(self, example: Example) -> npt.NDArray[np.float32]:
        target = np.zeros(len(self.labels), dtype=np.float32)
        target[[self.numbers[label] for label in example.label_set or ()]] = 1
        return target

    def head(self, encoder: EncoderConfig) -> ClassifyHead:
        return ClassifyHead(self.settings, encoder, len(self.labels))

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[Row]) -> LabelsLearner:
        return LabelsLearner(encoder, self.head(encoder.config))

    def evidence(self, outputs: Tensor, batch: Batch) -> list[Evidence]:
        """The probability of each label."""
        return list(outputs.float().sigmoid().cpu().numpy())

    def judge(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> dict[str, float]:
        rows, evidence = self.whole(rows, evidence)
        shares, wanted = known_targets(rows, evidence)
        tiny = np.finfo(np.float32).tiny
        right = np.where(wanted > 0, shares, 1 - shares.astype(np.float64))
        loss = -float(np.log(np.maximum(right, tiny)).mean())
        if self.metric == "auc":
            return {"classify.loss": loss, self.watch: rowmetrics.auc(wanted, shares)}
        said = [self._given(one) for one in evidence]
        counts = counted(self.reference(examples), said, self._with_unknown(examples))
        return {"classify.loss": loss, self.watch: value(counts, self.metric)}

    def _with_unknown(self, examples: Sequence[Example]) -> list[str]:
        """The labels of the task and, after them, others that the examples have."""
        return [*self.labels, *sorted({label for one in examples for label in one.labels} - set(self.labels))]

    def calibrate(
        self, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> None:
        shares = np.stack(self.whole(rows, evidence)[1]).astype(np.float64)
        for number, label in enumerate(self.labels):
            positive = np.array([label in (example.label_set or ()) for example in examples])
            self.thresholds[number] = best_threshold(positive, shares[:, number])
        low, high = self.thresholds.min(), self.thresholds.max()
        console.remark(
            f"thresholds of {len(self.labels):,} labels found on {len(examples):,} dev rows, {low:.3f} to {high:.3f}: "
            "figures on these rows flatter the model"
        )

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[Row],
        evidence: Sequence[Evidence],
        top_k: int | None = None,
    ) -> list[Sequence[Label]]:
        return [Ranking(self.labels, shares, top_k) for shares in self.whole(rows, evidence)[1]]

    def _given(self, shares: Evidence) -> list[str]:
        return [self.labels[number] for number in np.flatnonzero(shares >= self.thresholds)]

    def best(self, prediction: Sequence[Label]) -> list[Label]:
        """The labels that are given, the most probable first."""
        return [one for one in prediction if one.score >= self.thresholds[self.numbers[one.name]]]

    def compared(
        self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]]
    ) -> list[list[str]]:
        return [sorted(one.name for one in self.best(prediction)) for prediction in predictions]

    def reference(self, examples: Sequence[Example]) -> list[list[str]]:
        return [list(example.label_set or ()) for example in examples]

    def probabilities(self, predictions: Sequence[Sequence[Label]]) -> list[list[float]] | None:
        return rounded(shares_of(predictions, self.numbers)) if self.metric == "auc" else None

    def score(
        self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]], seed: int = 0
    ) -> LabelsEvaluation:
        truth, said = self.reference(examples), self.compared(examples, predictions)
        counts = counted(truth, said, self._with_unknown(examples))
        figures = {}
        for name in dict.fromkeys((self.metric, "micro_f1", "macro_f1", "subset_accuracy")):
            if name == "auc":
                wanted = np.stack([self.wanted(example.only(self.labels)) for example in examples])
                shares = shares_of(predictions, self.numbers)
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

    def constant(self, train: Sequence[Example]) -> list[str]:
        """The labels that at least half of the rows have; the most frequent one where there are none such."""
        counts = Counter(label for example in train for label in example.label_set or ())
        often = sorted(label for label, count in counts.items() if 2 * count >= len(train))
        return often or [min(counts, key=lambda label: (-counts[label], label))]

    def record(self, example: Example, prediction: Sequence[Label], every: bool) -> dict[str, Any]:
        given = self.best(prediction)
        return {
            "id": example.id,
            "line": example.line,
            "labels": [one.name for one in given],
            "scores": {one.name: round(one.score, 6) for one in (prediction if every else given)},
        }

    def columns(self, every: bool) -> list[str]:
        return ["id", "line", "labels", *(self.labels if every else [])]

    def lines(self, example: Example, prediction: Sequence[Label], every: bool) -> list[list[object]]:
        given = self.separator.join(one.name for one in self.best(prediction))
        others = self.scores(prediction) if every else []
        return [[example.id, example.line, given, *others]]


def counted(
    truth: Sequence[Sequence[str]], said: Sequence[Sequence[str]], labels: Sequence[str]
) -> SentenceCounts:
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
