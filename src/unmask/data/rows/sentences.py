"""Sentences of tokens and tags, whatever file they come from, as examples: the tags become character spans of a text.

That text is made of the tokens, with a blank between, save where two touch with Chinese characters or punctuation;
the bounds of the tokens are kept. Which tag scheme the tags are in is found out.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from unmask import console
from unmask.data.rows import schemes
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.tables import Example, Span
from unmask.data.textfiles import Faults
from unmask.errors import UserError, suggest

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
class TaggedSentences:
    """What a file of tagged sentences holds. `labels` are sorted; in `plain` they are the tags themselves."""

    examples: list[Example]
    scheme: SchemeName
    labels: list[str]
    tokens: int = 0  # given tokens, 0 for running text
    out_of_order: int = 0  # tags that break the rules of their scheme, read as conlleval does
    left_out: int = 0  # lines or sentences left out with on_error="skip"
    spans_left_out: int = 0  # empty spans of records, and with on_error="skip" overlapping ones


@dataclass
class Sentence:
    """One as it is read."""

    line: int
    name: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    fault: UserError | None = None
    broken: bool = False  # a line of it could not be read, which is counted already
    untagged: bool = False  # CoNLL-U before anybody tagged it has _ for a tag


def read_sentences(
    source: str, sentences: list[Sentence], asked: SchemeName | None, faults: Faults, has_tags: bool
) -> TaggedSentences:
    """The sentences as examples, in the scheme asked for or found."""
    with_tags = [sentence for sentence in sentences if has_tags and not sentence.untagged]
    if not with_tags:
        examples = [_example(source, sentence, None) for sentence in sentences]
        return TaggedSentences(examples, asked or "BIO", [], sum(len(s.tokens) for s in sentences), 0, faults.count)
    scheme = asked or schemes.detect_scheme([sentence.tags for sentence in with_tags])
    read = schemes.scheme_tags(chain.from_iterable(s.tags for s in with_tags), scheme)
    strange = {tag for tag, one in read.items() if one is None}
    kept, disorder, first = [], 0, None
    for sentence in sentences:
        if sentence.untagged:
            kept.append(_example(source, sentence, None))
            continue
        if strange and not strange.isdisjoint(sentence.tags):
            faults.record(_outside(source, sentence, strange, scheme, list(read)))
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
        raise UserError(f"{source} holds no sentence that can be used", the_first=faults.first and faults.first.message)
    if disorder:
        console.note(
            f"{source}: {disorder:,} tags break the rules of {scheme} and are read as conlleval does"
            f" (the first: {first})"
        )
    tokens = sum(len(example.tokens or ()) for example in kept)
    labels = sorted({span.label for example in kept for span in example.spans or ()})
    return TaggedSentences(kept, scheme, labels, tokens, disorder, faults.count)


def _outside(source: str, sentence: Sentence, strange: set[str], scheme: SchemeName, tags: Sequence[str]) -> UserError:
    place = next(i for i, tag in enumerate(sentence.tags) if tag in strange)
    tag, known = sentence.tags[place], [tag for tag in tags if tag not in strange]
    return UserError(
        f"{source}, line {sentence.lines[place]:,}: the tag {tag!r} is outside the scheme {scheme}",
        given=f"token {sentence.tokens[place]!r}",
        did_you_mean=_suggest(tag, known),
        allowed=join_names(known),
        to_read_every_tag_as_it_is="--scheme plain",
    )


def _suggest(tag: str, known: Sequence[str]) -> str | None:
    capital = tag[:1].upper() + tag[1:]
    return schemes.OUTSIDE if tag in ("o", "0") else capital if capital in known else suggest(tag, known)


def _disorder(sentence: Sentence, place: int) -> str:
    if place == len(sentence.tags):
        return f"line {sentence.lines[-1]:,}: the sentence ends after {sentence.tags[-1]}"
    before = f"after {sentence.tags[place - 1]}" if place else "at the start of a sentence"
    return f"line {sentence.lines[place]:,}: {sentence.tags[place]} {before}"


def join_names(values: Sequence[str]) -> str:
    return ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


def _example(source: str, sentence: Sentence, chunks: Iterable[tuple[int, int, str]] | None) -> Example:
    text, bounds = join_tokens(sentence.tokens)
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
