"""Supervised tasks, in numpy. To add one: a file here, a line in TASKS, and its settings in the recipe.

A task is imported where it is used: to import all takes a twentieth of a second, which a first prediction would wait.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from unmask.config import from_mapping
from unmask.errors import UserError, did_you_mean, suggest
from unmask.tasks.task import Task as Task
from unmask.text.tokenizer import Tokenizer

TASKS = {
    "classify": ("Classify", "ClassifyTask"),
    "multilabel": ("Multilabel", "MultilabelTask"),
    "regress": ("Regress", "RegressTask"),
    "tag": ("Tag", "TagTask"),
    "nested": ("Nested", "NestedTask"),
    "answer": ("Answer", "AnswerTask"),
    "embed": ("Embed", "EmbedTask"),
}
"""By name, which is also that of its module: the classes of a task's settings and of the task."""

EMBED_FACTS = ("prompt", "truncate_dim", "similarity")  # of models of sentence-transformers: see `EmbedTask`

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


def task_of(settings: Any) -> type[Task[Any]]:
    """Return the task of settings, or of their name. Raises UserError for a name that is not one."""
    _, task = _classes(settings if isinstance(settings, str) else settings.name, "task")
    return task


def restore(schema: Mapping[str, Any], tokenizer: Tokenizer, where: str = "unmask.json") -> Task[Any]:
    """Make the task of a model's schema. Raises UserError for settings that cannot be used."""
    kind, task = _classes(schema.get("name"), where)
    values = {key: value for key, value in schema.items() if key not in FACTS}
    return task.restore(from_mapping(kind, values, where), tokenizer, schema)


def _classes(name: Any, where: str) -> tuple[type[Any], type[Task[Any]]]:
    """The classes of settings and of the task. where: what names the task, in the error for an unknown one."""
    if name not in TASKS:
        raise UserError(
            "{place} cannot be used",
            f"{where}: task.name",
            given=repr(name),
            allowed=", ".join(TASKS),
            hint=did_you_mean(suggest(str(name), TASKS)),
        )
    module = import_module(f"unmask.tasks.{name}")
    settings, task = (getattr(module, attribute) for attribute in TASKS[name])
    return settings, task
