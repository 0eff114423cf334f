"""The rows of CSV and TSV files, for corpora and labelled tables alike; every fault names the line."""

import csv
import itertools
import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from unmask.data.textfiles import LONGEST, ReadLog, display_name, shorten
from unmask.errors import UserError, suggest

MAX_FIELD_LINES = 1000  # a quoted field over more lines than this was not meant to go on
DELIMITERS = ",\t;"  # the first is also what a header without any of them is read with
_OPEN = "a quoted field does not end"

Lines = Iterator[tuple[int, str]]


def read_table(
    name: str, lines: Lines, log: ReadLog, kind: Literal["csv", "tsv"], delimiters: str = DELIMITERS
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV or TSV file, the header first, each with the number of the line it begins on.

    CSV as spreadsheets write it (RFC 4180), with the one of the delimiters that the header has most of. TSV has one
    row a line; a field may stand in quotes. Empty lines are left out. What `log` may leave out: a row with another
    number of fields than the header, a quoted field that does not end within 1,000 lines.
    """
    first = next((one for one in lines if one[1].strip()), None)
    if first is None:
        return
    lines = itertools.chain([first], lines)
    delimiter = "\t" if kind == "tsv" else max(delimiters, key="".join(first[1].split('"')[::2]).count)
    rows: Iterator[tuple[int, list[str]]]
    if kind == "tsv":
        rows = ((number, list(map(_unquoted, line.split("\t")))) for number, line in lines if line.strip())
    else:
        rows = csv_records(name, lines, delimiter, log)
    width = 0
    for number, fields in rows:
        width = width or len(fields)
        if len(fields) == width:
            yield number, fields
            continue
        count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        log.skip(
            UserError(
                f"{name}, line {number:,} has {count}, the header has {width}",
                given=shorten(delimiter.join(fields)),
                allowed="as many fields in every row; a field that holds the separator stands in quotes",
            )
        )


def csv_records(name: str, lines: Lines, delimiter: str, log: ReadLog) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row, which is one line, or more where a quoted field goes on over line ends.

    Where a quoted field does not end, its first line is at fault and reading goes on with the next.
    """
    csv.field_size_limit(LONGEST)
    again: deque[tuple[int, str]] = deque()  # lines read in search of the end of a field
    while (start := again.popleft() if again else next(lines, None)) is not None:
        if not start[1].strip():
            continue
        record = [start]
        fields, trouble = _parsed(record, delimiter)
        while trouble is _OPEN and len(record) <= MAX_FIELD_LINES:
            following = again.popleft() if again else next(lines, None)
            if following is None:
                break
            record.append(following)
            if '"' in following[1]:
                fields, trouble = _parsed(record, delimiter)
        if trouble is None:
            yield start[0], fields
            continue
        unended = trouble is _OPEN
        what = ": a quoted field begins in this row and does not end" if unended else " is not valid CSV"
        log.skip(
            UserError(
                f"{name}, line {start[0]:,}{what}",
                given=f"{shorten(start[1])} (looked until line {record[-1][0]:,})" if unended else trouble,
                allowed='a quotation mark inside a quoted field is doubled: ""',
            )
        )
        again.extendleft(reversed(record[1:]))


def _parsed(record: Sequence[tuple[int, str]], delimiter: str) -> tuple[list[str], str | None]:
    """The fields of one row, and what is wrong: nothing, `_OPEN` where more lines are needed, or a reason."""
    reader = csv.reader((line + "\n" for _, line in record), delimiter=delimiter, strict=True)
    try:
        return next(reader), None
    except csv.Error as error:
        return [], _OPEN if "unexpected end" in str(error) else str(error)


def _unquoted(field: str) -> str:
    """The field without quotes when they are quoting; a quotation mark in plain text stays."""
    if len(field) >= 2 and field[0] == field[-1] == '"':
        inner = field[1:-1].replace('""', "\0")
        if '"' not in inner:
            return inner.replace("\0", '"')
    return field


def column_at(path: str | Path, header: Sequence[str], column: str) -> int:
    """The place of a column. Raises UserError saying which columns there are."""
    if column in header:
        return list(header).index(column)
    meant = suggest(column, header)
    raise UserError(
        f"{display_name(path)} has no column {column!r}",
        allowed=", ".join(repr(name) for name in header),
        hint=f"did you mean {meant}?" if meant else f"--text-column {shlex.quote(header[0])}" if header[0] else None,
    )
