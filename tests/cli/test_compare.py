"""`unmask compare` on a file of test rows, as people and scripts call it."""

import csv
import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def foreign(easy: Path, tmp_path: Path) -> Path:
    """The easy rows as a spreadsheet in China may save them: GB18030, columns with names of its own."""
    with easy.open(encoding="utf-8") as file:
        rows = [f"我们的样本，{number},{row['text']},{row['label']}" for number, row in enumerate(csv.DictReader(file))]
    path = tmp_path / "foreign.csv"
    path.write_bytes("\n".join(["说明,所写,所属", *rows, ""]).encode("gb18030"))
    return path


COLUMNS = ["--text-column", "所写", "--label-column", "所属"]


def test_columns_of_the_test_rows_may_be_given(command, classifier: Path, foreign: Path, tmp_path: Path) -> None:
    runs = [classifier.parent, tmp_path / "other"]
    shutil.copytree(*runs)
    guessed = command("compare", *runs, "--test", foreign)
    assert guessed.code == 1 and "--text-column NAME" in guessed.err
    done = command("compare", *runs, "--test", foreign, *COLUMNS, "--json")
    assert str(foreign) in done.err and "GB18030" in done.err
    assert done.code == 0 and json.loads(done.out)["evaluation"]["rows"] == 60
    wrong = command("compare", *runs, "--test", foreign, *COLUMNS[:3], "类型")
    assert wrong.code == 1 and str(foreign) in wrong.err and "'类型'" in wrong.err


def test_the_other_commands_read_such_rows_too(command, classifier: Path, foreign: Path) -> None:
    evaluated = command("evaluate", classifier, foreign, *COLUMNS, "--json")
    assert evaluated.code == 0 and json.loads(evaluated.out)["accuracy"]["value"] == 1.0
    predicted = command("predict", classifier, foreign, *COLUMNS[:2])
    assert predicted.code == 0 and len(predicted.out.splitlines()) == 60


def test_an_encoding_may_be_given(command, pretrained: Path, easy: Path, tmp_path: Path) -> None:
    """Big5 is never guessed: without the name it is an error; with it in training every command reads it."""
    rows = easy.read_text(encoding="utf-8").replace("stone", "石頭").replace("water", "水")
    file, run = tmp_path / "big5.csv", tmp_path / "run"
    file.write_bytes(rows.encode("big5"))
    asked = ["finetune", "--model", pretrained, "--train", file, "--dev", file, "--test", file, "--output", run]
    asked += ["task.max_length=16", "train.budget=2 steps"]
    assert command(*asked).code == 1
    done = command(*asked, "--encoding", "big5")
    assert done.code == 0 and "encoding: big5" in (run / "recipe.yaml").read_text(encoding="utf-8")
    for line in (["evaluate", run, file], ["predict", run, file]):
        done = command(*line)
        assert done.code == 0 and done.out == command(*line, "--encoding", "big5").out
    shutil.copytree(run, tmp_path / "other")
    shutil.rmtree(run / "predictions")
    compared = ["compare", tmp_path / "other", run, "--test", file]
    assert command(*compared).code == 0 and command(*compared, "--encoding", "big5").code == 0
    unknown = command("evaluate", run, file, "--encoding", "gb18O30")
    assert unknown.code == 1 and "gb18O30" in unknown.err


def test_columns_without_test_rows_are_an_error(command, classifier: Path, tmp_path: Path) -> None:
    shutil.copytree(classifier.parent, tmp_path / "other")
    for given in (COLUMNS[2:], ["--scheme", "BIO"], ["--on-error", "skip"], ["--unknown-labels", "skip"]):
        done = command("compare", classifier.parent, tmp_path / "other", *given)
        assert done.code == 1 and "--test FILE" in done.err
