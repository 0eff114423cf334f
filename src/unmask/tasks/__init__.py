"""Supervised tasks. To add one: a file here and its settings class in `AnyTask`."""

from collections.abc import Mapping
from typing import Annotated, Any

from unmask.config import config, from_mapping, setting
from unmask.tasks.answer import Answer, AnswerTask
from unmask.tasks.classify import Classify, ClassifyTask
from unmask.tasks.embed import Embed, EmbedTask
from unmask.tasks.manylabels import LabelsTask
from unmask.tasks.number import NumberTask
from unmask.tasks.tag import Tag, TagTask
from unmask.tasks.task import ReadOptions, Task
from unmask.text.tokenizer import Tokenizer

AnyTask = Annotated[Classify | Tag | Answer | Embed, setting(discriminator="name")]

FACTS = (
    "labels",
    "scheme",
    "thresholds",
    "numbers",
    "unanswerable",
    "threshold",
    "scores",
)  # what a schema holds beside settings

__all__ = [
    "Answer",
    "AnswerTask",
    "AnyTask",
    "Classify",
    "ClassifyTask",
    "Embed",
    "EmbedTask",
    "LabelsTask",
    "NumberTask",
    "ReadOptions",
    "Tag",
    "TagTask",
    "Task",
    "restore",
    "task_named",
]


@config
class _Schema:
    task: AnyTask = setting(description="what was learnt")


def task_named(name: str, **settings_given: object) -> type[Task[Any]]:
    """The task that a settings class of `AnyTask` calls so. Raises UserError for others."""
    settings: Any = from_mapping(_Schema, {"task": {"name": name, **settings_given}}, "task").task
    task: type[Task[Any]] = settings.task
    return task


def restore(schema: Mapping[str, Any], tokenizer: Tokenizer, where: str = "unmask.json") -> Task[Any]:
    """The task of a model's schema. Raises UserError for settings that cannot be used."""
    values = {key: value for key, value in schema.items() if key not in FACTS}
    settings = from_mapping(_Schema, {"task": values}, where).task
    return settings.task.restore(settings, tokenizer, schema)
