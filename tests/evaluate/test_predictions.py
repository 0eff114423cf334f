"""Predictions of runs: what is kept comes back and is compared, what is damaged or differs is refused."""

from pathlib import Path

import pytest

from errors import refused
from unmask.evaluate.predictions import Predictions, compare_predictions, load_predictions, read
from unmask.metrics import Contestant, compare

SENTENCES = [["D", "N", "V"], ["N"], ["D", "N", "N", "V"], ["V", "N"], ["D", "D"]]
SAID = [["D", "N", "N"], ["N"], ["D", "V", "N", "V"], ["V", "V"], ["D", None]]
OTHER = [["N", "N", "N"], ["N"], ["N", "N", "N", "N"], ["N", "N"], ["N", "N"]]


def predictions(**changes: object) -> Predictions:
    values = {
        "task": "tag",
        "kind": "tags",
        "metric": "accuracy",
        "file": "folder/测试.conll",
        "sha256": "ab" * 32,
        "labels": ["D", "N", "V"],
        "reference": SENTENCES,
        "predictions": SAID,
    }
    return Predictions(**{**values, **changes})  # type: ignore[arg-type]


def test_predictions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    path = predictions().save(tmp_path)
    assert path == tmp_path / "predictions" / "测试-abababab.jsonl"
    assert read(path) == predictions(file="测试.conll")
    spans = predictions(metric="entity_f1", reference=[[[0, 2, "X"]]], predictions=[[]], file="a.jsonl")
    spans.save(tmp_path)
    assert [one.file for one in load_predictions(tmp_path)] == ["a.jsonl", "测试.conll"]
    assert load_predictions(tmp_path / "nothing") == []


@pytest.mark.parametrize("content", ["", "{", "[]\n[]\n", '{"format": 2}\n{}\n', '{"format": 1, "task": "tag"}\n'])
def test_a_damaged_file_of_predictions_is_named(tmp_path: Path, content: str) -> None:
    path = predictions().save(tmp_path)
    path.write_text(content)
    with refused(path, "unmask evaluate"):
        load_predictions(tmp_path)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"sha256": "cd" * 32}, "cdcdcdcd"),
        ({"reference": SENTENCES[:-1], "predictions": SAID[:-1]}, f"{len(SENTENCES) - 1} rows"),
        ({"labels": ["D", "N", "X"]}, "V, X"),
        ({"metric": "entity_f1"}, "entity_f1"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict, name: str) -> None:
    with refused("one and two", name):
        compare_predictions([("one", "other", predictions()), ("two", "other", predictions(**changes))])


def test_kept_predictions_are_compared_as_those_just_made() -> None:
    named = [("first", "pretrained", predictions()), ("second", "scratch", predictions(predictions=OTHER))]
    models = [Contestant("first", "pretrained", SAID), Contestant("second", "scratch", OTHER)]
    assert compare_predictions(named) == compare("tags", SENTENCES, models)
    assert compare_predictions(named[:1], models[1:]) == compare("tags", SENTENCES, models)


def test_every_kind_and_what_stands_beside_it_comes_back(tmp_path: Path) -> None:
    rows = {"kind": "label", "labels": ["a", "b"], "reference": ["a", "b"], "predictions": ["a", "a"]}
    one = predictions(task="classify", metric="auc", file="rows.csv", probabilities=[[0.5, 0.5], [1.0, 0.0]], **rows)
    assert read(one.save(tmp_path)) == one
    samples = [{"text": "x", "label": "a", "predicted": "a"}]
    tested = predictions(file="rows.csv", test="rows.csv", samples=samples, baseline=Contestant("x", "frequent", OTHER))
    assert read(tested.save(tmp_path)) == tested
    assert predictions(file="rows.csv").save(tmp_path) and read(tested.save(tmp_path)) == tested
    other = predictions(task="classify", kind="number", metric="mae", reference=[1.0], predictions=[1.5])
    with refused("one and two", "auc", "mae"):
        compare_predictions([("one", "other", one), ("two", "other", other)])
