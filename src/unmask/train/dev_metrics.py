"""Loss and metric on the dev rows during training, computed as the finished model computes them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy.typing as npt
import torch

from unmask import metrics
from unmask.data.encoded import EncodedRow, groups_by_length
from unmask.data.rows.example import Example
from unmask.learner.batch import pack
from unmask.learner.task_learner import TaskLearner
from unmask.runtime.backend import TOKENS_PER_BATCH
from unmask.tasks import Task
from unmask.tasks.task import Values, outputs_of, probabilities_of

NEGATIVES = 64  # examples whose texts are told apart in a loss with in-batch negatives, in the order of the file


def evaluate(
    learner: TaskLearner, task: Task[Any], examples: Sequence[Example], rows: Sequence[EncodedRow], final: bool = False
) -> tuple[dict[str, float], dict[str, npt.NDArray[Any]]]:
    """Compute loss and metric in one forward pass over the rows of labelled examples.

    final: whether training is over, so that thresholds are tuned where the settings say so. Returns figures
    (NAME.loss and NAME.METRIC of the task NAME) and the parameters that were calibrated.
    """
    was_training = learner.training
    learner.eval()
    with torch.inference_mode():
        collected, losses = _collect(learner, task, rows)
    learner.train(was_training)
    texts, parameters = outputs_of(examples, rows, collected), learner.head.decoding_parameters()
    calibrated: dict[str, npt.NDArray[Any]] = {}
    if task.calibrates == "at each evaluation" or (final and task.calibrates == "after training"):
        calibrated = task.calibrate(texts)
    predictions = task.decode(texts, {**parameters, **calibrated})
    figures = metrics.values(
        task.kind,
        task.reference(examples),
        task.comparable(examples, predictions),
        task.labels,
        task.metric,
        probabilities_of(task.metric, predictions),
    )
    return {f"{task.name}.{name}": value for name, value in {**losses, **figures}.items()}, calibrated


def _collect(learner: TaskLearner, task: Task[Any], rows: Sequence[EncodedRow]) -> tuple[Values, dict[str, float]]:
    """Run the learner over the rows: what decoding needs of each, and the mean loss of those with targets."""
    head, device = learner.head, next(learner.parameters()).device
    total, count = 0.0, 0
    collected: dict[int, npt.NDArray[Any]] = {}
    for group in _groups(head.uses_in_batch_negatives or head.keeps_rows_together, rows):
        some = [rows[index] for index in group]
        batch = pack(some).to(device)
        outputs = learner.outputs(batch)
        if head.name in batch.targets:
            term = head.loss(outputs, batch).terms[head.name]
            total, count = total + float(term.sum), count + term.count
        arrays = {head.output: outputs.float().cpu().numpy()}
        collected.update(zip(group, task.collect(arrays, some), strict=True))
    return [collected[index] for index in range(len(rows))], {"loss": total / count} if count else {}


def _groups(together: bool, rows: Sequence[EncodedRow]) -> Iterator[list[int]]:
    """Yield the indices of the rows of each batch, longest first; together: whether those of an example share one."""
    if not together:
        yield from groups_by_length(rows, TOKENS_PER_BATCH)
        return
    for _, group in groupby(range(len(rows)), key=lambda index: rows[index].owner // NEGATIVES):
        yield sorted(group, key=lambda index: -len(rows[index]))
