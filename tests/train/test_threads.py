"""The number of threads is the smallest that no other beats clearly."""

import pytest
import torch

from unmask.data.shards import Shards
from unmask.train import threads
from unmask.train.recipe import PretrainRecipe, recipe_of


@pytest.mark.parametrize(
    ("costs", "best"),
    [({1: 9, 2: 5, 3: 1}, 3), ({1: 9, 2: 5, 3: 4.9}, 2), ({1: 9, 2: 8.5, 3: 10}, 1)],
)
def test_the_quickest_is_set(
    costs: dict[int, float],
    best: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a clock that says what each number of threads takes."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += costs[torch.get_num_threads()]
        return now

    monkeypatch.setattr(threads.time, "perf_counter", clock)
    try:
        assert threads.fastest(lambda: None, most=3) == best
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(1)


def test_real_steps_are_measured_and_leave_no_trace(corpus: Shards, recipe_values: dict[str, object]) -> None:
    recipe = recipe_of(PretrainRecipe, recipe_values, (), "the test")
    try:
        torch.set_num_threads(2)
        assert threads.fastest_for(recipe, corpus, count=2) == torch.get_num_threads() in (1, 2)
    finally:
        torch.set_num_threads(1)
