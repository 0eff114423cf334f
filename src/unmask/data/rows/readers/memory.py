"""Rows of other libraries: data frames, `datasets` objects and lists of dicts that a program holds, Parquet files.

Those in a program are known by what they can do, so that none of these libraries is imported: a data frame has
`to_dict("records")` (pandas) or `to_dicts()` (polars), a data set yields dicts and may name its classes in `features`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from unmask.data.tables import Row
from unmask.errors import UserError, missing_extra

PARQUET = b"PAR1"  # the first bytes of a file
BATCH_ROWS = 1024  # of a Parquet file in memory at a time
ALLOWED = "a file, a pandas or polars DataFrame, a split of a datasets.DatasetDict, or a list of dicts"


@dataclass(frozen=True)
class MemoryRows:
    """column -> value of each row, as JSON would have it; `name` is what messages call them."""

    rows: list[dict[str, Any]] = field(repr=False)
    name: str

    def __str__(self) -> str:
        return self.name

    def jsonl(self) -> str:
        """One JSON object a line."""
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)


Source = str | Path | MemoryRows


def as_source(given: Any, name: str) -> Source:
    """A path as it is; anything that holds rows as `MemoryRows` called `name`. Raises UserError for other things."""
    if isinstance(given, str | Path | MemoryRows):
        return given
    records = given
    if hasattr(given, "to_dicts"):
        records = given.to_dicts()
    elif hasattr(given, "to_dict") and hasattr(given, "columns"):
        records = given.to_dict("records")
    elif isinstance(given, Mapping) or not isinstance(given, Iterable):
        keys = f" with the keys {', '.join(map(str, given))}" if isinstance(given, Mapping) else ""
        raise UserError(f"{name} cannot be read as rows", given=f"{type(given).__name__}{keys}", allowed=ALLOWED)
    classes = label_names(getattr(given, "features", None))
    rows = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            what = f"{name}, row {number:,} is not a mapping of columns to values"
            raise UserError(what, given=type(record).__name__, allowed='{"text": "...", "label": "..."}')
        rows.append(to_plain_row(record, classes))
    if not rows:
        raise UserError(f"{name} contains no rows")
    return MemoryRows(rows, name)


def to_plain_row(record: Mapping[Any, Any], classes: Mapping[str, list[str]]) -> dict[str, Any]:
    """A record as JSON would have it, with the names of its classes in place of their numbers."""
    row: dict[str, Any] = to_plain(record)
    return row | {column: _named(row[column], names) for column, names in classes.items() if column in row}


def _named(value: Any, names: list[str]) -> Any:
    """A number of a class as its name; -1 is how data sets write that there is none."""
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    if type(value) is int:
        return names[value] if 0 <= value < len(names) else None
    return value


def label_names(features: Any) -> dict[str, list[str]]:
    """column -> names of its classes, of `Dataset.features` or the same written as JSON into a Parquet file."""
    found = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        names = _part(_part(feature, "feature") or feature, "names")
        if isinstance(names, list | tuple) and names:
            found[str(column)] = [str(name) for name in names]
    return found


def _part(feature: Any, name: str) -> Any:
    return feature.get(name) if isinstance(feature, Mapping) else getattr(feature, name, None)


def to_plain(value: Any) -> Any:
    """A value of any library as JSON would have it: missing ones are None, what JSON has no form for is text."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if type(value).__name__ in ("NAType", "NaTType") or value != value:  # of pandas, and nan
        return None
    if isinstance(value, bytes):  # text in columns without a type, as some programs write them; others are no text
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"bytes": len(value)}
    return value if value is None or isinstance(value, str | int | float) else str(value)


def read_parquet(name: str, file: BinaryIO) -> Iterator[Row]:
    """The rows of a Parquet file, with their numbers from 1 in place of lines; its classes have names where `datasets`
    wrote them beside it. Raises UserError for a damaged file, and without the extra `parquet`."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {name}") from None
    try:
        table = parquet.ParquetFile(file)
        classes = label_names(_features(table.schema_arrow.metadata or {}))
        rows = (row for batch in table.iter_batches(BATCH_ROWS) for row in batch.to_pylist())
        yield from ((number, to_plain_row(row, classes)) for number, row in enumerate(rows, 1))
    except (pyarrow.ArrowException, OSError) as error:
        given = str(error).partition("\n")[0]
        raise UserError(f"{name} cannot be read as Parquet", given=given, hint="copy or download it again") from None


def _features(metadata: dict[bytes, bytes]) -> Any:
    try:
        return json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return None
