"""Cells that hold lists as text: read back whatever wrote them, and never cut at their brackets."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, questions_of, rows_of, tagged_of
from unmask.data.rows.cells.lists import parse_cell
from unmask.data.rows.example import RowKind

LABEL = st.text(st.sampled_from("ab'\"\\,[]{}();|: 中文é\n"), min_size=1, max_size=6).filter(
    lambda text: text == text.strip()
)


def table(path: Path, header: str, *rows: tuple[Any, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def as_numpy(labels: list[str]) -> str:
    return str(np.array(labels, dtype=object))


@pytest.mark.parametrize(
    "write", [json.dumps, lambda x: json.dumps(x, ensure_ascii=False), repr, as_numpy, lambda x: repr(tuple(x))]
)
@given(rows=st.lists(st.lists(LABEL, min_size=2, max_size=4), min_size=1, max_size=4))
def test_labels_are_read_back(tmp_path: Path, write: Any, rows: list[list[str]]) -> None:
    path = table(tmp_path / "rows.csv", "text,labels", *((f"text {n}", write(row)) for n, row in enumerate(rows)))
    assert [example.target for example in examples_of(path, "labels")] == [tuple(sorted(set(row))) for row in rows]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['a', 'b']", ["a", "b"]),
        ("{'a'}", ["a"]),
        ("set()", []),
        ("['a'\n 'b' \"it's\"]", ["a", "b", "it's"]),
        ("array(['a', 'b'], dtype='<U3')", ["a", "b"]),
        ("[np.str_('a'), np.int64(-3)]", ["a", -3]),
        (
            "{'text': array(['x y'], dtype=object), 'answer_start': array([17])}",
            {"text": ["x y"], "answer_start": [17]},
        ),
        ("[(0, 4, 'PER'), (5, 6, 'LOC')]", [[0, 4, "PER"], [5, 6, "LOC"]]),
        ("[1. 0.5 -2]", [1.0, 0.5, -2]),
        ('["a\\ud83d\\ude00", null, true]', ["a😀", None, True]),
    ],
)
def test_forms(text: str, value: Any) -> None:
    assert parse_cell(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "[UNK]",
        "(a)",
        "good",
        "",
        "['a'",
        "['a' ... 'b']",
        "[b'a']",
        "__import__('os').getcwd()",
        "[open('x')]",
        "[" * 9999,
        "('a')",
    ],
)
def test_what_is_no_list(text: str) -> None:
    assert parse_cell(text) is None


def test_a_missing_part_is_nan() -> None:
    (value,) = parse_cell("[nan]") or []
    assert value != value


@pytest.mark.parametrize(
    "cells",
    [("['good']", "['bad']"), ('["good"]', '["bad"]'), ("['good' ]", "('bad',)"), ("{'good'}", "array(['bad'])")],
)
def test_one_label_in_a_list(tmp_path: Path, cells: tuple[str, str]) -> None:
    rows = rows_of(table(tmp_path / "rows.csv", "text,label", ("x", cells[0]), ("y", cells[1])))
    assert [example.label for example in rows.examples] == ["good", "bad"]
    assert "'label'" in rows.notes[0] and "2 rows" in rows.notes[0]


@pytest.mark.parametrize("cells", [("[a, b]", "[b]", "[]"), ("{a,b}", "{b}", "{}"), ("[a,b]", "['b']", "set()")])
def test_lists_without_quotes_are_for_several_labels(tmp_path: Path, cells: tuple[str, ...]) -> None:
    path = table(tmp_path / "rows.csv", "text,labels", *((f"text {n}", cell) for n, cell in enumerate(cells)))
    assert [example.target for example in examples_of(path, "labels")] == [("a", "b"), ("b",), ()]
    assert [example.target for example in examples_of(path, "labels", label_separator=",")] == [("a", "b"), ("b",), ()]


def test_brackets_of_plain_text_stay(tmp_path: Path) -> None:
    path = table(tmp_path / "rows.csv", "text,label", ("x", "[UNK]"), ("y", "(none of it)"), ("z", "good"))
    assert [example.label for example in examples_of(path)] == ["[UNK]", "(none of it)", "good"]


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (("['a', 'b']", "['a", "['b']"), 3),  # cut off
        (("a", "b,c", "['a', 'b']"), 4),
        (("['a']", "['b']", "a"), 4),
        (("['it's', 'x']", "['a']", "['b']"), 2),
    ],
)
@pytest.mark.parametrize("kind", ["label", "labels"])
def test_columns_of_two_forms_name_the_line(tmp_path: Path, cells: tuple[str, ...], line: int, kind: RowKind) -> None:
    cells = cells if kind == "labels" else tuple(cell.replace(", 'b'", "") for cell in cells)
    path = table(tmp_path / "rows.csv", "text,label", *((f"text {n}", cell) for n, cell in enumerate(cells)))
    with refused(f"{path}, line {line}", "'label'", cells[line - 2]):
        examples_of(path, kind)
    kept = examples_of(path, kind, on_error="skip")
    assert [example.line for example in kept] == [one for one in (2, 3, 4) if one != line]
    assert not any(set("['\"") & set(label) for example in kept for label in example.labels)


CONTEXT = "Ada lives in [Rome], not in Paris."


@pytest.mark.parametrize(
    "cell",
    [
        "{'text': ['Ada'], 'answer_start': [0]}",
        "{'text': array(['Ada'], dtype=object), 'answer_start': array([0], dtype=int32)}",
        '{"text": ["Ada"], "answer_start": [0]}',
        "[{'text': 'Ada', 'answer_start': 0}]",
        "['Ada']",
    ],
)
def test_answers(tmp_path: Path, cell: str) -> None:
    rows = [(CONTEXT, "Who?", cell), (CONTEXT, "Where?", "[Rome]"), (CONTEXT, "Why?", "[]")]
    path = table(tmp_path / "rows.csv", "context,question,answers", *rows)
    found = questions_of(path)
    assert [[(one.text, one.start) for one in example.answers or ()] for example in found] == [
        [("Ada", 0)],
        [("[Rome]", 13)],
        [],
    ]
    assert "2 cells" in " ".join(rows_of(path, "answers").notes)
    flat = table(
        tmp_path / "flat.csv",
        "context,question,answers.text,answers.answer_start",
        (CONTEXT, "Which?", "['in']", "[10]"),
    )
    assert [(one.text, one.start) for one in questions_of(flat)[0].answers or ()] == [("in", 10)]


@pytest.mark.parametrize("write", [repr, json.dumps, as_numpy])
def test_tokens_and_tags(tmp_path: Path, write: Any) -> None:
    sentences = [(["Ada", "lives", "in", "Rome"], ["B-PER", "O", "O", "B-LOC"]), (["It's", "so"], ["O", "O"])]
    path = table(
        tmp_path / "rows.csv", "id,tokens,ner_tags", *((n, write(a), write(b)) for n, (a, b) in enumerate(sentences))
    )
    found = tagged_of(path).examples
    assert [[(one.start, one.end, one.label) for one in example.spans or ()] for example in found] == [
        [(0, 3, "PER"), (13, 17, "LOC")],
        [],
    ]
    assert found[1].text == "It's so" and [example.id for example in found] == ["0", "1"]


@pytest.mark.parametrize("cell", ["[(0, 3, 'PER')]", '[{"start": 0, "end": 3, "label": "PER"}]', "[[0, 3, 'PER']]"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_spans(tmp_path: Path, cell: str, name: str) -> None:
    path = table(tmp_path / name, "text,entities", ("Ada lives", cell), ("nobody", "[]"))
    if name.endswith("tsv"):
        lines = ["text\tentities", f"Ada lives\t{cell}", "nobody\t[]"]
        path.write_text("\n".join(lines), encoding="utf-8")
    for nested in (False, True):
        found = tagged_of(path, nested=nested).examples
        assert [[(one.start, one.end, one.label) for one in example.spans or ()] for example in found] == [
            [(0, 3, "PER")],
            [],
        ]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (('"[\\"a\\"]"', '"[\\"a\\", \\"b\\"]"'), [("a",), ("a", "b")]),  # JSON of JSON
        (("{a}", '{b,"so sad"}'), [("a",), ("b", "so sad")]),  # an array of PostgreSQL
        (("Food, drink", "Travel", "Food, drink|Travel"), [("Food, drink",), ("Travel",), ("Food, drink", "Travel")]),
        (("a;b", "b", "a, x;b", "a, x"), [("a", "b"), ("b",), ("a, x", "b"), ("a, x",)]),
    ],
)
def test_several_labels_in_a_cell(tmp_path: Path, cells: tuple[str, ...], labels: list[tuple[str, ...]]) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "labels"), *((f"text {n}", cell) for n, cell in enumerate(cells))])
    assert [example.target for example in examples_of(path, "labels")] == labels
