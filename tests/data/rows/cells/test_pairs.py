"""Columns that say whether two texts belong together, and columns that nothing reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from errors import refused
from reading import examples_of, rows_of
from unmask.data.rows.check import check_pairs
from unmask.data.rows.example import RowKind


def pairs(folder: Path, column: str, values: list[Any], more: str = "") -> Path:
    path = folder / "rows.csv"
    lines = [f"text {n},other {n},{value}{more and ',x'}" for n, value in enumerate(values)]
    path.write_text("\n".join([f"text_a,text_b,{column}{more}", *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "column", ["is_duplicate", "Duplicate", "is_paraphrase", "quality", "label", "gold_label", "same_meaning", "相似"]
)
@pytest.mark.parametrize("values", [["0", "1", "1"], ["no", "yes", "yes"], ["False", "True", "TRUE"]])
def test_flags_are_scores(tmp_path: Path, column: str, values: list[str]) -> None:
    rows = rows_of(pairs(tmp_path, column, values), "pairs")
    assert [example.number for example in rows.examples] == [0, 1, 1]
    assert column == "label" or repr(column) in rows.notes[0]


@pytest.mark.parametrize("column", ["relatedness_score", "similarity", "score", "相似度"])
def test_numbers_are_scores(tmp_path: Path, column: str) -> None:
    assert [example.number for example in examples_of(pairs(tmp_path, column, [3.5, 0, 5]), "pairs")] == [3.5, 0, 5]


@pytest.mark.parametrize("column", ["label", "gold_label", "is_duplicate"])
@pytest.mark.parametrize(
    "words", [["entailment", "neutral", "contradiction"], ["related", "other", "related"], ["相似", "不相似", "相似"]]
)
def test_words_are_refused(tmp_path: Path, column: str, words: list[str]) -> None:
    path = pairs(tmp_path, column, words)
    for options in ({}, {"label_column": column}):
        with refused(path, words[0], "negative", "--label-column"):
            check_pairs(examples_of(path, "pairs", **options))


@pytest.mark.parametrize("values", [["entailment"] * 3, [1, 1, 1], ["yes"] * 3, ["1.0"] * 3])
def test_rows_that_all_belong_together_are_pairs(tmp_path: Path, values: list[Any]) -> None:
    rows = rows_of(pairs(tmp_path, "label", values), "pairs")
    assert [example.target for example in rows.examples] == [None] * 3 and f"label={values[0]}" in " ".join(rows.notes)
    check_pairs(rows.examples)


def test_of_words_about_something_else_the_column_is_not_used(tmp_path: Path) -> None:
    rows = rows_of(pairs(tmp_path, "topic", ["sport", "money", "art"]), "pairs")
    assert [example.target for example in rows.examples] == [None] * 3
    assert rows.notes[-1].endswith("columns not used: topic")


def test_scores_with_one_word_name_the_line(tmp_path: Path) -> None:
    path = pairs(tmp_path, "label", ["1", "near", "0.5"])
    with refused(f"{path}, line 3", "near"):
        examples_of(path, "pairs")


@pytest.mark.parametrize(
    ("kind", "row", "unused"),
    [
        ("label", {"id": 1, "text": "a", "label": "x", "group": "g", "author": "b", "date": 3}, "author, date"),
        ("labels", {"idx": 1, "text": "a", "label": ["x"], "stars": 4}, "stars"),
        ("number", {"text": "a", "score": 1.5, "line": 3, "source": "x", "Unnamed: 0": 7, "z": 0}, "z"),
        ("tags", {"id": 1, "tokens": ["a"], "tags": ["O"], "chunk_tags": ["O"]}, "chunk_tags"),
        ("spans", {"text": "ab", "spans": [[0, 1, "X"]], "relations": []}, "relations"),
        ("answers", {"question": "a", "context": "b", "answers": ["b"], "title": "t", "type": "x"}, "type"),
        ("pairs", {"text_a": "a", "text_b": "b", "negative": "c", "score": 1, "genre": "x"}, "genre"),
    ],
)
def test_columns_that_nothing_reads(tmp_path: Path, kind: RowKind, row: dict[str, Any], unused: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    notes = [note for note in rows_of(path, kind).notes if "not used" in note]
    assert notes == [f"{path}: columns not used: {unused}"]
    if kind != "tags":
        assert not any("not used" in note for note in rows_of(path, kind, "predict").notes)


def test_many_such_columns_are_shortened(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "x", **{f"c{n}": n for n in range(40)}}))
    assert rows_of(path).notes[0].endswith("c6, c7, ...")


@pytest.mark.parametrize("values", ["0 1 2", "1 0", "2 2 0"])
@pytest.mark.parametrize("names", ["premise,hypothesis", "Premise,Hypothesis", "前提,假设"])
def test_numbers_of_nli_are_classes(tmp_path: Path, values: str, names: str) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"a {n},b {n},{value}" for n, value in enumerate(values.split())]
    path.write_text("\n".join([f"{names},label", *lines]), encoding="utf-8")
    with refused(path, *values.split(), "task classify"):
        check_pairs(examples_of(path, "pairs"))
    path.write_text(path.read_text(encoding="utf-8").replace("a 0,b 0,", "a 0,b 0,0.5\na,b,"), encoding="utf-8")
    assert examples_of(path, "pairs")[0].number == 0.5, "scores"


def test_scores_that_may_be_classes_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("sentence1,sentence2,label\na,b,0\nc,d,1\ne,f,2\n")
    rows = rows_of(path, "pairs")
    assert [example.number for example in rows.examples] == [0, 1, 2] and "NLI" in rows.notes[-1]
