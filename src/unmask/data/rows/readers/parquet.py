"""Parquet files as records (extra `parquet`); the names of classes come from what `datasets` writes beside them."""

import json
from typing import Any, BinaryIO

from unmask.data.rows.readers.memory import label_names, to_plain_row
from unmask.data.tables import Row
from unmask.errors import UserError, missing_extra

MAGIC = b"PAR1"


def read_parquet(name: str, file: BinaryIO) -> list[Row]:
    """The rows, with their numbers from 1 in place of lines. Raises UserError for a damaged file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {name}") from None
    try:
        table = parquet.ParquetFile(file).read()
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        given = str(error).partition("\n")[0]
        raise UserError(f"{name} cannot be read as Parquet", given=given, hint="copy or download it again") from None
    classes = label_names(_features(table.schema.metadata or {}))
    return [(number, to_plain_row(row, classes)) for number, row in enumerate(rows, 1)]


def _features(metadata: dict[bytes, bytes]) -> Any:
    try:
        return json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return None
