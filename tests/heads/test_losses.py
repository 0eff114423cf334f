"""Losses of classification against their formulas, and where they are cross-entropy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.config import dump, from_mapping
from unmask.heads.text import summed_loss
from unmask.tasks.classify import Classify, CrossEntropy, Focal, LogitAdjusted

WEIGHTS = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)


def drawn(seed: int = 0, rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 3, generator=draw, dtype=torch.float64)
    return 3 * logits, torch.randint(3, (rows,), generator=draw)


@given(st.integers(0, 99), st.sampled_from([0.0, 0.2]), st.booleans())
def test_what_is_off_is_cross_entropy(seed: int, smoothing: float, weighted: bool) -> None:
    logits, wanted = drawn(seed)
    weights = WEIGHTS if weighted else None
    plain = F.cross_entropy(logits, wanted, weights, label_smoothing=smoothing, reduction="sum")
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64).log()
    for loss in (CrossEntropy(), Focal(gamma=0), LogitAdjusted(), LogitAdjusted(tau=0)):
        settings = Classify(loss=loss, label_smoothing=smoothing)
        found = summed_loss(settings, logits, wanted, weights, uniform)
        torch.testing.assert_close(found, plain)


def test_focal_loss_is_its_formula() -> None:
    logits, wanted = drawn()
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    right = shares[np.arange(8), wanted.numpy()]
    focal = Classify(loss=Focal(gamma=1.5))
    formula = -((1 - right) ** 1.5 * np.log(right))
    assert summed_loss(focal, logits, wanted, None, None).item() == pytest.approx(formula.sum())
    weighted = (WEIGHTS.numpy()[wanted.numpy()] * formula).sum()
    assert summed_loss(focal, logits, wanted, WEIGHTS, None).item() == pytest.approx(weighted)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_rows_that_are_certain_has_a_finite_slope(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    total = summed_loss(Classify(loss=Focal(gamma=gamma)), logits, torch.tensor([0, 0]), None, None)
    total.backward()
    assert total.item() == pytest.approx(200.0, rel=1e-5)
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_logit_adjustment_is_its_formula() -> None:
    logits, wanted = drawn()
    counts = np.array([5, 2, 1])
    priors = torch.from_numpy(np.log(counts / 8))
    raised = np.exp(logits.numpy()) * (counts / 8) ** 0.7
    right = raised[np.arange(8), wanted.numpy()] / raised.sum(-1)
    found = summed_loss(Classify(loss=LogitAdjusted(tau=0.7)), logits, wanted, None, priors)
    assert found.item() == pytest.approx(-np.log(right).sum(), rel=1e-5)


def test_a_name_alone_is_enough_and_settings_are_checked() -> None:
    for given_, meant in (
        ("focal", Focal()),
        ({"name": "focal", "gamma": 1}, Focal(gamma=1.0)),
        ("cross_entropy", CrossEntropy()),
        ({"name": "logit_adjusted", "tau": 0.5}, LogitAdjusted(tau=0.5)),
    ):
        settings = from_mapping(Classify, {"loss": given_}, "x")
        assert settings.loss == meant and from_mapping(Classify, dump(settings), "x") == settings
    assert Classify().loss == CrossEntropy()
    with refused("x: loss", "'fokal'", "cross_entropy, focal, logit_adjusted") as caught:
        from_mapping(Classify, {"loss": "fokal"}, "x")
    assert "focal" in caught.value.facts["hint"]
    with refused("x: loss.gamma", "-1"):
        from_mapping(Classify, {"loss": {"name": "focal", "gamma": -1}}, "x")
