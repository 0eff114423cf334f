"""Compiled blocks: one graph for all blocks and lengths, the same numbers, in training only; when a trial is made."""

import functools
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from unmask.data.corpus.shards import Shards
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.train import compiled
from unmask.train.budget import TrainConfig
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe, parse_recipe


def test_one_graph_serves_all_blocks_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is run as torch would run it by itself: making kernels of it takes too long for a test."""
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(
            vocab_size=50,
            num_hidden_layers=3,
            hidden_size=16,
            num_attention_heads=2,
            max_position_embeddings=64,
            norm="pre",
        )
    )
    plain = Encoder(encoder.config)
    plain.load_state_dict(encoder.state_dict())
    encoder.compiled_block = compiled.compile_block()
    for rows, length in ((4, 30), (3, 50), (5, 20)):
        mask = torch.ones(rows, length, dtype=torch.bool)
        ids = torch.randint(5, 50, (rows, length))
        ours, theirs = (net(ids, SequenceLayout.padded(mask)) for net in (encoder, plain))
        torch.testing.assert_close(ours, theirs)
        for states in (ours, theirs):
            states.square().sum().backward()
        for mine, its in zip(encoder.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, its.grad)
    assert counter.frame_count == 1
    encoder.eval()(ids[:2], SequenceLayout.padded(mask[:2]))
    assert counter.frame_count == 1


@pytest.fixture
def learner(recipe_values: dict[str, Any], corpus: Shards) -> PretrainLearner:
    recipe = fit_to_corpus(
        parse_recipe(PretrainRecipe, recipe_values, ("model.dropout=0",), "the test"), corpus.tokenizer
    )
    return build_learner(recipe, corpus.tokenizer)


@pytest.mark.parametrize(
    ("budget", "plain", "faster", "pays"),
    [
        ("20m", 1.0, 0.8, True),
        ("20m", 1.0, 1.1, False),
        ("10m", 1.0, 0.1, False),  # too short for a trial
        ("499 steps", 9.0, 0.1, False),
        ("1000 steps", 1.0, 0.8, True),
        ("1000 steps", 0.5, 0.1, False),
    ],
)
def test_compiling_pays_where_steps_take_less_time_in_a_long_run(
    learner: PretrainLearner,
    recipe_values: dict[str, Any],
    corpus: Shards,
    monkeypatch: pytest.MonkeyPatch,
    budget: str,
    plain: float,
    faster: float,
    pays: bool,
) -> None:
    def seconds(tried: PretrainLearner, *_: object) -> float:
        assert tried is not learner
        return plain if tried.encoder.compiled_block is None else faster

    monkeypatch.setattr(compiled, "_seconds", seconds)
    recipe = parse_recipe(PretrainRecipe, recipe_values, (), "the test")
    batches = build_batches(fit_to_corpus(recipe, corpus.tokenizer), corpus)
    settings = TrainConfig(budget=budget, precision="bfloat16")
    assert compiled.measure_compile_gain(learner, batches, settings, 0) is pays
    assert learner.encoder.compiled_block is None
    assert not compiled.measure_compile_gain(learner, batches, TrainConfig(budget=budget, precision="float32"), 0)
