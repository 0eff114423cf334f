"""Supervised tasks. To add one: a file here and its settings class in `AnyTask`."""

from unmask.tasks.classify import Classify, ClassifyTask

AnyTask = Classify

__all__ = ["AnyTask", "Classify", "ClassifyTask"]
