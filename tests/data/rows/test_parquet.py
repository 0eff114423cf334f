"""Parquet files against what was written into them; classes get the names that `datasets` writes beside them."""

import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from unmask.data.rows.conll import read_tagged
from unmask.data.rows.tables import read_examples
from unmask.errors import UserError

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
    assert [(e.text, e.label, e.line) for e in read_examples(path)] == [("a", "1", 1), ("b", None, 2)]
    other = path.rename(tmp_path / "a.bin")
    assert len(read_examples(other)) == 2, "known by its content"


def test_names_of_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [1, 0]}, FEATURES)
    assert [e.label for e in read_examples(path)] == ["pos", "neg"]
    path = write(tmp_path / "b.parquet", {"tokens": [["Ada", "is"]], "tags": [[1, 0]]}, FEATURES)
    spans = read_tagged(path, require_tags=True).examples[0].spans or ()
    assert [(span.start, span.end, span.label) for span in spans] == [(0, 3, "PER")]


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet"):
        read_examples(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_examples(tmp_path / "a.parquet")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pyarrow") as caught:
        read_examples(path)
    assert "unmask[parquet]" in str(caught.value)
