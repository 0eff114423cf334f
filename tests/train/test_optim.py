"""Schedules at their corners, which parameters are decayed, Muon against torch's own and against the exact factors."""

import copy
import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from errors import refused
from unmask import files
from unmask.console import SILENT
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Attention, Encoder, FeedForward
from unmask.objectives import Masked
from unmask.schedules import Cosine, Linear, WarmupStableDecay
from unmask.train import trainer as fit
from unmask.train.pretrain import PretrainLearner, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.run import Run
from unmask.train.steps.optim import (
    BETA1,
    EPS,
    MATRIX_FACTOR,
    MOMENTUM,
    OptimizerConfig,
    build_optimizer,
    orthogonalize,
    set_lr,
)

shares = st.floats(0, 0.9, allow_subnormal=False)  # half of the least number above 0 is 0
schedules = st.one_of(
    st.builds(Linear, warmup_ratio=shares, min_lr_ratio=shares),
    st.builds(Cosine, warmup_ratio=shares, min_lr_ratio=shares),
    st.builds(
        WarmupStableDecay,
        warmup_ratio=st.floats(0, 0.4, allow_subnormal=False),
        decay_ratio=st.floats(0.05, 0.6),
        decay_type=st.sampled_from(["linear", "sqrt"]),
        min_lr_ratio=shares,
    ),
)


@given(schedules)
def test_up_then_down_to_the_floor(schedule: Linear | Cosine | WarmupStableDecay) -> None:
    assert schedule.factor(0.0) == (0 if schedule.warmup_ratio > 0 else pytest.approx(1))
    assert schedule.factor(schedule.warmup_ratio) == pytest.approx(1)
    assert schedule.factor(schedule.warmup_ratio / 2) == pytest.approx(0.5 if schedule.warmup_ratio > 0 else 1)
    assert schedule.factor(1.0) == pytest.approx(schedule.min_lr_ratio)
    after = [schedule.factor(schedule.warmup_ratio + (1 - schedule.warmup_ratio) * k / 100) for k in range(101)]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))
    assert all(schedule.min_lr_ratio - 1e-12 <= factor <= 1 + 1e-12 for factor in after)


def test_linear_is_bert_s() -> None:
    schedule = Linear(warmup_ratio=0.1, min_lr_ratio=0.0)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.55) == pytest.approx(0.5)
    assert Linear(warmup_ratio=0.0, min_lr_ratio=0.2).factor(0.5) == pytest.approx(0.6)


@given(warmup=shares, floor=shares, into=st.floats(0, 1))
def test_cosine_is_that_of_torch(warmup: float, floor: float, into: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000, eta_min=floor)
    with warnings.catch_warnings():  # that it should be called after the optimiser
        warnings.simplefilter("ignore")
        theirs.last_epoch = round(1000 * into)
        (expected,) = theirs._get_closed_form_lr()
    progress = warmup + (1 - warmup) * round(1000 * into) / 1000
    assert Cosine(warmup_ratio=warmup, min_lr_ratio=floor).factor(progress) == pytest.approx(expected, abs=1e-9)


def test_plateau_is_level_and_falls_at_the_end_only() -> None:
    schedule = WarmupStableDecay(warmup_ratio=0.1, decay_ratio=0.4, decay_type="sqrt")
    assert {schedule.factor(x) for x in (0.1, 0.3, 0.6)} == {1.0}
    assert schedule.factor(0.7) == pytest.approx(1 - math.sqrt(0.25))
    assert WarmupStableDecay(warmup_ratio=0.1, decay_ratio=0.4).factor(0.8) == pytest.approx(0.5)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_matrices_are_decayed_but_for_embeddings(positions: str) -> None:
    config = EncoderConfig(
        vocab_size=20,
        num_hidden_layers=2,
        hidden_size=8,
        num_attention_heads=2,
        max_position_embeddings=16,
        position_embedding_type=positions,
    )  # type: ignore[arg-type]
    learner = PretrainLearner(Encoder(config), [Masked().build(config, 4, range(5, config.vocab_size))])
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1), learner)
    names = {id(p): name for name, p in learner.named_parameters()}
    groups = {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups}
    block = ["attention.qkv", "attention.output", "feed_forward.inner", "feed_forward.output"]
    wanted = {f"encoder.blocks.{n}.{part}.weight" for n in range(2) for part in block}
    assert groups[0.1] == wanted | {"objectives.masked.head.dense.weight"}
    assert groups[0.0] == set(names.values()) - groups[0.1]


def as_learner(module: Any) -> Any:
    module.lr_factors, module.no_weight_decay = {}, ()
    return module


def test_an_update_is_the_published_one() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, in float64 by hand."""
    module = torch.nn.Linear(2, 1, bias=False).double()
    start = module.weight.detach().clone()
    optimizer = build_optimizer(OptimizerConfig(lr=0.1, beta2=0.9, weight_decay=0.5), as_learner(module))
    weight, m, v = start.clone(), torch.zeros(1, 2), torch.zeros(1, 2)
    for step, gradient in enumerate((torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.0]])), start=1):
        lr = 0.1 / step
        set_lr(optimizer, lr)
        module.weight.grad = gradient.double()
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.9 * v + 0.1 * gradient**2
        mean, square = m / (1 - 0.9**step), v / (1 - 0.9**step)
        weight = weight - lr * 0.5 * weight - lr * mean / (square.sqrt() + 1e-6)
    torch.testing.assert_close(module.weight.detach(), weight, atol=1e-6, rtol=0)


def test_frozen_parameters_are_left_alone() -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.requires_grad_(False)
    (group,) = build_optimizer(OptimizerConfig(), as_learner(module)).param_groups
    assert len(group["params"]) == 1


# Muon


def small_learner() -> PretrainLearner:
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=20,
        num_hidden_layers=2,
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    return PretrainLearner(Encoder(config), [Masked().build(config, 4, range(5, config.vocab_size))])


def matrices_of(learner: PretrainLearner) -> dict[str, torch.nn.Parameter]:
    return {n: p for n, p in learner.named_parameters() if ".blocks." in n and p.ndim == 2}


def draw_gradients(learner: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in learner.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def distance(one: Tensor, other: Tensor) -> float:
    """The length of their difference, as a share of the length of `other`."""
    return float((one - other).norm() / other.norm())


@given(count=st.integers(1, 3), rows=st.integers(2, 20), columns=st.integers(2, 20), seed=st.integers(0, 10**6))
def test_orthogonalised_keeps_singular_vectors_and_levels_singular_values(
    count: int, rows: int, columns: int, seed: int
) -> None:
    matrices = torch.randn(count, rows, columns, generator=torch.Generator().manual_seed(seed))
    found = orthogonalize(matrices)
    assert found.shape == matrices.shape and found.dtype == matrices.dtype
    for matrix, turned in zip(matrices.double(), found.double(), strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        inner = left.T @ turned @ right.T
        assert (inner - inner.diag().diag()).abs().max() < 1e-3
        for value in inner.diag()[values > 0.02 * values.norm()].tolist():
            assert 0.6 < value < 1.3
        assert inner.diag().min() > -1e-3, "no direction is turned round"


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_orthogonalised_takes_each_matrix_alone_at_any_size_and_either_way_round(
    rows: int, columns: int, scale: float
) -> None:
    matrices = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(rows + 10 * columns))
    found = orthogonalize(matrices)
    for matrix, turned in zip(matrices, found, strict=True):
        torch.testing.assert_close(orthogonalize(scale * matrix[None])[0], turned, atol=2e-3, rtol=0)
    torch.testing.assert_close(orthogonalize(matrices.mT).mT, found, atol=1e-4, rtol=0)


def test_no_gradient_no_direction() -> None:
    assert not orthogonalize(torch.zeros(2, 3, 4)).any()


def test_orthogonal_matrices_stay_about_what_they_are() -> None:
    matrix, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))
    found = orthogonalize(7 * matrix[None])[0]
    share = float((found * matrix).sum() / matrix.square().sum())
    torch.testing.assert_close(found, share * matrix, atol=1e-4, rtol=0)
    assert share == pytest.approx(1, abs=0.3)


def test_the_matrices_of_the_blocks_go_to_muon_and_all_else_to_adamw() -> None:
    learner = small_learner()
    optimizer = build_optimizer(OptimizerConfig(name="muon", weight_decay=0.1), learner)
    names = {id(p): name for name, p in learner.named_parameters()}
    groups = {
        (group["stacked"], group["weight_decay"]): {names[id(p)] for p in group["params"]}
        for group in optimizer.param_groups
    }
    assert groups[3, 0.1] == {f"encoder.blocks.{n}.attention.qkv.weight" for n in range(2)}
    assert groups[1, 0.1] == set(matrices_of(learner)) - groups[3, 0.1]
    assert groups[0, 0.1] == {"objectives.masked.head.dense.weight"}
    assert groups[0, 0.0] == set(names.values()) - groups[3, 0.1] - groups[1, 0.1] - groups[0, 0.1]
    assert len(groups) == 4 and sum(map(len, groups.values())) == len(names)
    assert {group["factor"] for group in optimizer.param_groups if group["stacked"]} == {MATRIX_FACTOR}


def test_the_learning_rate_of_the_matrices_is_a_multiple() -> None:
    learner = small_learner()
    learner.lr_factors, learner.no_weight_decay = {"objectives.": 0.5}, ["objectives."]
    optimizer = build_optimizer(OptimizerConfig(name="muon"), learner)
    set_lr(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.1, 0.4, 0.4])


def test_updates_of_matrices_are_torchs_muon_with_query_key_and_value_apart() -> None:
    """torch's works in bfloat16, with which an update is off by a few hundredths of its length."""
    learner = small_learner()
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(100)  # so that decay shows
    ours = build_optimizer(OptimizerConfig(name="muon", lr=0.02, weight_decay=0.3), learner)
    parts = {
        f"{name} {number}": part.detach().clone().requires_grad_()
        for name, parameter in matrices_of(learner).items()
        for number, part in enumerate(parameter.chunk(3 if "qkv" in name else 1))
    }
    theirs = torch.optim.Muon(
        list(parts.values()), momentum=MOMENTUM, weight_decay=0.3, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        lr = 0.02 / (1 + step)
        before = {name: parameter.detach().clone() for name, parameter in matrices_of(learner).items()}
        draw_gradients(learner, step)
        for name, parameter in matrices_of(learner).items():
            assert parameter.grad is not None
            count = 3 if "qkv" in name else 1
            chunks = zip(parameter.detach().chunk(count), parameter.grad.chunk(count), strict=True)
            for number, (weight, gradient) in enumerate(chunks):
                part = parts[f"{name} {number}"]
                part.data.copy_(weight)  # each step from the same weights; the momentum goes on
                part.grad = gradient.clone()
        set_lr(ours, lr)
        theirs.param_groups[0]["lr"] = MATRIX_FACTOR * lr
        ours.step()
        theirs.step()  # type: ignore[no-untyped-call]
        for name, parameter in matrices_of(learner).items():
            wanted = torch.cat([part.detach() for key, part in parts.items() if key.split()[0] == name])
            assert distance(parameter.detach() - before[name], wanted - before[name]) < 0.05, name


def test_an_update_of_a_matrix_is_as_large_as_adamws() -> None:
    """0.2 in the root of the mean square (Liu et al. 2025, section 2.2), but for the least singular values."""
    learner = small_learner()
    optimizer = build_optimizer(OptimizerConfig(name="muon", lr=1.0, weight_decay=0.0), learner)
    before = {name: parameter.detach().clone() for name, parameter in matrices_of(learner).items()}
    draw_gradients(learner, 0)
    optimizer.step()
    for name, parameter in matrices_of(learner).items():
        change = (parameter.detach() - before[name]).square().mean().sqrt()
        assert 0.13 < float(change) < 0.25, name


@pytest.mark.parametrize(("part", "weight", "count"), [(Attention, "qkv", 3), (FeedForward, "inner", 2)])
def test_matrices_that_stand_in_one_learn_apart(part: type[torch.nn.Module], weight: str, count: int) -> None:
    """Query, key and value; the gate and what it lets through."""

    class Within(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList([inner])

    torch.manual_seed(1)
    config = EncoderConfig(
        vocab_size=8, hidden_size=8, num_attention_heads=2, intermediate_size=12, gated=True, bias=False
    )
    one = Within(part(config))
    whole = one.get_parameter(f"blocks.0.{weight}.weight")
    assert whole.shape == (24, 8)
    apart = Within(torch.nn.ParameterDict({str(n): x.detach().clone() for n, x in enumerate(whole.chunk(count))}))
    scale = torch.tensor([1.0, 50.0, 0.1][:count]).repeat_interleave(24 // count).unsqueeze(1)
    whole.grad = torch.randn(24, 8) * scale
    for parameter, gradient in zip(apart.parameters(), whole.grad.chunk(count), strict=True):
        parameter.grad = gradient.clone()
    for module in (one, apart):
        build_optimizer(OptimizerConfig(name="muon", lr=0.1), as_learner(module)).step()
    torch.testing.assert_close(whole.detach(), torch.cat(list(apart.parameters())).detach())


def test_all_else_gets_torchs_adamw_to_the_last_bit() -> None:
    learner = small_learner()
    twin = copy.deepcopy(learner)
    learner.lr_factors = {"objectives.masked.head.bias": 3.0}
    ours = build_optimizer(OptimizerConfig(name="muon", lr=0.1, beta2=0.9, weight_decay=0.2), learner)
    head = {"objectives.masked.head.dense.weight": (0.2, 1.0), "objectives.masked.head.bias": (0.0, 3.0)}
    theirs = [
        torch.optim.AdamW([p], lr=0.1 * factor, betas=(BETA1, 0.9), eps=EPS, weight_decay=decay, fused=True)
        for name, p in twin.named_parameters()
        for decay, factor in (head.get(name, (0.0, 1.0)),)
        if name not in matrices_of(twin)
    ]
    set_lr(ours, 0.1)
    for step in range(3):
        for module in (learner, twin):
            draw_gradients(module, step)
        for optimizer in (ours, *theirs):
            optimizer.step()
    for (name, parameter), other in zip(learner.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter, other) == (name not in matrices_of(twin)), name


def test_parameters_without_weight_decay_keep_to_adamw() -> None:
    learner = small_learner()
    learner.lr_factors, learner.no_weight_decay = {"encoder.blocks.1.": 0.25}, ["encoder.blocks.1."]
    optimizer = build_optimizer(OptimizerConfig(name="muon", weight_decay=0.1), learner)
    names = {id(p): name for name, p in learner.named_parameters()}
    (own,) = [group for group in optimizer.param_groups if group["factor"] == 0.25]
    assert {names[id(p)] for p in own["params"]} == {n for n in names.values() if ".blocks.1." in n}
    assert own["weight_decay"] == 0 and not own["stacked"]
    turned = [names[id(p)] for group in optimizer.param_groups if group["stacked"] for p in group["params"]]
    assert turned and all(".blocks.0." in name for name in turned)


def test_muon_leaves_alone_what_is_frozen_or_has_no_gradient() -> None:
    learner = small_learner()
    matrices = matrices_of(learner)
    frozen, idle = "encoder.blocks.0.attention.qkv.weight", "encoder.blocks.1.attention.output.weight"
    matrices[frozen].requires_grad_(False)
    before = {name: parameter.detach().clone() for name, parameter in matrices.items()}
    optimizer = build_optimizer(OptimizerConfig(name="muon", weight_decay=0.5), learner)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(matrices[frozen]) not in held and id(matrices[idle]) in held
    draw_gradients(learner, 0)
    matrices[idle].grad = None
    optimizer.step()
    same = {name for name, parameter in matrices.items() if torch.equal(parameter, before[name])}
    assert same == {frozen, idle}


def test_a_run_with_muon_goes_on_from_its_checkpoint_to_the_same_bytes(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {"budget": "7 steps", "save_minutes": 1e-9, "optimizer": {"name": "muon", "lr": 0.01}}
    recipe = parse_recipe(PretrainRecipe, {**recipe_values, "train": train}, (), "the test")
    straight = pretrain(recipe, output=tmp_path / "straight", progress=SILENT)
    monkeypatch.setattr(fit, "LOG_EVERY", 0.0)
    append = Run.append

    def stopping(self: Run, **row: Any) -> None:
        append(self, **row)
        if row["step"] == 5:
            raise RuntimeError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "append", stopping)
        with refused("power", kind=RuntimeError):
            pretrain(recipe, output=tmp_path / "stopped", progress=SILENT)
    newest = max((tmp_path / "stopped" / "checkpoints").glob("step-*"))
    assert files.read_json(newest / "state.json")["step"] == 4
    kept = load_file(newest / "optimizer.safetensors")
    means = [tensor for name, tensor in kept.items() if name.endswith(".momentum")]
    assert len(means) == 4 and all(mean.any() for mean in means)  # of one block: qkv, output, inner, output
    again = pretrain(recipe, output=tmp_path / "stopped", progress=SILENT)
    assert again.steps == straight.steps == 7 and again.heldout_figures == straight.heldout_figures
    sums = {files.sha256(result.model / "model.safetensors") for result in (again, straight)}
    assert len(sums) == 1


def test_the_optimiser_is_adamw_where_a_recipe_does_not_say(recipe_values: dict[str, Any]) -> None:
    for given_, wanted in (
        ({}, OptimizerConfig()),
        ({"lr": 0.5}, OptimizerConfig(lr=0.5)),
        ({"name": "adamw", "beta2": 0.9}, OptimizerConfig(beta2=0.9)),
        ("muon", OptimizerConfig(name="muon")),
        ({"name": "muon", "weight_decay": 0.5}, OptimizerConfig(name="muon", weight_decay=0.5)),
    ):
        values = {**recipe_values, "train": {"optimizer": given_}}
        assert parse_recipe(PretrainRecipe, values, (), "the test").train.optimizer == wanted
