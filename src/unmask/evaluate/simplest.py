"""What takes no network at all: always the most frequent label, always the mean, the most frequent tag of a word."""

from collections.abc import Sequence
from typing import Any

from unmask.data.rows.tables import Example
from unmask.evaluate.baselines import most_frequent_tags
from unmask.metrics import Contestant
from unmask.tasks import Task


def simplest_baseline(task: Task[Any], train: Sequence[Example], test: Sequence[Example]) -> Contestant:
    """Predictions for the test examples from counts of the training examples alone."""
    guessed = task.overlap_baseline(test)
    if guessed is not None:
        return Contestant(guessed[0], task.baseline, guessed[1])
    if task.baseline != "frequent":
        said = task.constant_baseline(train)
        shown = f"{said:.3f}" if isinstance(said, float) else repr(said)
        return Contestant(f"always {shown}", task.baseline, [said] * len(test))
    tags = most_frequent_tags(task.tagged_words(train), [words for words, _ in task.tagged_words(test)])
    return Contestant("most frequent tag of each word", "frequent", task.from_word_tags(test, tags))
