"""CoNLL files of any number of columns as records: the tokens and tags of each sentence."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from unmask import advice
from unmask.data.rows.columns import note_columns
from unmask.data.rows.options import ReadOptions
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError, did_you_mean, suggest

CONLLU: tuple[str, ...] = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"-?\d+")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")


@dataclass(frozen=True)
class _Layout:
    """How the lines of one file are cut. id: the column of word numbers of CoNLL-U."""

    width: int
    tabs: bool
    token: int
    tag: int | None
    id: int | None


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

    def rows(self, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
        """The line on which each sentence begins; its id, tokens and tags, and the line of each token."""
        held: list[tuple[int, str]] = []
        skipped = self.log.skipped
        for number, line in chain(lines, [(0, "")]):  # the end of the file ends a sentence, too
            if line.strip() and not line.startswith(DOCUMENT):
                held.append((number, line))
                continue
            if held and self.log.skipped == skipped:  # else a line of it could not be read, which is counted already
                try:
                    begin, row = self._sentence(held)
                except UserError as error:
                    self.log.skip(error)
                else:
                    if row["tokens"]:
                        yield begin, row
            held, skipped = [], self.log.skipped

    def _sentence(self, lines: Sequence[tuple[int, str]]) -> Row:
        """The lines of one sentence. Raises UserError for one that holds no token."""
        begin, name = 0, None
        row: dict[str, Any] = {"id": None, "tokens": [], "tags": [], "lines": []}
        for number, line in lines:
            if self._is_comment(line):
                key, _, value = line[1:].partition("=")
                name = value.strip() or None if key.strip() == "sent_id" else name
            elif self.layout is not None or not self._find_layout(number, line):
                begin = begin or number
                self._add(row, number, line)
        return begin, {**row, "id": name}

    def _is_comment(self, line: str) -> bool:
        """A token may be "#": a line counts as a comment only where it is no row; of two columns, before the first."""
        tabs, width = (False, 2) if self.layout is None else (self.layout.tabs, self.layout.width)
        is_row = "\t" in line or (not tabs and (line[1:2] not in ("", " ") or len(line.split()) == width))
        return line.startswith("#") and not is_row

    def _find_layout(self, number: int, line: str) -> bool:
        """Find the columns by the first row; whether it is a header and no token."""
        tabs = "\t" in line
        row = _fields(line, tabs)
        names = CONLLU if tabs and len(row) == len(CONLLU) and _CONLLU_ID.fullmatch(row[0]) else ()
        options = {"token_column": self.options.token_column, "tag_column": self.options.tag_column}
        named = {option: column for option, column in options.items() if column is not None}
        header = not names and any(column in row and not _NUMBER.fullmatch(column) for column in named.values())
        names = tuple(row) if header else names
        places = {option: _place(column, names, len(row)) for option, column in named.items()}
        given = f"line {number:,}: {' | '.join(row)}"
        absent = [option for option, place in places.items() if place is None]
        for option in absent:
            if option not in self.inherited:
                raise UserError(
                    f"{self.source} has no column {named[option]!r}",
                    given=", ".join(names) or given,
                    allowed=f"a number from 1 to {len(row)}, -1 for the last" + (", or a name" if names else ""),
                    hint=[did_you_mean(suggest(named[option], names)), advice.option(option, "NAME")],
                )
        if absent:  # the columns are those of another file
            places = {}
        token = places.get("token_column", names.index("FORM") if "FORM" in names else 0) or 0
        tag = places.get("tag_column", names.index("UPOS") if "UPOS" in names else len(row) - 1)
        tag = tag if self.labelled else None
        if tag == token:
            what = f"{self.source}: column {token + 1} cannot hold both the tokens and the tags"
            what = f"{self.source} has tokens, but no tags" if len(row) == 1 else what
            columns = advice.option("token_column"), advice.option("tag_column")
            hint = advice.advise("{token} and {tag}, by number or name", *columns)
            raise UserError(what, given=given, hint=hint)
        self.layout = _Layout(len(row), tabs, token, tag, names.index("ID") if "ID" in names else None)
        note_columns(self.log, self.source, token=token + 1, tag=None if tag is None else tag + 1)
        return header

    def _add(self, row: dict[str, Any], number: int, line: str) -> None:
        """A token with its tag. Raises UserError for a line that holds none."""
        layout = self.layout
        assert layout is not None
        fields, where = _fields(line, layout.tabs), f"{self.source}, line {number:,}"
        if len(fields) != layout.width:
            separator = "tabs" if layout.tabs else "blanks"
            allowed = f"{layout.width} on every line, as on the first, separated by {separator}"
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


def _fields(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))


def _place(column: str, names: Sequence[str], width: int) -> int | None:
    """The place of a column from 0, by its name or number; None where it is not there."""
    if column in names:
        return names.index(column)
    number = int(column) if _NUMBER.fullmatch(column) else 0
    place = number - 1 if number > 0 else width + number
    return place if number and 0 <= place < width else None
