"""Model FLOPs against torch's own counter on real steps, the rate of products, published peaks, and a whole trial."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from unmask.config import changed
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.learner.batch import Batch
from unmask.model import cost
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives import Masked
from unmask.train import bench
from unmask.train.bench import PARTS
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.steps import speed
from unmask.train.steps.device import Precision
from unmask.train.steps.optim import OptimizerConfig, build_optimizer
from unmask.train.transfer import Transfer, set_trainable

CPU = torch.device("cpu")


def learner_for(config: EncoderConfig) -> PretrainLearner:
    torch.manual_seed(0)
    return PretrainLearner(Encoder(config), [Masked(mask_prob=0.3).build(config, 4, range(5, config.vocab_size))])


def batch_of(learner: PretrainLearner, make_batch: Callable[..., Batch], lengths: list[int]) -> Batch:
    return learner.prepare(make_batch(lengths), 0)


SETTINGS: dict[str, dict[str, object]] = {
    "as bert": {},
    "pre-norm without biases": {"norm": "pre", "bias": False, "intermediate_size": 24},
    "gated": {"gated": True, "intermediate_size": 40},
    "narrow embeddings, shared layers": {"num_hidden_layers": 3, "num_hidden_groups": 1, "embedding_size": 8},
    "local layers": {"num_hidden_layers": 3, "attention_pattern": "LLG", "window": 3},
    "a local layer at last": {"num_hidden_layers": 3, "attention_pattern": "LGL", "window": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_flops_are_those_that_torch_counts(
    name: str, tiny: EncoderConfig, make_batch: Callable[..., Batch], reference_attention: None
) -> None:
    """Of packed sequences that are equally long, so that attention computes no padding."""
    learner = learner_for(changed(tiny, **SETTINGS[name]))
    config, batches, counted = learner.encoder.config, [], 0.0
    for lengths in ([32, 32], [20, 20, 20], [2]):
        batches.append(batch_of(learner, make_batch, lengths))
        with FlopCounterMode(display=False) as counter:
            learner(batches[-1]).share(batches[-1].target_counts).backward()
        counted += counter.get_total_flops()
        for length in lengths if "window" in SETTINGS[name] else ():
            # the reference computes what lies outside of the window of the two local layers, and masks it
            counted -= 2 * 12 * config.hidden_size * (length**2 - cost.attention_pairs(length, 3))
        # where some ask for fewer places than others, the reference computes as many for each
        few = batches[-1].output_layout.lengths
        if not config.is_local(config.num_hidden_layers - 1):
            counted -= 12 * config.hidden_size * lengths[0] * (max(few) * len(few) - sum(few))
    tokens = sum(batch.num_tokens for batch in batches)
    assert speed.flops_per_token(learner, batches) * tokens == pytest.approx(counted, rel=1e-12)


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize(("frozen", "blocks"), [(0, None), (1, None), (3, None), (4, None), (2, 2)])
def test_flops_of_what_is_frozen_are_those_that_torch_counts(
    frozen: int,
    blocks: int | None,
    embeddings: bool,
    tiny: EncoderConfig,
    make_batch: Callable[..., Batch],
    reference_attention: None,
) -> None:
    learner = learner_for(changed(tiny, num_hidden_layers=4, num_hidden_groups=blocks))
    set_trainable(learner, Transfer(freeze_layers=frozen, freeze_embeddings=embeddings))
    batch = batch_of(learner, make_batch, [24])
    with FlopCounterMode(display=False) as counter:
        learner(batch).share(batch.target_counts).backward()
    counted = speed.flops_per_token(learner, [batch]) * batch.num_tokens
    assert counted == pytest.approx(counter.get_total_flops(), rel=1e-12)


@given(length=st.integers(1, 40), window=st.integers(1, 50))
def test_the_pairs_of_a_window(length: int, window: int) -> None:
    places = np.arange(length)
    assert cost.attention_pairs(length, window) == (abs(places[:, None] - places) <= window).sum()


def test_the_shapes_are_those_of_the_linear_layers(tiny: EncoderConfig, make_batch: Callable[..., Batch]) -> None:
    learner = learner_for(changed(tiny, intermediate_size=40))
    batch = batch_of(learner, make_batch, [32, 20, 7])
    seen: dict[tuple[int, ...], int] = {}

    def see(layer: torch.nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        shape = (*given[0].shape, made.shape[-1])
        seen[shape] = seen.get(shape, 0) + 1

    *before, last = learner.encoder.blocks
    for layer in [*nn.ModuleList(before).modules(), *last.modules()]:
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(see)
    learner(batch)
    asked = batch.output_layout.token_indices
    assert asked is not None and len(asked) < batch.num_tokens
    seen[len(asked), 16, 16] += 1  # queries, and below keys and values: parts of one layer
    seen[batch.num_tokens, 16, 32] = 1
    seen[batch.target_counts["masked"], 16, tiny.vocab_size] = 1
    seen[batch.target_counts["masked"], 16, 16] = 1
    layers, _ = speed.model_work(learner, [batch])
    assert {shape[:3]: times for shape, times in layers.items()} == seen
    assert {shape[3] for shape in layers} == {3}


def test_the_rate_is_all_work_over_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock by which every product takes a second."""
    monkeypatch.setattr(speed, "_best", lambda product, device: (product(), 1.0)[1])
    layers = {(5, 3, 4, 3): 2, (6, 7, 2, 2): 1}
    with FlopCounterMode(display=False) as counter:
        rate = speed.gemm_rate(CPU, torch.float32, layers)
    assert counter.get_total_flops() == 6 * 5 * 3 * 4 + 4 * 6 * 7 * 2  # what was really multiplied
    assert rate == pytest.approx((2 * 6 * 5 * 3 * 4 + 4 * 6 * 7 * 2) / (2 * 3 + 2))


def test_long_products_are_cut_and_counted_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_best", lambda product, device: (product(), 1.0)[1])
    with FlopCounterMode(display=False) as counter:
        rate = speed.gemm_rate(CPU, torch.float32, {(4096, 8, 8, 3): 1})
    assert counter.get_total_flops() == 6 * 1024 * 8 * 8
    assert rate == pytest.approx(6 * 4096 * 8 * 8 / (3 * 4))


def test_the_rate_of_a_device_is_finite_and_positive() -> None:
    assert 0 < speed.gemm_rate(CPU, torch.bfloat16, {(16, 16, 16, 3): 3}) < math.inf


def test_shares_are_those_of_the_rates(
    recipe_values: dict[str, Any], corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = fit_to_corpus(parse_recipe(PretrainRecipe, recipe_values, (), "the test"), corpus.tokenizer)
    learner, batches = build_learner(recipe, corpus.tokenizer), build_batches(recipe, corpus)
    monkeypatch.setattr(speed, "gemm_rate", lambda *_: 4e9)
    monkeypatch.setattr(speed, "peak_flops", lambda *_: 1e10)
    found = speed.measure_speed(learner, batches, Precision(), 1000.0, 0.25)
    each = found["flops_per_token"]
    assert found["gemm_share"] == pytest.approx(1000 * each / 4e9, rel=1e-3)
    assert found["mfu"] == pytest.approx(1000 * each / 1e10, rel=1e-3)
    told = json.loads(json.dumps(found))
    assert told["device"] == "cpu" and told["dtype"] == "float32" and told["threads"] == 1
    assert told["data_wait"] == 0.25 and told["peak_memory"] > 2**20
    monkeypatch.undo()
    assert speed.measure_speed(learner, batches, Precision(), 1000.0, 0.25)["mfu"] is None


@pytest.mark.parametrize(
    ("name", "dtype", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA H200", torch.float32, 67e12),
        ("NVIDIA A10", torch.bfloat16, 125e12),
        ("NVIDIA L4", torch.bfloat16, 121e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
        ("NVIDIA GeForce RTX 4090", torch.bfloat16, 165.2e12),
        ("NVIDIA A10G", torch.bfloat16, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", torch.bfloat16, None),
        ("NVIDIA H100 80GB HBM3", torch.int8, None),
        ("Another", torch.bfloat16, None),
        ("cpu", torch.float32, None),
    ],
)
def test_published_peaks(name: str, dtype: torch.dtype, rate: float | None) -> None:
    assert speed.peak_flops(name, dtype) == rate


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_parts_of_a_step_are_those_of_its_operations(
    norm: str, tiny: EncoderConfig, make_batch: Callable[..., Batch]
) -> None:
    """Forward and backward: what a part computes many times more of, takes more of the time."""
    learner = learner_for(changed(tiny, norm=norm)).train()
    optimizer = build_optimizer(OptimizerConfig(), learner)
    batch = batch_of(learner, make_batch, [12, 9])

    def step() -> None:
        learner(batch).share(batch.target_counts).backward()
        optimizer.step()

    step()
    found = bench.profile_steps(learner, step)
    assert set(found) == set(PARTS) and found["data"] == 0
    assert all(found[part] > 0 for part in PARTS if part != "data")
    right = F.gelu

    def slow(hidden: torch.Tensor) -> torch.Tensor:
        return sum((right(hidden) for _ in range(300)), torch.zeros(())) / 300

    learner.encoder.blocks[0].feed_forward.activation = slow  # type: ignore[union-attr]
    slower = bench.profile_steps(learner, step)
    assert max(slower, key=lambda part: slower[part]) == "feed-forward"
    assert not any("forward" in vars(module) for module in learner.modules())


def test_a_trial_runs_the_recipe_and_adds_up(
    recipe_values: dict[str, object], corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: False)  # it would stay so in this process
    recipe = parse_recipe(
        PretrainRecipe,
        recipe_values,
        ("train.budget=1 step", "train.gradient_accumulation_steps=2"),
        "the test",
    )
    trial = bench.run_benchmark(recipe, corpus, 0.2, SILENT)
    parts = trial["breakdown"]
    assert set(parts) == set(PARTS) and all(took >= 0 for took in parts.values())
    assert sum(parts.values()) == pytest.approx(trial["step_seconds"])
    assert min(parts[part] for part in PARTS if part != "data") > 0
    assert trial["steps"] >= 1 and trial["speed"]["tokens_per_second"] > 0 and trial["parameters"] > 96 * 16
    assert torch.get_num_threads() == 1
    assert json.loads(json.dumps(trial))["speed"]["gemm_share"] > 0
