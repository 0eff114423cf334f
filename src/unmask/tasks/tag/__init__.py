"""Sequence labelling: parts of speech, named entities, words of running text."""

from unmask.tasks.tag.settings import Tag
from unmask.tasks.tag.task import TagTask

__all__ = ["Tag", "TagTask"]
