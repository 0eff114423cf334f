"""Model FLOPs against torch's own counter on real steps, the rate of products, published peaks, and a whole trial."""

import json
import math
from collections.abc import Callable

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
from unmask.data.encoded import EncodedRow
from unmask.learner.batch import Batch, pack
from unmask.model import cost
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives import Masked, NextSentence
from unmask.train import bench, breakdown, peaks, speed
from unmask.train.breakdown import PARTS
from unmask.train.optim import AdamW
from unmask.train.optim import build_param_groups as build_optimizer
from unmask.train.pretrain import PretrainLearner
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.transfer import Transfer, set_trainable

CPU = torch.device("cpu")


def learner_for(config: EncoderConfig, pairs: bool = True) -> PretrainLearner:
    torch.manual_seed(0)
    objectives = [Masked(mask_prob=0.3), *([NextSentence()] if pairs else [])]
    return PretrainLearner(Encoder(config), [o.build(config, 4, 5) for o in objectives])  # type: ignore[arg-type]


def batch_of(learner: PretrainLearner, make_batch: Callable[..., Batch], lengths: list[int]) -> Batch:
    batch = make_batch(lengths)
    if "next_sentence" in learner.objectives:
        batch = batch.with_targets("next_sentence", torch.zeros(len(lengths), dtype=torch.int64))
    return learner.prepare(batch, 0)


SETTINGS: dict[str, dict[str, object]] = {
    "as bert": {},
    "pre-norm without biases": {"norm": "pre", "bias": False, "intermediate_size": 24},
    "gated": {"gated": True, "intermediate_size": 40},
    "narrow embeddings, shared layers": {"num_hidden_layers": 3, "num_hidden_groups": 1, "embedding_size": 8},
    "local layers": {"num_hidden_layers": 3, "attention_pattern": "LLG", "window": 3},
    "a local layer at last": {"num_hidden_layers": 3, "attention_pattern": "LGL", "window": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("pairs", [False, True])
def test_flops_are_those_that_torch_counts(
    name: str, pairs: bool, tiny: EncoderConfig, make_batch: Callable[..., Batch], reference_attention: None
) -> None:
    """Of packed sequences that are equally long, so that attention computes no padding."""
    learner = learner_for(changed(tiny, **SETTINGS[name]), pairs)
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
    found = speed.flops(config, speed.BatchWork.of(batches))
    assert sum(found.values()) == counted
    tokens = sum(batch.num_tokens for batch in batches)
    assert speed.flops_per_token(learner, batches) == pytest.approx(counted / tokens)
    assert (found["pooling"] > 0) == pairs


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
    found = speed.flops(learner.encoder.config, speed.BatchWork.of([batch]), speed.TrainableParts.of(learner))
    assert sum(found.values()) == counter.get_total_flops()


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
    assert speed.shapes_of(learner, [batch]) == seen


def test_the_rate_is_all_work_over_all_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock by which every product takes a second."""
    monkeypatch.setattr(speed, "_best", lambda product, device: (product(), 1.0)[1])
    shapes = {(5, 3, 4): 2, (6, 7, 2): 1}
    with FlopCounterMode(display=False) as counter:
        rate = speed.gemm_rate(CPU, torch.float32, shapes, seconds=1e9)
    once = 6 * (5 * 3 * 4 + 6 * 7 * 2)
    assert counter.get_total_flops() == once + 2 * 384**3  # what was really multiplied, and the first guess
    assert rate == pytest.approx(6 * (2 * 5 * 3 * 4 + 6 * 7 * 2) / (3 * 3))


def test_long_products_are_cut_and_counted_as_if_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_best", lambda product, device: product().numel() / 1000)
    whole = speed.gemm_rate(CPU, torch.float32, {(2048, 8, 8): 1}, seconds=1e12)
    with FlopCounterMode(display=False) as counter:
        cut = speed.gemm_rate(CPU, torch.float32, {(2048, 8, 8): 1}, seconds=1e-12)
    assert counter.get_total_flops() == 6 * 256 * 8 * 8 + 2 * 384**3
    # by this clock the two products over all rows take what their rows say; the third is 64 numbers at any length
    assert cut == pytest.approx(whole * (2 * 2048 * 8 + 64) / (2 * 2048 * 8 + 64 * 8))


def test_the_rate_of_a_device_is_finite_and_positive() -> None:
    rate = speed.gemm_rate(CPU, torch.bfloat16, {(16, 16, 16): 3})
    assert 0 < rate < math.inf


def test_shares_are_those_of_the_rates(
    tiny: EncoderConfig, make_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_for(tiny)
    batch = batch_of(learner, make_batch, [32, 20, 7])
    monkeypatch.setattr(speed, "gemm_rate", lambda *_: 4e9)
    monkeypatch.setattr(speed, "peak_flops", lambda *_: 1e10)
    found = speed.measure_speed(learner, [batch], 1000.0, 0.25)
    each = speed.flops_per_token(learner, [batch])
    assert found.gemm_share == pytest.approx(1000 * each / 4e9)
    assert found.mfu == pytest.approx(1000 * each / 1e10)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["device"] == "cpu" and told["dtype"] == "float32" and told["threads"] == 1
    assert told["data_wait"] == 0.25 and told["peak_memory"] > 2**20
    monkeypatch.setattr(speed, "peak_flops", lambda *_: None)
    assert speed.measure_speed(learner, [batch], 1000.0).to_dict()["mfu"] is None


@pytest.mark.parametrize(
    ("name", "dtype", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA H200", torch.float32, 67e12),
        ("NVIDIA A100-SXM4-40GB", torch.float16, 312e12),
        ("NVIDIA A10", torch.bfloat16, 125e12),
        ("NVIDIA L4", torch.bfloat16, 121e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
        ("NVIDIA GeForce RTX 4090", torch.bfloat16, 165.2e12),
        ("Tesla V100-SXM2-16GB", torch.float32, 15.7e12),
        ("Tesla T4", torch.float16, 65e12),
        ("Tesla T4", torch.bfloat16, None),
        ("NVIDIA A10G", torch.bfloat16, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", torch.bfloat16, None),
        ("NVIDIA H100 80GB HBM3", torch.int8, None),
        ("Another", torch.bfloat16, None),
    ],
)
def test_published_peaks(name: str, dtype: torch.dtype, rate: float | None) -> None:
    assert peaks.peak_flops(name, dtype) == rate


ZEN4 = {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "avx2 fma avx512f avx512_bf16"}
XEON = {"vendor_id": "GenuineIntel", "cpu family": "6", "flags": "avx2 fma avx512f amx_bf16"}


@pytest.mark.parametrize(
    ("facts", "dtype", "each"),
    [
        (ZEN4, torch.float32, 32),
        (ZEN4, torch.bfloat16, 64),
        ({**ZEN4, "cpu family": "26"}, torch.float32, 64),
        (XEON, torch.float64, 32),
        (XEON, torch.bfloat16, 2048),
        ({"flags": "avx2 fma"}, torch.float32, 32),
        ({"flags": "avx2 fma"}, torch.bfloat16, None),
        ({"flags": "sse2"}, torch.float32, None),
        ({}, torch.float32, None),
    ],
)
def test_nominal_peaks_of_processors(facts: dict[str, str], dtype: torch.dtype, each: int | None) -> None:
    found = peaks.cpu_peak_flops({"cpu MHz": "2500.0", **facts}, dtype, 3)
    assert found == (None if each is None else 3 * 2.5e9 * each)
    assert peaks.cpu_peak_flops(facts, dtype, 3) is None  # no clock, no rate


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_parts_of_a_step_are_those_of_its_operations(
    norm: str, tiny: EncoderConfig, make_batch: Callable[..., Batch]
) -> None:
    """Forward and backward: what a part computes many times more of, takes more of the time."""
    learner = learner_for(changed(tiny, norm=norm)).train()
    optimizer = build_optimizer(AdamW(), learner)
    batch = batch_of(learner, make_batch, [12, 9])

    def step() -> None:
        learner(batch).share(batch.target_counts).backward()
        optimizer.step()

    step()
    found = breakdown.profile_steps(learner, step)
    assert set(found) == set(PARTS) and found["data"] == 0
    assert all(found[part] > 0 for part in PARTS if part != "data")
    right = F.gelu

    def slow(hidden: torch.Tensor) -> torch.Tensor:
        return sum((right(hidden) for _ in range(300)), torch.zeros(())) / 300

    learner.encoder.blocks[0].feed_forward.activation = slow  # type: ignore[union-attr]
    slower = breakdown.profile_steps(learner, step)
    assert max(slower, key=lambda part: slower[part]) == "feed-forward"
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in learner.modules())


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
    assert set(trial.breakdown) == set(PARTS) and all(took >= 0 for took in trial.breakdown.values())
    assert sum(trial.breakdown.values()) == pytest.approx(trial.step_seconds)
    assert min(trial.breakdown[part] for part in PARTS if part != "data") > 0
    assert trial.steps >= 1 and trial.speed.tokens_per_second > 0 and trial.parameters > 96 * 16
    assert torch.get_num_threads() == 1
    assert json.loads(json.dumps(trial.to_dict()))["speed"]["gemm_share"] > 0


def test_lengths_of_a_batch_are_read_as_they_are() -> None:
    rows = [
        EncodedRow(np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.uint8), example=n) for n in (3, 9)
    ]
    assert speed.BatchWork.of([pack(rows), pack(rows[:1])]) == speed.BatchWork([9, 3, 3], [9, 3, 3])
