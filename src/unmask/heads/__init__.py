"""Heads: the module and the loss of each task. To add one: a file here, and its class in this table."""

from typing import Any

from unmask.heads.answer import AnswerHead
from unmask.heads.embed import EmbedHead
from unmask.heads.nested import NestedHead
from unmask.heads.tag import TagHead
from unmask.heads.text import ClassifyHead, MultilabelHead, RegressHead
from unmask.learner.head import Head
from unmask.model.config import EncoderConfig
from unmask.tasks import Task

HEADS: dict[str, type[Head]] = {
    "classify": ClassifyHead,
    "multilabel": MultilabelHead,
    "regress": RegressHead,
    "tag": TagHead,
    "nested": NestedHead,
    "answer": AnswerHead,
    "embed": EmbedHead,
}
"""The head of each task."""


def head_class(task: Task[Any]) -> type[Head]:
    """Return the class of the head of a task."""
    return HEADS[task.name].class_for(task)


def build_head(task: Task[Any], encoder: EncoderConfig) -> Head:
    """Make a new head for a task."""
    make: Any = head_class(task)
    head: Head = make(task, encoder)
    return head
