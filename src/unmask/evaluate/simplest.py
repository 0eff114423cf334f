"""What takes no network at all: always the most frequent label, always the mean, the most frequent tag of a word."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unmask.data.rows.example import Example, keep_outermost
from unmask.evaluate.baselines import most_frequent_tags
from unmask.evaluate.overlap import nearest_span, word_vectors
from unmask.metrics import Contestant
from unmask.tasks import Task
from unmask.tasks.labelled_spans import spans_of, tags_of, word_bounds
from unmask.tasks.task import TargetKind

Examples = Sequence[Example]


def simplest_baseline(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    """Predict for the test examples from counts of the training examples, or from the words of their texts."""
    return BASELINES[task.kind](task, train, test)


def _most_frequent_label(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    """Of equally frequent ones the first by name."""
    counts = Counter(example.label or "" for example in train)
    label = min(counts, key=lambda label: (-counts[label], label))
    return Contestant(f"always {label!r}", "majority", [label] * len(test))


def _frequent_labels(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    """The labels that at least half of the rows have; the most frequent one where there are none such."""
    counts = Counter(label for example in train for label in example.label_set or ())
    often = sorted(label for label, count in counts.items() if 2 * count >= len(train))
    labels = often or [min(counts, key=lambda label: (-counts[label], label))]
    return Contestant(f"always {labels!r}", "majority", [labels] * len(test))


def _mean(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    mean = float(np.mean([example.number for example in train]))
    return Contestant(f"always {mean:.3f}", "mean", [mean] * len(test))


def _frequent_tags(task: Any, train: Examples, test: Examples) -> Contestant:
    """Each word has one tag: that of the outermost span."""

    def words(example: Example) -> tuple[list[str], list[str]]:
        tokens = word_bounds(task, example)
        tags = tags_of(task, tokens, keep_outermost(example.spans or ()))
        return [example.text[start:end] for start, end in tokens], tags

    tags = most_frequent_tags([words(one) for one in train], [words(one)[0] for one in test])
    spans = [spans_of(task, word_bounds(task, one), own) for one, own in zip(test, tags, strict=True)]
    return Contestant("most frequent tag of each word", "frequent", task.comparable(test, spans))


def _nearest_words(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    spans = [nearest_span(example.text, example.pair or "") for example in test]
    answers = [(example.pair or "")[start:end] for example, (start, end) in zip(test, spans, strict=True)]
    return Contestant("the words beside those of the question", "overlap", answers)


def _words_in_common(task: Task[Any], train: Examples, test: Examples) -> Contestant:
    texts = [text for example in test for text in (example.text, example.pair or "")]
    pairs = list(word_vectors(texts).reshape(len(test), 2, -1))
    return Contestant("the words in common", "words", task.comparable(test, pairs))


BASELINES: dict[TargetKind, Callable[[Task[Any], Examples, Examples], Contestant]] = {
    "label": _most_frequent_label,
    "labels": _frequent_labels,
    "number": _mean,
    "tags": _frequent_tags,
    "answers": _nearest_words,
    "vectors": _words_in_common,
}
