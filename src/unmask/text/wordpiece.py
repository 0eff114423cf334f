"""WordPiece vocabulary training: word counts in, pieces out, merged by their gain in log-likelihood.

The score of a pair, from Schuster and Nakajima, "Japanese and Korean voice search" (ICASSP 2012), section 3:
merge the two pieces that raise the likelihood of the text under a unigram model of the pieces the most. With
c(x) the number of times that piece x occurs and N that of all pieces, writing ab for "a b" n = c(ab) times
raises the log-likelihood, sum of c(x) log(c(x)/N), to first order in n/c(a), n/c(b) and n/N and up to a term
-n, by

    gain(a, b) = n log(n N / (c(a) c(b)))

c and N are those of the moment, not of the beginning: the likelihood to be raised is that of the text as it
is written now, and every merge changes its unigram model (N falls by n). A pair of negative gain is taken
only when no other is left, so that the vocabulary has the size that was asked for.

Every merge is the true maximum. A merge changes the counts of three pieces, and only pairs that hold one of
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

CONTINUATION = "##"

Ints = NDArray[np.int64]
Places = NDArray[np.int32]


@dataclass(frozen=True)
class WordPieceVocabulary:
    """What training found: `pieces` in the order of their ids, and what was left out on the way."""

    tokens: list[str]
    alphabet: int  # pieces of one character
    dropped_characters: list[str]  # too rare for the alphabet, the most frequent first
    words: int  # distinct words trained on
    dropped_words: int  # occurrences of words that hold a dropped character or are too long: [UNK] at run time


def train(
    words: Mapping[str, int],
    vocab_size: int,
    *,
    specials: Sequence[str] = (),
    min_frequency: int = 2,
    character_coverage: float = 0.9999,
    alphabet_share: float = 0.8,
    max_input_chars_per_word: int = 100,
    allow_fewer: bool = False,
    progress: Progress = SILENT,
) -> WordPieceVocabulary:
    """Learn a vocabulary of exactly `size` pieces: `specials`, then the alphabet, then merges in their order.

    The alphabet is the most frequent characters that together make up `character_coverage` of the text, each
    seen at least `min_frequency` times, while they fill at most `alphabet_share` of the vocabulary (more where
    there is nothing left to merge). A character seen in longer words has two pieces, `x` at a word's start and
    `##x` after it; one that is always a word of its own (punctuation, Chinese) has one. Pairs seen fewer than
    `min_frequency` times are not merged.

    The result depends on the counts alone: equal gains are told apart by the text of the pair.
    Raises UserError when the text supports fewer than `size` pieces, unless `fewer` are welcome.
    """
    room = int((vocab_size - len(specials)) * alphabet_share)
    while True:
        lattice = _Letters(words, max_input_chars_per_word)
        alphabet, dropped, crowded = lattice.alphabet(room, min_frequency, character_coverage)
        merger = Merger(*lattice.spell(alphabet), alphabet, min_frequency=min_frequency)
        del lattice.codes
        missing = vocab_size - len(specials) - len(alphabet)
        progress.start(max(0, missing), "pieces")
        while missing > 0 and (pair := merger.best()) is not None:
            merger.merge(pair)
            missing -= 1
            progress.advance(1)
        if missing <= 0 or not crowded:
            break
        room += missing  # there is nothing left to merge, as in Chinese: characters without room get what is free
    if missing > 0 and not (allow_fewer and merger.texts):
        raise _too_few(len(specials) + len(merger.texts), vocab_size, min_frequency, lattice.occurrences)
    return WordPieceVocabulary(
        tokens=[*specials, *merger.texts],
        alphabet=len(alphabet),
        dropped_characters=dropped,
        words=lattice.spelled,
        dropped_words=lattice.dropped,
    )


def _too_few(most: int, size: int, min_frequency: int, words: int) -> UserError:
    if not words:
        return UserError("there is no text to train a tokenizer on", hint="give files that hold text")
    return UserError(
        f"the text supports a vocabulary of at most {most:,} pieces",
        given=f"{size:,} pieces, from {words:,} words; pairs of pieces seen {min_frequency} times or more",
        hint=f"ask for {most:,} pieces or fewer, or give more text",
    )


class _Letters:
    """The words as one long array of characters."""

    def __init__(self, words: Mapping[str, int], max_input_chars_per_word: int) -> None:
        kept = [word for word in words if 0 < len(word) <= max_input_chars_per_word]
        self.occurrences = sum(words.values())
        self.counts = np.fromiter((words[word] for word in kept), np.int64, len(kept))
        self.dropped = self.occurrences - int(self.counts.sum())
        self.lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        self.codes = np.frombuffer("".join(kept).encode("utf-32-le"), np.uint32).astype(np.int64)
        self.spelled = 0

    def alphabet(self, limit: int, min_frequency: int, coverage: float) -> tuple[list[str], list[str], bool]:
        """The pieces of one character, in order of code point; the characters that are left out, the most
        frequent first; and whether there was no room for some of them."""
        totals = np.zeros(self.codes.max(initial=0) + 1, np.int64)
        np.add.at(totals, self.codes, np.repeat(self.counts, self.lengths))
        inside = np.zeros(len(totals), bool)
        inside[self.codes[np.repeat(self.lengths, self.lengths) > 1]] = True
        present = np.flatnonzero(totals)
        ranked = present[np.lexsort((present, -totals[present]))]
        covered_before = np.cumsum(totals[ranked]) - totals[ranked]
        wanted = (covered_before < coverage * totals.sum()) & (totals[ranked] >= min_frequency)
        fits = np.cumsum(1 + inside[ranked]) <= limit
        kept = np.sort(ranked[wanted & fits])
        pieces = [chr(code) for code in kept.tolist()]
        pieces += [CONTINUATION + chr(code) for code in kept[inside[kept]].tolist()]
        left_out = [chr(code) for code in ranked[~(wanted & fits)].tolist()]
        return pieces, left_out, bool((wanted & ~fits).any())

    def spell(self, alphabet: Sequence[str]) -> tuple[Places, Ints, Ints]:
        """Of the words that the alphabet can spell: the piece of every character, the lengths, the counts."""
        ids = np.full((2, self.codes.max(initial=0) + 1), -1, np.int32)
        for number, piece in enumerate(alphabet):
            ids[int(len(piece) > 1), ord(piece[-1])] = number
        starts = np.cumsum(self.lengths) - self.lengths
        later = np.ones(len(self.codes), np.int8)
        later[starts] = 0
        letters = ids[later, self.codes]
        known = np.logical_and.reduceat(letters >= 0, starts) if len(starts) else np.zeros(0, bool)
        self.dropped += int(self.counts[~known].sum())
        self.spelled = int(known.sum())
        return letters[np.repeat(known, self.lengths)], self.lengths[known], self.counts[known]


class _Growing:
    """An array that grows at its end, doubling its room."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values.copy()
        self.used = len(values)

    def extend(self, more: NDArray[Any]) -> None:
        need = self.used + len(more)
        if need > len(self.values):
            grown = np.zeros(max(need, 2 * len(self.values)), self.values.dtype)
            grown[: self.used] = self.values[: self.used]
            self.values = grown
        self.values[self.used : need] = more
        self.used = need


class Merger:
    """The words as chains of pieces, with exact counts of pieces and of adjacent pairs, merged pair by pair.

    A place is the index of a character; the piece that begins there is `piece[place]` (-1 once merged into
    the one before it), its neighbours within the word begin at `before[place]` and `after[place]` (-1 where
    there is none), and `pair[place]` is the number of the pair that it forms with the one after it. Pairs are
    numbered as they appear; `pairs_of` lists those of each piece, `places` where each piece occurs (or did).
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
        self.logs = _Growing(np.log(np.maximum(count, 1)))
        order = np.argsort(self.token, kind="stable").astype(np.int32)
        self.places = np.split(order, np.cumsum(np.bincount(self.token, minlength=len(self.texts)))[:-1])
        self._first_pairs()
        self.pool = np.zeros(0, np.int64)
        self.floor = np.inf
        self.margin = 0.0

    def _first_pairs(self) -> None:
        inner = np.flatnonzero(self.after >= 0)
        keys, numbers = np.unique(
            (self.token[inner].astype(np.int64) << 32) | self.token[inner + 1], return_inverse=True
        )
        self.pair = np.full(len(self.token), -1, np.int32)
        self.pair[inner] = numbers
        seen = np.zeros(len(keys), np.int64)
        np.add.at(seen, numbers, self.weight[inner])
        self.left, self.right = (
            _Growing((keys >> 32).astype(np.int32)),
            _Growing((keys & 0x7FFFFFFF).astype(np.int32)),
        )
        self.seen = _Growing(seen)
        self.base = _Growing(np.full(len(keys), -np.inf))  # the gain without its term n log N; -inf: too rare
        self.pooled = _Growing(np.zeros(len(keys), bool))
        self.pairs_of = [array("i") for _ in self.texts]
        for number, (left, right) in enumerate(zip(self.left.values.tolist(), self.right.values.tolist(), strict=True)):
            self.pairs_of[left].append(number)
            if right != left:
                self.pairs_of[right].append(number)
        self._score(np.arange(len(keys)))

    def best(self) -> int | None:
        """The number of the pair with the highest gain, or None when no pair is frequent enough."""
        for _ in range(2):
            gains = self._gains(self.pool)
            highest = int(gains.argmax()) if len(gains) else -1
            if highest >= 0 and -np.inf < gains[highest] >= self.floor:
                slack = self.ROUNDING * self.seen.values[self.pool]
                equal = self.pool[gains + slack >= gains[highest] - slack[highest]]
                return int(min(equal.tolist(), key=self._text_of))
            self._refill()
        return None

    def _text_of(self, pair: int) -> tuple[str, str]:
        return self.texts[self.left.values[pair]], self.texts[self.right.values[pair]]

    def _gains(self, pairs: NDArray[Any]) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = self.seen.values[pairs] * np.log(max(self.total, 1))
        gains += self.base.values[pairs]
        return gains

    def _score(self, pairs: NDArray[Any]) -> None:
        seen = self.seen.values[pairs]
        logs = self.logs.values
        gains = seen * (np.log(np.maximum(seen, 1)) - logs[self.left.values[pairs]] - logs[self.right.values[pairs]])
        self.base.values[pairs] = np.where(seen >= self.min_frequency, gains, -np.inf)

    def _refill(self) -> None:
        """A new pool: every pair whose gain is at least the POOL-th best, or within rounding of it."""
        self.pooled.values[self.pool] = False
        live = np.flatnonzero(self.base.values[: self.base.used] > -np.inf)
        gains = self._gains(live)
        if len(live) <= self.POOL:
            self.floor, self.margin, self.pool = -np.inf, 0.0, live
        else:
            self.floor = float(np.partition(gains, -self.POOL)[-self.POOL])
            self.margin = 4 * self.ROUNDING * float(self.seen.values[live].max())
            self.pool = live[gains >= self.floor - self.margin]
        self.pooled.values[self.pool] = True

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
        """Write `left right` as one piece wherever the pair occurs."""
        left, right = int(self.left.values[pair]), int(self.right.values[pair])
        first = self._occurrences(pair, left, right)
        second = self.after[first]
        third = self.after[second]
        weight = self.weight[first]
        merged = self._token(left, right)
        ends = third < 0

        # A pair between two merged occurrences is taken away once, and put back once: by the one before it.
        seen = self.seen.values
        seen[pair] -= weight.sum()
        np.subtract.at(seen, self.pair[second[~ends]], weight[~ends])
        previous, own = self._previous(first, second)
        np.subtract.at(seen, self.pair[previous], weight[own])

        self.token[first], self.token[second] = merged, -1
        self.pair[second] = -1
        self.pair[first[ends]] = -1
        self.after[first] = third
        self.before[third[~ends]] = first[~ends]

        previous, own = self._previous(first, first)
        edges = np.concatenate([first[~ends], previous])
        numbers = self._pairs(self.token[edges], self.token[self.after[edges]])
        self.pair[edges] = numbers
        np.add.at(self.seen.values, numbers, np.concatenate([weight[~ends], weight[own]]))

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
        """The number of the new piece `left right`.

        It is new indeed: where a text is one piece no merge has crossed its ends, so it was put together by the
        same merges everywhere, the last of which found it everywhere.
        """
        self.texts.append(self.texts[left] + self.texts[right].removeprefix(CONTINUATION))
        self.count.append(0)
        self.logs.extend(np.zeros(1))
        self.pairs_of.append(array("i"))
        return len(self.texts) - 1

    def _pairs(self, left: Places, right: Places) -> Ints:
        """The numbers of pairs that hold a new piece, and hence are new."""
        keys, inverse = np.unique((left.astype(np.int64) << 32) | right, return_inverse=True)
        added = np.arange(self.seen.used, self.seen.used + len(keys))
        lefts, rights = (keys >> 32).astype(np.int32), (keys & 0x7FFFFFFF).astype(np.int32)
        self.left.extend(lefts)
        self.right.extend(rights)
        self.seen.extend(np.zeros(len(keys), np.int64))
        self.base.extend(np.full(len(keys), -np.inf))
        self.pooled.extend(np.zeros(len(keys), bool))
        for number, one, other in zip(added.tolist(), lefts.tolist(), rights.tolist(), strict=True):
            self.pairs_of[one].append(number)
            if other != one:
                self.pairs_of[other].append(number)
        numbers: Ints = added[inverse]
        return numbers

    def _update(self, pieces: set[int]) -> None:
        """Score every pair of these pieces anew; those that come above the floor join the pool."""
        touched = []
        for piece in sorted(pieces):
            self.logs.values[piece] = np.log(max(self.count[piece], 1))
            pairs = np.array(self.pairs_of[piece], np.int64)
            alive = pairs[self.seen.values[pairs] > 0]
            if 2 * len(alive) < len(pairs):
                self.pairs_of[piece] = array("i", alive.astype(np.int32).tobytes())
            touched.append(pairs)
        pairs = np.concatenate(touched)
        self._score(pairs)
        pairs = pairs[~self.pooled.values[pairs]]
        gains = self._gains(pairs)
        rising = np.unique(pairs[(gains >= self.floor - self.margin) & (gains > -np.inf)])
        self.pooled.values[rising] = True
        self.pool = np.concatenate([self.pool, rising])
        if len(self.pool) > 4 * self.POOL and self.floor > -np.inf:
            self._refill()
