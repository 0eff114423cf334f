"""The number of threads is the smallest that no other beats clearly."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from unmask import files
from unmask.config import changed
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.learner.batches import Batches
from unmask.train import threads
from unmask.train import trainer as fit
from unmask.train.budget import TrainConfig
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe


@pytest.mark.parametrize(
    ("costs", "best"),
    [({1: 9, 2: 5, 3: 1}, 3), ({1: 9, 2: 5, 3: 4.9}, 2), ({1: 9, 2: 8.5, 3: 10}, 1)],
)
def test_the_quickest_is_set(
    costs: dict[int, float],
    best: int,
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
        assert threads.fastest_threads(lambda: None, threads.candidates(3)) == (best, costs[best])
        assert torch.get_num_threads() == best
    finally:
        torch.set_num_threads(1)


def made_from(recipe_values: dict[str, Any], corpus: Shards) -> tuple[PretrainLearner, Batches]:
    recipe = fit_to_corpus(parse_recipe(PretrainRecipe, recipe_values, (), "the test"), corpus.tokenizer)
    return build_learner(recipe, corpus.tokenizer), build_batches(recipe, corpus)


@pytest.mark.parametrize(("most", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_powers_of_two_and_all_are_tried(most: int, numbers: list[int]) -> None:
    assert threads.candidates(most) == numbers


def test_real_steps_are_measured_and_leave_no_trace(
    recipe_values: dict[str, Any], corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that goes on by a hundredth of a second whenever somebody looks: a machine may be busy."""
    ticks = itertools.count()
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(ticks) / 100)
    learner, batches = made_from(recipe_values, corpus)
    before = copy.deepcopy(learner.state_dict())
    try:
        torch.set_num_threads(2)
        choice = threads.choose_threads(learner, batches, TrainConfig(budget="9 steps"), 0, seconds=0.3)
        assert choice.threads == torch.get_num_threads() in (1, 2)
        assert choice.tokens_per_second is not None and 10 < choice.tokens_per_second < 1e7
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_a_run_too_short_to_measure_takes_all(recipe_values: dict[str, Any], corpus: Shards) -> None:
    try:
        torch.set_num_threads(2)
        choice = threads.choose_threads(*made_from(recipe_values, corpus), TrainConfig(budget="3 steps"), 0)
        assert choice == threads.ThreadChoice(2) and torch.get_num_threads() == 2
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
    monkeypatch.setattr(fit, "choose_threads", lambda *of: threads.ThreadChoice(2))
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
