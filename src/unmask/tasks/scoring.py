"""Scores of the predictions of a task, whatever the task."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask import metrics
from unmask.data.rows.example import Example
from unmask.metrics import Contestant, Scores
from unmask.tasks.task import Task


def score_predictions(
    task: Task[Any], examples: Sequence[Example], predictions: Sequence[Any], seed: int = 0
) -> Scores:
    """Score predictions against the targets of examples, with intervals; `largest_errors` name lines of the file."""
    metric = task.metric_for(examples)
    model = Contestant("", "", task.comparable(examples, predictions), probabilities_of(metric, predictions))
    scores = metrics.compare(task.kind, task.reference(examples), [model], task.labels, metric, seed).scores
    errors = [
        {"line": examples[error["row"]].line} | {key: value for key, value in error.items() if key != "row"}
        for error in scores.details.get("largest_errors", ())
    ]
    return replace(scores, details={**scores.details, "largest_errors": errors}) if errors else scores


def probabilities_of(metric: str, predictions: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """The probability of each label (rows, labels) of rankings of all labels, where the metric is about these."""
    if metric != "auc":
        return None
    return np.stack([prediction.probabilities for prediction in predictions]).astype(np.float64)
