"""The one aligner of sequence labelling: character spans to tags of words and back, for training, prediction
and evaluation alike. Pure Python and numpy.

A text is cut into words: those of the tokenizer (each Chinese character and punctuation mark is one), cut again
where a token that the file gave ends. A word is one or more tokens of the tokenizer; the first of them carries the
prediction. The tags of words are always B-x, I-x and O over spans, whatever scheme a file had; so plain tags (parts of
speech) are spans of one given token each, and cutting and tagging running Chinese text comes out by itself.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    "without a token",
    "overlapping",
    "of more words than task.max_span_length",
    "whole in no window",
]
TOO_LONG: Reason = "of more words than task.max_span_length"
OUTSIDE = 0  # the number of the tag O
EXCERPT = 40  # characters shown of a span that could not be aligned
SPACE = re.compile(r"\s")


@dataclass(frozen=True)
class Words:
    """The words of one text, in order.

    offsets (words, 2) int64: the characters of each, with those that the tokenizer drops beside it, and up to
    the bounds of the given token; core_offsets (words, 2) int64: the characters of its tokens only; outer_offsets
    (words, 2) int64: offsets, and the given tokens before and after it of which the tokenizer drops all characters;
    first_tokens (words + 1,) int64: the place of its first token in the encoding, at last one past the last token;
    tokens (words,) int64: the given token that it lies in, -1 without.
    """

    offsets: Numbers
    core_offsets: Numbers
    outer_offsets: Numbers
    first_tokens: Numbers
    tokens: Numbers

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def joined(self) -> Flags:
        """(words,) bool: whether the word goes on with the given token of the word before."""
        same = np.zeros(len(self), dtype=np.bool_)
        same[1:] = (self.tokens[1:] == self.tokens[:-1]) & (self.tokens[1:] >= 0)
        return same


Misfit = tuple[Span, Reason]  # a span that no sequence of tags stands for, and why


def align_words(text: str, encoded: Encoding, tokens: Sequence[Bounds] | None = None) -> Words:
    """The words of a text from its encoding, which was not cut, for given tokens (sorted, apart) or without.

    A token that reaches over the end of a given one belongs to the one in which it begins.
    """
    cores, firsts, owners, end = _cores(encoded, tokens)
    if tokens is None:
        bounds = outer = _widened(text, cores)
    else:
        bounds = _widened_to_tokens(cores, owners, tokens)
        outer = _with_dropped_tokens(bounds, cores, owners, tokens)
        cores = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(cores, bounds, strict=True)]
    return Words(
        np.array(bounds, dtype=np.int64).reshape(-1, 2),
        np.array(cores, dtype=np.int64).reshape(-1, 2),
        np.array(outer, dtype=np.int64).reshape(-1, 2),
        np.array([*firsts, end], dtype=np.int64),
        np.array(owners, dtype=np.int64),
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
    stops = [0, *(stop for _, stop in cores)]
    for number, ((start, stop), stop_before) in enumerate(zip(cores, stops, strict=False)):
        gap = text[stop_before:start]
        if not gap or gap.isspace():
            continue
        left = len(SPACE.split(gap, maxsplit=1)[0]) if number else 0
        if left:
            bounds[number - 1] = (bounds[number - 1][0], stop_before + left)
        bounds[number] = (start - len(SPACE.split(gap[left:])[-1]), stop)
    if cores:
        bounds[-1] = (bounds[-1][0], stops[-1] + len(SPACE.split(text[stops[-1] :], maxsplit=1)[0]))
    return bounds


def _widened_to_tokens(cores: Sequence[Bounds], owners: Sequence[int], tokens: Sequence[Bounds]) -> list[Bounds]:
    """The words of a given token fill it."""
    bounds = list(cores)
    for number, owner in enumerate(owners):
        if owner >= 0:
            first = number == 0 or owners[number - 1] != owner
            final = number + 1 == len(owners) or owners[number + 1] != owner
            low = tokens[owner][0] if first else cores[number][0]
            high = tokens[owner][1] if final else cores[number + 1][0]
            bounds[number] = (low, high)
    return bounds


def _with_dropped_tokens(
    bounds: Sequence[Bounds], cores: Sequence[Bounds], owners: Sequence[int], tokens: Sequence[Bounds]
) -> list[Bounds]:
    """The words with the given tokens beside them that have no word, up to the next word; a token into which the one
    before it reaches is none of them."""
    outer, present = list(bounds), set(owners)
    dropped = [bound for number, bound in enumerate(tokens) if number not in present]
    starts = [start for start, _ in cores] if dropped else []
    for start, stop in dropped:
        after = bisect_left(starts, start)
        if after and cores[after - 1][1] > start:
            continue
        if after:
            outer[after - 1] = (outer[after - 1][0], stop)
        if after < len(outer):
            outer[after] = (min(start, outer[after][0]), outer[after][1])
    return outer


@dataclass(frozen=True)
class EdgeTokens:
    """Whether given tokens that the tokenizer drops (a zero-width space) belong to the spans that they are beside.

    Nothing is predicted at such a token. One between two spans belongs to the first if those `after` do.
    """

    before: bool = True
    after: bool = True

    @classmethod
    def of(cls, texts: Iterable[tuple[Words, Sequence[Span]]]) -> "EdgeTokens":
        """As most of these spans have it, on each side; where no span tells, they belong to it."""
        inside, outside = Counter[str](), Counter[str]()
        for words, spans in texts:
            aligned, _ = align_spans(words, spans)
            inner, outer = words.offsets.tolist(), words.outer_offsets.tolist()
            taken = {stop for span, _, stop in aligned if span.end > inner[stop - 1][1]}
            for span, first, stop in aligned:
                if outer[stop - 1][1] > inner[stop - 1][1]:
                    inside["after"] += span.end >= outer[stop - 1][1]
                    outside["after"] += span.end <= inner[stop - 1][1]
                if outer[first][0] < inner[first][0] and first not in taken:
                    inside["before"] += span.start <= outer[first][0]
                    outside["before"] += span.start >= inner[first][0]
        return cls(*(inside[side] >= outside[side] for side in ("before", "after")))

    def bounds(self, words: Words, spans: Sequence[Bounds]) -> list[Bounds]:
        """The characters of the spans of a text, which are words (first, one past the last)."""
        stops = {stop for _, stop in spans} if self.after else set()
        ends = words.outer_offsets if self.after else words.offsets
        starts = [(words.outer_offsets if self.before and i not in stops else words.offsets)[i, 0] for i, _ in spans]
        return [(int(start), int(ends[stop - 1, 1])) for start, (_, stop) in zip(starts, spans, strict=True)]


class Tags:
    """The tags that words can have: O, then B and I of each label. Their numbers are their places in `tags`.

    start (tags,) bool: what a text may begin with, all but I; it may end with anything. follows (tags before, tags)
    bool: I-x follows B-x or I-x only, all else follows anything. within (tags before, tags) bool: what may follow
    inside one given token, which is never cut: O after O, I-x after B-x or I-x.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self.tags = ["O", *(f"{letter}-{label}" for label in self.labels for letter in "BI")]
        self.numbers = {tag: number for number, tag in enumerate(self.tags)}
        numbers = np.arange(len(self.tags))
        self._begins, self._inside = numbers % 2 == 1, (numbers % 2 == 0) & (numbers != OUTSIDE)
        same = (numbers[:, None] + 1) // 2 == (numbers + 1) // 2
        self.start = ~self._inside
        self.within = same & ~self._begins
        self.follows = self.within | self.start

    def __len__(self) -> int:
        return len(self.tags)

    def allowed(self, words: Words, plain: bool) -> Flags:
        """(words, tags) bool: what each word may carry, apart from what `follows` and `within` say.

        In `plain` data every given token has a tag: its first word is a B, the others are I. Otherwise a word
        that goes on with its token is no B. Where no tokens are given, all is allowed.
        """
        joined = words.joined[:, None]
        result: Flags = ~(joined & self._begins)
        if plain:
            result &= np.where(joined, self._inside, self._begins) | (words.tokens < 0)[:, None]
        return result

    def encode(self, words: Words, spans: Iterable[Span]) -> tuple[Numbers, list[Misfit]]:
        """The tag of each word, (words,) int64, and the spans that have none, as `align_spans` says; of spans that
        overlap the first has tags. Raises KeyError for a label that is not among `labels`.
        """
        tags = np.zeros(len(words), dtype=np.int64)
        aligned, misfits = align_spans(words, sorted(spans))
        stop_before = 0
        for span, first, stop in aligned:
            if first < stop_before:
                misfits.append((span, "overlapping"))
                continue
            tags[first:stop] = self.numbers[f"I-{span.label}"]
            tags[first] = self.numbers[f"B-{span.label}"]
            stop_before = stop
        return tags, misfits


def chunk_bounds(path: Numbers) -> Iterator[tuple[int, int]]:
    """Return the words (first, one past the last) of each span of tags that keep the rules of `Tags`."""
    begins = (path % 2 == 1).nonzero()[0]
    fresh = np.append(((path == OUTSIDE) | (path % 2 == 1)).nonzero()[0], len(path))
    stops = fresh[np.searchsorted(fresh, begins, side="right")]
    return zip(begins.tolist(), stops.tolist(), strict=True)


def align_spans(words: Words, spans: Sequence[Span]) -> tuple[list[tuple[Span, int, int]], list[Misfit]]:
    """The words (first, one past the last) of each span, which may nest and overlap; and those without any.

    A span must begin where a word does and stop where one does; characters that the tokenizer drops may stand at its
    ends or not.
    """
    firsts = np.searchsorted(words.core_offsets[:, 1], [span.start for span in spans], side="right").tolist()
    stops = np.searchsorted(words.core_offsets[:, 0], [span.end for span in spans], side="left").tolist()
    aligned: list[tuple[Span, int, int]] = []
    misfits: list[Misfit] = []
    for span, first, stop in zip(spans, firsts, stops, strict=True):
        if first >= stop:
            misfits.append((span, "without a token"))
        elif words.core_offsets[first, 0] < span.start or words.core_offsets[stop - 1, 1] > span.end:
            misfits.append((span, "cut through a word"))
        else:
            aligned.append((span, first, stop))
    return aligned, misfits


def misfit_remarks(misfits: Sequence[tuple[Example, Misfit]], spans: int) -> Iterator[Message]:
    """Say for each reason how many of `spans` spans could not be aligned, and show the first."""
    for reason, count in sorted(Counter(reason for _, (_, reason) in misfits).items()):
        example, span = next((example, span) for example, (span, other) in misfits if other == reason)
        yield message(
            "{count:,} of {spans:,} spans not aligned: {reason} (the first: {first})",
            count,
            spans,
            message(reason),
            f"{example.location}: {example.text[span.start : span.end][:EXCERPT]!r} ({span.label})",
        )
