"""Scores that counts of labels do not tell: correlations, errors and areas under curves; pure functions on numpy.

A score here is a function of how often each row counts, so that a resample of the rows is nothing but other
weights, and thousands of resamples are a few array operations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.metrics import CELLS_AT_ONCE, LEVEL, SAMPLES, Interval

Floats = NDArray[np.float64]

ROUNDING = 1e-26  # of the squares of a constant: what rounding leaves of them when its mean is taken off


@dataclass(frozen=True)
class RowMetric:
    """A score of rows; called on rows it is the score itself.

    of: (how often each row counts (some, rows), reference, predicted) -> (some,).
    """

    name: str
    of: Callable[[Floats, Floats, Floats], Floats]

    def __call__(self, reference: ArrayLike, predicted: ArrayLike) -> float:
        """Raises ValueError for no rows or unequal numbers of them."""
        truth, said = _rows(reference, predicted)
        return float(self.of(np.ones((1, len(truth))), truth, said)[0])


def _ratio(part: Floats, whole: Floats, otherwise: float) -> Floats:
    """part / whole, each (some,); `otherwise` where the whole is 0."""
    result = np.full(len(whole), otherwise)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _mean(weights: Floats, values: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(-1))


def _absolute(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return _mean(weights, np.abs(said - truth))


def _root_square(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return np.asarray(np.sqrt(_mean(weights, (said - truth) ** 2)))


def _pearson(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return _correlation(weights, truth, said)


def _spearman(weights: Floats, truth: Floats, said: Floats) -> Floats:
    return _correlation(weights, _ranks(weights, truth), _ranks(weights, said))


def _correlation(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Of x and y, each (rows,) or (some, rows); 0 where one of them is constant over the rows that count."""
    x, of_x = _centred(weights, x)
    y, of_y = _centred(weights, y)
    covariance = (weights * x * y).sum(-1)
    spread = np.sqrt(of_x * of_y)
    return _ratio(covariance, spread, 0.0)


def _centred(weights: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The values less their weighted mean (some, rows), and the sum of their squares (some,); 0 for a constant."""
    centred: Floats = values - (weights * values).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    squares, whole = (weights * centred**2).sum(-1), (weights * values**2).sum(-1)
    return centred, np.where(squares > ROUNDING * whole, squares, 0.0)


def _ranks(weights: Floats, values: Floats) -> Floats:
    """(some, rows): the rank of each row among those that count, equal values sharing their average rank."""
    _, place = np.unique(values, return_inverse=True)
    at = _by_place(weights, place)
    return np.asarray((at.cumsum(-1) - at / 2 + 0.5)[:, place])


def _by_place(weights: Floats, place: NDArray[np.intp]) -> Floats:
    """The sums (some, places) of weights (some, rows) whose `place` (rows,) is the same; every place occurs."""
    order = np.argsort(place, kind="stable")
    starts = np.unique(place[order], return_index=True)[1]
    return np.add.reduceat(weights[:, order], starts, axis=1)


def _area(weights: Floats, positive: NDArray[np.bool_], score: Floats) -> Floats:
    """How likely a positive row has a higher score than a negative one, ties counting half; nan without both."""
    _, place = np.unique(score, return_inverse=True)
    of_positive, of_negative = (_by_place(weights * rows, place) for rows in (positive, ~positive))
    below = of_negative.cumsum(-1) - of_negative / 2
    pairs = of_positive.sum(-1) * of_negative.sum(-1)
    won = (of_positive * below).sum(-1)
    return _ratio(won, pairs, np.nan)


def _auc(weights: Floats, truth: Floats, said: Floats) -> Floats:
    if truth.ndim == 1:
        truth = truth[:, None] == np.arange(said.shape[1])
    labels = range(1, 2) if said.shape[1] == 2 and bool((truth.sum(1) == 1).all()) else range(said.shape[1])
    areas = np.stack([_area(weights, truth[:, label] > 0, said[:, label]) for label in labels])
    known = ~np.isnan(areas)
    return _ratio(np.where(known, areas, 0).sum(0), known.sum(0), 0.5)


pearson = RowMetric("pearson", _pearson)
"""Pearson's correlation of numbers (rows,) with numbers (rows,); 0 where one side is constant."""

spearman = RowMetric("spearman", _spearman)
"""Spearman's correlation: Pearson's of the ranks, equal values sharing their average rank."""

mae = RowMetric("mae", _absolute)
"""The mean absolute error, in the unit of the numbers."""

rmse = RowMetric("rmse", _root_square)
"""The root of the mean squared error, in the unit of the numbers."""

auc = RowMetric("auc", _auc)
"""The area under the ROC curve (Hanley & McNeil 1982): how likely a row of a label scores above one that is not.

reference: label numbers (rows,), or 0 and 1 (rows, labels) where a row may have several labels; predicted:
probabilities (rows, labels). Of two labels the area of the second; of more the mean over all that some rows
have and some have not, each against the rest. 0.5 where there is no such label.
"""

ROW_METRICS = {metric.name: metric for metric in (pearson, spearman, mae, rmse, auc)}

OF_NUMBERS = ("pearson", "spearman", "mae", "rmse")
"""The scores of predicted numbers, the usual one first."""


def bootstrap_rows(
    metric: RowMetric,
    reference: ArrayLike,
    predicted: ArrayLike,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` with its percentile bootstrap interval over rows (Efron & Tibshirani 1993, section 13.3).

    Raises ValueError as the metric.
    """
    truth, said = _rows(reference, predicted)
    scores = [metric.of(drawn, truth, said) for drawn in _drawn(truth, samples, seed)]
    return _interval(metric(truth, said), np.concatenate(scores), level)


def paired_difference_rows(
    metric: RowMetric,
    reference: ArrayLike,
    predicted_a: ArrayLike,
    predicted_b: ArrayLike,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """`metric` of a less `metric` of b on the same rows, both scored on the same resamples."""
    truth, a = _rows(reference, predicted_a)
    _, b = _rows(reference, predicted_b)
    value = metric(truth, a) - metric(truth, b)
    scores = [metric.of(drawn, truth, a) - metric.of(drawn, truth, b) for drawn in _drawn(truth, samples, seed)]
    return _interval(value, np.concatenate(scores), level)


def _drawn(truth: Floats, samples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn (some, rows), some resamples at a time."""
    rows, generator = len(truth), np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // rows)
    for start in range(0, samples, at_once):
        some = min(at_once, samples - start)
        yield generator.multinomial(rows, np.full(rows, 1 / rows), size=some).astype(np.float64)


def _interval(value: float, scores: Floats, level: float) -> Interval:
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _rows(reference: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    truth, said = (np.asarray(values, dtype=np.float64) for values in (reference, predicted))
    if len(truth) != len(said):
        raise ValueError(f"{len(truth)} reference rows, but {len(said)} predicted ones")
    if not len(truth):
        raise ValueError("no rows to score")
    return truth, said
