"""What tests of tasks and heads share: rows of examples, and learners of them."""

from collections.abc import Sequence
from typing import Any

from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import Example
from unmask.heads import build_head
from unmask.learner.regularise import Regularisation
from unmask.learner.task_learner import TaskLearner
from unmask.model.encoder import Encoder
from unmask.tasks import Task


def rows_of(task: Task[Any], examples: Sequence[Example]) -> list[EncodedRow]:
    """The rows of examples, without the notes."""
    return task.encode(examples)[0]


def learner_of(
    task: Task[Any], encoder: Encoder, rows: Sequence[EncodedRow], regularisation: Regularisation | None = None
) -> TaskLearner:
    """The encoder with a new head, to learn these rows."""
    head = build_head(task, encoder.config)
    head.init_from_counts(task, rows)
    return TaskLearner(encoder, head, regularisation)
