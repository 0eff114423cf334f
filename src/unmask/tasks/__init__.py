"""Supervised tasks, in numpy. To add one: a file here, and its settings and task in these tables."""

from collections.abc import Mapping
from typing import Annotated, Any

from unmask.config import config, from_mapping, setting
from unmask.tasks.answer import Answer, AnswerTask
from unmask.tasks.classify import Classify as Classify
from unmask.tasks.classify import ClassifyTask
from unmask.tasks.embed import EMBED_FACTS, Embed, EmbedTask
from unmask.tasks.multilabel import Multilabel, MultilabelTask
from unmask.tasks.nested import Nested, NestedTask
from unmask.tasks.regress import Regress, RegressTask
from unmask.tasks.tag import Tag, TagTask
from unmask.tasks.task import Task as Task
from unmask.text.tokenizer import Tokenizer

AnyTask = Annotated[Classify | Multilabel | Regress | Tag | Nested | Answer | Embed, setting(discriminator="name")]

TASKS: dict[type, type[Task[Any]]] = {
    Classify: ClassifyTask,
    Multilabel: MultilabelTask,
    Regress: RegressTask,
    Tag: TagTask,
    Nested: NestedTask,
    Answer: AnswerTask,
    Embed: EmbedTask,
}
"""The task of each settings class."""

_OF_TASKS = (
    "labels",
    "parameters",
    "scheme",
    "outputs",
    "numbers",
    "activation",
    "has_unanswerable",
    "scores",
    "edge_tokens",
)
FACTS = (*_OF_TASKS, *EMBED_FACTS)
"""What a schema holds beside settings."""


@config
class _Schema:
    task: AnyTask = setting(description="the task")


def task_of(settings: AnyTask | str) -> type[Task[Any]]:
    """Return the task of settings, or of their name. Raises UserError for a name that is not one."""
    if isinstance(settings, str):
        settings = from_mapping(_Schema, {"task": {"name": settings}}, "task").task
    return TASKS[type(settings)]


def restore(schema: Mapping[str, Any], tokenizer: Tokenizer, where: str = "unmask.json") -> Task[Any]:
    """Make the task of a model's schema. Raises UserError for settings that cannot be used."""
    values = {key: value for key, value in schema.items() if key not in FACTS}
    settings = from_mapping(_Schema, {"task": values}, where).task
    return task_of(settings).restore(settings, tokenizer, schema)
