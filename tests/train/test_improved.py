"""Fine-tuning with everything that is off by default: learnt, logged, stopped and gone on with, saved and loaded."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from errors import refused
from unmask import files
from unmask.console import SILENT, Progress
from unmask.runtime.predictor import load
from unmask.train.finetune import finetune
from unmask.train.recipe import FinetuneRecipe, parse_recipe

CLASSIFY = {
    "name": "classify",
    "max_length": 16,
    "pooling": "attention",
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "loss": "focal",
}
TAG = {"name": "tag", "max_length": 16, "decoder": "crf", "wide": True, "lstm_hidden_size": 8}
TASKS: dict[str, tuple[dict[str, Any], str]] = {"classify": (CLASSIFY, "table"), "tag": (TAG, "tagged")}


def recipe(model: Path, train: Path, task: dict[str, Any], *overrides: str) -> FinetuneRecipe:
    values = {
        "init_from": str(model),
        "task": task,
        "data": {"train": str(train), "batch_size": 12},
        "regularisation": {"rdrop": 1.0, "fgm": 0.5},
        "train": {
            "budget": "4 steps",
            "evaluations": 4,
            "gradient_accumulation_steps": 2,
            "ema": 0.2,
            "optimizer": {"lr": 0.01},
        },
    }
    return parse_recipe(FinetuneRecipe, values, overrides, "the test")


class Stopped(Exception):
    pass


class StopAfter(Progress):
    """Progress that ends a run in the middle of a step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, amount: float) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped


@pytest.mark.parametrize("name", TASKS)
def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    name: str, pretrained: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    task, file = TASKS[name]
    settings = recipe(pretrained, request.getfixturevalue(file), task)
    straight = finetune(settings, output=tmp_path / "straight", progress=SILENT)
    with pytest.raises(Stopped):
        finetune(settings, output=tmp_path / "stopped", progress=StopAfter(2))
    kept = [path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir()]
    assert kept and not (tmp_path / "stopped" / "model").exists()
    resumed = finetune(settings, output=tmp_path / "stopped", progress=SILENT)
    assert resumed.dev == straight.dev and resumed.steps == 4
    weights = [load_file(run.model / "model.safetensors") for run in (straight, resumed)]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
    rows = [row for row in files.read_jsonl(straight.folder / "metrics.jsonl") if "loss" in row]
    parts = {f"{part}.loss" for part in (name, "rdrop", "adversarial")}
    assert all(parts <= row.keys() for row in rows)
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row[part] for part in parts), abs=1e-5)


def test_two_words_are_told_apart_with_all_of_it(pretrained: Path, table: Path, tmp_path: Path) -> None:
    overrides = (
        "train.budget=60 steps",
        "train.evaluations=1",
        "train.gradient_accumulation_steps=1",
        "train.optimizer.lr=0.02",
    )
    result = finetune(recipe(pretrained, table, CLASSIFY, *overrides), output=tmp_path / "run", progress=SILENT)
    assert load(result.folder).evaluate(table)["accuracy"].value > 0.9
    names = set(load_file(result.model / "model.safetensors"))
    assert {"pooling.query.weight", "classifier.weight"} <= names


def test_dropout_masks_that_are_all_alike_are_not_compared(pretrained: Path, table: Path) -> None:
    with refused("regularisation.rdrop", "task.classifier_dropout"):
        recipe(pretrained, table, {"name": "classify", "classifier_dropout": 0.0}, "dropout=0")
    recipe(pretrained, table, {"name": "classify", "classifier_dropout": 0.1}, "dropout=0")
