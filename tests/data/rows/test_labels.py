"""The column of the label: several labels, numbers, what is said of them, and how rows are split by them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, rows_of
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example, Labels, Target
from unmask.data.rows.split import split, stratify
from unmask.data.rows.texts import SEPARATORS


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def labels(path: Path, **options: str) -> list[tuple[str, ...] | None]:
    return [example.label_set for example in examples_of(path, "labels", **options)]


def row(text: str, target: Target) -> Example:
    return Example(text, None, target, "0", 2, "rows.csv")


@pytest.mark.parametrize("separator", SEPARATORS)
def test_the_separator_is_found_out_and_said(tmp_path: Path, separator: str) -> None:
    cells = [f"b{separator} a", "a", "", f"c{separator}b{separator}c"]
    lines = [f'x,"{cell}"' for cell in cells]
    path = write(tmp_path, "rows.csv", "\n".join(["text,label", *lines]))
    assert labels(path) == [("a", "b"), ("a",), (), ("b", "c")]
    assert f"labels are separated by {separator!r}" in " ".join(rows_of(path, "labels").notes)


def test_a_separator_that_is_given_is_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.tsv", "text\tlabel\nx\tR&B, soul/jazz\ny\tjazz")
    assert labels(path, label_separator="/") == [("R&B, soul", "jazz"), ("jazz",)]
    assert rows_of(path, "labels", label_separator="/").notes == ()
    assert labels(path) == [("R&B", "soul/jazz"), ("jazz",)]


def test_fields_without_a_separator_are_one_label_each(tmp_path: Path) -> None:
    rows = rows_of(write(tmp_path, "rows.csv", "text,label\nx,a b\ny,c"), "labels")
    assert [example.target for example in rows.examples] == [("a b",), ("c",)]
    assert rows.notes == ()


def test_lists_of_labels(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "x", "label": label}) for label in (["b", "a", "b"], [], [1, True], "a", 3)]
    path = write(tmp_path, "rows.jsonl", "\n".join(lines))
    assert labels(path) == [("a", "b"), (), ("1", "true"), ("a",), ("3",)]
    nested = write(tmp_path, "nested.jsonl", json.dumps({"text": "x", "label": [["a"]]}))
    with refused(f"{nested}, line 1", "'label'", '["a"]'):
        examples_of(nested, "labels")
    missing = write(tmp_path, "missing.jsonl", '{"text": "x", "label": []}\n{"text": "y", "label": null}')
    with refused(f"{missing}, line 2", "column 'label'"):
        examples_of(missing, "labels")


def test_a_list_where_one_label_is_wanted_names_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", json.dumps({"text": "x", "label": ["a", "b"]}))
    with refused(f"{path}, line 1", "'label'", "--task multilabel"):
        examples_of(path)


@pytest.mark.parametrize("value", ["3.5", "-2e-3", "7", " 4 "])
def test_numbers(tmp_path: Path, value: str) -> None:
    csv = write(tmp_path, "rows.csv", f"text,label\nx,{value}")
    jsonl = write(tmp_path, "rows.jsonl", f'{{"text": "x", "label": {value}}}')
    for path in (csv, jsonl):
        (example,) = examples_of(path, kind="number")
        assert example.number == float(value) == example.target and example.labels == set()


@pytest.mark.parametrize("value", ["good", '"3,5"', "inf", "1e999", "3.5 stars"])
def test_what_is_no_number_is_said_with_its_line(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "rows.csv", f"text,label\nx,1\ny,{value}\nz,2")
    with refused(f"{path}, line 3", "'label'", value.strip('"'), "-2e-3"):
        examples_of(path, "number")
    kept = examples_of(path, kind="number", on_error="skip")
    assert [example.number for example in kept] == [1, 2]


@pytest.mark.parametrize("value", ["true", "[1, 2]", '{"a": 1}', "Infinity"])
def test_values_of_json_that_are_no_numbers(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, "rows.jsonl", f'{{"text": "x", "label": {value}}}')
    with refused(f"{path}, line 1", "'label'", value, "-2e-3"):
        examples_of(path, "number")
    empty = write(tmp_path, "empty.csv", "text,label\nx,1\ny,\n")
    with refused(f"{empty}, line 3", "column 'label'"):
        examples_of(empty, "number")


def test_labels_do_not_matter_to_who_predicts(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", '{"text": "x", "label": ["a"]}')
    assert examples_of(path, use="predict")[0].target is None


def test_unknown_labels_of_several() -> None:
    rows = [row("x", Labels(("a", "new"))), row("y", Labels(())), row("z", Labels(("b",)))]
    with refused(rows[0].location, '"new"', "2 labels", "a, b"):
        check_targets(rows, "labels", ["a", "b"], of="m")
    assert check_targets(rows, "labels", ["a", "b"], of="m", unknown="skip")[0] == rows[1:]
    kept, notes = check_targets(rows, "labels", ["a", "b"], of="m", unknown="wrong")
    assert kept == rows and "was not trained with these labels: new (1)" in notes[0]
    assert rows[0].keep_labels({"a", "b"}).label_set == ("a",) and rows[0].labels == {"a", "new"}


def test_what_rows_are_split_by() -> None:
    assert stratify(["b", None, "a"]) == ["b", "", "a"]
    assert stratify([Labels(one) for one in ("ab", "a", "", "ac", "c")]) == ["b", "a", "", "c", "c"]
    numbers = [float(n % 50) for n in range(100)]
    assert Counter(stratify(numbers)) == dict.fromkeys((f"{n:02}" for n in range(10)), 10)
    assert stratify([1.0, 2.0, 3.0]) == ["00"] * 3  # too few to divide


@given(st.integers(0, 10_000))
def test_a_split_keeps_the_shares_of_labels_and_of_numbers(seed: int) -> None:
    """Of 200 rows a fifth is held out: of a label that 20 have 4, and as many small as large numbers."""
    sets = [("all", *(["rare"] if n % 10 == 0 else []), *(["odd"] if n % 2 else [])) for n in range(200)]
    rest, held = split([row(f"text {n}", Labels(sorted(one))) for n, one in enumerate(sets)], 0.2, seed)
    counts = Counter(label for example in held for label in example.label_set or ())
    assert len(rest) + len(held) == 200 and counts["all"] == len(held) == 40 and counts["rare"] == 4
    _, held = split([row(f"text {n}", float(n)) for n in range(200)], 0.2, seed)
    assert sum((example.number or 0) < 100 for example in held) == 20 == len(held) / 2


def test_numbers_are_not_refused_for_being_different(tmp_path: Path) -> None:
    rows = [row(f"text {n}", n / 7) for n in range(9)]
    assert len(split(rows, 0.2)[1]) == 2
    with refused("9 rows", "20%", "--label-column", "--task regress"):
        split([row(f"text {n}", str(n / 7)) for n in range(9)], 0.2)


def test_a_sample_of_rows_needs_no_label_twice() -> None:
    """Of very many labels each may be in a dev set once: a part of that is still a part of it."""
    rows = [row(f"text {n}", f"l{n}") for n in range(40)]
    with refused("40 rows", "25%", "--task regress"):
        split(rows, 0.25)
    rest, some = split(rows, 0.25, sample=True)
    assert len(some) == 10 and len(rest) == 30
    twice = [*rows, *(row(f"more {n}", f"l{n}") for n in range(20))]
    assert len(split(twice, 0.25, sample=True)[1]) == 15


def test_nothing_is_noted_of_lists_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", '{"text": "x", "label": ["a"]}\n{"text": "y", "label": "b"}')
    assert rows_of(path, "labels").notes == ()
