"""The one aligner of sequence labelling: character spans to tags of words and back, for training, prediction
and evaluation alike. Pure Python and numpy.

A text is cut into words: those of the tokenizer (each Chinese character and punctuation mark is one), cut again
where a token that the file gave ends. A word is one or more tokens of the tokenizer; the first of them carries the
prediction. The tags of words are always B-x, I-x and O over spans, whatever scheme a file had; so plain tags (parts of
speech) are spans of one given token each, and cutting and tagging running Chinese text comes out by itself.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from unmask.data.rows.example import Example, Span
from unmask.messages import Message, message
from unmask.text.tokenizer import Encoding

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bounds = tuple[int, int]

Reason = Literal[
    "cut through a word",
    "beyond the length limit",
    "without a piece",
    "empty",
    "overlapping",
    "of more words than task.max_span_length",
    "whole in no window",
]
TOO_LONG: Reason = "of more words than task.max_span_length"
OUTSIDE = 0  # the number of the tag O
SHOWN = 3  # examples shown of what could not be aligned


@dataclass(frozen=True)
class Words:
    """The words of one text, in order.

    offsets (words, 2) int64: the characters of each, with those that the tokenizer drops beside it, and up to
    the bounds of the given token; core_offsets (words, 2) int64: the characters of its tokens only;
    first_tokens (words + 1,) int64: the place of its first token in the encoding, at last one past the last token;
    tokens (words,) int64: the given token that it lies in, -1 without; covered_characters: the text is cut after this
    character (its length where nothing was cut).
    """

    offsets: Numbers
    core_offsets: Numbers
    first_tokens: Numbers
    tokens: Numbers
    covered_characters: int

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def joined(self) -> Flags:
        """(words,) bool: whether the word goes on with the given token of the word before."""
        same = np.zeros(len(self), dtype=np.bool_)
        same[1:] = (self.tokens[1:] == self.tokens[:-1]) & (self.tokens[1:] >= 0)
        return same


@dataclass(frozen=True)
class AlignmentError:
    """A span that no sequence of tags stands for, and why."""

    span: Span
    reason: Reason


def align_words(text: str, encoded: Encoding, tokens: Sequence[Bounds] | None = None) -> Words:
    """The words of a text from its encoding (its first segment), for given tokens (sorted, apart) or without.

    A token that reaches over the end of a given one belongs to the one in which it begins.
    """
    cores, firsts, owners, end = _cores(encoded, tokens)
    covered = len(text) if not encoded.truncated else (cores[-1][1] if cores else 0)
    if tokens is None:
        bounds = _widened(text[:covered], cores)
    else:
        bounds = _widened_to_tokens(cores, owners, tokens, covered)
        cores = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(cores, bounds, strict=True)]
    return Words(
        np.array(bounds, dtype=np.int64).reshape(-1, 2),
        np.array(cores, dtype=np.int64).reshape(-1, 2),
        np.array([*firsts, end], dtype=np.int64),
        np.array(owners, dtype=np.int64),
        covered,
    )


def _cores(encoded: Encoding, tokens: Sequence[Bounds] | None) -> tuple[list[Bounds], list[int], list[int], int]:
    """Characters, first token and given token of each word, and one past the last token."""
    cores: list[Bounds] = []
    firsts: list[int] = []
    owners: list[int] = []
    word_before, owner, stop_before, end = -1, -1, 0, 1
    given = tokens or ()
    number, many = 0, len(given)
    for place, word in enumerate(encoded.word_ids):
        if word is None:  # [CLS], or the [SEP] after the text
            if place:
                break
            continue
        end = place + 1
        start, stop = encoded.offsets[place]
        if start == stop:
            continue
        if many:
            while number < many and given[number][1] <= start:
                number += 1
            owner = number if number < many and stop > given[number][0] else -1
        fresh = word != word_before or (many and owner != owners[-1])
        # two words of one character, such as the "=" and the stroke of "≠", cannot be told apart
        if not cores or (fresh and start >= stop_before):
            cores.append((start, stop))
            firsts.append(place if firsts else 1)  # a blank before the first word is read with it
            owners.append(owner)
        else:
            cores[-1] = (cores[-1][0], max(stop, stop_before))
        word_before, stop_before = word, cores[-1][1]
    return cores, firsts, owners, end if cores else 1


def _widened(text: str, cores: Sequence[Bounds]) -> list[Bounds]:
    """Characters that the tokenizer drops (accents, vowel points, control characters) go to the word that they
    touch, the one before rather than the one after."""
    bounds = list(cores)
    stop_before = 0
    for number, (start, stop) in enumerate(cores):
        if stop_before < start and not (gap := text[stop_before:start]).isspace():
            left = len(gap) - len(_from_space(gap)) if number else 0
            rest = gap[left:]
            if left:
                bounds[number - 1] = (bounds[number - 1][0], stop_before + left)
            bounds[number] = (start - len(_after_space(rest)), stop)
        stop_before = stop
    if cores and stop_before < len(text):
        gap = text[stop_before:]
        bounds[-1] = (bounds[-1][0], stop_before + len(gap) - len(_from_space(gap)))
    return bounds


def _from_space(gap: str) -> str:
    """The rest of a gap from its first white space on."""
    place = next((place for place, character in enumerate(gap) if character.isspace()), len(gap))
    return gap[place:]


def _after_space(gap: str) -> str:
    """What follows the last white space of a gap."""
    place = next((place for place in range(len(gap), 0, -1) if gap[place - 1].isspace()), 0)
    return gap[place:]


def _widened_to_tokens(
    cores: Sequence[Bounds], owners: Sequence[int], tokens: Sequence[Bounds], covered: int
) -> list[Bounds]:
    """The words of a given token fill it; where the length limit cuts it, up to there."""
    bounds = []
    last = len(cores) - 1
    for number, (start, stop) in enumerate(cores):
        owner = owners[number]
        if owner < 0:
            bounds.append((start, stop))
            continue
        first = number == 0 or owners[number - 1] != owner
        final = number == last or owners[number + 1] != owner
        low = tokens[owner][0] if first else start
        high = min(tokens[owner][1], covered) if final else cores[number + 1][0]
        bounds.append((low, high))
    return bounds


class Tags:
    """The tags that words can have: O, then B and I of each label. Their numbers are their places in `tags`."""

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self.tags = ["O", *(f"{letter}-{label}" for label in self.labels for letter in "BI")]
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    def __len__(self) -> int:
        return len(self.tags)

    def begin(self, label: str) -> int:
        """The number of B-label; I-label is the next one."""
        return 1 + 2 * self._numbers[label]

    @cached_property
    def inside(self) -> Flags:
        """(tags,) bool: the I tags."""
        numbers = np.arange(len(self))
        flags: Flags = (numbers > 0) & (numbers % 2 == 0)
        return flags

    @cached_property
    def start(self) -> Flags:
        """(tags,) bool: what a text may begin with, all but I."""
        return ~self.inside

    @cached_property
    def end(self) -> Flags:
        """(tags,) bool: what a text may end with, anything."""
        return np.ones(len(self), dtype=np.bool_)

    @cached_property
    def follows(self) -> Flags:
        """(tags before, tags) bool: I-x follows B-x or I-x only; all else follows anything."""
        return self.within | ~self.inside[None, :]

    @cached_property
    def within(self) -> Flags:
        """(tags before, tags) bool: what may follow inside one given token, which is never cut: O after O, I-x
        after B-x or I-x."""
        numbers = np.arange(len(self))
        same = (numbers[:, None] + 1) // 2 == (numbers[None, :] + 1) // 2
        flags: Flags = same & (self.inside | (numbers == OUTSIDE))[None, :]
        return flags

    def allowed(self, words: Words, plain: bool) -> Flags:
        """(words, tags) bool: what each word may carry, apart from what `follows` and `within` say.

        In `plain` data every given token has a tag: its first word is a B, the others are I. Otherwise a word
        that goes on with its token is no B. Where no tokens are given, all is allowed.
        """
        joined = words.joined[:, None]
        numbers = np.arange(len(self))
        begins = (numbers % 2 == 1)[None, :]
        result: Flags = ~(joined & begins)
        if plain:
            result &= np.where(joined, self.inside[None, :], begins) | (words.tokens < 0)[:, None]
        return result

    def encode(self, words: Words, spans: Iterable[Span]) -> tuple[Numbers, list[AlignmentError]]:
        """The tag of each word, (words,) int64, and the spans that have none.

        A span must begin where a word does and stop where one does; characters that the tokenizer drops may
        stand at its ends or not. Raises KeyError for a label that is not among `labels`.
        """
        tags = np.zeros(len(words), dtype=np.int64)
        misfits = []
        cores = words.core_offsets.tolist()
        many, word, stop_before = len(cores), 0, 0
        for span in sorted(spans):
            while word < many and cores[word][1] <= span.start:
                word += 1
            after = word
            while after < many and cores[after][0] < span.end:
                after += 1
            reason = _alignment_error(span, cores[word:after], words.covered_characters, stop_before)
            if reason is not None:
                misfits.append(AlignmentError(span, reason))
                continue
            number = self.begin(span.label)
            tags[word:after] = number + 1
            tags[word] = number
            word, stop_before = after, span.end
        return tags, misfits

    def decode(self, words: Words, tags: Sequence[int] | Numbers) -> tuple[Span, ...]:
        """The spans that tags of words (words,) stand for, sorted.

        Without constraints tags may break the rules; they are read as conlleval does: an I-x that does not go
        on with x begins a span.
        """
        found: list[Span] = []
        begun, before = 0, OUTSIDE
        bounds = words.offsets.tolist()
        for word, tag in enumerate([*np.asarray(tags, dtype=np.int64).tolist(), OUTSIDE]):
            if tag != OUTSIDE and tag % 2 == 0 and before in (tag, tag - 1):
                before = tag
                continue  # I-x after B-x or I-x
            if before != OUTSIDE:
                found.append(Span(bounds[begun][0], bounds[word - 1][1], self.labels[(before - 1) // 2]))
            begun, before = word, tag
        return tuple(found)


def align_spans(words: Words, spans: Sequence[Span]) -> tuple[list[tuple[Span, int, int]], list[AlignmentError]]:
    """The words (first, one past the last) of each span, which may nest and overlap; and those without any.

    As for `Tags.encode`, a span begins where a word does and stops where one does.
    """
    firsts = np.searchsorted(words.core_offsets[:, 1], [span.start for span in spans], side="right").tolist()
    stops = np.searchsorted(words.core_offsets[:, 0], [span.end for span in spans], side="left").tolist()
    found, misfits = [], []
    for span, first, stop in zip(spans, firsts, stops, strict=True):
        reason = _alignment_error(span, words.core_offsets[first:stop].tolist(), words.covered_characters, 0)
        if reason is None:
            found.append((span, first, stop))
        else:
            misfits.append(AlignmentError(span, reason))
    return found, misfits


def _alignment_error(span: Span, cores: Sequence[Sequence[int]], covered: int, stop_before: int) -> Reason | None:
    """Why a span cannot be aligned to the words that it touches, None where it can."""
    if span.start >= span.end:
        return "empty"
    if span.start < stop_before:
        return "overlapping"
    if span.end > covered:
        return "beyond the length limit"
    if not cores:
        return "without a piece"
    if cores[0][0] < span.start or cores[-1][1] > span.end:
        return "cut through a word"
    return None


class AlignmentErrors:
    """What could not be aligned in many texts: counted, and the first few shown."""

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self.first: dict[Reason, list[str]] = {}

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def add(self, example: Example, misfits: Iterable[AlignmentError]) -> None:
        for misfit in misfits:
            self.counts[misfit.reason] += 1
            first = self.first.setdefault(misfit.reason, [])
            if len(first) < SHOWN:
                span = misfit.span
                first.append(f"{example.location}: {_excerpt(example.text, span)} ({span.label})")

    def lines(self, kind: int) -> list[Message]:
        """What to say: one line a reason, `of` so many spans."""
        return [
            message(
                "{count:,} of {spans:,} spans not aligned: {reason} (the first: {first})",
                self.counts[reason],
                kind,
                message(reason),
                "; ".join(self.first[reason]),
            )
            for reason in sorted(self.counts)
        ]


def _excerpt(text: str, span: Span) -> str:
    """The span between bars, with a little of the text around it."""
    before, after = text[max(0, span.start - 12) : span.start], text[span.end : span.end + 12]
    inner = text[span.start : span.end]
    inner = inner if len(inner) <= 40 else inner[:37] + "..."
    return f"{before}|{inner}|{after}".replace("\n", " ")
