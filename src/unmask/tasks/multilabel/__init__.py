"""Multi-label classification: any number of labels for a text or a pair of texts."""

from unmask.tasks.multilabel.settings import Multilabel
from unmask.tasks.multilabel.task import MultilabelTask

__all__ = ["Multilabel", "MultilabelTask"]
