"""Labels as 0 and 1: their names, never labels that are called 0 and 1."""

import json
from pathlib import Path
from typing import Any

import pytest

from errors import refused
from reading import examples_of, rows_of
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import read_rows

ROWS = [("a b", [1, 0, 1]), ("c d", [0, 0, 0]), ("e f", [0, 1, 0])]
LABELS = [("insult", "toxic"), (), ("threat",)]
NAMES = "toxic,threat,insult"


def columns(folder: Path, yes: Any = 1, no: Any = 0, *more: str) -> Path:
    path = folder / "rows.csv"
    lines = [",".join([text, *(str(yes if bit else no) for bit in bits)]) for text, bits in ROWS]
    path.write_text("\n".join([f"text,{NAMES}", *lines, *more]), encoding="utf-8")
    return path


@pytest.mark.parametrize(("yes", "no"), [(1, 0), ("1.0", "0.0"), ("True", "False"), ("yes", "no"), ("是", "否")])
def test_a_column_for_each_label(tmp_path: Path, yes: Any, no: Any) -> None:
    path = columns(tmp_path, yes, no)
    assert [example.target for example in examples_of(path, "labels", label_columns=NAMES)] == LABELS
    assert [example.target for example in examples_of(path, "labels", label_columns="threat")] == [(), (), ("threat",)]
    assert "toxic, insult" in " ".join(rows_of(path, "labels", label_columns="threat").notes)


@pytest.mark.parametrize("kind", ["labels", "label"])
def test_the_hint_names_these_columns(tmp_path: Path, kind: Any) -> None:
    with refused("rows.csv", f"label_columns={NAMES!r} "):
        examples_of(columns(tmp_path, 1, 0, "g h,-1,0,1"), kind)


def test_one_column_of_bits_names_no_label(tmp_path: Path) -> None:
    path = columns(tmp_path)
    with refused(path, "'toxic'", f"label_columns={NAMES!r} ", "classify"):
        examples_of(path, "labels", label_column="toxic")
    assert [example.label for example in examples_of(path, label_column="toxic")] == ["1", "0", "0"]


@pytest.mark.parametrize(("cell", "fault"), [("0.5", "0.5"), ("", '""'), ("maybe", "maybe")])
def test_other_values_name_the_line(tmp_path: Path, cell: str, fault: str) -> None:
    path = columns(tmp_path, 1, 0, f"g h,1,{cell},0")
    with refused(f"{path}, line 5", "threat", fault if cell else "threat:"):
        examples_of(path, "labels", label_columns=NAMES)
    kept = examples_of(path, "labels", label_columns=NAMES, on_error="skip")
    assert [example.target for example in kept] == LABELS


@pytest.mark.parametrize("cells", ["-1,-1,-1", "0,nan,1", "-,0,0"])
def test_a_row_with_a_missing_label_is_left_out(tmp_path: Path, cells: str) -> None:
    rows = rows_of(columns(tmp_path, 1, 0, f"g h,{cells}"), "labels", label_columns=NAMES)
    assert [example.target for example in rows.examples] == LABELS and "1 rows" in " ".join(rows.notes)


def test_exactly_one_for_one_label(tmp_path: Path) -> None:
    path = columns(tmp_path)
    for line, count in ((2, "2 labels"), (3, "0 labels")):
        if line == 3:
            path.write_text(path.read_text().replace("a b,1,0,1", "a b,1,0,0"))
        with refused(f"{path}, line {line}", count, "multilabel"):
            examples_of(path, label_columns=NAMES)
    kept = examples_of(path, label_columns=NAMES, on_error="skip")
    assert [example.label for example in kept] == ["toxic", "threat"]


def test_names_that_are_no_columns(tmp_path: Path) -> None:
    path = columns(tmp_path)
    for names in ("toxic,thread", "x,y"):
        with refused(path, f"'{names.partition(',')[2] if 'toxic' in names else 'x'}'", "toxic, threat, insult"):
            examples_of(path, "labels", label_columns=names)
    with refused("--label-columns"):
        examples_of(path, "number", label_columns=NAMES)
    path.write_text('text,"a, b",c\nx,1,0\n')
    assert examples_of(path, "labels", label_columns='"a, b",c')[0].target == ("a, b",)


@pytest.mark.parametrize(
    "write",
    [
        list,
        str,
        lambda bits: " ".join(map(str, bits)),
        lambda bits: "|".join(map(str, bits)),
        lambda bits: ",".join(map(str, bits)),
    ],
)
@pytest.mark.parametrize("kind", ["labels", "label"])
def test_multi_hot_lists_need_names(tmp_path: Path, write: Any, kind: Any) -> None:
    path = tmp_path / "rows.jsonl"
    one_each = [(text, [int(place == n) for place in range(3)]) for n, (text, _) in enumerate(ROWS)]
    rows = ROWS if kind == "labels" else one_each
    path.write_text("".join(json.dumps({"text": text, "label": write(bits)}) + "\n" for text, bits in rows))
    with refused(path, "'label'", "3 values", "--label-columns NAME1,NAME2,NAME3"):
        examples_of(path, kind)
    with refused(path, "3 names"):
        examples_of(path, kind, label_columns="toxic,threat")
    expected: list[Any] = LABELS if kind == "labels" else NAMES.split(",")
    assert [example.target for example in examples_of(path, kind, label_columns=NAMES)] == expected


@pytest.mark.parametrize(
    "cells",
    [
        [[1, 1, 0], [1, 0]],
        [[1, 1, 0], [0, 0, 1], [-1, -1, -1]],
        [[1.0, 1.0], [0.0, 1.0]],
        [[True, False], [False, False]],
    ],
)
def test_broken_multi_hot_lists_are_no_labels(tmp_path: Path, cells: list[list[Any]]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}", "label": cell}) + "\n" for n, cell in enumerate(cells)))
    with refused(path, "'label'", "--label-columns"):
        examples_of(path, "labels")
    names = ",".join("abc"[: len(cells[0])])
    kept = examples_of(path, "labels", label_columns=names, on_error="skip")
    assert len(kept) == (len(cells) if len(cells[0]) == 2 else len(cells) - 1)
    assert not {"0", "1", "-1"} & {label for example in kept for label in example.labels}


def test_numbers_of_classes_are_labels_and_noted(tmp_path: Path) -> None:
    for cells in ([[0, 4], [1], []], ["[0, 4]", "[1]", "[]"], ["0|4", "1", ""]):
        path = tmp_path / "rows.jsonl"
        path.write_text(
            "".join(json.dumps({"text": f"text {n}", "label": cell}) + "\n" for n, cell in enumerate(cells))
        )
        rows = rows_of(path, "labels")
        assert [example.target for example in rows.examples] == [("0", "4"), ("1",), ()]
        assert "numbers" in " ".join(rows.notes)


def test_labels_that_are_called_0_and_1(tmp_path: Path) -> None:
    """As the parts of a split are written."""
    path = tmp_path / "rows.jsonl"
    for cells in ([["0"], ["1"]], [["0", "1"], ["1", "0"]], [["1"], ["0", "1"], []]):
        path.write_text("".join(json.dumps({"text": f"text {n}", "label": one}) + "\n" for n, one in enumerate(cells)))
        assert [example.target for example in examples_of(path, "labels")] == [tuple(sorted(one)) for one in cells]


def test_a_file_without_the_columns_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,insult\na,0\nb,1\n")
    options = ReadOptions(label_columns=NAMES)
    with refused("rows.csv has no column 'toxic'"):
        read_rows(path, options, "labels", "test", ("label_columns",))


OBJECTS = [{"toxic": 0, "insult": 1}, {"toxic": 1, "insult": 1}, {"toxic": 0, "insult": 0}]


@pytest.mark.parametrize("write", [repr, json.dumps, lambda one: json.dumps({key: bool(x) for key, x in one.items()})])
def test_objects_of_bits(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "rows.csv"
    lines = [f'text {n},"{write(one).replace(chr(34), chr(34) * 2)}"\n' for n, one in enumerate(OBJECTS)]
    path.write_text("text,labels\n" + "".join(lines))
    rows = rows_of(path, "labels")
    assert [example.target for example in rows.examples] == [("insult",), ("insult", "toxic"), ()]
    assert "'labels'" in rows.notes[-1]
    with refused(f"{path}, line 3", "insult"):
        examples_of(path, label_column="labels")
    path.write_text("text,labels\n" + lines[0] * 2)
    assert [example.label for example in examples_of(path, label_column="labels")] == ["insult"] * 2


@pytest.mark.parametrize("value", [{"toxic": 0.9}, {"label": "x", "score": 1}, {"a": {"b": 1}}])
def test_other_objects_are_no_labels(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a", "label": value}))
    with refused(f"{path}, line 1", "'label'", "a|b"):
        examples_of(path, "labels")


@pytest.mark.parametrize("form", ["{}{}{}", "tensor([{}, {}, {}])", "tensor([{}., {}., {}.], dtype=torch.float64)"])
def test_other_ways_to_write_bits(tmp_path: Path, form: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,labels\n" + "".join(f'{text},"{form.format(*bits)}"\n' for text, bits in ROWS))
    assert [example.target for example in examples_of(path, "labels", label_columns=NAMES)] == LABELS
    with refused(path, "'labels'", "3 "):
        examples_of(path, "labels", label_columns="x,y")


@pytest.mark.parametrize(("yes", "no"), [("t", "f"), ("Y", "N"), ("T", "F")])
def test_letters_for_yes_and_no(tmp_path: Path, yes: str, no: str) -> None:
    path = columns(tmp_path, yes, no)
    assert [example.target for example in examples_of(path, "labels", label_columns=NAMES)] == LABELS


@pytest.mark.parametrize("values", [["0", "1"], ["1", "1"], ["0"]])
def test_rows_like_those_of_training_may_all_have_one_label(tmp_path: Path, values: list[str]) -> None:
    path = tmp_path / "test.csv"
    path.write_text("text,labels\n" + "".join(f"a,{value}\n" for value in values))
    rows = read_rows(path, ReadOptions(label_column="labels", label_separator="|"), "labels", "test", {"label_column"})
    assert [example.target for example in rows.examples] == [(value,) for value in values]
