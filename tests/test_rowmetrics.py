"""Correlations, errors and areas against scikit-learn, scipy and rows written out."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from unmask import rowmetrics
from unmask.metrics import LOWER, METRICS, PLAIN
from unmask.rowmetrics import ROW_METRICS, RowMetric, bootstrap_rows, paired_difference_rows

NUMBER = st.integers(-20, 20).map(lambda value: value / 4)
PAIRS = st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=40)


@given(PAIRS)
def test_scores_of_numbers_equal_those_of_scipy_and_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    truth, said = map(list, zip(*pairs, strict=True))
    assert rowmetrics.mae(truth, said) == pytest.approx(oracle.mean_absolute_error(truth, said))
    assert rowmetrics.rmse(truth, said) == pytest.approx(oracle.mean_squared_error(truth, said) ** 0.5)
    assume(len(set(truth)) > 1 and len(set(said)) > 1)
    assert rowmetrics.pearson(truth, said) == pytest.approx(stats.pearsonr(truth, said)[0], abs=1e-9)
    assert rowmetrics.spearman(truth, said) == pytest.approx(stats.spearmanr(truth, said)[0], abs=1e-9)


def test_recorded_values() -> None:
    """Anscombe (1973), the first of his four sets: r = 0.816 as he prints it."""
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    assert round(rowmetrics.pearson(x, y), 3) == 0.816
    # ranks with ties by hand: 1, 2.5, 2.5, 4 against 1, 3, 2, 4: r = 4.5 / sqrt(4.5 * 5)
    assert rowmetrics.spearman([1, 2, 2, 3], [1, 5, 4, 9]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    # one of the six pairs of a positive and a negative row is in the wrong order, one is a tie
    assert rowmetrics.auc([0, 0, 1, 1, 1], both([0.2, 0.6, 0.6, 0.3, 0.9])) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("constant", [0.0, 3.1, 1e9 + 0.1])
def test_a_constant_tells_nothing(constant: float) -> None:
    for metric in (rowmetrics.pearson, rowmetrics.spearman):
        assert metric([1.5, 2.25, 7], [constant] * 3) == 0 == metric([constant] * 3, [1.5, 2.25, 7])
    assert rowmetrics.pearson([1e-9, 2e-9, 4e-9], [2, 4, 8]) == pytest.approx(1)  # small numbers are none


def both(share: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(share), share], axis=1)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40))
def test_the_area_of_two_labels_equals_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    truth, share = [row[0] for row in rows], [row[1] / 8 for row in rows]
    if len(set(truth)) == 1:
        assert rowmetrics.auc(truth, both(share)) == 0.5
    else:
        assert rowmetrics.auc(truth, both(share)) == pytest.approx(oracle.roc_auc_score(truth, share))


@given(st.integers(0, 1000), st.integers(3, 5))
def test_the_area_of_several_labels_is_the_mean_of_each_against_the_rest(seed: int, labels: int) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.ones(labels), 30).round(2) + 1e-3
    shares /= shares.sum(1, keepdims=True)
    truth = np.concatenate([np.arange(labels), draw.integers(0, labels, 30 - labels)])
    assert rowmetrics.auc(truth, shares) == pytest.approx(oracle.roc_auc_score(truth, shares, multi_class="ovr"))
    many = draw.integers(0, 2, (30, labels))
    many[:2] = [[0] * labels, [1] * labels]
    assert rowmetrics.auc(many, shares) == pytest.approx(oracle.roc_auc_score(many, shares))
    # a label that no row has, or all have, is left out
    wider = np.concatenate([many, np.zeros((30, 1)), np.ones((30, 1))], axis=1)
    spread = np.concatenate([shares, shares[:, :2]], axis=1)
    assert rowmetrics.auc(wider, spread) == pytest.approx(rowmetrics.auc(many, shares))


@pytest.mark.parametrize("metric", ROW_METRICS.values(), ids=lambda metric: metric.name)
def test_weights_are_rows_written_out(metric: RowMetric) -> None:
    """What makes resamples cheap: a row that is drawn three times is a row that stands there three times."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 3, 25) if metric.name == "auc" else draw.normal(size=25).round(1)
    said = draw.dirichlet(np.ones(3), 25) if metric.name == "auc" else (truth + draw.normal(size=25)).round(1)
    weights = draw.integers(0, 4, (6, 25)).astype(float)
    together = metric.of(weights, np.asarray(truth, float), said)
    for row, value in zip(weights.astype(int), together, strict=True):
        assert value == pytest.approx(metric(truth.repeat(row), said.repeat(row, axis=0)))


@pytest.mark.parametrize("metric", ROW_METRICS.values(), ids=lambda metric: metric.name)
def test_intervals_are_paired_seeded_and_hold_the_value(metric: RowMetric) -> None:
    draw = np.random.default_rng(5)
    truth = draw.integers(0, 2, 60) if metric.name == "auc" else draw.normal(size=60)
    if metric.name == "auc":
        good, poor = (both(list(np.clip(truth * step + draw.random(60), 0, 1.5) / 2)) for step in (0.5, 0.1))
    else:
        good, poor = truth + draw.normal(size=60) / 4, truth + draw.normal(size=60)
    one = bootstrap_rows(metric, truth, good, samples=400)
    assert one == bootstrap_rows(metric, truth, good, samples=400) != bootstrap_rows(metric, truth, good, seed=1)
    assert one.low <= one.value <= one.high and one.value == metric(truth, good)
    difference = paired_difference_rows(metric, truth, good, poor, samples=400)
    assert difference.excludes_zero and (difference.value < 0) == (metric.name in LOWER)
    same = paired_difference_rows(metric, truth, good, good, samples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 200 samples of a population with a correlation of 0.6 about 95 % have it in their interval."""
    draw = np.random.default_rng(11)
    inside = 0
    for seed in range(200):
        x = draw.normal(size=80)
        y = 0.6 * x + 0.8 * draw.normal(size=80)
        interval = bootstrap_rows(rowmetrics.pearson, x, y, samples=200, seed=seed)
        inside += interval.low <= 0.6 <= interval.high
    assert 178 <= inside <= 199


@pytest.mark.parametrize("metric", ROW_METRICS.values(), ids=lambda metric: metric.name)
def test_what_cannot_be_scored(metric: RowMetric) -> None:
    with pytest.raises(ValueError, match="1 reference rows, but 2 predicted ones"):
        metric([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no rows"):
        bootstrap_rows(metric, [], [])


def test_every_figure_that_is_no_share_is_known() -> None:
    assert PLAIN >= LOWER and PLAIN - {*METRICS} == {*ROW_METRICS} - {"auc"}
