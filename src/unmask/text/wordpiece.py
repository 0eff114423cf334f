"""WordPiece vocabulary training: word counts in, tokens out, merged by their gain in log-likelihood.

The score of a pair, from Schuster and Nakajima, "Japanese and Korean voice search" (ICASSP 2012), section 3:
merge the two tokens that raise the likelihood of the text under a unigram model of the tokens the most. With
c(x) the number of times that token x occurs and N that of all tokens, writing ab for "a b" n = c(ab) times
raises the log-likelihood, sum of c(x) log(c(x)/N), to first order in n/c(a), n/c(b) and n/N and up to a term
-n, by

    gain(a, b) = n log(n N / (c(a) c(b)))

c and N are those of the moment, not of the beginning: the likelihood to be raised is that of the text as it
is written now, and every merge changes its unigram model (N falls by n). A pair of negative gain is taken
only when no other is left, so that the vocabulary has the size that was asked for.

Every merge is the true maximum. A merge changes the counts of three tokens, and only pairs that hold one of
them are scored anew; every other gain changes by log N alone, and since N only falls it can only fall. Hence
a pool of all pairs whose gain is above some floor stays one when the pairs scored anew that are above the
floor join it, and its best is the best of all while above the floor; below it, a new pool is made from all
the pairs.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.console import SILENT, Progress
from unmask.errors import UserError
from unmask.messages import message

CONTINUATION = "##"
MAX_WORD_CHARACTERS = 100  # a longer word is [UNK], as in BERT
CHARACTER_COVERAGE = 0.9999  # share of the text's characters that the alphabet covers
ALPHABET_SHARE = 0.8  # the alphabet's largest share of the vocabulary

Ints = NDArray[np.int64]
Places = NDArray[np.int32]


@dataclass(frozen=True)
class WordPieceVocabulary:
    """A trained vocabulary, and what was left out on the way."""

    tokens: list[str]  # in the order of their ids
    alphabet: int  # tokens of one character
    dropped_characters: list[str]  # too rare for the alphabet, the most frequent first
    dropped_words: int  # occurrences of words that hold a dropped character or are too long: [UNK] at run time


def train(
    words: Mapping[str, int],
    vocab_size: int,
    *,
    specials: Sequence[str] = (),
    min_frequency: int = 2,
    allow_fewer: bool = False,
    progress: Progress = SILENT,
) -> WordPieceVocabulary:
    """Learn a vocabulary of exactly `vocab_size` tokens: `specials`, then the alphabet, then merges in their order.

    The alphabet is the most frequent characters that together make up CHARACTER_COVERAGE of the text, each
    seen at least `min_frequency` times, while they fill at most ALPHABET_SHARE of the vocabulary (more where
    there is nothing left to merge). A character seen in longer words has two tokens, `x` at a word's start and
    `##x` after it; one that is always a word of its own (punctuation, Chinese) has one. Pairs seen fewer than
    `min_frequency` times are not merged.

    The result depends on the counts alone: equal gains are told apart by the text of the pair.
    Raises UserError when the text supports fewer than `vocab_size` tokens, unless `allow_fewer`.
    """
    room = int((vocab_size - len(specials)) * ALPHABET_SHARE)
    while True:
        letters = _Letters(words)
        alphabet, dropped, crowded = letters.alphabet(room, min_frequency)
        merger = Merger(*letters.spell(alphabet), alphabet, min_frequency=min_frequency)
        del letters.codes
        missing = vocab_size - len(specials) - len(alphabet)
        progress.start(max(0, missing), "tokens")
        while missing > 0 and (pair := merger.best()) is not None:
            merger.merge(pair)
            missing -= 1
            progress.advance(1)
        if missing <= 0 or not crowded:
            break
        room += missing  # there is nothing left to merge, as in Chinese: characters without room get what is free
    if missing > 0 and not (allow_fewer and merger.texts):
        if not letters.occurrences:
            raise UserError("no text to train a tokenizer on", hint="name files that contain text")
        raise UserError(
            "the text supports a vocabulary of at most {tokens:,} tokens",
            vocab_size - missing,
            given=message(
                "{tokens:,}, from {words:,} words; pairs seen {times} times or more",
                vocab_size,
                letters.occurrences,
                min_frequency,
            ),
        )
    return WordPieceVocabulary([*specials, *merger.texts], len(alphabet), dropped, letters.dropped)


class _Letters:
    """The words as one long array of characters."""

    def __init__(self, words: Mapping[str, int]) -> None:
        kept = [word for word in words if 0 < len(word) <= MAX_WORD_CHARACTERS]
        self.occurrences = sum(words.values())
        self.counts = np.fromiter((words[word] for word in kept), np.int64, len(kept))
        self.dropped = self.occurrences - int(self.counts.sum())
        self.lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        self.codes = np.frombuffer("".join(kept).encode("utf-32-le"), np.uint32).astype(np.int64)

    def alphabet(self, limit: int, min_frequency: int) -> tuple[list[str], list[str], bool]:
        """The tokens of one character, in order of code point; the characters that are left out, the most
        frequent first; and whether there was no room for some of them."""
        totals = np.zeros(self.codes.max(initial=0) + 1, np.int64)
        np.add.at(totals, self.codes, np.repeat(self.counts, self.lengths))
        inside = np.zeros(len(totals), bool)
        inside[self.codes[np.repeat(self.lengths, self.lengths) > 1]] = True
        present = np.flatnonzero(totals)
        ranked = present[np.lexsort((present, -totals[present]))]
        covered_before = np.cumsum(totals[ranked]) - totals[ranked]
        wanted = (covered_before < CHARACTER_COVERAGE * totals.sum()) & (totals[ranked] >= min_frequency)
        fits = np.cumsum(1 + inside[ranked]) <= limit
        kept = np.sort(ranked[wanted & fits])
        tokens = [chr(code) for code in kept.tolist()]
        tokens += [CONTINUATION + chr(code) for code in kept[inside[kept]].tolist()]
        left_out = [chr(code) for code in ranked[~(wanted & fits)].tolist()]
        return tokens, left_out, bool((wanted & ~fits).any())

    def spell(self, alphabet: Sequence[str]) -> tuple[Places, Ints, Ints]:
        """Of the words that the alphabet can spell: the token of every character, the lengths, the counts."""
        ids = np.full((2, self.codes.max(initial=0) + 1), -1, np.int32)
        for number, token in enumerate(alphabet):
            ids[int(len(token) > 1), ord(token[-1])] = number
        starts = np.cumsum(self.lengths) - self.lengths
        later = np.ones(len(self.codes), np.int8)
        later[starts] = 0
        letters = ids[later, self.codes]
        known = np.logical_and.reduceat(letters >= 0, starts) if len(starts) else np.zeros(0, bool)
        self.dropped += int(self.counts[~known].sum())
        return letters[np.repeat(known, self.lengths)], self.lengths[known], self.counts[known]


class _Pairs:
    """Pairs of tokens by number, in columns that grow together."""

    def __init__(self) -> None:
        self.size = 0
        self.left = self.right = np.zeros(0, np.int32)
        self.count = np.zeros(0, np.int64)
        self.base = np.zeros(0)  # the gain without its term n log N; -inf: too rare
        self.pooled = np.zeros(0, bool)

    def add(self, left: Places, right: Places) -> Ints:
        """Number new pairs, in the order given."""
        numbers = np.arange(self.size, self.size + len(left))
        self.size += len(left)
        for name in ("left", "right", "count", "base", "pooled"):
            setattr(self, name, _with_room(getattr(self, name), self.size))
        self.left[numbers], self.right[numbers] = left, right
        return numbers


def _with_room(column: NDArray[Any], size: int) -> NDArray[Any]:
    """A column of at least `size` values: itself, or one twice as long with zeros at its end."""
    if size <= len(column):
        return column
    longer = np.zeros(max(size, 2 * len(column)), column.dtype)  # takes no memory until it is used
    longer[: len(column)] = column
    return longer


class Merger:
    """The words as chains of tokens, with exact counts of tokens and of adjacent pairs, merged pair by pair.

    A place is the index of a character; the token that begins there is `token[place]` (-1 once merged into
    the one before it), its neighbours within the word begin at `before[place]` and `after[place]` (-1 where
    there is none), and `pair[place]` is the number of the pair that it forms with the one after it. Pairs are
    numbered as they appear; `pairs_of` lists those of each token, `places` where each token occurs (or did).
    """

    POOL = 1024
    ROUNDING = 1e-12  # per occurrence: logarithms below 50, four terms, 53 bits; gains this near are equal

    def __init__(
        self, letters: Places, lengths: Ints, counts: Ints, texts: Sequence[str], *, min_frequency: int
    ) -> None:
        self.texts = list(texts)
        self.min_frequency = min_frequency
        self.token = letters.astype(np.int32)
        self.weight = np.repeat(counts, lengths)
        size = len(letters)
        self.before = np.arange(-1, size - 1, dtype=np.int32)
        self.after = np.arange(1, size + 1, dtype=np.int32)
        self.before[np.cumsum(lengths) - lengths] = -1
        self.after[np.cumsum(lengths) - 1] = -1
        self.marked = np.zeros(size, bool)
        count = np.zeros(len(self.texts), np.int64)
        np.add.at(count, self.token, self.weight)
        self.count: list[int] = count.tolist()
        self.total = int(self.weight.sum())
        self.logs = np.log(np.maximum(count, 1))
        order = np.argsort(self.token, kind="stable").astype(np.int32)
        self.places = np.split(order, np.cumsum(np.bincount(self.token, minlength=len(self.texts)))[:-1])
        self.pairs = _Pairs()
        self.pairs_of = [array("i") for _ in self.texts]
        inner = np.flatnonzero(self.after >= 0)
        numbers = self._new_pairs(self.token[inner], self.token[inner + 1])
        self.pair = np.full(size, -1, np.int32)
        self.pair[inner] = numbers
        np.add.at(self.pairs.count, numbers, self.weight[inner])
        self._score(np.arange(self.pairs.size))
        self.pool = np.zeros(0, np.int64)
        self.floor = np.inf
        self.margin = 0.0

    def best(self) -> int | None:
        """The number of the pair with the highest gain, or None when no pair is frequent enough."""
        for _ in range(2):
            gains = self._gains(self.pool)
            highest = int(gains.argmax()) if len(gains) else -1
            if highest >= 0 and -np.inf < gains[highest] >= self.floor:
                slack = self.ROUNDING * self.pairs.count[self.pool]
                equal = self.pool[gains + slack >= gains[highest] - slack[highest]]
                return int(min(equal.tolist(), key=self._text_of))
            self._refill()
        return None

    def _text_of(self, pair: int) -> tuple[str, str]:
        return self.texts[self.pairs.left[pair]], self.texts[self.pairs.right[pair]]

    def _gains(self, pairs: NDArray[Any]) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = self.pairs.count[pairs] * np.log(max(self.total, 1)) + self.pairs.base[pairs]
        return gains

    def _score(self, pairs: NDArray[Any]) -> None:
        count = self.pairs.count[pairs]
        logs = self.logs[self.pairs.left[pairs]], self.logs[self.pairs.right[pairs]]
        gains = count * (np.log(np.maximum(count, 1)) - logs[0] - logs[1])
        self.pairs.base[pairs] = np.where(count >= self.min_frequency, gains, -np.inf)

    def _refill(self) -> None:
        """A new pool: every pair whose gain is at least the POOL-th best, or within rounding of it."""
        self.pairs.pooled[self.pool] = False
        live = np.flatnonzero(self.pairs.base[: self.pairs.size] > -np.inf)
        gains = self._gains(live)
        if len(live) <= self.POOL:
            self.floor, self.margin, self.pool = -np.inf, 0.0, live
        else:
            self.floor = float(np.partition(gains, -self.POOL)[-self.POOL])
            self.margin = 4 * self.ROUNDING * float(self.pairs.count[live].max())
            self.pool = live[gains >= self.floor - self.margin]
        self.pairs.pooled[self.pool] = True

    def _occurrences(self, pair: int, left: int, right: int) -> Places:
        """The places where a pair begins, in order, none overlapping (in "aaa", the first two)."""
        if len(self.places[left]) <= len(self.places[right]):
            places = self.places[left]
            self.places[left] = places = places[self.token[places] == left]
        else:
            places = self.places[right]
            self.places[right] = places = places[self.token[places] == right]
            places = self.before[places]
            places = places[places >= 0]
        found: Places = places[self.pair[places] == pair]
        if left != right or len(found) < 2:
            return found
        found = np.sort(found)
        fresh = np.ones(len(found), bool)
        fresh[1:] = self.after[found[:-1]] != found[1:]
        run = np.maximum.accumulate(np.where(fresh, np.arange(len(found)), 0))
        even: Places = found[(np.arange(len(found)) - run) % 2 == 0]
        return even

    def merge(self, pair: int) -> None:
        """Write `left right` as one token wherever the pair occurs."""
        left, right = int(self.pairs.left[pair]), int(self.pairs.right[pair])
        first = self._occurrences(pair, left, right)
        second = self.after[first]
        third = self.after[second]
        weight = self.weight[first]
        merged = self._token(left, right)
        ends = third < 0

        # A pair between two merged occurrences is taken away once, and put back once: by the one before it.
        count = self.pairs.count
        count[pair] -= weight.sum()
        np.subtract.at(count, self.pair[second[~ends]], weight[~ends])
        previous, own = self._previous(first, second)
        np.subtract.at(count, self.pair[previous], weight[own])

        self.token[first], self.token[second] = merged, -1
        self.pair[second] = -1
        self.pair[first[ends]] = -1
        self.after[first] = third
        self.before[third[~ends]] = first[~ends]

        previous, own = self._previous(first, first)
        edges = np.concatenate([first[~ends], previous])
        numbers = self._new_pairs(self.token[edges], self.token[self.after[edges]])
        self.pair[edges] = numbers
        np.add.at(self.pairs.count, numbers, np.concatenate([weight[~ends], weight[own]]))

        occurrences = int(weight.sum())
        self.count[left] -= occurrences
        self.count[right] -= occurrences
        self.count[merged] = occurrences
        self.total -= occurrences
        self.places.append(first)
        self._update({left, right, merged})

    def _previous(self, first: Places, covered: Places) -> tuple[Places, NDArray[np.bool_]]:
        """The places before `first` that exist and are not `covered`, and which of `first` have one."""
        self.marked[covered] = True
        previous = self.before[first]
        own = previous >= 0
        own[own] = ~self.marked[previous[own]]
        self.marked[covered] = False
        return previous[own], own

    def _token(self, left: int, right: int) -> int:
        """The number of the new token `left right`.

        It is new indeed: where a text is one token no merge has crossed its ends, so it was put together by the
        same merges everywhere, the last of which found it everywhere.
        """
        self.texts.append(self.texts[left] + self.texts[right].removeprefix(CONTINUATION))
        self.count.append(0)
        self.logs = _with_room(self.logs, len(self.texts))
        self.pairs_of.append(array("i"))
        return len(self.texts) - 1

    def _new_pairs(self, left: Places, right: Places) -> Ints:
        """Number the pairs of tokens side by side, none of which has a number yet; returns that of each place."""
        keys, inverse = np.unique((left.astype(np.int64) << 32) | right, return_inverse=True)
        lefts, rights = (keys >> 32).astype(np.int32), (keys & 0x7FFFFFFF).astype(np.int32)
        added = self.pairs.add(lefts, rights)
        for number, one, other in zip(added.tolist(), lefts.tolist(), rights.tolist(), strict=True):
            self.pairs_of[one].append(number)
            if other != one:
                self.pairs_of[other].append(number)
        numbers: Ints = added[inverse]
        return numbers

    def _update(self, tokens: set[int]) -> None:
        """Score every pair of these tokens anew; those that come above the floor join the pool."""
        touched = []
        for token in sorted(tokens):
            self.logs[token] = np.log(max(self.count[token], 1))
            pairs = np.array(self.pairs_of[token], np.int64)
            alive = pairs[self.pairs.count[pairs] > 0]
            if 2 * len(alive) < len(pairs):
                self.pairs_of[token] = array("i", alive.astype(np.int32).tobytes())
            touched.append(pairs)
        pairs = np.concatenate(touched)
        self._score(pairs)
        pairs = pairs[~self.pairs.pooled[pairs]]
        gains = self._gains(pairs)
        rising = np.unique(pairs[(gains >= self.floor - self.margin) & (gains > -np.inf)])
        self.pairs.pooled[rising] = True
        self.pool = np.concatenate([self.pool, rising])
        if len(self.pool) > 4 * self.POOL and self.floor > -np.inf:
            self._refill()
