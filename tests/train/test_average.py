"""The moving average of the weights: its weights in closed form, and what evaluation and checkpoints see of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.train.checkpoint import Checkpoints
from unmask.train.steps.ema import EMA


def learner() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2).double()


def walked(share: float, ends: list[float], values: list[float]) -> tuple[torch.nn.Linear, EMA]:
    """A learner whose weights were all `values[k]` from progress `ends[k - 1]` to `ends[k]`."""
    module = learner()
    average = EMA(module, share)
    for since, end, value in zip([0.0, *ends], ends, values, strict=False):
        torch.nn.init.constant_(module.weight, value)
        average.update(since, end)
    return module, average


def test_what_lies_back_counts_exponentially_less() -> None:
    ends = list(np.linspace(0, 1, 401)[1:])
    values = list(np.random.default_rng(0).normal(size=400))
    _, average = walked(0.1, ends, values)
    weights = np.exp(-(1 - np.array(ends)) / 0.1)
    expected = (weights * values).sum() / weights.sum()
    assert average.state_dict()["weight"].mean().item() == pytest.approx(expected, abs=2e-4)


def test_before_its_share_it_reaches_back_to_the_beginning_evenly() -> None:
    ends = list(np.linspace(0, 0.2, 2001)[1:])
    values = [1.0] * 1000 + [3.0] * 1000
    _, average = walked(0.5, ends, values)
    assert average.state_dict()["weight"].mean().item() == pytest.approx(2.0, abs=0.01)


@given(cut=st.integers(1, 9), share=st.floats(0.01, 0.9))
def test_finer_steps_of_the_same_weights_bring_the_same(cut: int, share: float) -> None:
    """After its first share, an average depends on progress alone, not on how many steps it took."""
    ends = [share, 1.0]
    once = walked(share, ends, [1.0, 2.0])[1].state_dict()["weight"]
    finer = [share, *np.linspace(share, 1.0, cut + 1)[1:]]
    often = walked(share, finer, [1.0] + [2.0] * cut)[1].state_dict()["weight"]
    assert torch.allclose(once, often)


def test_within_it_the_learner_has_the_average_and_then_its_own_again() -> None:
    module, average = walked(0.1, [0.1, 0.2], [1.0, 2.0])
    own, mean = module.weight.detach().clone(), average.state_dict()["weight"].clone()
    assert not torch.allclose(own, mean)
    with average.swapped():
        assert torch.equal(module.weight, mean)
    assert torch.equal(module.weight, own) and torch.equal(average.state_dict()["weight"], mean)
    average.copy_to_learner()
    assert torch.equal(module.weight, mean)


def test_a_checkpoint_keeps_both(tmp_path: Path) -> None:
    module, average = walked(0.1, [0.1, 0.2], [1.0, 2.0])
    optimizer = torch.optim.AdamW(module.parameters())
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save({"step": 3, "best_step": 3}, module, optimizer, average)
    kept.wait()
    fresh = learner()
    its = EMA(fresh, 0.1)
    kept.restore(fresh, torch.optim.AdamW(fresh.parameters()), its)
    assert torch.equal(fresh.weight, module.weight)
    assert torch.equal(its.state_dict()["weight"], average.state_dict()["weight"])
    kept.load_weights(3, fresh)
    assert torch.equal(fresh.weight, average.state_dict()["weight"])
    kept.close()
