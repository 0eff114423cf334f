"""The rows of the log: what a row says of steps that were left out."""

from typing import Any

import pytest

from unmask.train.steps.loop import Step
from unmask.train.trainer import log_row


def step(number: int, loss: float, skipped: bool = False) -> Step:
    return Step(number, 0.0, number / 4, loss, {"masked": loss}, 1e-3, 1.0, 8, 0.5, 0.1, 0.5, None, skipped)


def row(*steps: Step) -> dict[str, Any]:
    return log_row(steps, 8 * len(steps))


def test_a_row_counts_the_steps_left_out_and_means_the_loss_of_the_others() -> None:
    found = row(step(1, 3.0), step(2, float("nan"), skipped=True), step(3, 5.0))
    assert (found["loss"], found["skipped"]) == (4.0, 1)
    assert found["tokens_per_second"] == 16 and found["data_wait"] == pytest.approx(0.2)


def test_a_row_of_steps_left_out_alone_has_no_loss_and_one_without_any_no_count() -> None:
    nothing = row(*(step(number, float("inf"), skipped=True) for number in (1, 2)))
    assert nothing["skipped"] == 2 and "loss" not in nothing
    assert "skipped" not in row(step(1, 3.0))
