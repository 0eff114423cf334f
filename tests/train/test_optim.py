"""Schedules at their corners, and which parameters are decayed."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.encoder import Encoder, EncoderConfig
from unmask.objectives import Masked
from unmask.train.optim import AdamW, Linear, Plateau, build, set_lr
from unmask.train.pretrain import PretrainLearner

shares = st.floats(0, 0.9, allow_subnormal=False)  # half of the least number above 0 is 0
schedules = st.one_of(
    st.builds(Linear, warmup=shares, floor=shares),
    st.builds(
        Plateau,
        warmup=st.floats(0, 0.4, allow_subnormal=False),
        cooldown=st.floats(0.05, 0.6),
        shape=st.sampled_from(["linear", "sqrt"]),
        floor=shares,
    ),
)


@given(schedules)
def test_up_then_down_to_the_floor(schedule: Linear | Plateau) -> None:
    assert schedule.factor(0.0) == (0 if schedule.warmup > 0 else pytest.approx(1))
    assert schedule.factor(schedule.warmup) == pytest.approx(1)
    assert schedule.factor(schedule.warmup / 2) == pytest.approx(0.5 if schedule.warmup > 0 else 1)
    assert schedule.factor(1.0) == pytest.approx(schedule.floor)
    after = [schedule.factor(schedule.warmup + (1 - schedule.warmup) * k / 100) for k in range(101)]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
    assert all(schedule.floor - 1e-12 <= factor <= 1 + 1e-12 for factor in after)


def test_linear_is_bert_s() -> None:
    schedule = Linear(warmup=0.1, floor=0.0)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.55) == pytest.approx(0.5)
    assert Linear(warmup=0.0, floor=0.2).factor(0.5) == pytest.approx(0.6)


def test_plateau_is_level_and_falls_at_the_end_only() -> None:
    schedule = Plateau(warmup=0.1, cooldown=0.4, shape="sqrt")
    assert {schedule.factor(x) for x in (0.1, 0.3, 0.6)} == {1.0}
    assert schedule.factor(0.7) == pytest.approx(1 - math.sqrt(0.25))
    assert Plateau(warmup=0.1, cooldown=0.4).factor(0.8) == pytest.approx(0.5)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_matrices_are_decayed_but_for_embeddings(positions: str) -> None:
    config = EncoderConfig(vocabulary=20, layers=2, width=8, heads=2, length=16, positions=positions)  # type: ignore[arg-type]
    learner = PretrainLearner(Encoder(config), [Masked().build(config, 4, 5)])
    optimizer = build(AdamW(decay=0.1), learner)
    names = {id(p): name for name, p in learner.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups
    }
    block = ["attention.qkv", "attention.output", "feed_forward.inner", "feed_forward.output"]
    wanted = {f"encoder.blocks.{n}.{part}.weight" for n in range(2) for part in block}
    assert groups[0.1] == wanted | {"objectives.masked.head.dense.weight"}
    assert groups[0.0] == set(names.values()) - groups[0.1]


def test_an_update_is_the_published_one() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, in float64 by hand."""
    module = torch.nn.Linear(2, 1, bias=False).double()
    start = module.weight.detach().clone()
    settings = AdamW(lr=0.1, beta1=0.8, beta2=0.9, eps=1e-3, decay=0.5)
    optimizer = build(settings, module)
    weight, m, v = start.clone(), torch.zeros(1, 2), torch.zeros(1, 2)
    for step, gradient in enumerate((torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.0]])), start=1):
        lr = 0.1 / step
        set_lr(optimizer, lr)
        module.weight.grad = gradient.double()
        optimizer.step()
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        mean, square = m / (1 - 0.8**step), v / (1 - 0.9**step)
        weight = weight - lr * 0.5 * weight - lr * mean / (square.sqrt() + 1e-3)
    torch.testing.assert_close(module.weight.detach(), weight, atol=1e-6, rtol=0)


def test_frozen_parameters_are_left_alone() -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.requires_grad_(False)
    assert [len(group["params"]) for group in build(AdamW(), module).param_groups] == [1]
