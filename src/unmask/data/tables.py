"""The rows of CSV, TSV and JSON files, for corpora and labelled tables alike: (line, column -> value).

Every fault names the line. What a `ReadLog` may leave out is one row; what damages the rest is always an error.
"""

import csv
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from unmask.data.textfiles import LONGEST, ReadLog, shorten
from unmask.errors import UserError

Lines = Iterator[tuple[int, str]]
Row = tuple[int, dict[str, Any]]

DELIMITERS = ",\t;"  # the first is also what a header without any of them is read with
MAX_FIELD_LINES = 1000  # a quoted field over more lines than this was not meant to go on
_OPEN = "a quoted field begins in this row and does not end"
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_BLANK = re.compile(r"[ \t\n\r]*")


def table_rows(name: str, lines: Lines, log: ReadLog, tsv: bool = False) -> Iterator[Row]:
    """The rows of a CSV or TSV file, each with the number of the line it begins on.

    CSV as spreadsheets write it (RFC 4180), with the one of the delimiters that the header has most of. TSV has one
    row a line; a field may stand in quotes. Empty lines are left out. What `log` may leave out: a row with another
    number of fields than the header, a quoted field that does not end within 1,000 lines. Raises UserError for two
    columns of one name.
    """
    first = next((one for one in lines if one[1].strip()), None)
    if first is None:
        return
    delimiter = "\t" if tsv else max(DELIMITERS, key="".join(first[1].split('"')[::2]).count)
    lines = chain([first], lines)
    rows: Iterator[tuple[int, list[str]]]
    if tsv:
        rows = ((number, list(map(_unquoted, line.split("\t")))) for number, line in lines if line.strip())
    else:
        rows = _csv_rows(name, lines, delimiter, log)
    begin, columns = next(rows, (0, []))
    header = [column.strip() for column in columns]
    twice = next((column for column, times in Counter(header).items() if times > 1 and column), None)
    if twice is not None:
        what = f"{name}, line {begin:,}: two columns are called {twice!r}"
        raise UserError(what, given=", ".join(header), hint="use a different name for each column")
    for number, fields in rows:
        if len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
            continue
        what = f"{name}, line {number:,}: the number of fields is {len(fields)}"
        allowed = f"{len(header)}, as in the header; a field that holds the separator stands in quotes"
        log.skip(UserError(what, given=shorten(delimiter.join(fields)), allowed=allowed))


def _csv_rows(name: str, lines: Lines, delimiter: str, log: ReadLog) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row, which is one line, or more where a quoted field goes on over line ends.

    Where a quoted field does not end, its first line is at fault and reading goes on with the next.
    """
    csv.field_size_limit(LONGEST)
    again: deque[tuple[int, str]] = deque()  # lines read in search of the end of a field

    def following() -> tuple[int, str] | None:
        return again.popleft() if again else next(lines, None)

    while (line := following()) is not None:
        if not line[1].strip():
            continue
        record = [line]
        fields, fault = _parsed(record, delimiter)
        while fault is _OPEN and len(record) <= MAX_FIELD_LINES and (line := following()) is not None:
            record.append(line)
            if '"' in line[1]:
                fields, fault = _parsed(record, delimiter)
        if fault is None:
            yield record[0][0], fields
            continue
        given = f"{fault}: {shorten(record[0][1])}"
        allowed = 'a quotation mark inside a quoted field is doubled: ""'
        number = record[0][0]
        log.skip(UserError("{name}, line {number:,} is not valid CSV", name, number, given=given, allowed=allowed))
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
    quoted = _QUOTED.fullmatch(field)
    return field if quoted is None else quoted[1].replace('""', '"')


def json_lines(name: str, lines: Lines, log: ReadLog) -> Iterator[Row]:
    """One JSON object a line; empty lines are left out.

    What `log` may leave out: a line that is not a JSON object, or that holds half of a surrogate pair (which is no
    text).
    """

    def row(number: int, line: str) -> Row:
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise invalid_json(name, number, error) from None
        return number, _object(f"{name}, line {number:,}", value, line)

    return log.usable(((number, line) for number, line in lines if line.strip()), row)


def json_array(name: str, text: str, log: ReadLog) -> Iterator[Row]:
    """The objects of a JSON array, each with the line (from 1) on which it begins.

    What `log` may leave out: an element that is no object, or that holds half of a surrogate pair. Raises UserError
    naming the line where the text is not a JSON array.
    """
    return log.usable(_elements(name, text), lambda line, element: (line, _object(f"{name}, line {line:,}", *element)))


def _elements(name: str, text: str) -> Iterator[tuple[int, tuple[Any, str]]]:
    """The elements of a JSON array: line, value, and as it is written."""
    decoder, line, counted = json.JSONDecoder(), 1, 0
    try:
        place = _after_blanks(text, 0)
        if not text.startswith("[", place):
            raise json.JSONDecodeError("Expecting '['", text, place)
        place = _after_blanks(text, place + 1)
        while not text.startswith("]", place):
            line, counted = line + text.count("\n", counted, place), place
            value, after = decoder.raw_decode(text, place)
            yield line, (value, text[place:after])
            place = _after_blanks(text, after)
            if text.startswith(",", place):
                place = _after_blanks(text, place + 1)
            elif not text.startswith("]", place):
                raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
        if (rest := _after_blanks(text, place + 1)) < len(text):
            raise json.JSONDecodeError("Extra data", text, rest)
    except json.JSONDecodeError as error:
        allowed = 'an array of objects: [{"text": "...", "label": "..."}, ...], or one object a line'
        raise invalid_json(name, 1, error, allowed) from None
    except RecursionError as error:
        raise invalid_json(name, line, error) from None


def _after_blanks(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None
    return match.end()


def invalid_json(
    name: str, line: int, error: json.JSONDecodeError | RecursionError, allowed: str = "one JSON object a line"
) -> UserError:
    """The error for what json cannot read, in a text that begins on `line`."""
    if isinstance(error, RecursionError):
        return UserError(f"{name}, line {line:,} is nested too deeply")
    excerpt = error.doc[max(0, error.pos - 30) : error.pos + 30].replace("\n", " ")
    given = f"{error.msg} at position {error.colno:,}: {excerpt}"
    number = line + error.lineno - 1
    return UserError("{name}, line {number:,} is not valid JSON", name, number, given=given, allowed=allowed)


def _object(where: str, value: Any, written: str) -> dict[str, Any]:
    """A JSON value that is an object, or spaCy's `["text", {"entities": [...]}]` as one.

    Raises UserError for others, and for half of a surrogate pair.
    """
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
        value = {"text": value[0], **value[1]}
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a JSON object", given=written[:60], allowed='{"text": "..."}')
    if "\\u" in written:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(f"{where} contains half of a surrogate pair") from None
    return value
