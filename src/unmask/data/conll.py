"""Tagged sentences: CoNLL files of any number of columns, and JSON lines with character spans.

Whatever the file, the tags become character spans of a text. In CoNLL that text is made of the tokens, with a
blank between, save where two touch with Chinese characters or punctuation; the bounds of the tokens are kept.
Which columns and which tag scheme a file has is found out, and said.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from unmask import console
from unmask.config import config, setting
from unmask.data import schemes
from unmask.data.labels import report_unknown
from unmask.data.schemes import SchemeName
from unmask.data.spanrows import read_span_rows
from unmask.data.tables import Example, Span, Unknown, stdin_is_jsonl
from unmask.data.textfiles import STDIN, Faults, OnError, kind_of, name_of, open_text
from unmask.errors import UserError, closest

__all__ = ["SchemeName", "TagColumns", "Tagged", "check_tags", "read_tagged"]

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
DOCUMENT = "-DOCSTART-"
SHOWN = 16
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"-?\d+")
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")
# Every one of these is a word of its own to BERT, so that a token can end before or after it without a blank.
_PUNCTUATION = "".join(
    chr(code)
    for first, last in ((0x3000, 0x303F), (0xFF00, 0xFFEF))
    for code in range(first, last + 1)
    if unicodedata.category(chr(code)).startswith("P")
)
_ALONE = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
    + re.escape(_PUNCTUATION)
    + "]"
)


@config
class TagColumns:
    """Where a CoNLL file has its tokens and tags: the number of a column (from 1; -1 is the last) or its name."""

    token: str | None = setting(
        default=None, description="Column of the token: the first, or FORM of CoNLL-U, when not given"
    )
    tag: str | None = setting(
        default=None, description="Column of the tag: the last, or UPOS of CoNLL-U, when not given"
    )


@dataclass(frozen=True)
class Tagged:
    """What a file of tagged sentences holds. `labels` are sorted; in `plain` they are the tags themselves."""

    examples: list[Example]
    scheme: SchemeName
    labels: list[str]
    tokens: int = 0  # given tokens, 0 for running text
    out_of_order: int = 0  # tags that break the rules of their scheme, read as conlleval does
    left_out: int = 0  # lines or sentences left out with on_error="skip"
    spans_left_out: int = 0  # empty spans of JSON lines, and with on_error="skip" overlapping ones


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


@dataclass
class _Sentence:
    line: int
    name: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    fault: UserError | None = None
    broken: bool = False  # a line of it could not be read, which is counted already
    untagged: bool = False  # CoNLL-U before anybody tagged it has _ for a tag


def read_tagged(
    path: str | Path,
    *,
    columns: TagColumns | None = None,
    scheme: SchemeName | Literal["auto"] = "auto",
    on_error: OnError = "stop",
    require_tags: bool = False,
    encoding: str | None = None,
    say_tags: bool = True,
    nested: bool = False,
) -> Tagged:
    """The tagged sentences of a CoNLL file (any name, also .gz, .zst) or of .jsonl with `text` and `spans`.

    CoNLL: one token a line, columns separated by tabs or blanks, an empty line between sentences; comments,
    -DOCSTART- and the `1-2` and `1.1` lines of CoNLL-U are left out. JSON lines: see `read_span_rows`. Without
    tags, or in CoNLL-U with _ for a tag (`require_tags` makes both an error), the `spans` of an example are
    None.
    A sentence with a line of another number of columns, an empty token or tag, or a tag outside the scheme is
    a UserError naming the line, or is left out and counted with on_error="skip". Raises UserError also for
    columns that are not there and for files that hold no sentence. encoding: as for `read_examples`; say_tags:
    tell how the tags were read, too; nested: whether the spans of JSON lines may overlap.
    """
    asked: SchemeName | None = None if scheme == "auto" else schemes.checked(scheme)
    source, faults = name_of(path), Faults(on_error)
    if kind_of(path) == "jsonl" or (str(path) == STDIN and stdin_is_jsonl(encoding)):
        rows = read_span_rows(path, faults, require_tags, encoding, nested)
        faults.report()
        found = {span.label for example in rows.examples for span in example.spans or ()}
        return Tagged(
            rows.examples, "BIO", sorted(found), left_out=faults.count, spans_left_out=rows.spans_left_out
        )
    columns = columns or TagColumns()
    reader = _Reader(path, source, columns, faults, require_tags, encoding)
    sentences = list(reader.sentences())
    if not sentences:
        raise UserError(
            f"{source} holds no sentence" + (" that can be used" if faults.count else ""),
            the_first_left_out=faults.first and faults.first.what,
            allowed="one token a line with its tag, and an empty line between sentences",
        )
    if require_tags and not reader.tagged:
        raise UserError(
            f"{source} has tokens, but no tags",
            given=f"line {sentences[0].line:,}: {reader.shown}",
            allowed="two columns or more, separated by tabs or blanks",
        )
    tagged = _tagged(source, sentences, asked, faults, reader.tagged)
    faults.report()
    _say(source, tagged, reader, asked, say_tags)
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
        self.shown = ""  # the first row, for messages

    @property
    def tagged(self) -> bool:
        return self.layout is not None and self.layout.tag is not None

    def sentences(self) -> Iterator[_Sentence]:
        """In the order of the file; faulty ones are told to `faults`."""
        sentence, known = _Sentence(0), self.faults.count
        for number, line in open_text(self.path, self.faults, self.encoding):
            sentence.broken |= self.faults.count > known
            known = self.faults.count
            if not line.strip() or line.startswith(DOCUMENT):
                yield from self._finished(sentence)
                sentence, known = _Sentence(0), self.faults.count
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

    def _finished(self, sentence: _Sentence) -> Iterator[_Sentence]:
        if sentence.fault is not None:
            self.faults.found(sentence.fault)
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
        self.shown = " | ".join(row)
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
                    given=f"line {number:,}: {self.shown}",
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
            columns_found=", ".join(names) if names else f"{len(row)}, without names: {self.shown}",
            did_you_mean=closest(asked, names),
            allowed=f"a number from 1 to {len(row)}, -1 for the last" + (", or a name" if names else ""),
            to_choose=f"--{option}-column",
        )

    def _add(self, sentence: _Sentence, number: int, line: str, layout: _Layout) -> None:
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
            sentence.fault = UserError(f"{where}: the token is empty", given=_excerpt(line))
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
            given=_excerpt(line),
            allowed=f"one token a line, always with {layout.width} columns separated by {separator};"
            " an empty line between sentences",
        )


def _fields(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else _BLANKS.split(line.strip(" \t"))


def _excerpt(line: str) -> str:
    return line if len(line) <= 70 else line[:67] + "..."


def _tagged(
    source: str, sentences: list[_Sentence], asked: SchemeName | None, faults: Faults, has_tags: bool
) -> Tagged:
    """The sentences as examples, in the scheme asked for or found."""
    with_tags = [sentence for sentence in sentences if has_tags and not sentence.untagged]
    if not with_tags:
        examples = [_example(source, sentence, None) for sentence in sentences]
        return Tagged(examples, asked or "BIO", [], sum(len(s.tokens) for s in sentences), 0, faults.count)
    scheme = asked or schemes.find_scheme([sentence.tags for sentence in with_tags])
    read = schemes.vocabulary(chain.from_iterable(s.tags for s in with_tags), scheme)
    strange = {tag for tag, one in read.items() if one is None}
    kept, disorder, first = [], 0, None
    for sentence in sentences:
        if sentence.untagged:
            kept.append(_example(source, sentence, None))
            continue
        if strange and not strange.isdisjoint(sentence.tags):
            faults.found(_outside(source, sentence, strange, scheme, list(read)))
            continue
        tags = [one for tag in sentence.tags if (one := read[tag]) is not None]
        for place in schemes.out_of_order(tags, scheme):
            disorder += 1
            first = first or _disorder(sentence, place)
        kept.append(
            _example(source, sentence, [(i, i + 1, tag) for i, tag in enumerate(sentence.tags)])
            if scheme == "plain"
            else _example(source, sentence, schemes.chunks(tags))
        )
    if not kept:
        raise UserError(
            f"{source} holds no sentence that can be used", the_first=faults.first and faults.first.what
        )
    if disorder:
        console.remark(
            f"{source}: {disorder:,} tags break the rules of {scheme} and are read as conlleval does"
            f" (the first: {first})"
        )
    tokens = sum(len(example.tokens or ()) for example in kept)
    labels = sorted({span.label for example in kept for span in example.spans or ()})
    return Tagged(kept, scheme, labels, tokens, disorder, faults.count)


def _outside(
    source: str, sentence: _Sentence, strange: set[str], scheme: SchemeName, tags: Sequence[str]
) -> UserError:
    place = next(i for i, tag in enumerate(sentence.tags) if tag in strange)
    tag, known = sentence.tags[place], [tag for tag in tags if tag not in strange]
    return UserError(
        f"{source}, line {sentence.lines[place]:,}: the tag {tag!r} is outside the scheme {scheme}",
        given=f"token {sentence.tokens[place]!r}",
        did_you_mean=_meant(tag, known),
        allowed=_listed(known),
        to_read_every_tag_as_it_is="--scheme plain",
    )


def _meant(tag: str, known: Sequence[str]) -> str | None:
    capital = tag[:1].upper() + tag[1:]
    return schemes.OUTSIDE if tag in ("o", "0") else capital if capital in known else closest(tag, known)


def _disorder(sentence: _Sentence, place: int) -> str:
    if place == len(sentence.tags):
        return f"line {sentence.lines[-1]:,}: the sentence ends after {sentence.tags[-1]}"
    before = f"after {sentence.tags[place - 1]}" if place else "at the start of a sentence"
    return f"line {sentence.lines[place]:,}: {sentence.tags[place]} {before}"


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


def _example(source: str, sentence: _Sentence, chunks: Iterable[tuple[int, int, str]] | None) -> Example:
    text, bounds = join(sentence.tokens)
    spans = None
    if chunks is not None:
        spans = tuple(Span(bounds[i][0], bounds[j - 1][1], label) for i, j, label in chunks)
    return Example(
        id=sentence.name or str(sentence.line),
        text=text,
        pair=None,
        label=None,
        line=sentence.line,
        source=source,
        spans=spans,
        tokens=tuple(bounds),
    )


def join(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The tokens as one text, and the bounds of each in it.

    A blank stands between two tokens, save where both touch with a Chinese character or punctuation mark
    (each is a word of its own to BERT), or one with white space.
    """
    parts: list[str] = []
    bounds: list[tuple[int, int]] = []
    place, alone, blank = 0, False, True
    for token in tokens:
        first = token[0]
        if not (blank or first.isspace() or (alone and _ALONE.match(first))):
            parts.append(" ")
            place += 1
        parts.append(token)
        bounds.append((place, place + len(token)))
        place += len(token)
        last = token[-1]
        alone, blank = last > "\u2fff" and _ALONE.match(last) is not None, last.isspace()
    return "".join(parts), bounds


def _say(source: str, tagged: Tagged, reader: _Reader, asked: SchemeName | None, say_tags: bool) -> None:
    """What was found out: columns and scheme."""
    layout = reader.layout
    assert layout is not None
    has_tags = layout.tag is not None and any(example.spans is not None for example in tagged.examples)
    tag = "no tags" if layout.tag is None or not has_tags else f"tags in column {layout.tag + 1}"
    count, kinds = len(tagged.examples), len(tagged.labels)
    sentences = f"{count:,} sentence" + ("" if count == 1 else "s")
    if not say_tags:
        where = f"tokens in column {layout.token + 1} of {layout.width}"
        console.remark(f"{source}: {sentences}, {where} (to change: --token-column)")
        return
    parts = [f"{sentences}, tokens in column {layout.token + 1}, {tag} of {layout.width}"]
    if has_tags:
        plain = f"plain tags, {kinds:,} different"
        what = plain if tagged.scheme == "plain" else f"{tagged.scheme}, labels: {kinds:,}"
        parts.append(f"scheme {what}" if asked is None else what)
    console.remark(f"{source}: {'; '.join(parts)} (to change: --token-column, --tag-column, --scheme)")


def check_tags(
    examples: Sequence[Example],
    known: Iterable[str],
    of: str = "the training data",
    unknown: Unknown = "stop",
) -> list[Example]:
    """The sentences all of whose labels are among `known`, the labels of `of` (a file or a model).

    Raises UserError for the first label that is not, naming the line on which its sentence begins;
    unknown="skip" leaves such sentences out, "wrong" keeps them, and both say how many.
    """
    allowed = set(known)
    strange = Counter(span.label for e in examples for span in e.spans or () if span.label not in allowed)
    if unknown == "wrong":
        report_unknown(strange, of)
        return list(examples)
    faults, kept = Faults(unknown), []
    for example in examples:
        new = next((span for span in example.spans or () if span.label not in allowed), None)
        if new is None:
            kept.append(example)
            continue
        faults.found(
            UserError(
                f'{example.place}: tag "{new.label}" is not among the {len(allowed):,} tags of {of}',
                given=f"on {_excerpt(example.text[new.start : new.stop])!r}, in the sentence that begins there",
                all_that_are_new=_listed([f"{tag} ({strange[tag]:,})" for tag in sorted(strange)]),
                did_you_mean=closest(new.label, allowed),
                allowed=_listed(sorted(allowed)),
            )
        )
    faults.report()
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: no row is left, because {of} knows the labels of none",
            allowed=_listed(sorted(allowed)),
        )
    return kept
