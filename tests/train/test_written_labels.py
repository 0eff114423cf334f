"""Models of rows whose labels are written in other ways: each predicts the labels that are meant, and no other."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from errors import refused
from unmask.console import SILENT
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import read_rows
from unmask.runtime.predictor import Predictor, load
from unmask.train.finetune import finetune

LEARN = ["task.max_length=16", "train.budget=150 steps", "train.optimizer.lr=0.01", "train.evaluations=1", "dropout=0"]


def learnt(pretrained: Path, train: Path, output: Path, task: str, *settings: str) -> Predictor:
    finetune(
        None, [*LEARN, *settings], model=pretrained, task=task, train=train, dev=train, output=output, progress=SILENT
    )
    return load(output)


def rewrite(source: Path, path: Path, write: Any) -> tuple[Path, list[tuple[str, list[str]]]]:
    """The rows of a table with labels as `write` has them, under the header for None; and their labels."""
    with source.open(newline="") as file:
        rows = [(row["text"], sorted(filter(None, row["label"].split("|")))) for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text", *write(None)], *([text, *write(labels)] for text, labels in rows)])
    return path, rows


def as_repr(labels: list[str] | None) -> list[Any]:
    return ["labels" if labels is None else repr(labels)]


def as_columns(labels: list[str] | None) -> list[Any]:
    names = ["stone", "water"]
    return names if labels is None else [int(name in labels) for name in names]


def as_multi_hot(labels: list[str] | None) -> list[Any]:
    return ["labels" if labels is None else str(as_columns(labels))]


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (as_repr, []),
        (as_columns, ["data.label_columns=stone,water"]),
        (as_multi_hot, ["data.label_columns=stone,water"]),
    ],
)
def test_several_labels(pretrained: Path, many_labels: Path, tmp_path: Path, write: Any, settings: list[str]) -> None:
    path, rows = rewrite(many_labels, tmp_path / "rows.csv", write)
    model = learnt(pretrained, path, tmp_path / "run", "multilabel", "task.pooling=mean", *settings)
    assert model.task.labels == ["stone", "water"]
    found = [sorted(label.label for label in labels) for labels in model([text for text, _ in rows])]
    assert sum(one == labels for one, (_, labels) in zip(found, rows, strict=True)) >= 0.9 * len(rows)
    scores = model.evaluate(path)  # reads them as in training, without an option
    assert scores.rows == len(rows)
    plain = model.evaluate(many_labels)
    assert plain.figures == scores.figures


def test_a_dash_is_never_predicted(pretrained: Path, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(line.rpartition(",")[0] + ",-" if n % 4 == 2 else line for n, line in enumerate(lines)))
    model = learnt(pretrained, path, tmp_path / "run", "classify")
    assert model.task.labels == ["stone", "water"]
    texts = [line.rpartition(",")[0] for line in lines[1:]]
    assert {label.label for label in model(texts)} == {"stone", "water"}
    assert model.evaluate(path).rows == 60 and len(model.read(path, "predict").examples) == 80
    assert "20 rows" in model.read(path).notes[0]


def test_dev_and_test_rows_of_a_model_of_zero_and_one(pretrained: Path, table: Path, tmp_path: Path) -> None:
    """Where -1 is no label of the training rows, it is none in the others."""
    text = table.read_text().replace(",water", ",0").replace(",stone", ",1")
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    train.write_text(text)
    dev.write_text(text.replace(",0", ",-1", 3))
    run = finetune(
        None,
        ["train.budget=1 step", "task.max_length=16"],
        model=pretrained,
        train=train,
        dev=dev,
        output=tmp_path / "run",
        progress=SILENT,
    )
    assert run.dev_rows == 77 and load(tmp_path / "run").evaluate(dev).rows == 77
    with refused(dev, "'-1'"):
        read_rows(dev, ReadOptions(), "label")


def test_duplicates_are_nearer_than_others(pretrained: Path, pairs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    others = [{**row, "text_b": rows[(n + 7) % len(rows)]["text_b"]} for n, row in enumerate(rows)]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        lines = [(row["text_a"], row["text_b"], bit) for bit, some in ((1, rows), (0, others)) for row in some]
        csv.writer(file).writerows([("question1", "question2", "is_duplicate"), *lines])
    with refused(path, "task.loss=contrastive", "task.loss=cosine"):
        learnt(pretrained, path, tmp_path / "refused", "embed")
    model = learnt(pretrained, path, tmp_path / "run", "embed", "task.loss=cosine")
    assert model.evaluate(path).figures["spearman"].value > 0.7
    cosines = model([(first, second) for first, second, _ in lines])
    assert sum(cosines[:60]) / 60 > sum(cosines[60:]) / 60 + 0.3
