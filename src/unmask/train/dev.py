"""Dev rows: the losses and figures of a learner between its steps, as the finished model will have them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy.typing as npt
import torch

from unmask import metrics
from unmask.data.encoded import EncodedRow, groups_by_length, longest_first
from unmask.data.rows.example import Example
from unmask.learner.batch import pack
from unmask.learner.task_learner import TaskLearner
from unmask.runtime.backend import TOKENS_PER_BATCH
from unmask.tasks import Task
from unmask.tasks.task import Values, outputs_of, probabilities_of

NEGATIVES = 64  # examples whose texts are told apart in a loss with in-batch negatives, in the order of the file


@dataclass(frozen=True)
class DevSet:
    """Labelled examples to evaluate a learner on, encoded."""

    task: Task[Any]
    examples: Sequence[Example]
    rows: Sequence[EncodedRow]


@dataclass(frozen=True)
class DevResult:
    """figures: NAME.loss and NAME.METRIC, of the task NAME; parameters: those that were calibrated."""

    figures: dict[str, float]
    parameters: dict[str, npt.NDArray[Any]]


def evaluate(learner: TaskLearner, dev: DevSet, finished: bool = False) -> DevResult:
    """Compute loss and metric in one forward pass. finished: whether training is over, so that thresholds are tuned
    where the settings say so."""
    task = dev.task
    was_training = learner.training
    learner.eval()
    with torch.inference_mode():
        collected, losses = _collect(learner, dev)
    learner.train(was_training)
    texts, parameters = outputs_of(dev.examples, dev.rows, collected), learner.head.decoding_parameters()
    calibrated: dict[str, npt.NDArray[Any]] = {}
    if task.calibrates == "at each evaluation" or (finished and task.calibrates == "after training"):
        calibrated = task.calibrate(texts)
    predictions = task.decode(texts, {**parameters, **calibrated})
    figures = metrics.values(
        task.kind,
        task.reference(dev.examples),
        task.comparable(dev.examples, predictions),
        task.labels,
        task.metric,
        probabilities_of(task.metric, predictions),
    )
    named = {f"{task.name}.{name}": value for name, value in {**losses, **figures}.items()}
    return DevResult(named, calibrated)


def _collect(learner: TaskLearner, dev: DevSet) -> tuple[Values, dict[str, float]]:
    """Run the learner over the rows: what decoding needs of each, and the mean loss of those with targets."""
    head, device = learner.head, next(learner.parameters()).device
    total, count = 0.0, 0
    collected: dict[int, npt.NDArray[Any]] = {}
    for group in _groups(head.uses_in_batch_negatives, dev.rows):
        rows = [dev.rows[index] for index in group]
        batch = pack(rows).to(device)
        outputs = learner.outputs(batch)
        if head.name in batch.targets:
            term = head.loss(outputs, batch).terms[head.name]
            total, count = total + float(term.sum), count + term.count
        arrays = {head.output: outputs.float().cpu().numpy()}
        collected.update(zip(group, dev.task.collect(arrays, rows), strict=True))
    return [collected[index] for index in range(len(dev.rows))], {"loss": total / count} if count else {}


def _groups(in_batch_negatives: bool, rows: Sequence[EncodedRow]) -> Iterator[list[int]]:
    """Yield the indices of the rows of each batch, longest first."""
    if not in_batch_negatives:
        yield from groups_by_length(rows, TOKENS_PER_BATCH)
        return
    for _, some in groupby(range(len(rows)), key=lambda index: rows[index].owner // NEGATIVES):
        group = list(some)
        yield [group[place] for place in longest_first([rows[index] for index in group])]
