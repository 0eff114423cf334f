"""The rows of CSV and TSV files, for corpora and labelled tables alike; every fault names the line."""

import csv
import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from unmask.data.textfiles import LONGEST, Faults, Kind, display_name, kind_of, open_text, shorten_path
from unmask.errors import UserError, did_you_mean, suggest

MAX_FIELD_LINES = 1000  # a quoted field over more lines than this was not meant to go on
_OPEN = "a quoted field does not end"


def read_rows(
    path: str | Path, faults: Faults | None = None, encoding: str | None = None, kind: Kind | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a .csv or .tsv file, the header first, each with the number of the line it begins on.
    kind: of the file, csv or tsv, where its name does not tell.

    CSV as spreadsheets write it (RFC 4180). TSV has one row a line; a field may stand in quotes. Empty
    lines are left out. Faults: a row with another number of fields than the header, a quoted field that
    does not end within 1,000 lines.
    """
    faults = faults or Faults()
    lines = open_text(path, faults, encoding)
    split = (
        _tsv_rows(lines) if (kind or kind_of(path)) == "tsv" else csv_records(display_name(path), lines, ",", faults)
    )
    header: list[str] | None = None
    for number, row in split:
        if not row:
            continue
        if header is None:
            header = row
        elif len(row) != len(header):
            faults.record(
                UserError(
                    f"{display_name(path)}, line {number:,}: the number of fields is {len(row):,}, in the "
                    f"header {len(header):,}",
                    given=f"columns: {', '.join(header)}",
                    allowed="as many fields in every row; a field that holds the separator stands in quotes",
                )
            )
            continue
        yield number, row


def csv_records(
    name: str, lines: Iterator[tuple[int, str]], delimiter: str, faults: Faults
) -> Iterator[tuple[int, list[str]]]:
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
        what = f"line {start[0]:,}: a quoted field begins in this row and does not end"
        faults.record(
            UserError(
                f"{name}, {what if trouble is _OPEN else f'line {start[0]:,} is not valid CSV'}",
                given=[
                    shorten_path(start[1]) if trouble is _OPEN else trouble,
                    f"read up to {f'line {record[-1][0]:,}'}" if trouble is _OPEN else None,
                ],
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


def _tsv_rows(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        yield number, [_unquoted(field) for field in line.split("\t")] if line.strip() else []


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
    raise UserError(
        f"{display_name(path)} has no column {column!r}",
        given=f"columns: {', '.join(repr(name) for name in header)}",
        hint=[did_you_mean(suggest(column, header)), f"--column {shlex.quote(header[0])}" if header[0] else None],
    )
