"""The engine of every figure: statistics of rows, percentile bootstrap intervals, paired differences.

A figure is a function of statistics of the rows and of how often each row counts. A resample of the rows is nothing
but other weights, so that thousands of resamples are a few array operations; rows with equal statistics are drawn
together, as one multinomial draw over the distinct ones.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2000
LEVEL = 0.95
NUMBERS_AT_ONCE = 1 << 22  # bounds the memory of a bootstrap: numbers drawn or computed at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """How people read a figure: its title; in per cent or as it is; whether less of it is better."""

    title: str
    percent: bool = True
    lower_is_better: bool = False


FIGURES = {
    "accuracy": Figure("accuracy"),
    "macro_f1": Figure("macro-F1"),
    "micro_f1": Figure("micro-F1"),
    "subset_accuracy": Figure("subset accuracy"),
    "matthews": Figure("MCC", percent=False),
    "auc": Figure("AUC"),
    "pearson": Figure("Pearson", percent=False),
    "spearman": Figure("Spearman", percent=False),
    "mae": Figure("MAE", percent=False, lower_is_better=True),
    "rmse": Figure("RMSE", percent=False, lower_is_better=True),
    "precision": Figure("precision"),
    "recall": Figure("recall"),
    "entity_f1": Figure("F1"),
    "answer_f1": Figure("F1"),
    "exact_match": Figure("exact match"),
    "mrr": Figure("MRR"),
    "ndcg_10": Figure("nDCG@10"),
    "recall_1": Figure("recall@1"),
    "recall_10": Figure("recall@10"),
}


def figure_of(name: str) -> Figure:
    """The figure that a name such as `accuracy` or `classify.accuracy` ends with; else one with the name as title."""
    last = name.rpartition(".")[2]
    return FIGURES.get(last) or Figure(last)


def format_score(name: str, value: float) -> str:
    """A value as people read it: `93.4%`, `0.812`."""
    return f"{value:.1%}" if figure_of(name).percent else f"{value:.3f}"


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval."""

    value: float
    low: float
    high: float

    def format(self, name: str, *, unit: bool = False) -> str:
        """As people read it, per cent without its sign unless `unit`: `93.4 [92.3, 94.5]`, `0.812 [0.790, 0.833]`."""
        if not figure_of(name).percent:
            return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        sign = " %" if unit else ""
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]{sign}"


@dataclass(frozen=True)
class Statistics:
    """Statistics of each row (rows, columns), and the figures that they make.

    reduce: (weights (some, rows), statistics (rows, columns)) -> (some, figures), where the weights say how often each
    row counts; names: of these figures. distinct: whether rows of equal statistics are drawn together; not where
    hardly any are equal. numbers: how many `reduce` computes of each resample, which bounds how many are made at once.
    """

    names: tuple[str, ...]
    rows: NDArray[Any]
    reduce: Callable[[Floats, NDArray[Any]], Floats]
    distinct: bool = True
    numbers: int = 1

    def values(self) -> dict[str, float]:
        """The figures of the rows as they are. Raises ValueError for no rows."""
        if not len(self.rows):
            raise ValueError("no rows to score")
        found = self.reduce(np.ones((1, len(self.rows))), self.rows)[0]
        return dict(zip(self.names, found.tolist(), strict=True))


class Means(Statistics):
    """The mean of what each row scores by itself."""

    def __init__(self, name: str, rows: NDArray[Any]) -> None:
        super().__init__((name,), rows.astype(np.float64).reshape(-1, 1), weighted_mean)

    def values(self) -> dict[str, float]:
        return {self.names[0]: float(self.rows.mean())} if len(self.rows) else super().values()


def weighted_mean(weights: Floats, rows: Floats) -> Floats:
    """The mean of each column of rows (rows, columns) under each row of weights (some, rows): (some, columns)."""
    return np.asarray(weights @ rows / weights.sum(-1, keepdims=True))


def difference(a: Statistics, b: Statistics) -> Statistics:
    """The figures of a less those of b, which are of the same rows; both are computed from the same resamples.

    The pairing takes out what both find hard, so that intervals are narrower than of two separate evaluations. Raises
    ValueError for other numbers of rows.
    """
    if len(a.rows) != len(b.rows):
        raise ValueError(f"{len(a.rows)} rows of a, but {len(b.rows)} of b")
    if isinstance(a, Means):  # a difference of means is the mean of the differences
        return Means(a.names[0], a.rows - b.rows)
    width = a.rows.shape[1]

    def reduce(weights: Floats, rows: NDArray[Any]) -> Floats:
        return a.reduce(weights, rows[:, :width]) - b.reduce(weights, rows[:, width:])

    return replace(a, rows=np.hstack([a.rows, b.rows]), reduce=reduce, numbers=max(a.numbers, b.numbers))


def bootstrap(statistics: Statistics, *, samples: int = SAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Each figure with its 95 % percentile bootstrap interval over rows (Efron & Tibshirani 1993, section 13.3).

    Rows are taken as independent: a row is what is drawn, a sentence with all its tags, say. All figures come from the
    same resamples. Raises ValueError for no rows.
    """
    values = statistics.values()
    count = len(statistics.rows)
    rows, frequency = statistics.rows, np.ones(count, dtype=np.int64)
    if statistics.distinct:
        rows, frequency = np.unique(rows, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    at_once = max(1, NUMBERS_AT_ONCE // max(*rows.shape, statistics.numbers))
    resampled = []
    for start in range(0, samples, at_once):
        some = min(at_once, samples - start)
        drawn = generator.multinomial(count, frequency / count, size=some).astype(np.float64)
        resampled.append(statistics.reduce(drawn, rows))
    low, high = np.quantile(np.concatenate(resampled), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).tolist()
    found = zip(values.items(), low, high, strict=True)
    return {name: Interval(value, below, above) for (name, value), below, above in found}


def ratio(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """part / whole; `otherwise` where the whole is 0."""
    result = np.full(np.broadcast(part, whole).shape, otherwise)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def sum_groups(weights: Floats, group: NDArray[Any], groups: int) -> Floats:
    """The sums (some, groups) of weights (some, rows) over the rows of each group, of the numbers `group` (rows,)."""
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    sums = np.zeros((len(weights), groups))
    sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def check_rows(reference: Sized, predicted: Sized) -> None:
    """Raises ValueError for no rows, or for other numbers of them."""
    if len(reference) != len(predicted):
        raise ValueError(f"{len(reference)} reference rows, but {len(predicted)} predicted ones")
    if not len(reference):
        raise ValueError("no rows to score")
