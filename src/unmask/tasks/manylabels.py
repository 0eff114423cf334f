"""Any number of labels for a text or a pair of texts, each decided by itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask import console, metrics
from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.labels import SEPARATORS
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.tasks.classifyhead import ClassifyHead, LabelsLearner
from unmask.tasks.task import Head, Logits
from unmask.tasks.texts import (
    Label,
    Ranking,
    TextTask,
    labelled_logits,
)
from unmask.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify

HALF = 0.5

Floats = npt.NDArray[np.float64]


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
        said = [self._above_threshold(one) for one in logits]
        score = metrics.values(self.kind, self.reference(examples), said, self.labels, self.metric, shares)
        return {"classify.loss": loss, self.metric_key: score[self.metric]}

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
