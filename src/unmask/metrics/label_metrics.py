"""Figures of labels: of rows with one label each, of rows with any number of them, of tagged sentences.

All are functions of three counts per label (`Counts`). The statistics of a row are its true and its predicted label
where it has one each, else these counts of the items in it: tags, entities, labels. An item is a tuple that ends with
its label, such as (start, stop, label); it is correct if the other side has an equal one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.metrics.figures import Floats, Statistics, bootstrap, check_rows, ratio, sum_groups, weighted_mean

MOST_CONFUSIONS = 20

Labels = NDArray[np.int64]
Item = tuple[Any, ...]
Span = Sequence[Any]  # start, stop, label


@dataclass(frozen=True)
class Counts:
    """Of each label the items that are rightly predicted, that have it, that are predicted. Each (..., labels)."""

    correct: Floats
    true: Floats
    predicted: Floats


def _accuracy(counts: Counts) -> Floats:
    return ratio(counts.correct.sum(-1), counts.true.sum(-1))


def _f1(counts: Counts) -> Floats:
    return ratio(2 * counts.correct, counts.true + counts.predicted)


def _macro_f1(counts: Counts) -> Floats:
    """The mean F1 over the labels that occur on either side (scikit-learn's definition).

    A label that occurs on neither has no F1 and is left out, in the whole and in each resample alike. To count it as 0
    would punish a resample for the rare rows that it happens to lack.
    """
    occurs = (counts.true + counts.predicted > 0).sum(-1)
    return ratio(_f1(counts).sum(-1), occurs.astype(np.float64))


def _micro_f1(counts: Counts) -> Floats:
    return ratio(2 * counts.correct.sum(-1), counts.true.sum(-1) + counts.predicted.sum(-1))


def _matthews(counts: Counts) -> Floats:
    """Matthews correlation for any number of labels (Gorodkin 2004, eq. 8); 0 where one side is constant."""
    rows = counts.true.sum(-1)
    covariance = counts.correct.sum(-1) * rows - (counts.true * counts.predicted).sum(-1)
    spread = (rows**2 - (counts.true**2).sum(-1)) * (rows**2 - (counts.predicted**2).sum(-1))
    return ratio(covariance, np.sqrt(spread))


OF_COUNTS: dict[str, Callable[[Counts], Floats]] = {  # Counts of (..., labels) -> (...)
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "entity_f1": _micro_f1,
    "matthews": _matthews,
    "precision": lambda counts: ratio(counts.correct.sum(-1), counts.predicted.sum(-1)),
    "recall": _accuracy,
}


@dataclass(frozen=True)
class Counted:
    """Rows of which labels are counted.

    rows (rows, columns): what is drawn together where it is equal; counts: (weights (some, rows), rows) -> the Counts
    (some, labels) of so weighted rows.
    """

    labels: tuple[str, ...]
    rows: Labels
    counts: Callable[[Floats, Labels], Counts]

    def statistics(self, names: Sequence[str]) -> Statistics:
        """Figures of OF_COUNTS."""

        def reduce(weights: Floats, rows: Labels) -> Floats:
            counts = self.counts(weights, rows)
            return np.stack([OF_COUNTS[name](counts) for name in names], -1)

        return Statistics(tuple(names), self.rows, reduce, numbers=len(self.labels))

    def per_label(self, seed: int) -> list[dict[str, Any]]:
        """Precision, recall, F1 with its bootstrap interval, and how many items have the label; a ratio without a
        denominator is 0."""
        counts = self.counts(np.ones((1, len(self.rows))), self.rows)
        columns = (ratio(counts.correct, counts.predicted), ratio(counts.correct, counts.true), counts.true)

        def reduce(weights: Floats, rows: Labels) -> Floats:
            return _f1(self.counts(weights, rows))

        intervals = bootstrap(Statistics(self.labels, self.rows, reduce, numbers=len(self.labels)), seed=seed)
        return [
            {"label": label, "precision": precision, "recall": recall}
            | {"f1": f1.value, "f1_low": f1.low, "f1_high": f1.high, "support": int(support)}
            for (label, f1), precision, recall, support in zip(
                intervals.items(), *(column[0].tolist() for column in columns), strict=True
            )
        ]


def counted_pairs(reference: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Counted:
    """Rows with one label each. Raises ValueError for no rows or other numbers of them, KeyError for other labels."""
    check_rows(reference, predicted)
    numbers = {label: number for number, label in enumerate(labels)}
    rows = np.array([[numbers[label] for label in side] for side in (reference, predicted)]).T
    many = len(labels)

    def counts(weights: Floats, rows: Labels) -> Counts:
        truth, said = rows.T
        correct = sum_groups(weights * (truth == said), said, many)
        return Counts(correct, sum_groups(weights, truth, many), sum_groups(weights, said, many))

    return Counted(tuple(labels), rows, counts)


def counted_items(
    reference: Sequence[Collection[Item]], predicted: Sequence[Collection[Item]], labels: Sequence[str] | None = None
) -> Counted:
    """Rows with any number of items; labels: all of them, in order (those that occur, sorted, if not given).

    An item that is predicted twice is correct once. Raises ValueError for no rows or other numbers of them.
    """
    check_rows(reference, predicted)
    if labels is None:
        labels = sorted({item[-1] for side in (reference, predicted) for items in side for item in items})
    numbers, many = {label: number for number, label in enumerate(labels)}, len(labels)
    cells = [
        (3 * row + which) * many + numbers[item[-1]]
        for row, (truth, said) in enumerate(zip(reference, predicted, strict=True))
        for which, items in enumerate((set(truth) & set(said), truth, said))
        for item in items
    ]
    table = np.bincount(np.array(cells, dtype=np.int64), minlength=3 * many * len(reference))
    return Counted(tuple(labels), table.reshape(len(reference), 3 * many), _table_counts)


def _table_counts(weights: Floats, rows: Labels) -> Counts:
    return Counts(*np.split(weights @ rows.astype(np.float64), 3, axis=1))


def tags_of(sentences: Sequence[Sequence[str | None]]) -> list[list[Item]]:
    """The tags of tokens as items; a token without a tag (None) has none, and counts as wrong."""
    return [[(place, tag) for place, tag in enumerate(tags) if tag is not None] for tags in sentences]


def subset_accuracy(reference: Sequence[Collection[Item]], predicted: Sequence[Collection[Item]]) -> Statistics:
    """The share of rows whose items are all right, and no others."""
    right = np.array([[float(truth == said)] for truth, said in zip(reference, predicted, strict=True)])
    return Statistics(("subset_accuracy",), right, weighted_mean)


def confusion(counted: Counted) -> list[list[int]]:
    """How often each label (row) of rows with one label each was predicted as each label (column)."""
    many = len(counted.labels)
    truth, said = counted.rows.T
    cells: list[list[int]] = np.bincount(truth * many + said, minlength=many * many).reshape(many, many).tolist()
    return cells


def confusions(pairs: Iterable[tuple[str | None, str | None]]) -> list[dict[str, Any]]:
    """The most frequent wrong (true, predicted), with their share of the items of that true label."""
    counts = Counter(pairs)
    of_true = Counter(true for true, _ in counts.elements())
    wrong = sorted(
        ((true, said) for true, said in counts if true != said),
        key=lambda pair: (-counts[pair], pair[0] or "", pair[1] or ""),
    )
    return [
        {"true": true, "predicted": said, "count": counts[true, said]}
        | {"share": None if true is None else counts[true, said] / of_true[true]}
        for true, said in wrong[:MOST_CONFUSIONS]
    ]


def paired_spans(truth: Iterable[Span], said: Iterable[Span]) -> list[tuple[str | None, str | None]]:
    """(true label, predicted label) of all bounds that occur on either side; None where only the other has them.

    Of several labels at the same bounds equal ones stand together, the others in order.
    """
    true, predicted = ({tuple(span) for span in spans} for spans in (truth, said))
    pairs: list[tuple[str | None, str | None]] = [(label, label) for _, _, label in sorted(true & predicted)]
    missed, wrong = true - predicted, predicted - true
    for bounds in sorted({span[:2] for span in missed | wrong}):
        pairs += zip_longest(*(sorted(span[2] for span in side if span[:2] == bounds) for side in (missed, wrong)))
    return pairs
