"""Rows that a program holds: things that can do what data frames and data sets can, without these libraries."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of
from unmask.data.rows.readers.memory import MemoryRows, as_source, to_plain


class Frame:
    """As pandas has it."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self.values = columns

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*self.values.values(), strict=True)]


class ClassLabel:
    names = ("neg", "pos")


class ListOf:
    feature = ClassLabel()


class DataSet:
    """As `datasets` has it."""

    features: ClassVar[dict[str, Any]] = {"text": object(), "label": ClassLabel(), "tags": ListOf()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield {"text": "a", "label": 1, "tags": [0, 1]}
        yield {"text": "b", "label": -1, "tags": []}


class NAType:
    """As pandas writes that a value is missing."""


def rows(given: Any) -> list[dict[str, Any]]:
    source = as_source(given, "the rows")
    assert isinstance(source, MemoryRows)
    return source.rows


def test_a_path_stays_one() -> None:
    assert as_source("a.csv", "x") == "a.csv" and as_source(Path("a"), "x") == Path("a")


def test_a_frame() -> None:
    frame = Frame({"text": ["a", "b"], "label": [np.int64(3), math.nan], "n": [np.float32(0.5), NAType()]})
    assert rows(frame) == [{"text": "a", "label": 3, "n": 0.5}, {"text": "b", "label": None, "n": None}]
    examples = examples_of(as_source(frame, "the rows"), on_error="skip")
    assert [(e.text, e.label, e.location) for e in examples] == [
        ("a", "3", "the rows, line 1"),
    ]


def test_the_classes_of_a_data_set_have_names() -> None:
    assert rows(DataSet()) == [
        {"text": "a", "label": "pos", "tags": ["neg", "pos"]},
        {"text": "b", "label": None, "tags": []},
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_json_has_a_form_for_stays_as_it_is(value: Any) -> None:
    assert to_plain(value) == value and type(to_plain(value)) is type(value)
    assert to_plain(np.array([1, 2])) == [1, 2] and to_plain(np.bool_(True)) is True and to_plain((1,)) == [1]


@pytest.mark.parametrize(
    ("given_rows", "names"),
    [
        ({"train": [], "test": []}, ["dict", "train, test"]),
        ([("a", "b")], ["row 1", "tuple"]),
        (3, ["int"]),
        ([], ["no rows"]),
    ],
)
def test_what_holds_no_rows(given_rows: Any, names: list[str]) -> None:
    with refused("the train rows given", *names):
        as_source(given_rows, "the train rows given")


def test_bytes_are_text_in_utf8_or_no_text() -> None:
    assert to_plain({"a": "河".encode(), "b": [b"\xff\xfe"]}) == {"a": "河", "b": [{"bytes": 2}]}
