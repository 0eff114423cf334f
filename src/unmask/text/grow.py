"""Which pieces a WordPiece vocabulary should get for a text that it was not made for.

A candidate is what two or more neighbouring pieces of a word spell. It would save, wherever these stand, as many
pieces as there are in it less one; chosen is what saves the most in all, over and over, each time with the text cut
anew by all that was chosen before. So "transaction" comes before "transactions", which afterwards saves one piece and
no longer several. Equal ones are told apart by their text. A word that is unknown counts as one piece more than it has
characters: what it would be worth to tell it apart. With no other word does it share a piece.

Words are cut as WordPiece cuts them, from the left into the longest pieces that fit (Wu et al. 2016; Devlin et al.
2019). Where the pieces of a candidate stand, their first one is the longest that fits, and it begins the candidate;
so only words that hold that piece can be cut otherwise, and a candidate is cut alike wherever it stands.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unmask.console import SILENT, Progress
from unmask.text.wordpiece import CONTINUATION

MAX_TOKENS_PER_WORD = 10  # of a candidate: what is longer is no word


@dataclass(frozen=True)
class AddedToken:
    """piece: as it stands in the vocabulary; count: how often it stood in the text; saved: pieces, by it alone."""

    token: str
    count: int
    tokens_saved: int


def choose_tokens(
    vocab: Collection[str],
    words: Mapping[tuple[str, ...], int],
    unknown: Mapping[str, int],
    add: int,
    *,
    min_frequency: int = 2,
    progress: Progress = SILENT,
) -> list[AddedToken]:
    """At most `add` pieces, the one that saves the most first.

    words: as the vocabulary cuts them into several pieces, with how often they occur; unknown: words that it cannot
    cut. A piece that stands fewer than `min_frequency` times is not chosen.
    """
    chooser = _Chooser(vocab, words, unknown)
    chosen: list[AddedToken] = []
    progress.start(add, "pieces")
    while len(chosen) < add and (best := chooser.best(min_frequency)) is not None:
        if chooser.add(best.token):
            chosen.append(best)
            progress.advance(1)
    return chosen


def split_word(word: str, vocab: Collection[str], max_token_length: int) -> tuple[str, ...] | None:
    """A word, or the continuation of one ("##..."), as WordPiece cuts it; None where it cannot. longest: of the pieces,
    in characters."""
    inside = word.startswith(CONTINUATION) and len(word) > len(CONTINUATION)
    text = word.removeprefix(CONTINUATION) if inside else word
    found, start = [], 0
    while start < len(text):
        before = CONTINUATION if start or inside else ""
        for end in range(min(len(text), start + max_token_length), start, -1):
            if before + text[start:end] in vocab:
                found.append(before + text[start:end])
                start = end
                break
        else:
            return None
    return tuple(found)


def join_tokens(tokens: Sequence[str]) -> str:
    """What pieces spell, with the mark of a continuation where the first has it."""
    return tokens[0] + "".join(piece.removeprefix(CONTINUATION) for piece in tokens[1:])


class _Chooser:
    """The words as they are cut now, and what each candidate would save; `heap` holds every candidate at its newest
    value, and older values that no longer hold."""

    def __init__(
        self, vocabulary: Collection[str], words: Mapping[tuple[str, ...], int], unknown: Mapping[str, int]
    ) -> None:
        self.vocab = set(vocabulary)
        self.longest = max(map(len, self.vocab), default=0)
        self.words: list[Sequence[str]] = []
        self.counts: list[int] = []
        self.saved: defaultdict[str, int] = defaultdict(int)
        self.holders: defaultdict[str, set[int]] = defaultdict(set)  # of a piece: the words that it stands in
        self.unknown = dict(unknown)
        self.refused: list[str] = []
        for word, count in words.items():
            self._enter(word, count)
        for text, count in unknown.items():
            self.saved[text] += count * len(text)
        self.heap = [(-saved, text) for text, saved in self.saved.items()]
        heapq.heapify(self.heap)

    def _enter(self, word: Sequence[str], count: int) -> None:
        self.words.append(word)
        self.counts.append(count)
        self._count(len(self.words) - 1, 1)

    def _count(self, number: int, sign: int) -> None:
        """Count the candidates of a word, or take them away."""
        word, count = self.words[number], sign * self.counts[number]
        for text, less in _runs(word):
            self.saved[text] += count * less
        for piece in word:
            (self.holders[piece].add if sign > 0 else self.holders[piece].discard)(number)

    def best(self, min_frequency: int) -> AddedToken | None:
        """The candidate that saves the most."""
        while self.heap:
            negative, text = self.heap[0]
            saved = self.saved.get(text, 0)
            if -negative == saved and saved > 0:
                count = self._times(text, saved)
                if count >= min_frequency:
                    return AddedToken(text, count, saved)
            heapq.heappop(self.heap)
        return None

    def _times(self, text: str, saved: int) -> int:
        """How often a candidate stands in the text."""
        pieces = split_word(text, self.vocab, self.longest)
        if text not in self.unknown:
            assert pieces is not None and len(pieces) > 1
            return saved // (len(pieces) - 1)
        if pieces is None:
            return self.unknown[text]
        count = self.unknown.pop(text)  # pieces that were chosen since spell it: a word like others
        self.saved[text] -= count * len(text)
        self._enter(pieces, count)
        self._push(one for one, _ in _runs(pieces))
        return 0

    def add(self, token: str) -> bool:
        """Cut the words anew with one more piece; False where that would save nothing, or where a word could not be cut
        any more: then it is no candidate until another one is taken."""
        first = self._first(token)
        self.vocab.add(token)
        longest, self.longest = self.longest, max(self.longest, len(token))
        saved = self.unknown.get(token, 0) * len(token)
        changed: dict[int, tuple[str, ...]] = {}
        for number in sorted(self.holders[first]) if first else ():
            word = self.words[number]
            anew = split_word(join_tokens(word), self.vocab, self.longest)
            if anew is None:
                changed, saved = {}, 0
                break
            if anew != tuple(word):
                changed[number] = anew
                saved += (len(word) - len(anew)) * self.counts[number]
        if saved <= 0:
            self.vocab.discard(token)
            self.longest = longest
            self.refused.append(heapq.heappop(self.heap)[1])
            return False
        if token in self.unknown:
            self.saved[token] -= self.unknown.pop(token) * len(token)
        touched: set[str] = {token, *self.refused}
        self.refused = []
        for number, anew in changed.items():
            touched.update(text for text, _ in _runs(self.words[number]))
            self._count(number, -1)
            self.words[number] = anew
            touched.update(text for text, _ in _runs(anew))
            self._count(number, 1)
        self._push(touched)
        return True

    def _first(self, text: str) -> str | None:
        """The longest piece with which a candidate begins."""
        ends = range(len(text) - 1, len(CONTINUATION) if text.startswith(CONTINUATION) else 0, -1)
        return next((text[:end] for end in ends if text[:end] in self.vocab), None)

    def _push(self, texts: Iterable[str]) -> None:
        for text in texts:
            if self.saved.get(text, 0) > 0:
                heapq.heappush(self.heap, (-self.saved[text], text))
            else:
                self.saved.pop(text, None)


def _runs(word: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every run of two or more neighbouring pieces: what it spells, and how many pieces it would save as one."""
    for start in range(len(word) - 1):
        text = word[start]
        for end in range(start + 1, min(len(word), start + MAX_TOKENS_PER_WORD)):
            text += word[end].removeprefix(CONTINUATION)
            yield text, end - start
