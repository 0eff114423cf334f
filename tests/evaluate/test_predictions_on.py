"""Predictions of a real run: kept ones are used, others made by the model; where they are kept."""

from pathlib import Path

import pytest

from errors import refused
from reading import rows_of
from unmask import files
from unmask.console import SILENT
from unmask.evaluate.predictions import load_predictions, predictions_on, run_folder_of, to_saved_predictions
from unmask.runtime.predictor import load
from unmask.train.finetune import finetune


@pytest.fixture(scope="module")
def tuned(pretrained: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    settings = ["train.budget=2 steps", "train.evaluations=1", "task.max_length=16"]
    return finetune(None, settings, model=pretrained, train=table, output=out, progress=SILENT).folder


def test_predictions_are_those_of_the_model_until_some_are_kept(tuned: Path, table: Path) -> None:
    made = predictions_on(tuned, table)
    model, rows = load(tuned), rows_of(table)
    assert (made.task, made.metric, made.labels) == ("classify", "accuracy", ["stone", "water"])
    assert made.reference == [row.label for row in rows.examples] and made.sha256 == files.sha256(table)
    assert made.predictions == [label.label for label in model(rows.examples)]
    assert load_predictions(tuned) == [], "looking at a run does not change it"
    kept = to_saved_predictions(model, rows, model.predict(rows.examples))
    turned = {"stone": "water", "water": "stone"}
    object.__setattr__(kept, "predictions", [turned[name] for name in kept.predictions])
    kept.save(tuned)
    assert predictions_on(tuned, table).predictions == [turned[name] for name in made.predictions]


def test_columns_that_are_named_are_read_whatever_was_kept(tuned: Path, table: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    assert header == "text,label"
    other = {"stone": "water", "water": "stone"}
    lines = [f"{row},{other[row.rpartition(',')[2]]}" for row in rows]
    file.write_text("\n".join(["text,label,other", *lines]) + "\n", encoding="utf-8")
    usual = predictions_on(tuned, file)
    usual.save(tuned)
    swapped = predictions_on(tuned, file, settings={"label_column": "other"})
    assert swapped.predictions == usual.predictions
    assert list(swapped.reference) == [other[label] for label in usual.reference]


def test_labels_that_the_model_does_not_know_are_an_error(tuned: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text,label\nriver,water\nfire,lava\n", encoding="utf-8")
    with refused(f"{file}, line 3", '"lava"'):
        predictions_on(tuned, file)
    skipped = predictions_on(tuned, file, settings={"on_error": "skip"})
    assert len(skipped.reference) == 1
    skipped.save(tuned)  # what was read in one way is not taken for what was read in another
    assert len(predictions_on(tuned, file, settings={"on_error": "skip"}).reference) == 1
    assert len(predictions_on(tuned, file, settings={"unknown_labels": "wrong"}).reference) == 2
    with refused(f"{file}, line 3", '"lava"'):
        predictions_on(tuned, file)


def test_a_model_knows_its_run(tuned: Path, tmp_path: Path) -> None:
    assert run_folder_of(tuned) == run_folder_of(tuned / "model") == tuned
    assert run_folder_of(tmp_path) is None and run_folder_of(tuned / "checkpoints") is None
