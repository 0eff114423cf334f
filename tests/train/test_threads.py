"""The number of threads is the smallest that no other beats clearly."""

from collections.abc import Callable

import pytest
import torch

from unmask.model.encoder import Encoder, EncoderConfig
from unmask.train import threads


@pytest.mark.parametrize(
    ("costs", "best"),
    [({1: 9, 2: 5, 3: 1}, 3), ({1: 9, 2: 5, 3: 4.9}, 2), ({1: 9, 2: 8.5, 3: 10}, 1)],
)
def test_the_quickest_is_set(
    costs: dict[int, float],
    best: int,
    tiny: EncoderConfig,
    make_encoder: Callable[..., Encoder],
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
        assert threads.fastest(make_encoder(tiny), tokens=128, most=3) == best
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(1)
