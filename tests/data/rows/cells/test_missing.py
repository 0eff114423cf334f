"""Values in place of a label: left out and counted, or kept and noted, or an error where that cannot be told."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from errors import refused
from reading import examples_of, rows_of, tagged_of
from unmask.data.rows.cells.missing import MARKERS, for_labels
from unmask.data.rows.example import RowKind
from unmask.data.rows.options import ReadOptions


def table(folder: Path, labels: list[str]) -> Path:
    path = folder / "rows.csv"
    path.write_text(
        "text,label\n" + "".join(f'text {n},"{label}"\n' for n, label in enumerate(labels)), encoding="utf-8"
    )
    return path


def labels(path: Path, **options: Any) -> list[str | None]:
    return [example.label for example in examples_of(path, **options)]


@pytest.mark.parametrize("value", ["-", "--", "nan", "NaN", "<NA>", "#N/A", "NULL", "#DIV/0!", "–"])
def test_markers_beside_words(tmp_path: Path, value: str) -> None:
    path = table(tmp_path, ["good", value, "bad", value, "good"])
    rows = rows_of(path)
    assert [example.label for example in rows.examples] == ["good", "bad", "good"]
    (note,) = rows.notes
    assert "2 rows" in note and f"{value!r} (2)" in note and "missing_labels=''" in note
    assert Counter(labels(path, missing_labels="")) == {"good": 2, "bad": 1, value: 2}


@pytest.mark.parametrize("others", [["0", "1", "2"], ["5", "1", "3"], ["1.0", "2.0", "7.0"], ["0", "17"]])
@pytest.mark.parametrize("value", ["-1", "-100", "-1.0"])
def test_negative_numbers_beside_numbers_of_classes(tmp_path: Path, others: list[str], value: str) -> None:
    path = table(tmp_path, [*others, value, others[0]])
    assert labels(path) == [*others, others[0]]
    assert "(1)" in rows_of(path).notes[0]
    assert labels(path, missing_labels="") == [*others, value, others[0]]
    assert labels(path, missing_labels="17,x") == [one for one in [*others, value, others[0]] if one != "17"]


@pytest.mark.parametrize("values", [["-2", "-1", "0", "1"], ["+", "-", "+"], ["-1", "good", "bad"], ["-3", "-1", "4"]])
def test_what_is_a_label_stays(tmp_path: Path, values: list[str]) -> None:
    assert labels(table(tmp_path, values)) == values


@pytest.mark.parametrize(
    ("values", "marker"),
    [
        (["-1", "0", "1"], "-1"),
        (["-1", "1", "1"], "-1"),
        (["0", "-1"], "-1"),
        (["-", "x", "x"], "-"),
        (["1", "nan", "-1", "0"], "-1"),
    ],
)
def test_what_may_be_both_is_an_error_with_two_ways_out(tmp_path: Path, values: list[str], marker: str) -> None:
    path = table(tmp_path, values)
    with refused(path, repr(marker), f"missing_labels={marker!r}", "missing_labels=''"):
        labels(path)
    assert labels(path, missing_labels=marker) == [one for one in values if one != marker]
    assert labels(path, missing_labels="") == values


@pytest.mark.parametrize("value", ["None", "null", "NA", "N/A", "unknown", "?", "unlabeled", "未标注", "-1"])
def test_words_that_may_be_labels_stay_and_are_noted(tmp_path: Path, value: str) -> None:
    path = table(tmp_path, ["good", value, "bad", value])
    rows = rows_of(path)
    assert [example.label for example in rows.examples] == ["good", value, "bad", value]
    assert f"{value!r} (2)" in rows.notes[0] and "missing_labels" in rows.notes[0]
    assert labels(path, missing_labels=value) == ["good", "bad"]


@pytest.mark.parametrize("scores", ["0 1 -1", "0 1 2 -1", "3 -1"])
def test_of_pairs_minus_one_beside_whole_numbers_is_asked(tmp_path: Path, scores: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text_a,text_b,label\n" + "".join(f"a,b,{score}\n" for score in scores.split()))
    with refused(path, "'-1'", "missing_labels='-1'", "missing_labels=''"):
        examples_of(path, "pairs")
    assert [example.number for example in examples_of(path, "pairs", missing_labels="")] == list(
        map(float, scores.split())
    )
    assert len(examples_of(path, "pairs", missing_labels="-1")) == len(scores.split()) - 1


def test_values_of_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": "x", "label": one}) + "\n" for one in (0, -1, 2, float("nan"), 1)))
    assert labels(path) == ["0", "2", "1"]
    path.write_text("".join(json.dumps({"text": "x", "label": one}) + "\n" for one in (["a"], ["b", None], ["-"], [])))
    assert [example.target for example in examples_of(path, "labels")] == [("a",), ()]


@pytest.mark.parametrize("value", ["nan", "-", "NULL", "N/A", "?"])
@pytest.mark.parametrize("kind", ["number", "pairs"])
def test_of_numbers_minus_one_is_one(tmp_path: Path, value: str, kind: RowKind) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text_a,text_b,label\na,b,-1\nc,d,{value}\ne,f,0.5\n")
    rows = rows_of(path, kind)
    assert [example.number for example in rows.examples] == [-1, 0.5] and f"{value!r} (1)" in " ".join(rows.notes)


@pytest.mark.parametrize(
    ("tags", "left"),
    [
        ([["B-X", "O"], ["-100", "O"]], 1),
        ([[0, 3], [-100, 0], [0, 1]], 2),
        ([[0, 1], [-1, 1]], 1),
        ([["N", "V"], ["nan", "V"]], 1),
    ],
)
def test_sentences_with_a_missing_tag(tmp_path: Path, tags: list[list[Any]], left: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"tokens": ["a", "b"], "ner_tags": one}) + "\n" for one in tags))
    rows = tagged_of(path)
    assert len(rows.examples) == left and "1 rows" in " ".join(rows.notes)
    assert not any(label.lstrip("-").isdigit() and int(label) < 0 for one in rows.examples for label in one.labels)
    assert ("numbers" in " ".join(rows.notes)) == isinstance(tags[0][0], int)
    conll = tmp_path / "rows.conll"
    conll.write_text("\n\n".join(f"a {one[0]}\nb {one[1]}" for one in tags) + "\n")
    assert [example.spans for example in tagged_of(conll).examples] == [example.spans for example in rows.examples]


def test_where_no_label_is_left(tmp_path: Path) -> None:
    path = table(tmp_path, ["nan", "nan", "NULL"])
    with refused(path, "'nan' (2)", "'NULL' (1)", "missing_labels=''"):
        labels(path)
    assert [example.target for example in examples_of(path, use="predict")] == [None] * 3


def test_a_model_says_what_is_missing(tmp_path: Path) -> None:
    """-1 is missing for a model of 0 and 1; a dash is a label for one that has it."""
    path = table(tmp_path, ["0", "-1", "1"])
    options = for_labels(ReadOptions(), {"0", "1"}).changed
    assert labels(path, **options) == ["0", "1"]
    assert labels(table(tmp_path, ["-", "-", "x"]), **for_labels(ReadOptions(), {"-", "x"}).changed) == ["-", "-", "x"]
    assert for_labels(ReadOptions(missing_labels="x"), {"a"}).missing_labels == "x"
    assert for_labels(ReadOptions(), ()) == ReadOptions() and not any("," in marker for marker in MARKERS)


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_cell_is_as_missing_as_nan(tmp_path: Path, empty: str) -> None:
    path = table(tmp_path, ["good", empty, "bad", empty])
    rows = rows_of(path)
    assert [example.label for example in rows.examples] == ["good", "bad"]
    assert "2 rows" in rows.notes[0] and "'' (2)" in rows.notes[0] and "missing_labels" not in rows.notes[0]
    assert labels(path, missing_labels="") == labels(path, missing_labels="x") == ["good", "bad"]
    with refused(table(tmp_path, [empty, empty]), "'' (2)"):
        labels(path)
    numbers = table(tmp_path, ["1.5", empty, "-1"])
    assert [example.number for example in examples_of(numbers, "number")] == [1.5, -1]
    several = examples_of(table(tmp_path, ["a|b", empty, "-", "b"]), "labels")
    assert [example.target for example in several] == [("a", "b"), (), ("b",)], "an empty cell holds no label"


def test_empty_scores_and_empty_values_of_json(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("text_a,text_b,score\na,b,0.5\nc,d,\ne,f,1\n")
    assert [example.number for example in examples_of(path, "pairs")] == [0.5, 1]
    path.write_text("text_a,text_b,score\na,b,\nc,d,\n")
    assert [example.target for example in examples_of(path, "pairs")] == [None, None], "pairs that belong together"
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": "x", "label": one}) + "\n" for one in ("a", None, [], "", ["b"])))
    assert labels(rows) == ["a", "b"]
    rows.write_text('{"text": "x", "label": "a"}\n{"text": "y"}\n')
    with refused(f"{rows}, line 2", "'label'"):
        labels(rows)


@pytest.mark.parametrize("kind", ["label", "labels", "number", "pairs"])
@pytest.mark.parametrize("value", ["-1", "-1.0", "-100"])
def test_labels_that_a_data_set_hides(tmp_path: Path, value: str, kind: RowKind) -> None:
    path = tmp_path / "test.csv"
    path.write_text("text_a,text_b,label\n" + f"a,b,{value}\n" * 3)
    with refused(path, "(3)", "missing_labels=''"):
        examples_of(path, kind)
    assert len(examples_of(path, kind, missing_labels="")) == 3


@pytest.mark.parametrize("values", [["+1", "-1"], ["+1", "-1", "0"], ["-1", "+1", "+1"]])
def test_minus_one_beside_plus_one_is_a_label(tmp_path: Path, values: list[str]) -> None:
    rows = rows_of(table(tmp_path, values))
    assert [example.label for example in rows.examples] == values and not rows.notes


def test_a_model_of_minus_one_with_a_point(tmp_path: Path) -> None:
    options = for_labels(ReadOptions(), ["-1.0", "0.0", "1.0"])
    path = table(tmp_path, ["-1.0", "0.0", "nan"])
    assert labels(path, missing_labels=options.missing_labels) == ["-1.0", "0.0"]
