"""Parquet files against what was written into them; classes get the names that `datasets` writes beside them."""

import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from errors import refused
from reading import examples_of, tagged_of

FEATURES = {
    "label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "List"},
}


def write(path: Path, columns: dict[str, list[object]], features: object = None) -> Path:
    table = pyarrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)
    return path


def test_rows_and_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"content": ["a", "b"], "label": [1, None]})
    assert [(e.text, e.label, e.line) for e in examples_of(path, on_error="skip")] == [("a", "1", 1)]
    other = path.rename(tmp_path / "a.bin")
    assert len(examples_of(other, use="predict")) == 2, "known by its content"


def test_names_of_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [1, 0]}, FEATURES)
    assert [e.label for e in examples_of(path)] == ["pos", "neg"]
    path = write(tmp_path / "b.parquet", {"tokens": [["Ada", "is"]], "tags": [[1, 0]]}, FEATURES)
    spans = tagged_of(path).examples[0].spans or ()
    assert [(span.start, span.end, span.label) for span in spans] == [(0, 3, "PER")]


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"]})
    path.write_bytes(path.read_bytes()[:-9])
    with refused(path, "Parquet"):
        examples_of(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with refused(tmp_path / "a.parquet") as caught:
        examples_of(tmp_path / "a.parquet")
    assert caught.value.facts == {}


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with refused("pyarrow", "pip install 'unmask[parquet]'"):
        examples_of(path)
