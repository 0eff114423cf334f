"""CoNLL files of any number of columns as records: the tokens and tags of each sentence."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from unmask import advice
from unmask.data.rows.columns import note_columns
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.readers.token_table import names_columns, usual_columns
from unmask.data.tables import DELIMITERS, Row
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError, did_you_mean, suggest

CONLLU: tuple[str, ...] = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
BIO_TAG = re.compile(r"O|[BIMESLUW]([-_]\S+)?")
LOOKED_AT = 200  # lines to tell the columns by
_Entry = tuple[int, str, int]
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"-?\d+")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")


@dataclass(frozen=True)
class _Layout:
    """How the lines of one file are cut. id: the column of word numbers of CoNLL-U. in_scheme: whether the last column
    has tags such as B-PER and O. header: the line of the names of the columns."""

    width: int
    tabs: bool
    token: int
    tag: int | None
    id: int | None
    in_scheme: bool
    header: int | None

    def fields(self, line: str) -> list[str]:
        """The fields of a line, without empty ones beyond the last column."""
        fields = _fields(line, self.tabs)
        while len(fields) > self.width and not fields[-1].strip():
            fields.pop()
        return fields

    def is_comment(self, line: str) -> bool:
        """A token may be "#": a line counts as a comment only where it is no row."""
        if not line.startswith("#"):
            return False
        fields = self.fields(line)
        return len(fields) != self.width or (self.in_scheme and not BIO_TAG.fullmatch(fields[-1].strip()))


class ConllReader:
    """Reads the sentences of one CoNLL file: one token a line, columns separated by tabs or blanks, an empty line
    between sentences.

    Comments, -DOCSTART- and the `1-2` and `1.1` lines of CoNLL-U are left out. Without `labelled`, tags are not read.
    inherited: options that were made for another file, whose columns need not be here. What `log` may leave out: a
    sentence with a line of another number of columns, or with an empty token or tag (of CoNLL-U also `_`). Raises
    UserError for columns that are not there.
    """

    def __init__(
        self, source: str, options: ReadOptions, labelled: bool, inherited: Collection[str], log: ReadLog
    ) -> None:
        self.source, self.options, self.labelled = source, options, labelled
        self.inherited, self.log = inherited, log
        self.layout: _Layout | None = None
        self.faults = 0  # sentences that were read and are left out

    def rows(self, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
        """The line on which each sentence begins; its id, tokens and tags, and the line of each token."""
        entries = self._entries(lines)
        first = list[_Entry]()
        rows = 0
        for entry in entries:
            first.append(entry)
            rows += _may_be_row(entry[1])
            if rows == LOOKED_AT:
                break
        self._find_layout([(number, line) for number, line, _ in first])
        held: list[tuple[int, str]] = []
        before = 0
        for number, line, unread in chain(first, entries):
            if line.strip() and not line.startswith(DOCUMENT):
                held.append((number, line))
                continue
            if held and unread == before:  # else a line of it could not be read, which is counted already
                try:
                    begin, row = self._sentence(held)
                except UserError as error:
                    self.log.skip(error)
                    self.faults += 1
                else:
                    if row["tokens"]:
                        yield begin, row
            held, before = [], unread

    def _entries(self, lines: Iterator[tuple[int, str]]) -> "Iterator[_Entry]":
        """The lines, with how many could not be read so far. The end of the file ends a sentence, too."""
        for number, line in chain(lines, [(0, "")]):
            yield number, line, self.log.skipped - self.faults

    def _sentence(self, lines: Sequence[tuple[int, str]]) -> Row:
        """The lines of one sentence. Raises UserError for one that holds no token."""
        begin, name = 0, None
        row: dict[str, Any] = {"id": None, "tokens": [], "tags": [], "lines": []}
        for number, line in lines:
            if self.layout is None or self.layout.is_comment(line):
                key, _, value = line[1:].partition("=")
                name = value.strip() or None if key.strip() == "sent_id" else name
            elif number != self.layout.header:
                begin = begin or number
                self._add(row, number, line)
        return begin, {**row, "id": name}

    def _find_layout(self, lines: Sequence[tuple[int, str]]) -> None:
        """Find the columns by the first lines: most of these decide."""
        rows = [one for one in lines if _may_be_row(one[1])]
        if not rows:  # none but such as may be comments
            rows = [one for one in lines if one[1].startswith("#") and ("\t" in one[1] or len(one[1].split()) == 2)]
        tabs, width = table_shape([line for _, line in rows])
        rows = [one for one in rows if not one[1].startswith("#") or len(_fields(one[1], tabs)) == width]
        if not rows:
            return
        number, line = rows[0]
        row = _cut(line, tabs)
        row = row if len(row) == width else _BLANKS.split(line.strip())
        names = CONLLU if tabs and width == len(CONLLU) and _CONLLU_ID.fullmatch(row[0]) else ()
        options = {"token_column": self.options.token_column, "tag_column": self.options.tag_column}
        named = {option: column for option, column in options.items() if column is not None}
        usual = names_columns(row) and len(row) == width
        header = not names and (
            usual or any(column in row and not _NUMBER.fullmatch(column) for column in named.values())
        )
        names = tuple(row) if header else names
        places = self._places(named, names, width, f"line {number:,}: {' | '.join(row)}")
        token, tag = (0, width - 1) if not usual else usual_columns(names)
        token, tag = (1, 3) if names is CONLLU else (token, tag)
        if not names and "token_column" not in places and _counts(lines, tabs, width):
            token = 1
            text, by = (
                "{source}: column 1 counts the tokens, so that column 2 holds them",
                [advice.option("token_column")],
            )
            self.log.note(advice.to_change(text, self.source, by=by))
        token, last = places.get("token_column", token), places.get("tag_column", tag)
        if self.labelled and last == token:
            what = f"{self.source}: column {token + 1} cannot hold both the tokens and the tags"
            what = f"{self.source} has tokens, but no tags" if width == 1 else what
            given = f"line {number:,}: {' | '.join(row)}"
            table = any(one in line for one in DELIMITERS) and "a table of tokens needs a header, such as token,tag"
            columns = advice.option("token_column"), advice.option("tag_column")
            hint = advice.advise("{token} and {tag}, by number or name", *columns)
            raise UserError(what, given=given, hint=[hint, table or None])
        identity = names.index("ID") if names is CONLLU else None
        in_scheme = looks_tagged([_cut(line, tabs)[-1] for _, line in rows[header:]])
        self.layout = _Layout(
            width, tabs, token, last if self.labelled else None, identity, in_scheme, number if header else None
        )
        note_columns(self.log, self.source, token=token + 1, tag=last + 1 if self.labelled else None)

    def _places(self, named: Mapping[str, str], names: Sequence[str], width: int, given: str) -> dict[str, int]:
        """The places of the columns that options name. Raises UserError for one that is not there, unless it was named
        for another file: then no option counts."""
        places = {option: _place(column, names, width) for option, column in named.items()}
        absent = [option for option, place in places.items() if place is None]
        for option in absent:
            if option not in self.inherited:
                raise UserError(
                    f"{self.source} has no column {named[option]!r}",
                    given=", ".join(names) or given,
                    allowed=f"a number from 1 to {width}, -1 for the last" + (", or a name" if names else ""),
                    hint=[did_you_mean(suggest(named[option], names)), advice.option(option, "NAME")],
                )
        if absent:
            text = "{source} has no column {column!r}, as the training rows had"
            self.log.note(text, self.source, named[absent[0]])
            return {}
        return {option: place for option, place in places.items() if place is not None}

    def _add(self, row: dict[str, Any], number: int, line: str) -> None:
        """A token with its tag. Raises UserError for a line that holds none."""
        layout = self.layout
        assert layout is not None
        fields, where = layout.fields(line), f"{self.source}, line {number:,}"
        if len(fields) != layout.width:
            separator = "tabs" if layout.tabs else "blanks"
            allowed = f"{layout.width} on every line, as on most of the first, separated by {separator}"
            raise UserError(f"{where}: the number of columns is {len(fields)}", given=shorten(line), allowed=allowed)
        if layout.id is not None and not fields[layout.id].isdecimal() and _CONLLU_ID.fullmatch(fields[layout.id]):
            return  # a multiword token or an empty node
        token = fields[layout.token].strip() or fields[layout.token]
        if not token:
            raise UserError(f"{where}: the token is empty", given=shorten(line))
        if layout.tag is not None:
            tag = fields[layout.tag].strip()
            if not tag or (tag == "_" and layout.id is not None):  # so CoNLL-U is before anybody tagged it
                given = f"column {layout.tag + 1}: {fields[layout.tag]!r}"
                hint = advice.advise("{option}, by number or name", advice.option("tag_column"))
                raise UserError(f"{where}: the tag of {token!r} is empty", given=given, hint=hint)
            row["tags"].append(tag)
        row["tokens"].append(token)
        row["lines"].append(number)


def table_shape(lines: Sequence[str]) -> tuple[bool, int]:
    """Whether tabs separate the columns of most of these lines, and how many columns most of them have."""
    tabs = 2 * sum("\t" in line for line in lines) >= max(1, len(lines))
    widths = Counter(len(_cut(line, tabs)) for line in lines)
    return tabs, max(widths, key=widths.__getitem__, default=1)


def looks_tagged(column: Sequence[str], labels: Collection[str] = ()) -> bool:
    """Whether nearly all values of a column are tags of a scheme such as BIO, or among these labels."""
    tags = [one.strip() for one in column]
    fitting = sum(BIO_TAG.fullmatch(tag) is not None or tag in labels for tag in tags)
    sure = any("-" in tag or "_" in tag for tag in tags) or len({*tags}) > 1 or len(tags) > 2
    return sure and fitting >= 0.9 * len(tags)


def is_conll(lines: Sequence[str], labels: Collection[str] = ()) -> bool:
    """Whether lines are rows of CoNLL, so that they are no texts: nearly all have one number of columns, two or more,
    and these are words separated by tabs, or the last one holds tags of a scheme such as BIO or with these labels."""
    rows = [line for line in lines if _may_be_row(line)][:LOOKED_AT]
    tabs, width = table_shape(rows)
    fields = [row for line in rows if len(row := _cut(line, tabs)) == width]
    if width < 2 or len(fields) < 0.9 * len(rows):
        return False
    if looks_tagged([row[-1] for row in fields], labels):
        return True
    return tabs and len(rows) > 1 and not any(" " in one for row in fields for one in row)


def _may_be_row(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", DOCUMENT))


def _fields(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))


def _cut(line: str, tabs: bool) -> list[str]:
    """The fields of a line without empty ones at its end."""
    return _fields(line.rstrip() if line.strip() else line, tabs)


def _counts(lines: Sequence[tuple[int, str]], tabs: bool, width: int) -> bool:
    """Whether the first of several columns counts the tokens of each sentence from 0 or 1, or of all of them."""
    following, begins, goes_on = -1, True, False
    for _, line in lines:
        if not _may_be_row(line):
            begins = begins or not line.startswith("#")
            continue
        field = _cut(line, tabs)[0]
        number = int(field) if field.isdecimal() else -1
        if number < 0 or (number != following and not (begins and number in (0, 1))):
            return False
        goes_on = goes_on or number == following
        following, begins = number + 1, False
    return width > 1 and goes_on


def _place(column: str, names: Sequence[str], width: int) -> int | None:
    """The place of a column from 0, by its name or number; None where it is not there."""
    if column in names:
        return names.index(column)
    number = int(column) if _NUMBER.fullmatch(column) else 0
    place = number - 1 if number > 0 else width + number
    return place if number and 0 <= place < width else None
