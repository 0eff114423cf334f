"""The rows of any kind of file, or of a program, as records: column -> value, with the line of each.

The kind is told by the name of the file and by what stands in it; where these differ, or the name tells nothing, the
kind is said. `format` (--data-format) overrides it.
"""

import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from unmask import console
from unmask.data import encodings
from unmask.data.rows import columns, labelstudio, parquet
from unmask.data.rows.delimited import csv_records, read_rows
from unmask.data.rows.jsonfiles import read_array
from unmask.data.rows.memory import Rows, Source
from unmask.data.textfiles import (
    STDIN,
    Faults,
    display_name,
    inner_suffix,
    open_bytes,
    open_text,
    read_objects,
    shorten_path,
)
from unmask.errors import UserError
from unmask.messages import message

Format = Literal["csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll"]
FormatOrAuto = Literal["auto", "csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll"]

BY_NAME: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "txt",
    **dict.fromkeys((".conll", ".conllu", ".conllup", ".conll03", ".bio", ".iob", ".iob2", ".bioes", ".bmes"), "conll"),
}
DESCRIPTIONS: dict[Format, str] = {
    "csv": "a CSV table",
    "tsv": "a table separated by tabs",
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "label-studio": "an export of Label Studio",
    "parquet": "Parquet",
    "txt": "plain text, one a line",
    "conll": "CoNLL",
}
LONG_LINE = 4000  # characters: more than these may be more than what was looked at
DELIMITERS = ",\t;"  # the first is also what a header without any of them is read with


@dataclass(frozen=True)
class Records:
    """(line, column -> value) of each row, and the columns that are known to hold annotations, if the format tells."""

    rows: list[tuple[int, dict[str, Any]]]
    annotated: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of the columns, in the order in which they turn up."""
        return list(dict.fromkeys(name for _, row in self.rows for name in row))


def read_records(
    source: Source,
    format: Format | None,
    faults: Faults,
    encoding: str | None = None,
    labelled: bool = False,
) -> Records:
    """The records of a file in this format, or of rows in memory.

    labelled: what nobody has annotated is left out, where the format says so. Faults: rows that cannot be read.
    Raises UserError where there is no row, and for a format that has no rows (CoNLL).
    """
    name = display_name(source)
    if isinstance(source, Rows):
        rows = list(enumerate(source.rows, 1))
    elif format == "conll":
        raise UserError(
            f"{name} is CoNLL, which holds tags of tokens", hint="--task tag, or --data-format of what it is"
        )
    else:
        rows = list(_rows(source, format or "txt", faults, encoding))
    if not rows:
        raise UserError(
            f"{name} holds no rows",
            given=[f"{faults.count:,} skipped" if faults.count else None, faults.first and faults.first.message],
        )
    if format == "label-studio" or (format in ("json", "jsonl") and labelstudio.is_export(rows[0][1])):
        console.note("{name}: {what}, {rows:,} entries", name, message(DESCRIPTIONS["label-studio"]), len(rows))
        rows, annotated = labelstudio.read_tasks(name, rows, labelled)
        if not rows:
            raise UserError("{name} holds no annotated task", name, hint="export tasks that somebody has annotated")
        return Records(rows, annotated)
    return Records(rows)


def _rows(
    path: str | Path, format: Format, faults: Faults, encoding: str | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    if format == "parquet":
        yield from parquet.read_parquet(path)
    elif format == "jsonl":
        yield from read_objects(path, faults, encoding)
    elif format == "json":
        yield from read_array(path, faults, encoding)
    elif format == "label-studio":
        array = starts_with_bracket(path, encoding)
        yield from (read_array if array else read_objects)(path, faults, encoding)
    elif format == "txt":
        for line, text in open_text(path, faults, encoding):
            if text.strip():
                yield line, {"text": text}
    else:
        table = read_rows(path, faults, encoding, "tsv") if format == "tsv" else _csv_rows(path, faults, encoding)
        header: list[str] = []
        for line, row in table:
            if header:
                yield line, dict(zip(header, row, strict=True))
            else:
                header = _checked_header(path, line, row)


def detect_format(
    source: Source, format: FormatOrAuto = "auto", encoding: str | None = None, plain: Format = "txt"
) -> Format | None:
    """The kind of a file: as asked, else by its content and name; None for rows in memory.

    plain: what a file is whose name and content tell nothing. Says what was found where the name does not tell it.
    Raises UserError for a format that there is not.
    """
    if format != "auto" and format not in get_args(Format):
        raise UserError("there is no format {format!r}", format, allowed=", ".join(get_args(FormatOrAuto)))
    if isinstance(source, Rows):
        return None
    if format != "auto":
        return format
    named = format_by_name(source)
    if plain == "conll" and named in ("txt", "tsv", "csv"):
        named = None  # CoNLL is called so, too
    found = _format_by_content(source, named, encoding, tables=plain != "conll")
    if found is not None and found != named:
        if str(source) != STDIN or found != "jsonl":  # objects from a pipe need no saying
            console.note(
                "{source}: read as {what} (to change: --data-format)",
                display_name(source),
                message(DESCRIPTIONS[found]),
            )
        return found
    return named or plain


def format_by_name(source: Source) -> Format | None:
    """The kind that the name of a file tells."""
    return None if isinstance(source, Rows) else BY_NAME.get(inner_suffix(source))


def _format_by_content(source: str | Path, named: Format | None, encoding: str | None, tables: bool) -> Format | None:
    """What the first bytes of a file show; None where that is nothing, or nothing can be looked at."""
    head = _head(source)
    if head.startswith(parquet.MAGIC):
        return "parquet"
    if not head or named in ("csv", "tsv", "conll", "parquet"):
        return None
    text = encodings.detect_encoding(head, encoding).lstrip()
    line, end, _ = text.partition("\n")
    if text.startswith("["):
        return "json" if text[1:].lstrip()[:1] in ("{", "]") else None
    if text.startswith("{"):
        # of a long first line, or of standard input, only the beginning may be there
        begun = not end and (str(source) == STDIN or len(line) > LONG_LINE)
        return "jsonl" if begun or _is_object(line) else None
    return _table(line) if tables and named in (None, "txt") else None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table(line: str) -> Format | None:
    """CSV or TSV where the first line is a header that names a text and a label, or two texts."""
    delimiter = max(DELIMITERS, key=line.count)
    names = {name.strip().strip('"').lower() for name in line.split(delimiter)}
    text = any(name in names for name in columns.TEXTS)
    label = any(name in names for name in columns.LABELS)
    pair = any(names >= set(both) for both in columns.PAIRS)
    if len(names) < 2 or not (pair or (text and label)):
        return None
    return "tsv" if delimiter == "\t" else "csv"


def _head(path: str | Path) -> bytes:
    """The first bytes of a file, decompressed; none for what can be read only once, save standard input."""
    if str(path) == STDIN:
        stream: Any = sys.stdin.buffer
        return bytes(stream.peek(1)) if isinstance(stream, io.BufferedReader) else b""
    if not Path(path).is_file():
        return b""
    try:
        with ExitStack() as stack:
            return open_bytes(str(path), stack).peek(encodings.SAMPLE_BYTES)[: encodings.SAMPLE_BYTES]
    except (EOFError, OSError):
        return b""  # whoever reads it says what is wrong


def starts_with_bracket(path: str | Path, encoding: str | None) -> bool:
    """Whether a file begins as a JSON array does."""
    return encodings.detect_encoding(_head(path), encoding).lstrip().startswith("[")


def _checked_header(path: str | Path, line: int, row: Sequence[str]) -> list[str]:
    header = [name.strip() for name in row]
    twice = [name for name, times in Counter(header).items() if times > 1 and name]
    if twice:
        raise UserError(
            f"{display_name(path)}, line {line:,}: two columns are called {twice[0]!r}",
            given=f"columns: {', '.join(header)}",
            hint="give every column a name of its own",
        )
    return header


def _csv_rows(path: str | Path, faults: Faults, encoding: str | None) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line each begins on, the header first; that tells the separator."""
    lines = open_text(path, faults, encoding)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    delimiter = max(DELIMITERS, key="".join(first[1].split('"')[::2]).count)
    width = 0
    for line, fields in csv_records(display_name(path), itertools.chain([first], lines), delimiter, faults):
        width = width or len(fields)
        if len(fields) == width:
            yield line, fields
            continue
        faults.record(
            UserError(
                f"{display_name(path)}, line {line:,}: the number of fields is {len(fields):,}, in the "
                f"header {width:,}",
                given=shorten_path(delimiter.join(fields)),
                allowed="as many fields in every row; a field that holds the separator stands in quotes",
            )
        )
