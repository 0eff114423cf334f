"""Scores against scikit-learn and against brute force; intervals against simulation."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from unmask import metrics
from unmask.metrics import Interval

Rows = NDArray[np.int64]


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    labels = draw(st.integers(1, 7))
    rows = draw(st.lists(st.tuples(st.integers(0, labels - 1), st.integers(0, labels - 1)), min_size=1))
    return labels, [row[0] for row in rows], [row[1] for row in rows]


def simulated(rows: int, labels: int, right: float, seed: int) -> tuple[Rows, Rows]:
    """Skewed labels of which a model gets a share of about `right`."""
    generator = np.random.default_rng(seed)
    truth = np.minimum(generator.geometric(0.4, rows), labels) - 1
    said = np.where(generator.random(rows) < right, truth, generator.integers(0, labels, rows))
    return truth, said


@given(scored_rows())
def test_scores_equal_those_of_scikit_learn(rows: tuple[int, list[int], list[int]]) -> None:
    _, truth, said = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels that are never predicted
        assert metrics.accuracy(truth, said) == pytest.approx(oracle.accuracy_score(truth, said))
        assert metrics.macro_f1(truth, said) == pytest.approx(oracle.f1_score(truth, said, average="macro"))
        assert metrics.micro_f1(truth, said) == pytest.approx(oracle.f1_score(truth, said, average="micro"))
        assert metrics.matthews(truth, said) == pytest.approx(oracle.matthews_corrcoef(truth, said))


@given(scored_rows())
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_confusion_and_label_scores_equal_those_of_scikit_learn(
    rows: tuple[int, list[int], list[int]],
) -> None:
    labels, truth, said = rows
    every = list(range(labels))
    assert np.array_equal(
        metrics.confusion(truth, said, labels), oracle.confusion_matrix(truth, said, labels=every)
    )
    expected = oracle.precision_recall_fscore_support(truth, said, labels=every, zero_division=0)
    found = metrics.per_label(truth, said, labels)
    for index, score in enumerate(found):
        assert (score.precision, score.recall, score.f1) == pytest.approx(
            [row[index] for row in expected[:3]]
        )
        assert score.n == expected[3][index]


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
@pytest.mark.parametrize("labels", [2, 9])
def test_bootstrap_agrees_with_drawing_rows_one_by_one(metric: metrics.Metric, labels: int) -> None:
    truth, said = simulated(300, labels, 0.8, seed=3)
    found = metrics.bootstrap(metric, truth, said, labels, samples=4000, seed=1)
    generator = np.random.default_rng(2)
    draws = (generator.integers(0, 300, 300) for _ in range(1500))
    slow = [metric(truth[draw], said[draw]) for draw in draws]
    assert found.value == metric(truth, said)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.macro_f1], ids=lambda metric: metric.name)
def test_paired_difference_agrees_with_drawing_rows_one_by_one(metric: metrics.Metric) -> None:
    truth, a = simulated(400, 5, 0.85, seed=5)
    b = np.where(np.random.default_rng(6).random(400) < 0.8, a, simulated(400, 5, 0.5, seed=7)[1])
    found = metrics.paired_difference(metric, truth, a, b, samples=4000)
    generator = np.random.default_rng(8)
    draws = (generator.integers(0, 400, 400) for _ in range(1500))
    slow = [metric(truth[draw], a[draw]) - metric(truth[draw], b[draw]) for draw in draws]
    assert found.value == pytest.approx(metric(truth, a) - metric(truth, b))
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


def test_the_interval_covers_the_true_accuracy_as_often_as_it_says() -> None:
    """Of 400 simulated evaluations, 95 % are to cover; the standard error of that share is 1.1 %."""
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 3, 250)
        said = np.where(generator.random(250) < 0.8, truth, (truth + 1) % 3)
        interval = metrics.bootstrap(metrics.accuracy, truth, said, samples=400, seed=seed)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.915 <= covered / 400 <= 0.985


def test_equal_models_differ_significantly_as_seldom_as_the_level_says() -> None:
    found = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 2, 250)
        a, b = (np.where(generator.random(250) < 0.7, truth, 1 - truth) for _ in range(2))
        found += metrics.paired_difference(
            metrics.accuracy, truth, a, b, samples=400, seed=seed
        ).excludes_zero
    assert 0.01 <= found / 300 <= 0.10


def test_pairing_narrows_the_interval_of_models_that_err_on_the_same_rows() -> None:
    truth, a = simulated(500, 4, 0.7, seed=11)
    b = a.copy()
    b[:10] = (truth[:10] + 1) % 4
    paired = metrics.paired_difference(metrics.accuracy, truth, a, b)
    alone = metrics.bootstrap(metrics.accuracy, truth, a)
    assert paired.high - paired.low < (alone.high - alone.low) / 2
    assert metrics.paired_difference(metrics.accuracy, truth, a, a) == Interval(0.0, 0.0, 0.0)


def test_a_seed_repeats_and_the_work_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, said = simulated(200, 6, 0.8, seed=1)
    first = metrics.bootstrap(metrics.macro_f1, truth, said, seed=4)
    assert first != metrics.bootstrap(metrics.macro_f1, truth, said, seed=5)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 100)
    assert metrics.bootstrap(metrics.macro_f1, truth, said, seed=4) == first


def test_a_label_in_neither_column_changes_nothing() -> None:
    truth, said = simulated(200, 4, 0.8, seed=1)
    four, nine = (metrics.bootstrap(metrics.macro_f1, truth, said, labels) for labels in (4, 9))
    assert four == nine


@settings(max_examples=30)
@given(scored_rows(), st.sampled_from(list(metrics.METRICS.values())))
def test_the_interval_is_ordered_and_a_wider_level_is_wider(
    rows: tuple[int, list[int], list[int]], metric: metrics.Metric
) -> None:
    labels, truth, said = rows
    narrow, wide = (
        metrics.bootstrap(metric, truth, said, labels, samples=100, level=level) for level in (0.5, 0.99)
    )
    assert -1 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1


def test_excludes_zero() -> None:
    assert Interval(0.2, 0.1, 0.3).excludes_zero and Interval(-0.2, -0.3, -0.1).excludes_zero
    assert not Interval(0.2, -0.1, 0.3).excludes_zero and not Interval(0.1, 0.0, 0.3).excludes_zero


@pytest.mark.parametrize(
    ("truth", "said", "labels", "message"),
    [
        ([0, 1], [0], 2, "2 reference rows, but 1 predicted"),
        ([], [], 2, "no rows"),
        ([0, 2], [0, 1], 2, "0 to 1 allowed"),
        ([0, 1], [0, -1], 2, "0 to 1 allowed"),
        (["a"], ["a"], 2, "whole numbers"),
        ([0.5], [0.5], 2, "whole numbers"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(
    truth: list[int], said: list[int], labels: int, message: str
) -> None:
    for scored in (metrics.confusion, metrics.per_label):
        with pytest.raises(ValueError, match=message):
            scored(truth, said, labels)
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap(metrics.accuracy, truth, said, labels)
