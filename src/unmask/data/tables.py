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
from unmask.messages import message

Lines = Iterator[tuple[int, str]]
Row = tuple[int, dict[str, Any]]

DELIMITERS = ",\t;|"  # the first is also what a header without any of them is read with
LOOKED_AT = 50  # lines to tell the delimiter by
MAX_ABOVE = 10  # lines of a title
MAX_FIELD_LINES = 1000  # a quoted field over more lines than this was not meant to go on
_OPEN = "a quoted field begins in this row and does not end"
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_SEP = re.compile(r'"?sep=(.|\\t)"?[,;\t|]*', re.IGNORECASE)  # Excel's first line
_BLANK = re.compile(r"[ \t\n\r]*")


def table_rows(name: str, lines: Lines, log: ReadLog, tsv: bool = False) -> Iterator[Row]:
    """The rows of a CSV or TSV file, each with the number of the line it begins on.

    CSV as spreadsheets write it (RFC 4180), with the delimiter that a line `sep=;` above the header names, else the one
    that cuts the first rows alike. TSV has one row a line; a field may stand in quotes. Empty lines and a title above
    the header are left out, and headers that files which were put one after another repeat. What `log` may leave out: a
    row with another number of fields than the header, a quoted field that does not end within 1,000 lines. Raises
    UserError for two columns of one name.
    """
    lines, delimiter = find_delimiter(name, lines, log, tsv)
    rows: Iterator[tuple[int, list[str]]]
    if tsv and delimiter == "\t":
        rows = ((number, list(map(_unquoted, line.split("\t")))) for number, line in lines if line.strip())
    else:
        rows = _csv_rows(name, lines, delimiter, log)
    begin, columns = next(rows, (0, []))
    header = [column.strip() for column in columns]
    names = sorted(column.casefold() for column in header)
    twice = next((column for column, times in Counter(header).items() if times > 1 and column), None)
    if twice is not None:
        what = f"{name}, line {begin:,}: two columns are called {twice!r}"
        raise UserError(what, given=", ".join(header), hint="use a different name for each column")
    again: list[int] = []  # lines of the header in the middle of the file, as cat leaves them
    for number, fields in rows:
        if len(fields) != len(header):
            what = f"{name}, line {number:,}: the number of fields is {len(fields)}"
            allowed = f"{len(header)}, as in the header; a field that holds the separator stands in quotes"
            title = message("line {line:,} is read as the header: remove it if it is a title or a comment", begin)
            hint = title if len(header) == 1 else None
            log.skip(UserError(what, given=shorten(delimiter.join(fields)), allowed=allowed, hint=hint))
        elif len(header) > 1 and fields[0].strip("\ufeff \t").casefold() in names and _names(fields) == names:
            if _names(fields[:1]) != [header[0].casefold()]:
                what = f"{name}, line {number:,}: a header with the columns in another order"
                raise UserError(what, given=", ".join(fields), allowed=", ".join(header), hint="read the files apart")
            again.append(number)
        else:
            yield number, dict(zip(header, fields, strict=True))
    if again:
        text = "{name}: the header occurs {count:,} more times and is skipped there (the first: line {line:,})"
        log.note(text, name, len(again), again[0])


def _names(fields: Sequence[str]) -> list[str]:
    """The names that fields are as a header, sorted."""
    return sorted(field.strip("\ufeff \t").casefold() for field in fields)


def find_delimiter(name: str, lines: Lines, log: ReadLog, tsv: bool = False) -> tuple[Lines, str]:
    """The lines from the header on, and what separates their fields."""
    first: list[tuple[int, str]] = []
    for one in lines:
        first += [one] if first or one[1].strip() else []
        if len(first) == LOOKED_AT:
            break
    texts = [line for _, line in first]
    if (named := named_delimiter(texts)) is not None:
        log.note("{name}, line {line:,}: {delimiter!r} separates the columns", name, first[0][0], named)
        return chain(first[1:], lines), named
    if above := lines_above(texts, tsv):
        log.note("{name}, line {line:,}: a title and not the header: {text}", name, first[0][0], shorten(texts[0]))
        first, texts = first[above:], texts[above:]
    delimiter = likely_delimiter(texts, tsv)
    if tsv and delimiter != "\t":
        log.note("{name}: columns are separated by {delimiter!r}, not by tabs", name, delimiter)
    return chain(first, lines), delimiter


def named_delimiter(lines: Sequence[str]) -> str | None:
    """The delimiter that the first line names, as Excel reads it: `sep=;`."""
    named = _SEP.fullmatch(lines[0].strip(" ")) if lines else None
    return None if named is None else named[1].replace("\\t", "\t")


def lines_above(lines: Sequence[str], tsv: bool = False) -> int:
    """How many lines are above the header: those of a title (words) over a table of two columns or more,
    with the empty ones between."""
    above = 0
    while above < min(len(lines) - 2, MAX_ABOVE) and _is_title(lines[above]):
        above += 1
        while above < len(lines) and not lines[above].strip(DELIMITERS + " "):
            above += 1
        table = lines[above:]
        delimiter = likely_delimiter(table, tsv)
        names = "".join(table[:1]).split(delimiter)
        # a comma between words, unlike one between columns, has a blank after it
        alike = len(table) > 1 and len(names) > 1 and {*_widths(table, delimiter)} == {len(names)}
        if alike and all(one and one == one.strip() for one in names):
            return above
    return 0


def _is_title(line: str) -> bool:
    title = line.rstrip(DELIMITERS + " ")
    return " " in title and not any(one in title for one in DELIMITERS)


def likely_delimiter(lines: Sequence[str], tsv: bool = False) -> str:
    """What separates the fields of a table that begins with these lines.

    The delimiter that cuts most rows into as many fields as the header; of equals the one that is in the header most
    often. Without any it is the comma, of TSV the tab.
    """
    header = "".join(lines[:1])
    usual = "\t" if tsv else DELIMITERS[0]
    names = "".join(header.split('"')[::2])  # what stands in quotes is no delimiter
    present = [one for one in DELIMITERS if one in names]
    if len(present) < 2 and not tsv:
        return (present or [usual])[0]
    if tsv and "\t" in present:
        return usual

    def alike(delimiter: str) -> tuple[float, int]:
        widths = _widths(lines, delimiter)
        return sum(width == widths[0] for width in widths) / max(1, len(widths)), names.count(delimiter)

    best = max(present, key=alike, default=usual)
    return usual if tsv and alike(best)[0] < 1 else best


def _widths(lines: Sequence[str], delimiter: str) -> list[int]:
    """How many fields each row has; the last line may be in the middle of one."""
    csv.field_size_limit(LONGEST)
    try:
        rows = csv.reader([line + "\n" for line in lines if line.strip()], delimiter=delimiter)
        return [len(row) for row in rows]
    except csv.Error:
        return []


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
        if '"' not in line[1]:
            yield line[0], line[1].split(delimiter)
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


def json_array(name: str, text: str, log: ReadLog, places: dict[int, str] | None = None) -> Iterator[Row]:
    """The objects of a JSON array, each with the line (from 1) on which it begins; where several begin on one line,
    with its number among all of them, and `places` gets what to call each.

    What `log` may leave out: an element that is no object, or that holds half of a surrogate pair. Raises UserError
    naming the line where the text is not a JSON array.
    """
    elements = list(_elements(name, text))
    counted = len({line for line, *_ in elements}) < len(elements)

    def row(number: int, line: int, element: Any, start: int, stop: int) -> Row:
        where = f"{name}, row {number:,}" if counted else f"{name}, line {line:,}"
        value = _object(where, element, text[start:stop])
        if counted and places is not None:
            places[number] = where
        return (number if counted else line), value

    return log.usable(enumerate(elements, 1), lambda number, one: row(number, *one))


def _elements(name: str, text: str) -> Iterator[tuple[int, Any, int, int]]:
    """The elements of a JSON array: line, value, and where in the text it begins and ends."""
    decoder, line, counted = json.JSONDecoder(), 1, 0
    try:
        place = _after_blanks(text, 0)
        if not text.startswith("[", place):
            raise json.JSONDecodeError("Expecting '['", text, place)
        place = _after_blanks(text, place + 1)
        while not text.startswith("]", place):
            line, counted = line + text.count("\n", counted, place), place
            value, after = decoder.raw_decode(text, place)
            yield line, value, place, after
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
            raise UserError("{where} contains half of a surrogate pair", where) from None
    return value
