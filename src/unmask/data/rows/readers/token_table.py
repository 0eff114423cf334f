"""Tables with a token a row as sentences: `Sentence #,Word,POS,Tag`, `sentence_id,words,labels`, `token,tag`.

A sentence ends where the column of sentences has another value (it may be filled in the first row of each alone), or,
without such a column, at an empty row.
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from unmask.data.rows.columns import note_columns
from unmask.data.rows.options import ReadOptions
from unmask.data.tables import Lines, Row, has_title, likely_delimiter, named_delimiter, table_rows
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError, did_you_mean, suggest

WORDS = ("token", "tokens", "word", "words", "form")
TAGS = (
    "tag tags ner_tag ner_tags ner label labels entity iob bio bioes ner_label slot chunk_tag "
    "pos pos_tag pos_tags upos xpos".split()
)
SENTENCES = (
    "sentence_# sentence_id sentence_idx sentence_number sentence_no sentence sent_id sent_idx sent_number sent "
    "sentence_index sentenceid sent#".split()
)


def _usual(names: Sequence[str]) -> list[str]:
    return [re.sub(r"[\s_]+", "_", name.strip().strip('"').lower()) for name in names]


def _between(marks: Sequence[int], after: int, up_to: int) -> bool:
    """Whether any of the marks, which are sorted, lies after a line and not beyond another."""
    return bisect_right(marks, up_to) > bisect_right(marks, after)


def _first(names: Sequence[str], usual: Sequence[str]) -> int | None:
    return next((names.index(one) for one in usual if one in names), None)


def usual_columns(names: Sequence[str]) -> tuple[int, int]:
    """The places of the tokens and the tags by the names of the columns, else the first and the last."""
    lower = _usual(names)
    token, tag = _first(lower, WORDS), _first(lower, TAGS)
    return 0 if token is None else token, len(names) - 1 if tag is None else tag


def names_columns(names: Sequence[str]) -> bool:
    """Whether these are names of columns, among them those of tokens and of tags."""
    lower = {*_usual(names)}
    return not lower.isdisjoint(WORDS) and not lower.isdisjoint(TAGS)


def is_token_table(lines: Sequence[str], options: ReadOptions, tsv: bool = False) -> bool:
    """Whether a file that begins with these lines is a table of tokens: so say the names in its header, or options."""
    if named_delimiter(lines) is not None:
        delimiter, lines = named_delimiter(lines) or "", lines[1:]
    else:
        lines = lines[1:] if has_title(lines, tsv) else lines
        delimiter = likely_delimiter(lines, tsv)
    names = [name.strip().strip('"') for name in "".join(lines[:1]).split(delimiter)]
    lower = {*_usual(names)}
    columns = {options.token_column, options.tag_column} & {*names}
    words, tags = not lower.isdisjoint(WORDS), not lower.isdisjoint(TAGS)
    sentences = not lower.isdisjoint(SENTENCES)
    if len(names) < 2 or not (columns or words + tags + sentences > 1):
        return False
    if delimiter == "\t" and not sentences:
        return False  # CoNLL with a header, in which quotation marks are tokens
    return not any(one.lstrip('"').startswith("[") for one in "".join(lines[1:2]).split(delimiter))  # lists, as text


class TokenTableReader:
    """Reads the sentences of a table of tokens, with the columns that options name, else those of the usual names.

    Without `labelled`, tags are not read. inherited: options that were made for another file, whose columns need not be
    here. What `log` may leave out: a sentence with a row that cannot be read, or with an empty token or tag. Raises
    UserError for columns that are not there.
    """

    def __init__(
        self, source: str, options: ReadOptions, labelled: bool, inherited: Collection[str], log: ReadLog
    ) -> None:
        self.source, self.options, self.labelled = source, options, labelled
        self.inherited, self.log = inherited, log
        self.empty: list[int] = []  # lines without anything
        self.unread: list[int] = []  # lines after one that could not be read

    def rows(self, lines: Lines, tsv: bool) -> Iterator[Row]:
        """The line on which each sentence begins; its id, tokens and tags, and the line of each token."""
        columns: tuple[str, str | None, str | None] | None = None
        held: list[Row] = []
        previous, faults, name, broken = 0, 0, "", False
        before = self.log.skipped
        for number, row in chain(table_rows(self.source, self._noting(lines), self.log, tsv), [(sys.maxsize, {})]):
            columns = columns or self._columns(list(row))
            empty = not any(isinstance(one, str) and one.strip() for one in row.values())
            value = str(row.get(columns[2]) or "").strip() if columns[2] else ""
            ends = value not in ("", name) if columns[2] else _between(self.empty, previous, number)
            # a row that could not be read, which is counted already: of this sentence, or of the one before it
            fault = self.log.skipped - faults != before or _between(self.unread, previous, number)
            before, broken = self.log.skipped - faults, broken or fault
            if held and (empty or ends):
                if not broken:
                    try:
                        yield self._sentence(held, columns, name)
                    except UserError as error:
                        self.log.skip(error)
                        faults += 1
                held, name, broken = [], "", fault
            if not empty:
                held.append((number, row))
                name = name or value
            previous = number

    def _noting(self, lines: Lines) -> Lines:
        """The lines; notes which are empty, and where some are missing, because they could not be read."""
        previous = 0
        for number, line in lines:
            if not line.strip():
                self.empty.append(number)
            if number > previous + 1:
                self.unread.append(number)
            previous = number
            yield number, line

    def _columns(self, names: Sequence[str]) -> tuple[str, str | None, str | None]:
        """The columns of tokens, tags and sentences. Raises UserError where one that is needed is not there."""
        lower = _usual(names)

        def column(role: str, usual: Sequence[str], needed: bool) -> str | None:
            name: str | None = getattr(self.options, f"{role}_column")
            number = name is not None and name not in names and name.lstrip("-").isdecimal()
            place = int(name) - (int(name) > 0) if number and name else -len(names) - 1
            if name in names:
                return name
            if name is not None and f"{role}_column" not in self.inherited:
                if -len(names) <= place < len(names):
                    return names[place]
                hint = [did_you_mean(suggest(name, names)), f"--{role}-column NAME"]
                raise UserError(f"{self.source} has no column {name!r}", allowed=", ".join(names), hint=hint)
            if name is not None:
                self.log.note("{source} has no column {column!r}, as the training rows had", self.source, name)
            found = _first(lower, usual)
            if found is None and needed:
                raise UserError(
                    "{file} is a table of tokens, and no column is named like a {role}",
                    self.source,
                    usual[0],
                    given=", ".join(names),
                    allowed=", ".join(usual),
                    hint=f"--{role}-column NAME",
                )
            return None if found is None else names[found]

        token = column("token", WORDS, True)
        assert token is not None
        tag = column("tag", TAGS, True) if self.labelled else None
        sentence = _first([one if one not in (token, tag) else "" for one in lower], SENTENCES)
        note_columns(self.log, self.source, token=token, tag=tag)
        by = None if sentence is None else names[sentence]
        if by is not None:
            self.log.note("{source}: a token a row, sentences by column {column!r}", self.source, by)
        else:
            self.log.note("{source}: a token a row, an empty row between sentences", self.source)
        return token, tag, by

    def _sentence(self, rows: Sequence[Row], columns: tuple[str, str | None, str | None], name: str) -> Row:
        """The rows of one sentence. Raises UserError for an empty token or tag."""
        token, tag, _ = columns
        values: dict[str, list[str]] = {}
        for role, column in (("token", token), ("tag", tag)):
            for number, row in rows:
                one = row[column].strip() if column is not None else ""
                if column is not None and not one:
                    raise UserError(f"{self.source}, line {number:,}: the {role} is empty", given=f"column {column!r}")
                values.setdefault(role, []).append(one)
        numbers = [number for number, _ in rows]
        tags = values["tag"] if tag is not None else []
        return numbers[0], {"id": name or None, "tokens": values["token"], "tags": tags, "lines": numbers}
