"""Choices by measuring: the smallest number of threads that no other beats clearly; one graph for all blocks and
lengths, in runs that are long enough for a trial."""

import copy
import functools
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from unmask import files
from unmask.config import changed
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.learner.batches import Batches
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.train import trainer as fit
from unmask.train.budget import TrainConfig
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.steps import choices
from unmask.train.steps.parallel import World


@pytest.mark.parametrize(
    ("costs", "best"),
    [({1: 9, 2: 5, 3: 1}, 3), ({1: 9, 2: 5, 3: 4.9}, 2), ({1: 9, 2: 8.5, 3: 10}, 1)],
)
def test_the_quickest_is_set(costs: dict[int, float], best: int) -> None:
    try:
        found = choices.fastest_threads(lambda: costs[torch.get_num_threads()], [1, 2, 3])
        assert found == (best, pytest.approx(costs[best]))
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(1)


def made_from(recipe_values: dict[str, Any], corpus: Shards) -> tuple[PretrainLearner, Batches]:
    recipe = fit_to_corpus(parse_recipe(PretrainRecipe, recipe_values, (), "the test"), corpus.tokenizer)
    return build_learner(recipe, corpus.tokenizer), build_batches(recipe, corpus)


@pytest.mark.parametrize(("most", "numbers"), [(2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_all_are_tried(
    most: int, numbers: list[int], recipe_values: dict[str, Any], corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def fastest(seconds: object, of: list[int]) -> tuple[int, float]:
        tried.extend(of)
        return of[0], 1.0

    monkeypatch.setattr(choices, "fastest_threads", fastest)
    try:
        torch.set_num_threads(most)
        choices.choose_threads(*made_from(recipe_values, corpus), TrainConfig(), 0, seconds=1e3)
    finally:
        torch.set_num_threads(1)
    assert tried == numbers


def test_real_steps_are_measured_and_leave_no_trace(
    recipe_values: dict[str, Any], corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that goes on by a hundredth of a second whenever somebody looks: a machine may be busy."""
    ticks = itertools.count()
    monkeypatch.setattr(choices.time, "perf_counter", lambda: next(ticks) / 100)
    learner, batches = made_from(recipe_values, corpus)
    before = copy.deepcopy(learner.state_dict())
    try:
        torch.set_num_threads(2)
        threads, speed = choices.choose_threads(learner, batches, TrainConfig(budget="9 steps"), 0, seconds=0.3)
        assert threads == torch.get_num_threads() in (1, 2)
        assert speed is not None and 10 < speed < 1e7
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_a_run_too_short_to_measure_takes_all(recipe_values: dict[str, Any], corpus: Shards) -> None:
    try:
        torch.set_num_threads(2)
        choice = choices.choose_threads(*made_from(recipe_values, corpus), TrainConfig(budget="3 steps"), 0)
        assert choice == (2, None) and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_what_was_found_is_kept_with_the_run(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    right = PretrainLearner.forward

    def noting(self: PretrainLearner, batch: Any) -> Any:
        used.append(torch.get_num_threads() if self.training else 0)
        return right(self, batch)

    monkeypatch.setattr(PretrainLearner, "forward", noting)
    monkeypatch.setattr(fit, "choose_threads", lambda *of: (2, 1000.0))
    recipe = parse_recipe(PretrainRecipe, recipe_values, ["train.budget=3 steps"], "the test")
    try:
        torch.set_num_threads(3)
        pretrain(recipe, output=tmp_path / "run", progress=SILENT)
        assert {*used} == {0, 2} and torch.get_num_threads() == 3
        assert files.read_json(tmp_path / "run" / "run.json")["choices"] == {"threads": 2}
        used.clear()
        pretrain(changed(recipe, train=changed(recipe.train, threads=1)), output=tmp_path / "other", progress=SILENT)
        assert {*used} == {0, 1} and "choices" not in files.read_json(tmp_path / "other" / "run.json")
    finally:
        torch.set_num_threads(1)


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
    encoder.compiled_block = choices.compile_block()
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
    ("settings", "compiled"),
    [
        ({"budget": "20m"}, True),
        ({"budget": "10m"}, False),
        ({"budget": "4999 steps"}, False),
        ({"budget": "5000 steps"}, True),
        ({"budget": "20m", "precision": "float32"}, False),
        ({"budget": "20m", "compile": "never"}, False),
        ({"budget": "1 step", "compile": "always"}, True),
    ],
)
def test_long_runs_are_compiled_on_a_gpu(
    settings: dict[str, str], compiled: bool, learner: PretrainLearner, recipe_values: dict[str, Any], corpus: Shards
) -> None:
    _, batches = made_from(recipe_values, corpus)
    config = TrainConfig(**{"precision": "bfloat16", **settings})  # type: ignore[arg-type]
    assert choices.compiles_blocks(learner, batches, config, World("cuda")) is compiled
    if config.compile == "auto":
        assert not choices.compiles_blocks(learner, batches, config, World("cpu"))
