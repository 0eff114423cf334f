"""Where tokens stand in a text: their characters, the words and the sentences that they begin.

For every kind of tokenizer alike, since libraries differ: the marker of a blank (▁ of SentencePiece, Ġ of
byte-level BPE) is no character of a token, and a word ends at white space, and before and after a punctuation
mark and a Chinese character, as in BERT, also where SentencePiece reads a whole sentence as one word.
"""

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.text.chinese import is_ideograph

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# A sentence ends after . ! ? … (and closing quotes or brackets) before white space, after 。！？ or …… (and
# closing ones) anywhere, and at a blank line. The next one begins with whatever follows. ("Mr. Smith" is
# cut, too.)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|(?:[。！？]|……)[”’」』）】》]*|\n[ \t\r]*(?=\n)")
_PLANES = 0x20000  # white space and punctuation are in the first two planes of Unicode


def split_sentences(text: str) -> list[str]:
    """A text cut into its sentences; nothing is left out."""
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[i:j] for i, j in pairwise(ends) if j > i]


@dataclass(frozen=True, slots=True)
class TokenOffsets:
    """A text as tokens, in parallel lists, by the names that the library's own encodings have."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class AlignedTokens:
    """The tokens of several texts, one after another.

    ids, starts, stops (tokens,): the characters of each in its text, without blanks at its ends, none of a
    token that is a blank only; starts_word (tokens,): whether a word begins; sizes (texts,): tokens of each text.
    """

    ids: Numbers
    starts: Numbers
    stops: Numbers
    starts_word: Flags
    sizes: Numbers

    def per_text(self) -> list[TokenOffsets]:
        """One for each text."""
        ends = np.cumsum(self.sizes)
        total = np.cumsum(self.starts_word)
        before = np.concatenate([[0], total])[ends - self.sizes]  # words begun in the texts before
        words = (total - np.repeat(before, self.sizes) - 1).tolist()
        ids, offsets = self.ids.tolist(), list(zip(self.starts.tolist(), self.stops.tolist(), strict=True))
        bounds = pairwise([0, *ends.tolist()])
        return [TokenOffsets(ids[i:j], offsets[i:j], words[i:j]) for i, j in bounds]

    def sentence_starts(self, texts: Sequence[str]) -> Flags:
        """(tokens,) whether a sentence begins with the token; the first token of a text always does."""
        first = first_of_each(self.sizes)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        begins = np.cumsum(lengths) - lengths
        cut = [np.cumsum([0, *map(len, split_sentences(text))])[:-1] for text in texts]
        bounds = np.concatenate([at + begin for at, begin in zip(cut, begins, strict=True)] or [[]])
        last = np.repeat(np.maximum(lengths, 1) - 1, self.sizes)  # blanks at the end of a text stand behind it
        at = np.minimum(self.starts, last) + np.repeat(begins, self.sizes)
        number = np.searchsorted(bounds, at, side="right")
        flags: Flags = first | (number != np.concatenate([[-1], number])[:-1])
        return flags


def align_tokens(texts: Sequence[str], encodings: Sequence[Any], blank_token: Flags) -> AlignedTokens:
    """Where the tokens of the library's encodings of texts stand; `blank_token` (vocabulary,): the tokens that spell
    nothing but white space."""
    sizes = np.fromiter(map(len, encodings), np.int64, len(encodings))
    count = int(sizes.sum())
    ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int64, count)
    words = np.fromiter((-1 if w is None else w for e in encodings for w in e.word_ids), np.int64, count)
    flat = (number for e in encodings for offsets in e.offsets for number in offsets)
    offsets = np.fromiter(flat, np.int64, 2 * count).reshape(-1, 2)

    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.repeat(np.cumsum(lengths) - lengths, sizes)  # of each token's text, were they one text
    codes = np.frombuffer(("".join(texts) + "\0").encode("utf-32-le"), np.uint32)
    space, apart = _classes()
    space, apart = space[codes], apart[codes]

    starts, stops = _trimmed(space, *(offsets + begins[:, None]).T)
    empty = blank_token[ids]
    stops[empty] = starts[empty]
    first = first_of_each(sizes)
    same = ~first
    same[1:] &= words[1:] == words[:-1]
    inside = np.zeros(count, bool)  # bytes of a character after its first, and what the token before reaches over
    inside[1:] = (starts[1:] < stops[:-1]) & ~first[1:]
    joined = np.zeros(count, bool)  # the marker of a blank by itself belongs to the word after it
    joined[1:] = empty[:-1]
    at_edge = starts == begins
    led = at_edge | space[starts - 1]
    alone = (stops > starts) & (apart[starts] | (apart[starts - 1] & ~at_edge))
    fresh: Flags = ~same | empty | ((led | alone) & ~inside & ~joined)
    return AlignedTokens(ids, starts - begins, stops - begins, fresh, sizes)


def first_of_each(sizes: Numbers) -> Flags:
    """(tokens,) whether a token is the first of its text; sizes (texts,): tokens of each text."""
    flags = np.zeros(int(sizes.sum()), bool)
    flags[(np.cumsum(sizes) - sizes)[sizes > 0]] = True
    return flags


def _trimmed(space: Flags, starts: Numbers, stops: Numbers) -> tuple[Numbers, Numbers]:
    """Stretches of a text without the white space at their ends; of white space alone the end is left."""
    at = np.arange(len(space))
    after = np.minimum.accumulate(np.where(space, len(space), at)[::-1])[::-1]  # the next other character
    before = np.maximum.accumulate(np.where(space, -1, at)) + 1  # one past the last other character
    starts = np.minimum(after[starts], stops)
    return starts, np.maximum(np.where(stops > starts, before[stops - 1], stops), starts)


@cache
def _classes() -> tuple[Flags, Flags]:
    """By code point: what is white space, and what is a word of its own (BERT's punctuation, Chinese characters)."""
    space, apart = np.zeros((2, sys.maxunicode + 1), bool)
    for code in range(_PLANES):
        character = chr(code)
        space[code] = character.isspace()
        apart[code] = unicodedata.category(character)[0] == "P" or character in "$+<=>^`|~"
    apart |= is_ideograph(np.arange(len(apart), dtype=np.uint32))
    return space, apart
