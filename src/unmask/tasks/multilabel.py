"""Multi-label classification: any number of labels for a text or a pair of texts, each decided by itself."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.rows.example import Example
from unmask.tasks.task import Arrays, Examples, Floats, Outputs, nothing_to_learn, sigmoid
from unmask.tasks.text import Label, Ranking, TextSettings, TextTask, mean_of_windows
from unmask.text.tokenizer import Tokenizer

HALF = 0.5


@config
class Multilabel(TextSettings):
    """Settings of multi-label classification: any number of labels for each text."""

    name: Literal["multilabel"] = "multilabel"
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy", "auc"] = setting(
        default="micro_f1", description="metric that selects the best step and compares models"
    )
    tune_thresholds: bool = setting(
        default=False,
        description="tune the threshold of each label by its F1 on the dev rows; otherwise 0.5",
    )


class MultilabelTask(TextTask[Ranking]):
    """Any number of labels for each text. A prediction is every label with its probability, the most probable first;
    `chosen` are those at or above their threshold.

    parameters: thresholds (labels,) float64, 0.5 where not given.
    """

    settings: Multilabel
    kind = "labels"
    reads = "labels"
    ranks = True

    def __init__(self, settings: Multilabel, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        super().__init__(settings, tokenizer, labels)
        self.calibrates = "after training" if settings.tune_thresholds else "never"

    @classmethod
    def build(cls, settings: Multilabel, tokenizer: Tokenizer, train: Examples) -> Self:
        sets = [set(example.label_set or ()) for example in train]
        labels = sorted(set().union(*sets))
        if not labels or all(one == sets[0] for one in sets):
            raise nothing_to_learn(train, f"{len(train):,} rows, each with the labels {labels}")
        return cls(settings, tokenizer, labels)

    def target_of(self, example: Example) -> npt.NDArray[np.float32]:
        target = np.zeros(len(self.labels), dtype=np.float32)
        target[[self.label_ids[label] for label in example.label_set or ()]] = 1
        return target

    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[Ranking]:
        thresholds = parameters.get("thresholds")
        thresholds = np.full(len(self.labels), HALF) if thresholds is None else thresholds
        means = [mean_of_windows([sigmoid(logits) for logits in text.values]) for text in texts]
        return [Ranking(self.labels, mean.astype(np.float32), thresholds, top_k) for mean in means]

    def calibrate(self, texts: Sequence[Outputs]) -> dict[str, npt.NDArray[Any]]:
        """Find the threshold of each label that maximises its F1."""
        scores = np.stack([one.probabilities for one in self.decode(texts, {})]).astype(np.float64)
        sets = [set(text.example.label_set or ()) for text in texts]
        thresholds = [
            best_threshold(np.array([label in one for one in sets]), scores[:, number])
            for number, label in enumerate(self.labels)
        ]
        return {"thresholds": np.array(thresholds)}

    def top_prediction(self, prediction: Ranking) -> list[Label]:
        return prediction.chosen

    def reference(self, examples: Examples) -> list[Any]:
        return [list(example.label_set or ()) for example in examples]

    def comparable(self, examples: Examples, predictions: Sequence[Ranking]) -> list[Any]:
        return [sorted(one.label for one in prediction.chosen) for prediction in predictions]


def best_threshold(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Return the probability from which a label should be predicted, by F1 on these rows: (rows,) each.

    Half way between two neighbouring rows; of equally good ones the nearest to 0.5, which it is too where no row has
    the label.
    """
    if not positive.any():
        return HALF
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    hits = positive[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + positive.sum())
    ends = np.append(ordered[1:] < ordered[:-1], True)  # no threshold divides equal rows
    below = np.append(ordered[1:], 0.0)
    middle = np.where((below < HALF) & (ordered >= HALF), HALF, (ordered + below) / 2)
    best = [number for number in np.flatnonzero(ends) if f1[number] >= f1[ends].max() - 1e-12]
    return float(min((middle[number] for number in best), key=lambda one: (abs(one - HALF), one)))
