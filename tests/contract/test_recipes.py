"""Every recipe that comes with unmask loads, checks out, and runs two steps on a tiny corpus."""

from pathlib import Path

import pytest

from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.train.finetune import finetune
from unmask.train.pretrain import pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, read_recipe, recipe_kind, shipped_recipes

SMALL = [
    "model.num_hidden_layers=2",
    "model.hidden_size=32",
    "model.num_attention_heads=2",
    "data.max_length=32",
    "data.tokens_per_step=256",
]
PRETRAINING = [name for name in shipped_recipes() if recipe_kind(name) == "pretrain"]
FINETUNING = [name for name in shipped_recipes() if recipe_kind(name) == "finetune"]


def test_these_are_shipped() -> None:
    assert {"tiny", "small", "base", "bert-base", "pairs", "long"} <= set(PRETRAINING)
    assert {"classify", "multilabel", "regress", "tag", "nested", "answer", "embed"} <= set(FINETUNING)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_is_short_and_says_what_it_is_for(name: str) -> None:
    lines = shipped_recipes()[name].read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and len(lines) <= 40


@pytest.mark.parametrize("name", PRETRAINING)
def test_pretraining_runs_two_steps(name: str, corpus: Shards, tmp_path: Path) -> None:
    settings = [*SMALL, f"data.corpus={corpus.folder}", "train.budget=2 steps"]
    result = pretrain(name, settings, output=tmp_path / "run", progress=SILENT)
    assert result.steps == 2 and (result.model / "model.safetensors").is_file()
    wanted = [f"{o.name}.loss" for o in read_recipe(PretrainRecipe, name).objectives]
    assert set(wanted) <= set(result.heldout_figures)


@pytest.mark.parametrize("name", FINETUNING)
def test_finetuning_runs_two_steps(
    name: str,
    pretrained: Path,
    table: Path,
    tagged: Path,
    questions: Path,
    pairs: Path,
    tmp_path: Path,
) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("text,label\n" + "".join(f"river {n},{n % 7}\n" for n in range(40)), encoding="utf-8")
    train = {
        "classify": table,
        "multilabel": table,
        "regress": scores,
        "tag": tagged,
        "nested": tagged,
        "answer": questions,
        "embed": pairs,
    }[read_recipe(FinetuneRecipe, name).task.name]
    settings = [f"init_from={pretrained}", f"data.train={train}", "task.max_length=16", "train.budget=2 steps"]
    settings += ["task.stride=8"] if "stride" in shipped_recipes()[name].read_text(encoding="utf-8") else []
    result = finetune(name, settings, output=tmp_path / "run", progress=SILENT)
    assert result.steps == 2 and (result.model / "model.safetensors").is_file()


def test_the_sizes_that_the_comments_name() -> None:
    """About 2 M parameters in tiny, 7 M in small and long, with 8,192 pieces."""
    from unmask.model.encoder import Encoder

    sizes = {
        name: Encoder(read_recipe(PretrainRecipe, name).model).num_parameters for name in ("tiny", "small", "long")
    }
    assert {name: round(size / 1e6) for name, size in sizes.items()} == {"tiny": 2, "small": 7, "long": 7}
