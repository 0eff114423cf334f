"""Correlations, errors and areas against scikit-learn, scipy and rows written out."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats
from sklearn import metrics as oracle

from unmask.metrics import FIGURES
from unmask.metrics.figures import Statistics, bootstrap, difference
from unmask.metrics.number_metrics import OF_NUMBERS, auc_statistics, number_statistics

NAMES = (*OF_NUMBERS, "auc")

NUMBER = st.integers(-20, 20).map(lambda value: value / 4)
PAIRS = st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=40)


def statistics(name: str, truth: ArrayLike, said: ArrayLike) -> Statistics:
    return auc_statistics(truth, said) if name == "auc" else number_statistics([name], truth, said)


def value(name: str, truth: ArrayLike, said: ArrayLike) -> float:
    return statistics(name, truth, said).values()[name]


@given(PAIRS)
def test_scores_of_numbers_equal_those_of_scipy_and_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    truth, said = map(list, zip(*pairs, strict=True))
    assert value("mae", truth, said) == pytest.approx(oracle.mean_absolute_error(truth, said))
    assert value("rmse", truth, said) == pytest.approx(oracle.mean_squared_error(truth, said) ** 0.5)
    assume(len(set(truth)) > 1 and len(set(said)) > 1)
    assert value("pearson", truth, said) == pytest.approx(stats.pearsonr(truth, said)[0], abs=1e-9)
    assert value("spearman", truth, said) == pytest.approx(stats.spearmanr(truth, said)[0], abs=1e-9)


def test_recorded_values() -> None:
    """Anscombe (1973), the first of his four sets: r = 0.816 as he prints it."""
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    assert round(value("pearson", x, y), 3) == 0.816
    # ranks with ties by hand: 1, 2.5, 2.5, 4 against 1, 3, 2, 4: r = 4.5 / sqrt(4.5 * 5)
    assert value("spearman", [1, 2, 2, 3], [1, 5, 4, 9]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    # one of the six pairs of a positive and a negative row is in the wrong order, one is a tie
    assert value("auc", [0, 0, 1, 1, 1], both([0.2, 0.6, 0.6, 0.3, 0.9])) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("constant", [0.0, 3.1, 1e9 + 0.1])
def test_a_constant_tells_nothing(constant: float) -> None:
    for name in ("pearson", "spearman"):
        assert value(name, [1.5, 2.25, 7], [constant] * 3) == 0 == value(name, [constant] * 3, [1.5, 2.25, 7])
    assert value("pearson", [1e-9, 2e-9, 4e-9], [2, 4, 8]) == pytest.approx(1)  # small numbers are none


def both(share: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(share), share], axis=1)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40))
def test_the_area_of_two_labels_equals_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, share = [row[0] for row in rows], [row[1] / 8 for row in rows]
    if len(set(truth)) == 1:
        assert value("auc", truth, both(share)) == 0.5
    else:
        assert value("auc", truth, both(share)) == pytest.approx(oracle.roc_auc_score(truth, share))


@given(st.integers(0, 1000), st.integers(3, 5))
def test_the_area_of_several_labels_is_the_mean_of_each_against_the_rest(seed: int, labels: int) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(labels), 30).round(2) + 1e-3
    shares /= shares.sum(1, keepdims=True)
    truth = np.concatenate([np.arange(labels), draw.integers(0, labels, 30 - labels)])
    assert value("auc", truth, shares) == pytest.approx(oracle.roc_auc_score(truth, shares, multi_class="ovr"))
    many = draw.integers(0, 2, (30, labels))
    many[:2] = [[0] * labels, [1] * labels]
    assert value("auc", many, shares) == pytest.approx(oracle.roc_auc_score(many, shares))
    # a label that no row has, or all have, is left out
    wider = np.concatenate([many, np.zeros((30, 1)), np.ones((30, 1))], axis=1)
    spread = np.concatenate([shares, shares[:, :2]], axis=1)
    assert value("auc", wider, spread) == pytest.approx(value("auc", many, shares))


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_rows_written_out(name: str) -> None:
    """What makes resamples cheap: a row that is drawn three times is a row that stands there three times."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 3, 25) if name == "auc" else draw.normal(size=25).round(1)
    said = draw.dirichlet(np.ones(3), 25) if name == "auc" else (truth + draw.normal(size=25)).round(1)
    weights = draw.integers(0, 4, (6, 25)).astype(float)
    of_rows = statistics(name, truth, said)
    together = of_rows.reduce(weights, of_rows.rows)[:, 0]
    for row, found in zip(weights.astype(int), together, strict=True):
        assert found == pytest.approx(value(name, truth.repeat(row), said.repeat(row, axis=0)))


@pytest.mark.parametrize("name", NAMES)
def test_intervals_are_paired_seeded_and_hold_the_value(name: str) -> None:
    draw = np.random.default_rng(5)
    truth = draw.integers(0, 2, 60) if name == "auc" else draw.normal(size=60)
    if name == "auc":
        good, poor = (both(list(np.clip(truth * step + draw.random(60), 0, 1.5) / 2)) for step in (0.5, 0.1))
    else:
        good, poor = truth + draw.normal(size=60) / 4, truth + draw.normal(size=60)
    a, b = statistics(name, truth, good), statistics(name, truth, poor)
    one = bootstrap(a, samples=400)[name]
    assert one == bootstrap(a, samples=400)[name] != bootstrap(a, seed=1)[name]
    assert one.low <= one.value <= one.high and one.value == value(name, truth, good)
    gain = bootstrap(difference(a, b), samples=400)[name]
    assert (gain.low > 0 or gain.high < 0) and (gain.value < 0) == FIGURES[name].lower_is_better
    same = bootstrap(difference(a, a), samples=50)[name]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 200 samples of a population with a correlation of 0.6 about 95 % have it in their interval."""
    draw = np.random.default_rng(11)
    inside = 0
    for seed in range(200):
        x = draw.normal(size=80)
        y = 0.6 * x + 0.8 * draw.normal(size=80)
        interval = bootstrap(statistics("pearson", x, y), samples=200, seed=seed)["pearson"]
        inside += interval.low <= 0.6 <= interval.high
    assert 178 <= inside <= 199


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_scored(name: str) -> None:
    shape = (-1, 1) if name == "auc" else (-1,)
    for truth, said in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError):
            statistics(name, truth, np.array(said).reshape(shape))
