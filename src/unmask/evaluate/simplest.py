"""What takes no network at all, for every task: the most frequent label, or the most frequent tag of each word."""

from collections.abc import Sequence
from typing import Any

from unmask.data.tables import Example
from unmask.evaluate.baselines import most_frequent_tags
from unmask.evaluate.compare import Contestant
from unmask.tasks import Task


def simplest(task: Task[Any], train: Sequence[Example], test: Sequence[Example]) -> Contestant:
    """Predictions for the test examples from counts of the training examples alone."""
    guessed = task.guess(test)
    if guessed is not None:
        return Contestant(guessed[0], task.baseline, guessed[1])
    tags = most_frequent_tags(task.words(train), [words for words, _ in task.words(test)])
    name = f"always {tags[0][0]!r}" if task.baseline == "majority" else "most frequent tag of each word"
    return Contestant(name, task.baseline, task.from_words(test, tags))
