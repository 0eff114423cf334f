"""Figures that counts of labels do not tell: correlations, errors and areas under curves.

Where ranks matter, a figure of a resample is not one of sums over its rows: it is computed from how often each row
counts.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unmask.metrics.figures import Floats, Statistics, check_rows, ratio, sum_groups

ROUNDING = 1e-26  # of the squares of a constant: what rounding leaves of them when its mean is taken off


def _mean(weights: Floats, values: Floats) -> Floats:
    return np.asarray(weights @ values / weights.sum(-1))


def _correlation(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Of x and y, each (rows,) or (some, rows); 0 where one of them is constant over the rows that count."""
    x, of_x = _centred(weights, x)
    y, of_y = _centred(weights, y)
    covariance = (weights * x * y).sum(-1)
    spread = np.sqrt(of_x * of_y)
    return ratio(covariance, spread)


def _centred(weights: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The values less their weighted mean (some, rows), and the sum of their squares (some,); 0 for a constant."""
    centred: Floats = values - (weights * values).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    squares, whole = (weights * centred**2).sum(-1), (weights * values**2).sum(-1)
    return centred, np.where(squares > ROUNDING * whole, squares, 0.0)


def _ranks(weights: Floats, values: Floats) -> Floats:
    """(some, rows): the rank of each row among those that count, equal values sharing their average rank."""
    distinct, place = np.unique(values, return_inverse=True)
    at = sum_groups(weights, place, len(distinct))
    return np.asarray((at.cumsum(-1) - at / 2 + 0.5)[:, place])


OF_NUMBERS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "pearson": _correlation,
    "spearman": lambda weights, x, y: _correlation(weights, _ranks(weights, x), _ranks(weights, y)),
    "mae": lambda weights, x, y: _mean(weights, np.abs(y - x)),
    "rmse": lambda weights, x, y: np.asarray(np.sqrt(_mean(weights, (y - x) ** 2))),
}
"""(weights (some, rows), reference (rows,), predicted (rows,)) -> (some,). Correlations are 0 where one side is
constant; errors are in the unit of the numbers."""


def number_statistics(names: Sequence[str], reference: ArrayLike, predicted: ArrayLike) -> Statistics:
    """Figures of OF_NUMBERS of numbers, (rows,) each. Raises ValueError for no rows or other numbers of them."""
    truth, said = (np.asarray(values, dtype=np.float64) for values in (reference, predicted))
    check_rows(truth, said)

    def reduce(weights: Floats, rows: Floats) -> Floats:
        truth, said = np.ascontiguousarray(rows.T)
        return np.stack([OF_NUMBERS[name](weights, truth, said) for name in names], -1)

    return Statistics(tuple(names), np.stack([truth, said], -1), reduce, distinct=False)


def auc_statistics(reference: ArrayLike, predicted: ArrayLike) -> Statistics:
    """The area under the ROC curve (Hanley & McNeil 1982): how likely a row of a label scores above one that is not.

    reference: label numbers (rows,), or 0 and 1 (rows, labels) where a row may have several labels; predicted:
    probabilities (rows, labels). Of two labels the area of the second; of more the mean over all that some rows have
    and some have not, each against the rest. 0.5 where there is no such label. Raises ValueError for no rows or other
    numbers of them.
    """
    truth, said = (np.asarray(values, dtype=np.float64) for values in (reference, predicted))
    check_rows(truth, said)
    many = said.shape[1]
    if truth.ndim == 1:
        truth = (truth[:, None] == np.arange(many)).astype(np.float64)
    labels = range(1, 2) if many == 2 and bool((truth.sum(1) == 1).all()) else range(many)

    def reduce(weights: Floats, rows: Floats) -> Floats:
        columns = np.ascontiguousarray(rows.T)
        areas = np.stack([_area(weights, columns[label] > 0, columns[many + label]) for label in labels])
        known = ~np.isnan(areas)
        return ratio(np.where(known, areas, 0).sum(0), known.sum(0), 0.5)[:, None]

    return Statistics(("auc",), np.hstack([truth, said]), reduce, distinct=False)


def _area(weights: Floats, positive: NDArray[np.bool_], score: Floats) -> Floats:
    """How likely a positive row has a higher score than a negative one, ties counting half; nan without both."""
    distinct, place = np.unique(score, return_inverse=True)
    of_positive, of_negative = (sum_groups(weights * rows, place, len(distinct)) for rows in (positive, ~positive))
    below = of_negative.cumsum(-1) - of_negative / 2
    pairs = of_positive.sum(-1) * of_negative.sum(-1)
    won = (of_positive * below).sum(-1)
    return ratio(won, pairs, np.nan)
