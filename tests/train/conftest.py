"""Runs that go on from a model: one to go on from, and what goes on from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.train.finetune import FinetuneResult, finetune
from unmask.train.pretrain import PretrainResult, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe

LEARNED = {
    "num_hidden_layers": 3,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "position_embedding_type": "learned",
}


@pytest.fixture(scope="session")
def recipe_for(corpus: Shards) -> Callable[..., PretrainRecipe]:
    """A pretraining recipe of eight steps."""

    def make(*overrides: str, **values: Any) -> PretrainRecipe:
        own = {
            "data": {"corpus": str(corpus.folder), "max_length": 32, "tokens_per_step": 256, "heldout_share": 0.1},
            "train": {"budget": "8 steps", "evaluations": 2, "optimizer": {"lr": 0.01}},
        }
        return parse_recipe(PretrainRecipe, {**own, **values}, overrides, "the test")

    return make


@pytest.fixture(scope="session")
def origin(recipe_for: Callable[..., PretrainRecipe], tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    """A run of three blocks, learned positions and both objectives of BERT."""
    recipe = recipe_for(model=LEARNED, objectives=[{"name": "masked"}, {"name": "next_sentence"}])
    return pretrain(recipe, output=tmp_path_factory.mktemp("runs") / "origin", progress=SILENT)


@pytest.fixture
def go_on(
    origin: PretrainResult, recipe_for: Callable[..., PretrainRecipe], tmp_path: Path
) -> Callable[..., PretrainResult]:
    """Pretraining that goes on from that run."""

    def run(*overrides: str, out: str = "run", **values: Any) -> PretrainResult:
        recipe = recipe_for(f"init_from={origin.model}", *overrides, **values)
        return pretrain(recipe, output=tmp_path / out, progress=SILENT)

    return run


@pytest.fixture
def tune(origin: PretrainResult, table: Path, tmp_path: Path) -> Callable[..., FinetuneResult]:
    def run(*overrides: str, model: Path | None = None, out: str = "tuned", **given: Any) -> FinetuneResult:
        settings = ["task.max_length=16", "train.budget=4 steps", "train.evaluations=1", *overrides]
        given = {"train": table, **given}
        return finetune(
            overrides=settings, model=model or origin.model, output=tmp_path / out, progress=SILENT, **given
        )

    return run
