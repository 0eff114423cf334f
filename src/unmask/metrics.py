"""Scores of classification and of sequence labelling, and how sure they are: pure functions on numpy arrays.

Labels are whole numbers from 0; `reference` says what is right, `predicted` what a model said, both (rows,).
Every score here depends on three counts per label only (`Counts`). That makes thousands of resamples cheap:
resampling rows with replacement is a multinomial draw over the distinct (reference, predicted) pairs.

Of sequences the same counts are kept sentence by sentence (`SentenceCounts`), of tags or of entities, and
whole sentences are resampled: what stands in one sentence is not independent.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLES = 2000
LEVEL = 0.95
CELLS_AT_ONCE = 1 << 22  # bounds the memory of a bootstrap: numbers drawn at once

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """For a difference: whether the interval lies wholly on one side of zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class LabelScore:
    """How well one label is found. `n` counts its rows in the reference."""

    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Counts:
    """Rows per label: rightly given it, truly of it, given it. Each (..., labels)."""

    hits: Floats
    actual: Floats
    given: Floats


@dataclass(frozen=True)
class Metric:
    """A score as a function of the counts; called on rows it is the score itself."""

    name: str
    of: Callable[[Counts], Floats]  # Counts of (..., labels) -> (...)

    def __call__(self, reference: ArrayLike, predicted: ArrayLike) -> float:
        """The score of `predicted` (rows,) against `reference` (rows,). Raises ValueError as `confusion`."""
        truth, said = _rows(reference, predicted)
        return float(self.of(_counts(truth, said, _label_count(truth, said))))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, and 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def _accuracy(counts: Counts) -> Floats:
    return _ratio(counts.hits.sum(-1), counts.actual.sum(-1))


def _f1(counts: Counts) -> Floats:
    return _ratio(2 * counts.hits, counts.actual + counts.given)


def _macro_f1(counts: Counts) -> Floats:
    occurs = (counts.actual + counts.given > 0).sum(-1)
    return _ratio(_f1(counts).sum(-1), occurs.astype(np.float64))


def _micro_f1(counts: Counts) -> Floats:
    return _ratio(2 * counts.hits.sum(-1), counts.actual.sum(-1) + counts.given.sum(-1))


def _matthews(counts: Counts) -> Floats:
    rows = counts.actual.sum(-1)
    covariance = counts.hits.sum(-1) * rows - (counts.actual * counts.given).sum(-1)
    spread = (rows**2 - (counts.actual**2).sum(-1)) * (rows**2 - (counts.given**2).sum(-1))
    return _ratio(covariance, np.sqrt(spread))


accuracy = Metric("accuracy", _accuracy)
"""The share of rows that are right."""

macro_f1 = Metric("macro_f1", _macro_f1)
"""The mean F1 over the labels that occur in the reference or the predictions (scikit-learn's definition).

A label that occurs in neither has no F1 and is left out, in the whole and in each bootstrap resample alike.
To count it as 0 would punish a resample for the rare rows that it happens to lack.
"""

micro_f1 = Metric("micro_f1", _micro_f1)
"""F1 over all decisions; equal to the accuracy where each row has exactly one label."""

matthews = Metric("matthews", _matthews)
"""Matthews correlation for any number of labels (Gorodkin 2004, eq. 8); 0 where one side is constant."""

precision = Metric("precision", lambda counts: _ratio(counts.hits.sum(-1), counts.given.sum(-1)))
"""The share of what was found that is right, over all labels together (micro-averaged)."""

recall = Metric("recall", lambda counts: _ratio(counts.hits.sum(-1), counts.actual.sum(-1)))
"""The share of what is there that was found, over all labels together (micro-averaged)."""

METRICS = {metric.name: metric for metric in (accuracy, macro_f1, micro_f1, matthews)}

PLAIN = frozenset({"matthews", "pearson", "spearman", "mae", "rmse"})
"""Figures that are shown as they are; all others are shares, shown in per cent."""

LOWER = frozenset({"mae", "rmse"})
"""Figures of which less is better."""


def confusion(reference: ArrayLike, predicted: ArrayLike, labels: int) -> Labels:
    """How often each label (row) was predicted as each label (column): (labels, labels) int64.

    Raises ValueError for no rows, unequal lengths, or a label outside 0 ... labels - 1.
    """
    truth, said = _rows(reference, predicted)
    _check_range(labels, truth, said)
    return np.bincount(truth * labels + said, minlength=labels * labels).reshape(labels, labels)


def per_label(reference: ArrayLike, predicted: ArrayLike, labels: int) -> list[LabelScore]:
    """Precision, recall, F1 and number of rows of each label; a ratio without a denominator is 0."""
    truth, said = _rows(reference, predicted)
    _check_range(labels, truth, said)
    counts = _counts(truth, said, labels)
    precision, recall = _ratio(counts.hits, counts.given), _ratio(counts.hits, counts.actual)
    columns = (precision.tolist(), recall.tolist(), _f1(counts).tolist(), counts.actual.astype(int).tolist())
    return [LabelScore(*row) for row in zip(*columns, strict=True)]


def bootstrap(
    metric: Metric,
    reference: ArrayLike,
    predicted: ArrayLike,
    labels: int | None = None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` with its percentile bootstrap interval (Efron & Tibshirani 1993, section 13.3) over rows.

    `labels` is the number of labels (default: as many as occur); it bounds the label numbers and leaves the
    value unchanged. Rows are taken as independent. Where every row is right the interval has no width.
    Raises ValueError as `confusion` does.
    """
    truth, said = _rows(reference, predicted)
    size = _label_count(truth, said) if labels is None else labels
    _check_range(size, truth, said)
    scores = [metric.of(counts) for (counts,) in _resamples(truth, [said], size, samples, seed)]
    return _interval(float(metric.of(_counts(truth, said, size))), np.concatenate(scores), level)


def paired_difference(
    metric: Metric,
    reference: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    labels: int | None = None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` of a less `metric` of b on the same rows, both scored on the same resamples.

    Arguments and errors as in `bootstrap`. The pairing takes out what both models find hard, so that the
    interval is narrower than that of two separate evaluations.
    """
    truth, a = _rows(reference, predicted_a)
    _, b = _rows(reference, predicted_b)
    size = _label_count(truth, a, b) if labels is None else labels
    _check_range(size, truth, a, b)
    value = float(metric.of(_counts(truth, a, size)) - metric.of(_counts(truth, b, size)))
    pairs = _resamples(truth, [a, b], size, samples, seed)
    scores = [metric.of(of_a) - metric.of(of_b) for of_a, of_b in pairs]
    return _interval(value, np.concatenate(scores), level)


def _interval(value: float, scores: Floats, level: float) -> Interval:
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _resamples(
    truth: Labels, predictions: list[Labels], labels: int, samples: int, seed: int
) -> Iterator[list[Counts]]:
    """The counts of `samples` resamples, some at a time: one Counts of (some, labels) per prediction."""
    cells, frequency = np.unique(np.stack([truth, *predictions]), axis=1, return_counts=True)
    rows = len(truth)
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // max(labels, len(frequency)))
    for start in range(0, samples, at_once):
        some = min(at_once, samples - start)
        drawn = generator.multinomial(rows, frequency / rows, size=some).astype(np.float64)  # (some, cells)
        actual = _by_label(drawn, cells[0], labels)
        resampled = []
        for said in cells[1:]:
            hits = _by_label(drawn * (said == cells[0]), said, labels)
            resampled.append(Counts(hits, actual, _by_label(drawn, said, labels)))
        yield resampled


def _by_label(drawn: Floats, label: Labels, labels: int) -> Floats:
    """The sums (some, labels) of `drawn` (some, cells) over the cells of each label."""
    order = np.argsort(label, kind="stable")
    present, starts = np.unique(label[order], return_index=True)
    sums = np.zeros((len(drawn), labels))
    sums[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums


def _counts(truth: Labels, said: Labels, labels: int) -> Counts:
    hits, actual, given = (np.bincount(x, minlength=labels) for x in (truth[truth == said], truth, said))
    return Counts(hits.astype(np.float64), actual.astype(np.float64), given.astype(np.float64))


def _rows(reference: ArrayLike, predicted: ArrayLike) -> tuple[Labels, Labels]:
    truth, said = _labels(reference), _labels(predicted)
    if len(truth) != len(said):
        raise ValueError(f"{len(truth)} reference rows, but {len(said)} predicted ones")
    if not len(truth):
        raise ValueError("no rows to score")
    return truth, said


def _labels(values: ArrayLike) -> Labels:
    array: NDArray[Any] = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iub"):
        raise ValueError(f"labels must be whole numbers in one row, not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _label_count(*rows: Labels) -> int:
    return 1 + max(int(row.max()) for row in rows)


def _check_range(labels: int, *rows: Labels) -> None:
    for row in rows:
        if row.min() < 0 or row.max() >= labels:
            raise ValueError(f"labels from {row.min()} to {row.max()} found, but 0 to {labels - 1} allowed")


class Entity(Protocol):
    """A labelled stretch of a sentence, in tokens or in characters."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class SentenceCounts:
    """How many tags or entities of each label are right, true and given, sentence by sentence.

    hits, actual, given (sentences, labels) float64; `labels` are sorted.
    """

    labels: tuple[str, ...]
    hits: Floats
    actual: Floats
    given: Floats

    def __len__(self) -> int:
        return len(self.hits)

    @property
    def total(self) -> Counts:
        """Over all sentences: each (labels,)."""
        return Counts(self.hits.sum(0), self.actual.sum(0), self.given.sum(0))

    def score(self, metric: Metric) -> float:
        """`accuracy` (of tags), `precision`, `recall`, `micro_f1` or `macro_f1` over all sentences."""
        return float(metric.of(self.total))

    def per_label(self) -> dict[str, LabelScore]:
        """Precision, recall, F1 of each label, and how many are true; a ratio without a denominator is 0."""
        counts = self.total
        columns = (_ratio(counts.hits, counts.given), _ratio(counts.hits, counts.actual), _f1(counts))
        rows = zip(*(column.tolist() for column in columns), counts.actual.astype(int).tolist(), strict=True)
        return {label: LabelScore(*row) for label, row in zip(self.labels, rows, strict=True)}


def tag_counts(reference: Sequence[Sequence[str]], predicted: Sequence[Sequence[str | None]]) -> SentenceCounts:
    """Tags of sentences, one per token. A token that was given no tag (None) counts as wrong.

    The recall of a label is its accuracy. Raises ValueError for no tokens, or for other numbers of sentences
    or of tokens in a sentence.
    """
    _check_sentences(reference, predicted)
    for number, (truth, said) in enumerate(zip(reference, predicted, strict=True)):
        if len(truth) != len(said):
            raise ValueError(f"sentence {number}: {len(truth)} reference tags, but {len(said)} predicted ones")
    if not any(len(sentence) for sentence in reference):
        raise ValueError("no tokens to score")
    return _sentence_counts(
        (list(enumerate(truth)) for truth in reference),
        ([(place, tag) for place, tag in enumerate(said) if tag is not None] for said in predicted),
    )


def entity_counts(reference: Sequence[Iterable[Entity]], predicted: Sequence[Iterable[Entity]]) -> SentenceCounts:
    """Entities of sentences, counted as conlleval does: one is right if start, stop and label are.

    Raises ValueError for no sentences, or for other numbers of them.
    """
    _check_sentences(reference, predicted)
    return _sentence_counts(
        ([((one.start, one.end), one.label) for one in sentence] for sentence in reference),
        ([((one.start, one.end), one.label) for one in sentence] for sentence in predicted),
    )


def bootstrap_sentences(
    metric: Metric,
    counts: SentenceCounts,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` with its percentile bootstrap interval over sentences, which are taken as independent."""
    scores = [metric.of(some) for (some,) in _sentence_resamples([counts], samples, seed)]
    return _interval(counts.score(metric), np.concatenate(scores), level)


def paired_difference_sentences(
    metric: Metric,
    a: SentenceCounts,
    b: SentenceCounts,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` of a less `metric` of b on the same sentences, both scored on the same resamples.

    Raises ValueError for other numbers of sentences.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} sentences of a, but {len(b)} of b")
    pairs = _sentence_resamples([a, b], samples, seed)
    scores = [metric.of(of_a) - metric.of(of_b) for of_a, of_b in pairs]
    return _interval(a.score(metric) - b.score(metric), np.concatenate(scores), level)


def _check_sentences(reference: Sequence[object], predicted: Sequence[object]) -> None:
    if len(reference) != len(predicted):
        raise ValueError(f"{len(reference)} reference sentences, but {len(predicted)} predicted ones")
    if not len(reference):
        raise ValueError("no sentences to score")


def _sentence_counts(
    reference: Iterable[Sequence[tuple[Hashable, str]]], predicted: Iterable[Sequence[tuple[Hashable, str]]]
) -> SentenceCounts:
    """Counts of (place, label) pairs; a pair that is said twice is given twice and right once."""
    rows = []
    for truth, said in zip(reference, predicted, strict=True):
        right = set(truth) & set(said)
        rows.append([Counter(label for _, label in items) for items in (right, truth, said)])
    labels = sorted({label for _, truth, said in rows for label in (*truth, *said)})
    numbers = {label: number for number, label in enumerate(labels)}
    tables = np.zeros((3, len(rows), len(labels)))
    for sentence, counters in enumerate(rows):
        for table, counter in zip(tables, counters, strict=True):
            for label, count in counter.items():
                table[sentence, numbers[label]] = count
    return SentenceCounts(tuple(labels), tables[0], tables[1], tables[2])


def _sentence_resamples(several: Sequence[SentenceCounts], samples: int, seed: int) -> Iterator[list[Counts]]:
    """The counts of `samples` resamples of sentences, some at a time: one Counts of (some, labels) for each.

    Sentences with the same counts are drawn together, as in `_resamples`.
    """
    wide = np.concatenate([np.hstack([one.hits, one.actual, one.given]) for one in several], axis=1)
    cells, frequency = np.unique(wide, axis=0, return_counts=True)
    sentences = len(wide)
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // max(cells.shape))
    ends = np.cumsum([3 * len(one.labels) for one in several])[:-1]
    for start in range(0, samples, at_once):
        drawn = generator.multinomial(sentences, frequency / sentences, size=min(at_once, samples - start))
        sums = drawn.astype(np.float64) @ cells  # (some, labels of all, three times)
        yield [Counts(*np.split(part, 3, axis=1)) for part in np.split(sums, ends, axis=1)]


def bootstrap_mean(values: ArrayLike, *, samples: int = SAMPLES, seed: int = 0, level: float = LEVEL) -> Interval:
    """The mean of a score of each row, (rows,), with its percentile bootstrap interval over rows.

    Raises ValueError for no rows.
    """
    given = np.asarray(values, dtype=np.float64)
    if not given.size:
        raise ValueError("no rows to score")
    # equal values are drawn together, as in `_resamples`
    cells, frequency = np.unique(given, return_counts=True)
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(cells))
    means = [
        generator.multinomial(given.size, frequency / given.size, size=min(at_once, samples - start)) @ cells
        for start in range(0, samples, at_once)
    ]
    return _interval(float(given.mean()), np.concatenate(means) / given.size, level)


def paired_difference_mean(a: ArrayLike, b: ArrayLike, **settings: Any) -> Interval:
    """The mean score of a less that of b on the same rows, (rows,) each; the rest as in `bootstrap_mean`.

    Raises ValueError for other numbers of rows.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} rows of a, but {second.size} of b")
    return bootstrap_mean(first - second, **settings)
