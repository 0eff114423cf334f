"""The engine: intervals of means against rows drawn one by one, distinct rows against numpy, how figures are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.metrics import FIGURES, Interval, figure_of, format_score, metrics_of
from unmask.metrics.compare import KINDS
from unmask.metrics.figures import Means, bootstrap, difference


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=60), st.integers(0, 9))
def test_the_interval_of_a_mean_is_that_of_resampled_rows(values: list[float], seed: int) -> None:
    found = bootstrap(Means("mrr", np.array(values)), seed=seed)["mrr"]
    assert found.value == np.mean(values)
    drawn = np.random.default_rng(seed + 100).choice(values, (4000, len(values))).mean(1)
    step = 1 / len(values) + 1e-9  # one row more or less
    assert found.low == pytest.approx(np.quantile(drawn, 0.025), abs=step)
    assert found.high == pytest.approx(np.quantile(drawn, 0.975), abs=step)
    again = bootstrap(Means("mrr", np.array(values[::-1])), seed=seed)["mrr"]
    assert (again.low, again.high) == (found.low, found.high)


def test_the_difference_of_means_is_paired() -> None:
    draw = np.random.default_rng(0)
    a = draw.random(400)
    b = a - 0.05 + 0.01 * draw.normal(size=400)
    found = bootstrap(difference(Means("mrr", a), Means("mrr", b)))["mrr"]
    alone = bootstrap(Means("mrr", a))["mrr"]
    assert found.value == pytest.approx(float((a - b).mean())) and found.low > 0
    assert found.high - found.low < 0.01 < alone.high - alone.low
    with pytest.raises(ValueError):
        difference(Means("mrr", a), Means("mrr", b[:-1]))
    with pytest.raises(ValueError):
        bootstrap(Means("mrr", np.array([])))


def test_figures_are_read_in_per_cent_or_as_they_are() -> None:
    assert format_score("classify.accuracy", 0.934) == "93.4%" and format_score("mae", 0.934) == "0.934"
    interval = Interval(0.934, 0.9, 0.95)
    assert interval.format("accuracy") == "93.4 [90.0, 95.0]"
    assert interval.format("accuracy", unit=True) == "93.4 [90.0, 95.0] %"
    assert interval.format("pearson", unit=True) == "0.934 [0.900, 0.950]"
    assert figure_of("masked.perplexity").title == "perplexity"


def test_every_figure_of_every_kind_has_a_title() -> None:
    named = {name for kind in KINDS for name in (*metrics_of(kind.name), *kind.figures, *kind.in_training)}
    assert named <= set(FIGURES)
