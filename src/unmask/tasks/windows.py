"""Long texts as overlapping windows: no word is cut, each is predicted where most of its context is seen.

`windows` says which tokens are read together. `window_inputs` makes sequences of them, with a second text repeated in
each (the question about a long context).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmask.text.public.specials import SPECIAL_TOKEN, TokenArrays
from unmask.text.tokenizer import Encoding, Tokenizer

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `end` of a text are read together, in which are the words `read`; the words `first_word` to
    `last_word` are predicted there.

    All count from 0, the second of each pair exclusive.
    """

    start: int
    end: int
    first_word: int
    last_word: int
    read: tuple[int, int]


def windows(word_starts: Ids, max_tokens: int, stride: int) -> list[Window]:
    """The windows of a text, of at most `max_tokens` tokens, about `stride` tokens from one to the next.

    word_starts (words + 1,): the place of each word's first token, at last one past the last token. A word is predicted
    in the window that shows most around it (`best_windows`). A word of more than `max_tokens` tokens is read without
    the rest.
    """
    words = len(word_starts) - 1
    if not words:
        return []
    if word_starts[-1] - word_starts[0] <= max_tokens:
        return [Window(int(word_starts[0]), int(word_starts[-1]), 0, words, (0, words))]
    bounds = _bounds(word_starts, max_tokens, stride)
    owner = best_windows(word_starts, bounds, 1)[:, 0]
    edges = np.searchsorted(owner, np.arange(len(bounds) + 1)).tolist()
    result = []
    for (begin, end), first, last in zip(bounds, edges[:-1], edges[1:], strict=True):
        if first < last:
            start = int(word_starts[begin])
            result.append(Window(start, min(int(word_starts[end]), start + max_tokens), first, last, (begin, end)))
    return result


def _bounds(firsts: Ids, room: int, stride: int) -> list[tuple[int, int]]:
    """The words (first, one past the last) that each window reads: as many as fit."""
    words = len(firsts) - 1
    bounds, begin = [], 0
    while True:
        end = int(np.searchsorted(firsts, firsts[begin] + room, side="right")) - 1
        end = min(words, max(end, begin + 1))
        bounds.append((begin, end))
        if end == words:  # the last one reads as far back as fits
            earliest = int(np.searchsorted(firsts, firsts[-1] - room))
            bounds[-1] = (min(begin, max(earliest, bounds[-2][0] + 1 if len(bounds) > 1 else 0)), end)
            return bounds
        onward = int(np.searchsorted(firsts, firsts[begin] + stride, side="right")) - 1
        begin = min(max(onward, begin + 1), end)


def best_windows(word_starts: Ids, bounds: Sequence[tuple[int, int]], longest: int) -> Ids:
    """The window in which each span of at most `longest` words is predicted, (words, longest): the one that begins with
    a word and has so many more; -1 for one that no window holds whole.

    bounds: the words (first, one past the last) that each window reads. A span belongs to the window in which the
    nearer end of what is read is farthest from it (the ends of the text are no ends in this sense), of several to the
    first.
    """
    words, far = len(word_starts) - 1, int(word_starts[-1]) + 1
    nearest = np.full((words, longest), -1, dtype=np.int64)
    owner = nearest.copy()
    for number, (begin, end) in enumerate(bounds):
        inside = np.arange(begin, end)
        last = inside[:, None] + np.arange(longest)
        left = word_starts[inside] - word_starts[begin] if begin else np.full(len(inside), far)
        right = word_starts[end] - word_starts[np.minimum(last, end - 1) + 1] if end < words else far
        around = np.where(last < end, np.minimum(left[:, None], right), -1)
        better = around > nearest[begin:end]
        nearest[begin:end][better] = around[better]
        owner[begin:end][better] = number
    return owner


@dataclass(frozen=True)
class WindowInput:
    """A window as a sequence: parts: `input_ids`, `token_type_ids` and `flags` of an EncodedRow; text_start: where the
    first token of the window stands in it."""

    parts: TokenArrays
    window: Window
    text_start: int


@dataclass(frozen=True)
class TextTokens:
    """The tokens of a text without specials: input_ids (tokens,) int64, and the first one of each word (words + 1,)."""

    input_ids: Ids
    word_starts: Ids

    @classmethod
    def from_encoding(cls, encoded: Encoding, pair: bool = False) -> "TextTokens":
        """Those of the text, or of the pair, of an encoding that was not cut."""
        count = len(encoded.input_ids)
        second = count if encoded.pair_start is None else encoded.pair_start
        chosen = ~np.array(encoded.special_tokens_mask, dtype=bool) & ((np.arange(count) >= second) == pair)
        words = np.array([-1 if word is None else word for word in encoded.word_ids], dtype=np.int64)[chosen]
        starts = np.flatnonzero(np.diff(words, prepend=-2))
        return cls(np.array(encoded.input_ids, dtype=np.int64)[chosen], np.append(starts, len(words)))

    def __len__(self) -> int:
        return len(self.input_ids)


def window_inputs(
    tokenizer: Tokenizer, moving: TextTokens, fixed: TextTokens | None, max_length: int, stride: int, first: bool = True
) -> list[WindowInput]:
    """The sequences of at most `max_length` tokens in which a text is read, about `stride` tokens from one to the next.

    moving: the text that is read in windows; fixed: one that is repeated in each, whole; first: whether the
    moving text stands before it. A text without tokens has no windows.
    """
    frame = tokenizer.single_template if fixed is None else tokenizer.pair_template
    room = max_length - frame.size - (0 if fixed is None else len(fixed))
    assert room > 0, "the text beside the windows leaves no room"
    fits = int(np.diff(moving.word_starts).max(initial=0)) <= room
    starts = moving.word_starts if fits else np.arange(len(moving) + 1)  # a word is cut where it fits into no window
    result = []
    for window in windows(starts, room, min(stride, room)):
        inner = moving.input_ids[window.start : window.end]
        texts = [inner] if fixed is None else [inner, fixed.input_ids] if first else [fixed.input_ids, inner]
        place = len(frame.runs[0])
        if fixed is not None and not first:
            place += len(fixed) + len(frame.runs[1])
        result.append(WindowInput(with_special_tokens(tokenizer, texts), window, place))
    return result


def with_special_tokens(tokenizer: Tokenizer, texts: Sequence[Ids]) -> TokenArrays:
    """Put special tokens around a text or a pair: BERT's [CLS] text [SEP] pair [SEP]; ids, types and flags."""
    return (tokenizer.single_template if len(texts) == 1 else tokenizer.pair_template).around(texts)


def long_text_inputs(
    tokenizer: Tokenizer, encoded: Encoding, max_length: int, stride: int
) -> tuple[list[WindowInput], bool]:
    """The windows of a text, or of the longer one of a pair, from its encoding, which was not cut.

    The shorter text of a pair is repeated in each; where it fills more than half of the sequence it is truncated.
    Return whether it was.
    """
    first = TextTokens.from_encoding(encoded)
    if encoded.pair_start is None:
        return window_inputs(tokenizer, first, None, max_length, stride), False
    second = TextTokens.from_encoding(encoded, pair=True)
    moving, beside = (first, second) if len(first) >= len(second) else (second, first)
    most = (max_length - tokenizer.pair_template.size) // 2
    repeated = TextTokens(beside.input_ids[:most], beside.word_starts)
    return window_inputs(tokenizer, moving, repeated, max_length, stride, first=moving is first), len(beside) > most


def encode_windows(
    tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str | None] | None, max_length: int, stride: int
) -> tuple[list[list[TokenArrays]], int]:
    """The sequences of at most `max_length` tokens in which each text, or pair, is read: the whole, or its windows;
    and how many of the repeated texts were truncated."""
    result, truncated = [], 0
    for encoded in tokenizer.encode_batch(texts, pairs):
        if len(encoded.input_ids) > max_length:
            inputs, cut = long_text_inputs(tokenizer, encoded, max_length, stride)
            result.append([one.parts for one in inputs])
            truncated += cut
        else:
            flags = np.array(encoded.special_tokens_mask, dtype=np.uint8) * np.uint8(SPECIAL_TOKEN)
            result.append([(np.array(encoded.input_ids), np.array(encoded.token_type_ids), flags)])
    return result, truncated
