"""Shortcuts for tests that read rows."""

from typing import Any

from unmask.data.rows.example import Example, RowKind
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import Rows, Use, read_rows
from unmask.data.rows.readers.memory import Source


def rows_of(source: Source, kind: RowKind = "label", use: Use = "train", **options: Any) -> Rows:
    """`read_rows` with options by their names."""
    return read_rows(source, ReadOptions(**options), kind, use)


def examples_of(source: Source, kind: RowKind = "label", use: Use = "train", **options: Any) -> list[Example]:
    return rows_of(source, kind, use, **options).examples


def tagged_of(source: Source, use: Use = "train", nested: bool = False, **options: Any) -> Rows:
    return rows_of(source, "spans" if nested else "tags", use, **options)


def questions_of(source: Source, use: Use = "train", **options: Any) -> list[Example]:
    return examples_of(source, "answers", use, **options)


def labels_of(rows: Rows) -> list[str]:
    """The labels of all examples, sorted."""
    return sorted({label for example in rows.examples for label in example.labels})
