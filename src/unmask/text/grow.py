"""Which tokens a WordPiece vocabulary should get for a text that it was not made for.

A candidate is what two or more neighbouring tokens of a word spell. It would save, wherever these stand, as many
tokens as there are in it less one; chosen is what saves the most in all, over and over, each time with the text cut
anew by all that was chosen before. So "transaction" comes before "transactions", which afterwards saves one token and
no longer several. Equal ones are told apart by their text. A word that is unknown counts as one token more than it has
characters: what it would be worth to tell it apart. With no other word does it share a token.

Words are cut as WordPiece cuts them, from the left into the longest tokens that fit (Wu et al. 2016; Devlin et al.
2019). Where the tokens of a candidate stand, their first one is the longest that fits, and it begins the candidate;
so only words that hold that token can be cut otherwise, and a candidate is cut alike wherever it stands.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unmask.console import SILENT, Progress
from unmask.text.wordpiece import CONTINUATION

MAX_TOKENS_PER_WORD = 10  # of a candidate: what is longer is no word
Word = tuple[str, ...] | str  # the tokens of a word, or the text of an unknown one


@dataclass(frozen=True)
class AddedToken:
    """token: as it stands in the vocabulary; count: how often it stood in the text; saved: tokens, by it alone."""

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
    """At most `add` tokens, the one that saves the most first.

    words: as the vocabulary cuts them into several tokens, with how often they occur; unknown: words that it cannot
    cut. A token that stands fewer than `min_frequency` times is not chosen.
    """
    chooser = _Chooser(vocab, words, unknown)
    chosen: list[AddedToken] = []
    progress.start(add, "tokens")
    while len(chosen) < add and (best := chooser.best(min_frequency)) is not None:
        if chooser.add(best.token):
            chosen.append(best)
            progress.advance(1)
    return chosen


def split_word(word: str, vocab: Collection[str]) -> tuple[str, ...] | None:
    """A word, or the continuation of one ("##..."), as WordPiece cuts it; None where it cannot."""
    inside = word.startswith(CONTINUATION) and len(word) > len(CONTINUATION)
    text = word.removeprefix(CONTINUATION) if inside else word
    found, start = [], 0
    while start < len(text):
        mark = CONTINUATION if start or inside else ""
        end = next((end for end in range(len(text), start, -1) if mark + text[start:end] in vocab), None)
        if end is None:
            return None
        found.append(mark + text[start:end])
        start = end
    return tuple(found)


def join_tokens(tokens: Sequence[str]) -> str:
    """The text of tokens, with the mark of a continuation where the first has it."""
    return tokens[0] + "".join(token.removeprefix(CONTINUATION) for token in tokens[1:])


class _Chooser:
    """The words as they are cut now (an unknown one is its text), and how many tokens each candidate would save;
    `heap` holds every candidate at its newest value, and older values that no longer hold."""

    def __init__(
        self, vocab: Collection[str], words: Mapping[tuple[str, ...], int], unknown: Mapping[str, int]
    ) -> None:
        self.vocab = set(vocab)
        self.words: list[Word] = [*words, *unknown]
        self.counts = [*words.values(), *unknown.values()]
        self.saved: defaultdict[str, int] = defaultdict(int)
        self.holders: defaultdict[str, set[int]] = defaultdict(set)  # of a token, or unknown word: the words it is in
        self.refused: list[str] = []
        for number in range(len(self.words)):
            self._count(number, 1)
        self.heap = [(-saved, text) for text, saved in self.saved.items()]
        heapq.heapify(self.heap)

    def _count(self, number: int, sign: int) -> None:
        """Count the candidates of a word, or take them away."""
        word = self.words[number]
        for text, saved in _candidates(word):
            self.saved[text] += sign * self.counts[number] * saved
        for token in (word,) if isinstance(word, str) else word:
            (self.holders[token].add if sign > 0 else self.holders[token].discard)(number)

    def _cut(self, number: int, tokens: tuple[str, ...]) -> set[str]:
        """Cut a word anew; returns the candidates that it had and has."""
        before = self.words[number]
        self._count(number, -1)
        self.words[number] = tokens
        self._count(number, 1)
        return {text for word in (before, tokens) for text, _ in _candidates(word)}

    def best(self, min_frequency: int) -> AddedToken | None:
        """The candidate that saves the most."""
        while self.heap:
            negative, text = self.heap[0]
            saved = self.saved.get(text, 0)
            if -negative == saved and saved > 0:
                tokens = split_word(text, self.vocab)
                unknown = [number for number in self.holders[text] if self.words[number] == text]
                count = self.counts[unknown[0]] if unknown else saved // (len(tokens or ()) - 1)
                if tokens and unknown:  # tokens that were chosen since spell it: a word like others
                    self._push(self._cut(unknown[0], tokens))
                elif count >= min_frequency:
                    return AddedToken(text, count, saved)
            heapq.heappop(self.heap)
        return None

    def add(self, token: str) -> bool:
        """Cut the words anew with one more token; False where that would save nothing, or where a word could not be cut
        any more: then it is no candidate until another one is taken."""
        ends = range(len(token) - 1, len(CONTINUATION) if token.startswith(CONTINUATION) else 0, -1)
        first = next((token[:end] for end in ends if token[:end] in self.vocab), token)
        self.vocab.add(token)
        saved, changed = 0, {}
        for number in sorted(self.holders[first] | self.holders[token]):
            word = self.words[number]
            tokens = split_word(join_tokens(word), self.vocab)
            if tokens is None:
                saved = 0
                break
            if tokens != word:
                changed[number] = tokens
                saved += (len(word) + isinstance(word, str) - len(tokens)) * self.counts[number]
        if saved <= 0:
            self.vocab.discard(token)
            self.refused.append(heapq.heappop(self.heap)[1])
            return False
        self._push({token, *self.refused}.union(*(self._cut(number, tokens) for number, tokens in changed.items())))
        self.refused = []
        return True

    def _push(self, texts: Iterable[str]) -> None:
        for text in texts:
            if self.saved.get(text, 0) > 0:
                heapq.heappush(self.heap, (-self.saved[text], text))
            else:
                self.saved.pop(text, None)


def _candidates(word: Word) -> Iterator[tuple[str, int]]:
    """What a word could have as one token, and how many tokens that would save: every run of two or more neighbouring
    tokens; of an unknown word the whole."""
    if isinstance(word, str):
        yield word, len(word)
        return
    for start in range(len(word) - 1):
        text = word[start]
        for end in range(start + 1, min(len(word), start + MAX_TOKENS_PER_WORD)):
            text += word[end].removeprefix(CONTINUATION)
            yield text, end - start
