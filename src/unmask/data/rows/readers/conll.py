"""CoNLL files of any number of columns as records: the tokens and tags of each sentence."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from unmask.data.rows.columns import did_you_mean
from unmask.data.rows.options import ReadOptions
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
_ELSEWHERE = -1
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"-?\d+")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")


@dataclass(frozen=True)
class _Layout:
    """How the lines of one file are cut. `line` is where that was seen."""

    line: int
    width: int
    tabs: bool
    token: int
    tag: int | None
    id: int | None  # the column of word numbers, CoNLL-U only
    header: bool  # whether `line` is a header and no token

    def is_comment(self, line: str) -> bool:
        """A token may be "#": a line counts as a comment only where it is no row."""
        if not line.startswith("#"):
            return False
        if self.id is not None or self.tabs:
            return "\t" not in line
        return line[1:2] in ("", " ") and len(_fields(line, self.tabs)) != self.width


@dataclass
class _Sentence:
    line: int = 0
    id: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of each token
    fault: UserError | None = None
    broken: bool = False  # a line of it could not be read, which is counted already


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
        self.names: tuple[str, ...] = ()  # of the columns, where the file tells

    @property
    def layout_text(self) -> str:
        """Which columns were read, for people."""
        if self.layout is None:
            return ""
        tags = "" if self.layout.tag is None else f", tags in column {self.layout.tag + 1}"
        return f"tokens in column {self.layout.token + 1}{tags} of {self.layout.width}"

    def rows(self, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The line on which each sentence begins; its id, tokens, tags (None: not read), and the line of each token."""
        sentence, skipped = _Sentence(), self.log.skipped
        for number, line in chain(lines, [(0, "")]):  # the end of the file ends a sentence, too
            sentence.broken |= self.log.skipped > skipped
            if not line.strip() or line.startswith(DOCUMENT):
                if sentence.fault is not None:
                    self.log.skip(sentence.fault)
                elif sentence.tokens and not sentence.broken:
                    tags = sentence.tags if self.labelled else None
                    values = {"id": sentence.id, "tokens": sentence.tokens, "tags": tags}
                    yield sentence.line, {**values, "lines": sentence.lines}
                sentence = _Sentence()
            else:
                self._read(sentence, number, line)
            skipped = self.log.skipped

    def _read(self, sentence: _Sentence, number: int, line: str) -> None:
        """One line that is not empty."""
        if self.layout is None:
            if line.startswith("#") and "\t" not in line and line[1:2] in ("", " ") and len(line.split()) != 2:
                # nobody knows the columns yet: a comment is `# key = value`, or # and more than one word
                key, equals, value = line[1:].partition("=")
                if equals and key.strip() == "global.columns":  # CoNLL-U Plus: `# global.columns = ID FORM UPOS`
                    self.names = tuple(value.split())
                self._note_id(sentence, line)
                return
            self.layout = self._find_layout(number, line)
            if self.layout.header:
                return
        if self.layout.is_comment(line):
            self._note_id(sentence, line)
            return
        sentence.line = sentence.line or number
        if sentence.fault is None:
            try:
                self._add(sentence, number, line, self.layout)
            except UserError as error:
                sentence.fault = error

    def _note_id(self, sentence: _Sentence, comment: str) -> None:
        if comment[1:].strip().startswith("sent_id"):
            sentence.id = comment.partition("=")[2].strip() or None

    def _find_layout(self, number: int, line: str) -> _Layout:
        tabs = "\t" in line
        row = _fields(line, tabs)
        if not self.names and tabs and len(row) == len(CONLLU) and _CONLLU_ID.fullmatch(row[0]):
            self.names = CONLLU
        named = [name for name in (self.options.token_column, self.options.tag_column) if name is not None]
        header = not self.names and any(not _NUMBER.fullmatch(name) and name in row for name in named)
        names = tuple(row) if header else self.names
        token, tag = self._place("token_column", names, row), self._place("tag_column", names, row)
        if _ELSEWHERE in (token, tag):
            token = tag = None
        if token is None:
            token = names.index("FORM") if "FORM" in self.names else 0
        tag = tag if self.labelled else None
        if tag is None and self.labelled and len(row) > 1:
            tag = names.index("UPOS") if "UPOS" in self.names else len(row) - 1
        shown = f"line {number:,}: {' | '.join(row)}"
        hint = "--token-column and --tag-column, by number or name"
        if tag is None and self.labelled:
            raise UserError(
                f"{self.source} has tokens, but no tags",
                given=shown,
                allowed="two columns or more, separated by tabs or blanks",
            )
        if tag == token:
            what = f"{self.source}: column {token + 1} cannot hold both the tokens and the tags"
            raise UserError(what, given=shown, hint=hint)
        return _Layout(number, len(row), tabs, token, tag, names.index("ID") if "ID" in self.names else None, header)

    def _place(self, option: str, names: Sequence[str], row: Sequence[str]) -> int | None:
        """The place of a column from 0; _ELSEWHERE for one that only another file has. Raises UserError where it is not
        there."""
        column: str | None = getattr(self.options, option)
        if column is None:
            return None
        if column in names:
            return names.index(column)
        if _NUMBER.fullmatch(column):
            number = int(column)
            place = number - 1 if number > 0 else len(row) + number
            if number and 0 <= place < len(row):
                return place
        if option in self.inherited:
            return _ELSEWHERE
        raise UserError(
            f"{self.source} has no column {column!r}",
            given=", ".join(names) if names else f"{len(row)} columns without names: {' | '.join(row)}",
            allowed=f"a number from 1 to {len(row)}, -1 for the last" + (", or a name" if names else ""),
            hint=f"{did_you_mean(column, names)}--{option.replace('_', '-')}",
        )

    def _add(self, sentence: _Sentence, number: int, line: str, layout: _Layout) -> None:
        """A token with its tag. Raises UserError for a line that holds none."""
        row, where = _fields(line, layout.tabs), f"{self.source}, line {number:,}"
        if len(row) != layout.width:
            columns = "1 column" if len(row) == 1 else f"{len(row)} columns"
            raise UserError(
                f"{where} has {columns}, line {layout.line:,} has {layout.width}",
                given=shorten(line),
                allowed=f"one token a line, always with {layout.width} columns separated by "
                f"{'tabs' if layout.tabs else 'blanks'}; an empty line between sentences",
            )
        if layout.id is not None and not row[layout.id].isdecimal() and _CONLLU_ID.fullmatch(row[layout.id]):
            return  # a multiword token or an empty node
        token = row[layout.token].strip() or row[layout.token]
        if not token:
            raise UserError(f"{where}: the token is empty", given=shorten(line))
        if layout.tag is not None:
            tag = row[layout.tag].strip()
            if not tag or (tag == "_" and layout.id is not None):  # so CoNLL-U is before anybody tagged it
                given = f"column {layout.tag + 1}: {row[layout.tag]!r}"
                hint = "--tag-column, by number or name"
                raise UserError(f"{where}: the tag of {token!r} is empty", given=given, hint=hint)
            sentence.tags.append(tag)
        sentence.tokens.append(token)
        sentence.lines.append(number)


def _fields(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))
