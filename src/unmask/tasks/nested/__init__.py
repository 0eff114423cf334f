"""Labelled spans that may nest and overlap."""

from unmask.tasks.nested.settings import Nested
from unmask.tasks.nested.task import NestedTask

__all__ = ["Nested", "NestedTask"]
