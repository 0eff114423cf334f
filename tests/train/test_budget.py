"""How a budget is written, and how many steps it means."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.train.budget import BUDGET_FORMS, Budget, TrainConfig


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("30s", 30, "seconds"),
        ("5m", 300, "seconds"),
        ("2h", 7200, "seconds"),
        ("1.5h", 5400, "seconds"),
        ("1h30m", 5400, "seconds"),
        ("1d", 86400, "seconds"),
        ("1000 steps", 1000, "steps"),
        ("1,000 steps", 1000, "steps"),
        ("1_000 Steps", 1000, "steps"),
        ("1 step", 1, "steps"),
        ("10M tokens", 10_000_000, "tokens"),
        ("2.5k tokens", 2500, "tokens"),
        ("1g tokens", 10**9, "tokens"),
        ("3 epochs", 3, "epochs"),
        ("0.5 epoch", 0.5, "epochs"),
        ("  3epochs ", 3, "epochs"),
    ],
)
def test_forms(text: str, amount: float, unit: str) -> None:
    assert Budget.parse(text) == Budget(amount, unit)  # type: ignore[arg-type]


@given(st.integers(0, 9), st.integers(0, 30), st.integers(0, 90), st.integers(0, 90))
def test_clock_times_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        with refused(repr(text), BUDGET_FORMS, kind=ValueError):
            Budget.parse(text)
    else:
        assert Budget.parse(text) == Budget(total, "seconds")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "m",
        "-5m",
        "0s",
        "0 steps",
        "five minutes",
        "5m5h",
        "10 M",
        "1e3 steps",
        "inf steps",
        "3 eons",
    ],
)
def test_other_forms_are_refused_and_the_allowed_ones_named(text: str) -> None:
    with refused(repr(text), BUDGET_FORMS, kind=ValueError):
        Budget.parse(text)
    with refused(repr(text), BUDGET_FORMS, kind=ValueError):
        TrainConfig(budget=text)


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_value_error(text: str) -> None:
    try:
        assert Budget.parse(text).amount > 0
    except ValueError as error:
        assert repr(text) in str(error) and BUDGET_FORMS in str(error)


@given(amount=st.integers(1, 10**6), per_epoch=st.floats(0.01, 10**5), per_step=st.floats(1, 10**5))
def test_steps(amount: int, per_epoch: float, per_step: float) -> None:
    assert Budget(amount, "steps").steps(per_epoch, per_step) == amount
    assert Budget(amount, "seconds").steps(per_epoch, per_step) is None
    by_tokens, by_epochs = (Budget(amount, unit).steps(per_epoch, per_step) for unit in ("tokens", "epochs"))  # type: ignore[arg-type]
    assert by_tokens == max(1, math.ceil(amount / per_step - 1e-9))
    assert by_epochs == max(1, math.ceil(amount * per_epoch - 1e-9))


def test_three_epochs_of_ten_steps_are_thirty() -> None:
    """Not 31, whatever floating point makes of thirds."""
    for examples in range(1, 200):
        assert Budget(3, "epochs").steps(examples / 3, 1.0) == examples
