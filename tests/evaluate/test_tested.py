"""Predictions of a real run: kept ones are used, others made by the model; where they are kept."""

from pathlib import Path

import pytest

from unmask import files
from unmask.console import SILENT
from unmask.data.tables import read_examples
from unmask.evaluate.saved import saved
from unmask.evaluate.tested import kept_of, predictions_on, run_of
from unmask.predict import load
from unmask.train.finetune import finetune


@pytest.fixture(scope="module")
def tuned(pretrained: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    settings = ["train.budget=2 steps", "train.evaluations=1", "task.length=16"]
    return finetune(None, settings, model=pretrained, train=table, out=out, progress=SILENT).folder


def test_predictions_are_those_of_the_model_until_some_are_kept(tuned: Path, table: Path) -> None:
    made = predictions_on(tuned, table)
    model, rows = load(tuned), read_examples(table, require_labels=True)
    assert (made.task, made.metric, made.labels) == ("classify", "accuracy", ["stone", "water"])
    assert made.reference == [row.label for row in rows] and made.sha256 == files.sha256(table)
    assert made.predicted == [label.name for label in model(rows)]
    assert saved(tuned) == [], "looking at a run does not change it"
    kept = kept_of(model, rows, model.predict(rows), table)
    turned = {"stone": "water", "water": "stone"}
    object.__setattr__(kept, "predicted", [turned[name] for name in kept.predicted])
    kept.save(tuned)
    assert predictions_on(tuned, table).predicted == [turned[name] for name in made.predicted]


def test_a_model_knows_its_run(tuned: Path, tmp_path: Path) -> None:
    assert run_of(tuned) == run_of(tuned / "model") == tuned
    assert run_of(tmp_path) is None and run_of(tuned / "checkpoints") is None
