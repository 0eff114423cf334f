"""The number of threads is one of those that were measured, and the quickest of them."""

import itertools
from collections.abc import Callable

import pytest
import torch

from unmask.model.encoder import Encoder, EncoderConfig
from unmask.train import threads


def test_the_quickest_is_set(
    tiny: EncoderConfig, make_encoder: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that counts three threads as quickest."""
    clock = itertools.accumulate(
        itertools.count(), lambda now, _: now + {1: 9, 2: 5, 3: 1}[torch.get_num_threads()]
    )
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    try:
        assert threads.fastest(make_encoder(tiny), most=3) == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
