"""Sentences of tokens and tags as examples: the tags become character spans of a text.

They come from CoNLL, or from records with lists: `{"tokens": ["Ada", "lives"], "ner_tags": ["B-PER", "O"]}`, as
`datasets` and Parquet files have them. The text is made of the tokens, with a blank between, save where two touch with
Chinese characters or punctuation; the bounds of the tokens are kept. The tag scheme is detected.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from unmask.data.rows import schemes
from unmask.data.rows.columns import TAGS, TOKENS, Columns, excerpt, text_or_none
from unmask.data.rows.example import Example, Span, Spans
from unmask.data.rows.readers.records import Records
from unmask.data.rows.schemes import SchemeName
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError, suggest
from unmask.messages import message

SHOWN = 16
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


@dataclass(frozen=True)
class _Sentence:
    """tags: None where they were not read. lines: of each token."""

    line: int
    id: str | None
    tokens: list[str]
    tags: list[str] | None
    lines: list[int]


def token_columns(records: Records, columns: Columns) -> tuple[str, str | None] | None:
    """The columns of the tokens and the tags; None where the first row has no list of texts for tokens."""
    lists = [name for name in records.names if any(isinstance(row.get(name), list) for _, row in records.rows)]
    token = columns.options.token_column
    if token is None or (token not in records.names and "token_column" in columns.inherited):
        token = columns.known(TOKENS)
    if token is None or _texts(records.rows[0][1].get(token)) is None:
        return None
    others = [name for name in records.names if name not in lists]
    return token, columns.named("tag") or columns.known(TAGS, others)


def tagged_examples(
    records: Records, columns: Columns, log: ReadLog, labelled: bool
) -> tuple[list[Example], SchemeName | None, int]:
    """The examples, the scheme of their tags, and how many tags break its rules (they are read as conlleval does).

    What `log` may leave out: a row without tokens, or without a tag for each; a tag outside the scheme. Raises
    UserError for tags that are not there.
    """
    layout, options = records.layout, ""
    if layout:
        sentences = [_Sentence(line, **row) for line, row in records.rows]
    else:
        found = token_columns(records, columns)
        assert found is not None
        token, tag = found if labelled else (found[0], None)
        if tag is None and labelled:
            columns.missing("tag", TAGS)
        sentences = list(
            log.usable(records.rows, lambda line, row: _sentence(row, token, tag, line, records.place(line)))
        )
        layout = message("tokens in column {token!r}", token)
        if tag:
            layout = message("{tokens}, tags in column {tag!r}", layout, tag)
    scheme, disorder = None, 0
    if not labelled:
        examples = [_example(records.source, sentence, None) for sentence in sentences]
        options = "--token-column"
    else:
        examples, scheme, disorder = _in_scheme(records.source, sentences, columns.options.scheme, log)
        labels = len({label for example in examples for label in example.labels})
        kind = message("scheme {scheme}, labels: {labels:,}", scheme, labels)
        if scheme == "plain":
            kind = message("plain tags, {labels:,} different", labels)
        layout, options = message("{layout}; {kind}", layout, kind), "--token-column, --tag-column, --scheme"
    count = message("{count:,} sentence" if len(examples) == 1 else "{count:,} sentences", len(examples))
    log.note("{source}: {count}, {layout} (to change: {options})", records.source, count, layout, options)
    return examples, scheme, disorder


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else None


def _sentence(row: dict[str, Any], token: str, tag: str | None, line: int, where: str) -> _Sentence:
    tokens = _texts(row.get(token))
    if tokens is None or not all(one.strip() for one in tokens):
        given = excerpt(row.get(token))
        raise UserError(f"{where}: {token!r} is not a list of tokens", given=given, allowed='["a", "b"]')
    tags: list[str] | None = None
    if tag is not None:
        values = row.get(tag)
        if not isinstance(values, list) or len(values) != len(tokens):
            count = len(values) if isinstance(values, list) else "no"
            what = f"{where} has {len(tokens):,} tokens, but {count} tags"
            raise UserError(what, given=f"column {tag!r}", allowed="one each")
        if any(one in (None, "") for one in values):
            raise UserError(f"{where}: a tag is empty", given=f"column {tag!r}: {excerpt(values)}")
        tags = [str(one).strip() for one in values]
    return _Sentence(line, text_or_none(row.get("id")), [one.strip() for one in tokens], tags, [line] * len(tokens))


def _in_scheme(
    source: str, sentences: Sequence[_Sentence], asked: SchemeName | Literal["auto"], log: ReadLog
) -> tuple[list[Example], SchemeName, int]:
    """The tags as spans, in the scheme that is given or detected."""
    tags_of = [sentence.tags or [] for sentence in sentences]
    scheme = schemes.detect_scheme(tags_of) if asked == "auto" else asked
    read = schemes.scheme_tags(chain.from_iterable(tags_of), scheme)
    strange = {tag for tag, one in read.items() if one is None}
    disorder: list[str] = []

    def example(_: int, sentence: _Sentence) -> Example:
        names = sentence.tags or []
        if strange and not strange.isdisjoint(names):
            raise _outside(source, sentence, strange, scheme, list(read))
        tags = [one for tag in names if (one := read[tag]) is not None]
        disorder.extend(_disorder(sentence, place) for place in schemes.out_of_order(tags, scheme))
        plain = [(place, place + 1, tag) for place, tag in enumerate(names)]
        return _example(source, sentence, plain if scheme == "plain" else schemes.chunks(tags))

    examples = list(log.usable(enumerate(sentences), example))
    if disorder:
        log.note(
            "{source}: {disorder:,} tags break the rules of {scheme} and are read as conlleval does "
            "(the first: {first})",
            source,
            len(disorder),
            scheme,
            disorder[0],
        )
    return examples, scheme, len(disorder)


def _outside(source: str, sentence: _Sentence, strange: set[str], scheme: str, tags: Sequence[str]) -> UserError:
    place, tag = next((place, tag) for place, tag in enumerate(sentence.tags or ()) if tag in strange)
    known, capital = [tag for tag in tags if tag not in strange], tag[:1].upper() + tag[1:]
    meant = schemes.OUTSIDE if tag in ("o", "0") else capital if capital in known else suggest(tag, known)
    return UserError(
        f"{source}, line {sentence.lines[place]:,}: the tag {tag!r} is outside the scheme {scheme}",
        given=f"token {sentence.tokens[place]!r}",
        allowed=listed(known),
        hint=(f"did you mean {meant}? " if meant else "") + "--scheme plain reads every tag as it is",
    )


def _disorder(sentence: _Sentence, place: int) -> str:
    tags = sentence.tags or []
    if place == len(tags):
        return f"line {sentence.lines[-1]:,}: the sentence ends after {tags[-1]}"
    before = f"after {tags[place - 1]}" if place else "at the start of a sentence"
    return f"line {sentence.lines[place]:,}: {tags[place]} {before}"


def listed(values: Sequence[str]) -> str:
    """The first values, for messages."""
    return ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


def _example(source: str, sentence: _Sentence, chunks: Iterable[tuple[int, int, str]] | None) -> Example:
    text, bounds = join_tokens(sentence.tokens)
    spans = None
    if chunks is not None:
        spans = Spans(Span(bounds[i][0], bounds[j - 1][1], label) for i, j, label in chunks)
    return Example(
        text,
        target=spans,
        id=sentence.id or str(sentence.line),
        line=sentence.line,
        source=source,
        tokens=tuple(bounds),
    )


def join_tokens(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
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
