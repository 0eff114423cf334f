"""Classification: one label for a text or a pair of texts."""

from unmask.tasks.classify.settings import (
    AnyLoss,
    Classify,
    CrossEntropy,
    Focal,
    LogitAdjusted,
)
from unmask.tasks.classify.task import ClassifyTask

__all__ = ["AnyLoss", "Classify", "ClassifyTask", "CrossEntropy", "Focal", "LogitAdjusted"]
