"""`unmask evaluate` as people and scripts call it."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, f1_score


def test_figures_are_those_of_scikit_learn(command, classifier: Path, easy: Path, tmp_path: Path) -> None:
    hard = tmp_path / "hard.csv"  # every fifth label is wrong, so that there is something to confuse
    with easy.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows[::5]:
        row["label"] = "stone"
    hard.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows))
    done = command("evaluate", classifier, hard, "--json")
    told = json.loads(done.out)
    predicted = [json.loads(line)["label"] for line in command("predict", classifier, hard).out.splitlines()]
    wanted = [row["label"] for row in rows]
    assert told["rows"] == 60
    assert told["accuracy"]["value"] == pytest.approx(accuracy_score(wanted, predicted))
    assert told["macro_f1"]["value"] == pytest.approx(f1_score(wanted, predicted, average="macro"))
    assert told["accuracy"]["low"] < told["accuracy"]["value"] < told["accuracy"]["high"]
    errors = sum(one != other for one, other in zip(wanted, predicted, strict=True))
    assert sum(pair["count"] for pair in told["confusions"]) == errors > 0


def test_what_people_see(command, classifier: Path, easy: Path) -> None:
    done = command("evaluate", classifier.parent, easy)  # the run folder stands for its model
    assert done.code == 0
    assert "accuracy  100.0 [100.0, 100.0] %" in done.out and "rows      60" in done.out
    assert "precision" in done.out and "water" in done.out and "confused" not in done.out


def test_labels_that_the_model_does_not_know(command, classifier: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text,label\nriver,water\nfire,lava\n")
    done = command("evaluate", classifier, file)
    assert done.code == 1 and f"{file}, line 3" in done.err and '"lava"' in done.err
    skipped = command("evaluate", classifier, file, "--on-error", "skip", "--json")
    assert skipped.code == 0 and json.loads(skipped.out)["rows"] == 1 and "skipped: 1" in skipped.err
    assert "--unknown-labels wrong" in done.err
    river = json.loads(command("evaluate", classifier, file, "--on-error", "skip", "--json").out)
    counted = command("evaluate", classifier, file, "--unknown-labels", "wrong", "--json")
    told = json.loads(counted.out)
    assert counted.code == 0 and told["rows"] == 2
    assert "lava (1)" in counted.err
    assert told["accuracy"]["value"] == river["accuracy"]["value"] / 2  # the row with the new label is never right
    assert told["unknown_labels"] == ["lava"] and [row["label"] for row in told["per_label"]][-1] == "lava"
    assert told["per_label"][-1]["support"] == 1 and told["per_label"][-1]["f1"] == 0
    assert len(told["confusion"]) == len(told["labels"])
    left = command("evaluate", classifier, file, "--unknown-labels", "skip", "--json")
    assert json.loads(left.out)["rows"] == 1


def test_when_no_row_is_left(command, classifier: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text,label\nfire,lava\n")
    done = command("evaluate", classifier, file, "--unknown-labels", "skip")
    assert done.code == 1 and str(file) in done.err and "stone, water" in done.err


def test_standard_input_is_evaluated_and_not_kept(
    command, classifier: Path, easy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in (("river", "water"), ("a", "stone"))]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO("".join(rows).encode()))))
    done = command("evaluate", classifier.parent, "-", "--json")
    assert done.code == 0 and json.loads(done.out)["rows"] == 2
    assert not list(classifier.parent.glob("predictions/--*"))


def test_folders_that_are_no_model(command, classifier: Path, pretrained: Path, table: Path, tmp_path) -> None:
    none = command("evaluate", tmp_path, table)
    assert none.code == 1 and none.err.startswith(f"error: {tmp_path} ")
    untuned = command("evaluate", pretrained, table)
    assert untuned.code == 1 and "unmask finetune" in untuned.err
    cut = tmp_path / "cut"
    shutil.copytree(classifier, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    damaged = command("evaluate", cut, table)
    assert damaged.code == 1 and str(weights) in damaged.err


def test_wrong_usage_is_another_exit_code(command, classifier: Path, table: Path) -> None:
    assert command("evaluate", classifier).code == 2
    assert command("evaluate", classifier, table, "--on-error", "ignore").code == 2
    assert command("evaluate", classifier, table, "--nonsense").code == 2
    assert command("evaluated").code == 2
