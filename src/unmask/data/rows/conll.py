"""Tagged sentences: CoNLL files of any number of columns, and records with spans or with lists of tokens.

Whatever the file, the tags become character spans of a text (data/rows/sentences.py). Which columns and which scheme
a file has is found out, and said.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unmask import console
from unmask.data.rows import schemes
from unmask.data.rows.columns import Columns, TagColumns
from unmask.data.rows.labels import report_unknown
from unmask.data.rows.memory import Rows, Source
from unmask.data.rows.records import FormatOrAuto, detect_format, read_records
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.sentences import SHOWN, Sentence, TaggedSentences, join_names, join_tokens, read_sentences
from unmask.data.rows.spanrows import read_span_rows
from unmask.data.rows.tables import Example, UnknownLabels
from unmask.data.rows.tokenrows import are_token_rows, read_token_rows
from unmask.data.textfiles import Faults, OnError, display_name, open_text, shorten_path
from unmask.errors import UserError, suggest

__all__ = ["SHOWN", "SchemeName", "TagColumns", "TaggedSentences", "check_tags", "join_tokens", "read_tagged"]

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
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

    def fields(self, line: str) -> list[str]:
        return _fields(line, self.tabs)

    def is_comment(self, line: str) -> bool:
        """A token may be "#": a line counts as a comment only where it is no row."""
        if not line.startswith("#"):
            return False
        if self.id is not None or self.tabs:
            return "\t" not in line
        return line[1:2] in ("", " ") and len(self.fields(line)) != self.width


def read_tagged(
    path: Source,
    *,
    columns: TagColumns | None = None,
    names: Columns | None = None,
    scheme: SchemeName | Literal["auto"] = "auto",
    on_error: OnError = "stop",
    require_tags: bool = False,
    encoding: str | None = None,
    say_tags: bool = True,
    nested: bool = False,
    format: FormatOrAuto = "auto",
) -> TaggedSentences:
    """The tagged sentences of a CoNLL file (also .gz, .zst), or of records (data/rows/records.py): of a text with
    its spans (`read_span_rows`), or of tokens with their tags (`read_token_rows`).

    CoNLL: one token a line, columns separated by tabs or blanks, an empty line between sentences; comments,
    -DOCSTART- and the `1-2` and `1.1` lines of CoNLL-U are left out. Without tags, or in CoNLL-U with _ for a tag
    (`require_tags` makes both an error), the `spans` of an example are None.
    columns: of the tokens and tags; names: of the text and the spans, in records.
    A sentence with a line of another number of columns, an empty token or tag, or a tag outside the scheme is
    a UserError naming the line, or is left out and counted with on_error="skip". Raises UserError also for
    columns that are not there and for files that hold no sentence. encoding: as for `read_examples`; say_tags:
    tell how the tags were read, too; nested: whether the spans of JSON lines may overlap.
    """
    asked: SchemeName | None = None if scheme == "auto" else schemes.check_scheme(scheme)
    source, faults = display_name(path), Faults(on_error)
    columns = columns or TagColumns()
    kind = detect_format(path, format, encoding, plain="conll")
    if isinstance(path, Rows) or kind != "conll":
        records = read_records(path, kind, faults, encoding, labelled=require_tags)
        if are_token_rows(records, columns):
            tagged = read_token_rows(source, records, columns, asked, faults, require_tags)
        else:
            tagged = read_span_rows(source, records, faults, require_tags, names, nested)
        faults.report()
        return tagged
    reader = _Reader(path, source, columns, faults, require_tags, encoding)
    sentences = list(reader.sentences())
    if not sentences:
        raise UserError(
            f"{source} holds no sentence" + (" that can be used" if faults.count else ""),
            the_first_left_out=faults.first and faults.first.message,
            allowed="one token a line with its tag, and an empty line between sentences",
        )
    if require_tags and not reader.tagged:
        raise UserError(
            f"{source} has tokens, but no tags",
            given=f"line {sentences[0].line:,}: {reader.rows_shown}",
            allowed="two columns or more, separated by tabs or blanks",
        )
    tagged = read_sentences(source, sentences, asked, faults, reader.tagged)
    faults.report()
    _report(source, tagged, reader, asked, say_tags)
    return tagged


class _Reader:
    """Reads the sentences of one CoNLL file."""

    def __init__(
        self,
        path: str | Path,
        source: str,
        columns: TagColumns,
        faults: Faults,
        require_tags: bool,
        encoding: str | None,
    ) -> None:
        self.path, self.source, self.columns, self.faults = path, source, columns, faults
        self.require_tags, self.encoding = require_tags, encoding
        self.layout: _Layout | None = None
        self.names: tuple[str, ...] = ()  # of the columns, where the file tells
        self.rows_shown = ""  # the first row, for messages

    @property
    def tagged(self) -> bool:
        return self.layout is not None and self.layout.tag is not None

    def sentences(self) -> Iterator[Sentence]:
        """In the order of the file; faulty ones are told to `faults`."""
        sentence, known = Sentence(0), self.faults.count
        for number, line in open_text(self.path, self.faults, self.encoding):
            sentence.broken |= self.faults.count > known
            known = self.faults.count
            if not line.strip() or line.startswith(DOCUMENT):
                yield from self._finished(sentence)
                sentence, known = Sentence(0), self.faults.count
                continue
            if self.layout is None and line.startswith("#") and self._is_early_comment(line):
                self._note_names(line)
            elif self.layout is None:
                self.layout = self._find_layout(number, line)
                if not self.layout.header:
                    self._add(sentence, number, line, self.layout)
                continue
            if self.layout is not None and not self.layout.is_comment(line):
                self._add(sentence, number, line, self.layout)
            elif line[1:].strip().startswith("sent_id"):
                sentence.name = line.partition("=")[2].strip() or None
        sentence.broken |= self.faults.count > known
        yield from self._finished(sentence)

    def _finished(self, sentence: Sentence) -> Iterator[Sentence]:
        if sentence.fault is not None:
            self.faults.record(sentence.fault)
        elif sentence.tokens and not sentence.broken:
            yield sentence

    def _is_early_comment(self, line: str) -> bool:
        """Before the first row nobody knows the columns: `# key = value`, or # and more than one word."""
        return "\t" not in line and line[1:2] in ("", " ") and len(line.split()) != 2

    def _note_names(self, line: str) -> None:
        """CoNLL-U Plus tells its columns: `# global.columns = ID FORM UPOS`."""
        key, equals, value = line[1:].partition("=")
        if equals and key.strip() == "global.columns":
            self.names = tuple(value.split())

    def _find_layout(self, number: int, line: str) -> _Layout:
        tabs = "\t" in line
        row = _fields(line, tabs)
        self.rows_shown = " | ".join(row)
        if not self.names and tabs and len(row) == len(CONLLU) and _CONLLU_ID.fullmatch(row[0]):
            self.names = CONLLU
        asked = [name for name in (self.columns.token, self.columns.tag) if name is not None]
        header = not self.names and any(not _NUMBER.fullmatch(name) and name in row for name in asked)
        names = tuple(row) if header else self.names
        token = self._place(self.columns.token, "token", names, row)
        if token is None:
            token = names.index("FORM") if "FORM" in self.names else 0
        tag = self._place(self.columns.tag, "tag", names, row)
        if tag is None and len(row) > 1:
            tag = names.index("UPOS") if "UPOS" in self.names else len(row) - 1
        if tag == token:
            if self.columns.tag is not None or len(row) > 1:
                raise UserError(
                    f"{self.source}: column {token + 1} cannot hold both the tokens and the tags",
                    given=f"line {number:,}: {self.rows_shown}",
                    to_choose="--token-column and --tag-column, by number or name",
                )
            tag = None
        numbers = names.index("ID") if "ID" in self.names else None
        return _Layout(number, len(row), tabs, token, tag, numbers, header)

    def _place(self, asked: str | None, option: str, names: Sequence[str], row: Sequence[str]) -> int | None:
        """The place of a column from 0. Raises UserError where it is not there."""
        if asked is None:
            return None
        if asked in names:
            return names.index(asked)
        if _NUMBER.fullmatch(asked):
            number = int(asked)
            place = number - 1 if number > 0 else len(row) + number
            if number and 0 <= place < len(row):
                return place
        raise UserError(
            f"{self.source} has no column {asked!r}",
            columns_found=", ".join(names) if names else f"{len(row)}, without names: {self.rows_shown}",
            did_you_mean=suggest(asked, names),
            allowed=f"a number from 1 to {len(row)}, -1 for the last" + (", or a name" if names else ""),
            to_choose=f"--{option}-column",
        )

    def _add(self, sentence: Sentence, number: int, line: str, layout: _Layout) -> None:
        sentence.line = sentence.line or number
        if sentence.fault is not None:
            return
        row = layout.fields(line)
        if len(row) != layout.width:
            sentence.fault = self._wrong_width(number, line, len(row), layout)
            return
        if layout.id is not None and not row[layout.id].isdecimal() and _CONLLU_ID.fullmatch(row[layout.id]):
            return  # a multiword token or an empty node
        token = row[layout.token].strip() or row[layout.token]
        if not token:
            where = f"{self.source}, line {number:,}"
            sentence.fault = UserError(f"{where}: the token is empty", given=shorten_path(line))
            return
        if layout.tag is not None:
            tag = row[layout.tag].strip()
            untagged = tag == "_" and layout.id is not None
            sentence.untagged |= untagged
            if not tag or (untagged and self.require_tags):
                sentence.fault = UserError(
                    f"{self.source}, line {number:,}: the tag of {token!r} is empty",
                    given=f"column {layout.tag + 1}: {row[layout.tag]!r}",
                    to_choose_another_column="--tag-column, by number or name",
                )
                return
            sentence.tags.append(tag)
        sentence.tokens.append(token)
        sentence.lines.append(number)

    def _wrong_width(self, number: int, line: str, width: int, layout: _Layout) -> UserError:
        columns = "1 column" if width == 1 else f"{width} columns"
        separator = "tabs" if layout.tabs else "blanks"
        return UserError(
            f"{self.source}, line {number:,} has {columns}, line {layout.line:,} has {layout.width}",
            given=shorten_path(line),
            allowed=f"one token a line, always with {layout.width} columns separated by {separator};"
            " an empty line between sentences",
        )


def _fields(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))


def _report(source: str, tagged: TaggedSentences, reader: _Reader, asked: SchemeName | None, say_tags: bool) -> None:
    """What was found out: columns and scheme."""
    layout = reader.layout
    assert layout is not None
    has_tags = layout.tag is not None and any(example.spans is not None for example in tagged.examples)
    tag = "no tags" if layout.tag is None or not has_tags else f"tags in column {layout.tag + 1}"
    count, kinds = len(tagged.examples), len(tagged.labels)
    sentences = f"{count:,} sentence" + ("" if count == 1 else "s")
    if not say_tags:
        where = f"tokens in column {layout.token + 1} of {layout.width}"
        console.note(f"{source}: {sentences}, {where} (to change: --token-column)")
        return
    parts = [f"{sentences}, tokens in column {layout.token + 1}, {tag} of {layout.width}"]
    if has_tags:
        plain = f"plain tags, {kinds:,} different"
        what = plain if tagged.scheme == "plain" else f"{tagged.scheme}, labels: {kinds:,}"
        parts.append(f"scheme {what}" if asked is None else what)
    console.note(f"{source}: {'; '.join(parts)} (to change: --token-column, --tag-column, --scheme)")


def check_tags(
    examples: Sequence[Example],
    labels: Iterable[str],
    owner: str = "the training data",
    unknown: UnknownLabels = "stop",
) -> list[Example]:
    """The sentences all of whose labels are among `known`, the labels of `of` (a file or a model).

    Raises UserError for the first label that is not, naming the line on which its sentence begins;
    unknown="skip" leaves such sentences out, "wrong" keeps them, and both say how many.
    """
    allowed = set(labels)
    strange = Counter(span.label for e in examples for span in e.spans or () if span.label not in allowed)
    if unknown == "wrong":
        report_unknown(strange, owner)
        return list(examples)
    faults, kept = Faults(unknown), []
    for example in examples:
        new = next((span for span in example.spans or () if span.label not in allowed), None)
        if new is None:
            kept.append(example)
            continue
        faults.record(
            UserError(
                f'{example.location}: tag "{new.label}" is not among the {len(allowed):,} tags of {owner}',
                given=f"on {shorten_path(example.text[new.start : new.end])!r}, in the sentence that begins there",
                all_that_are_new=join_names([f"{tag} ({strange[tag]:,})" for tag in sorted(strange)]),
                did_you_mean=suggest(new.label, allowed),
                allowed=join_names(sorted(allowed)),
            )
        )
    faults.report()
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: no row is left, because {owner} knows the labels of none",
            allowed=join_names(sorted(allowed)),
        )
    return kept
