"""Regression: a number for a text or a pair of texts, such as how alike two sentences are."""

from unmask.tasks.regress.settings import Regress
from unmask.tasks.regress.task import NumberStatistics, RegressTask

__all__ = ["NumberStatistics", "Regress", "RegressTask"]
