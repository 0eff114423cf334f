"""Parquet files as records (extra `parquet`); the names of classes come from what `datasets` writes beside them."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from unmask.data.rows.memory import label_names, to_plain_row
from unmask.data.textfiles import open_bytes
from unmask.errors import UserError, missing_extra

MAGIC = b"PAR1"


def read_parquet(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows, with their numbers from 1 in place of lines. Raises UserError for a damaged file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {path}") from None
    with ExitStack() as stack:
        open_bytes(str(path), stack)  # a file that is not there is no damaged one
    try:
        table = parquet.ParquetFile(path).read()
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet", given=str(error).partition("\n")[0], hint="copy or download it again"
        ) from None
    classes = label_names(_features(table.schema.metadata or {}))
    return [(number, to_plain_row(row, classes)) for number, row in enumerate(rows, 1)]


def _features(metadata: dict[bytes, bytes]) -> Any:
    try:
        return json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, LookupError, TypeError):
        return None
