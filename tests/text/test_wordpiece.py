"""WordPiece training against a trainer that recomputes everything, with exact fractions, at every step."""

import os
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from errors import refused
from unmask.text import wordpiece
from unmask.text import words as counting
from unmask.text.words import WordCounter


@pytest.fixture(autouse=True)
def every_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "CHARACTER_COVERAGE", 1.0)
    monkeypatch.setattr(wordpiece, "ALPHABET_SHARE", 1.0)


CORPORA = st.dictionaries(st.text("ab", min_size=1, max_size=9), st.integers(1, 5), min_size=1, max_size=9) | (
    st.dictionaries(st.text("abcdé", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=14)
)


def slowly(words: dict[str, int], minimum_count: int) -> list[str]:
    """Every piece that merging makes, in order: all counts made anew, all gains compared exactly."""
    letters = Counter(letter for word, count in words.items() for letter in word * count)
    kept = [word for word in words if all(letters[letter] >= minimum_count for letter in word)]
    chains = {word: [word[0], *("##" + letter for letter in word[1:])] for word in kept}
    made: list[str] = []
    while True:
        pieces: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for word, chain in chains.items():
            for piece in chain:
                pieces[piece] += words[word]
            for pair in pairwise(chain):
                pairs[pair] += words[word]
        total = sum(pieces.values())
        # n log r is greater where r ** n is: no rounding
        gains = {
            (a, b): Fraction(n * total, pieces[a] * pieces[b]) ** n for (a, b), n in pairs.items() if n >= minimum_count
        }
        if not gains:
            return made
        best = max(gains.values())
        left, right = min(pair for pair, gain in gains.items() if gain == best)
        merged = left + right[2:]
        if merged not in made:
            made.append(merged)
        for chain in chains.values():
            place = 0
            while place + 1 < len(chain):
                if (chain[place], chain[place + 1]) == (left, right):
                    chain[place : place + 2] = [merged]
                place += 1


def most(words: dict[str, int], minimum_count: int) -> list[str]:
    """All the pieces that the trainer can make of these words, found through the error that names their number."""
    with refused("10,000") as caught:
        wordpiece.train(words, 10_000, min_frequency=minimum_count)
    number = int(re.findall(r"\d+", caught.value.message.replace(",", ""))[0])
    return wordpiece.train(words, number, min_frequency=minimum_count).tokens


@settings(max_examples=250, deadline=None)
@given(CORPORA, st.integers(1, 3), st.sampled_from([1, 3, 1024]))
def test_every_merge_is_the_one_of_the_highest_gain(words: dict[str, int], minimum_count: int, pool: int) -> None:
    usual, wordpiece.Merger.POOL = wordpiece.Merger.POOL, pool  # a small pool is filled again and again
    try:
        pieces = most(words, minimum_count)
    finally:
        wordpiece.Merger.POOL = usual
    merged = [piece for piece in pieces if len(piece.removeprefix("##")) > 1]
    assert merged == slowly(words, minimum_count)


@settings(max_examples=200, deadline=None)
@given(CORPORA, st.randoms(use_true_random=False))
def test_counts_stay_exact_whatever_is_merged(words: dict[str, int], random: Random) -> None:
    """Merging any pairs, not the best: no piece is ever made in two ways ("ab" "c" and "a" "bc")."""
    alphabet = sorted({word[0] for word in words} | {"##" + letter for word in words for letter in word[1:]})
    letters = [alphabet.index(("##" if place else "") + letter) for word in words for place, letter in enumerate(word)]
    lengths, counts = np.array([len(word) for word in words]), np.array(list(words.values()))
    merger = wordpiece.Merger(np.array(letters, np.int32), lengths, counts, alphabet, min_frequency=1)
    starts = (np.cumsum(lengths) - lengths).tolist()
    while live := np.flatnonzero(merger.pairs.count[: merger.pairs.size]).tolist():
        merger.merge(random.choice(live))
        pieces: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for place, (word, count) in zip(starts, words.items(), strict=True):
            chain = []
            while place >= 0:
                chain.append(merger.texts[merger.token[place]])
                place = int(merger.after[place])
            assert chain[0] + "".join(piece[2:] for piece in chain[1:]) == word
            for piece in chain:
                pieces[piece] += count
            for pair in pairwise(chain):
                pairs[pair] += count
        assert merger.total == pieces.total() and len(set(merger.texts)) == len(merger.texts)
        assert merger.count == [pieces[text] for text in merger.texts]
        numbers = np.flatnonzero(merger.pairs.count[: merger.pairs.size]).tolist()
        assert sorted((merger._text_of(n), int(merger.pairs.count[n])) for n in numbers) == sorted(pairs.items())


@settings(max_examples=60, deadline=None)
@given(CORPORA, st.randoms(use_true_random=False))
def test_the_order_of_the_words_does_not_matter(words: dict[str, int], random: Random) -> None:
    shuffled = list(words.items())
    random.shuffle(shuffled)
    assert most(dict(shuffled), 1) == most(words, 1)


def test_counts_beyond_32_bits_are_exact() -> None:
    words = {"abcab": 5, "ab": 3, "cab": 4, "bcc": 7}  # the order of the gains does not change with the scale
    assert most({word: count << 40 for word, count in words.items()}, 1) == most(words, 1)


def test_the_alphabet(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"the": 1000, ".": 500, "x": 1, "q1": 2, "中": 50}
    found = wordpiece.train(words, 14, specials=["[UNK]"])
    assert found.tokens[:12] == ["[UNK]", ".", "1", "e", "h", "q", "t", "中", "##1", "##e", "##h", "##q"]
    assert found.dropped_characters == ["x"] and found.dropped_words == 1 and found.alphabet == 12
    monkeypatch.setattr(wordpiece, "CHARACTER_COVERAGE", 0.99)
    covered = wordpiece.train(words, 10)
    assert covered.dropped_characters == ["1", "q", "x"] and covered.dropped_words == 3
    monkeypatch.setattr(wordpiece, "CHARACTER_COVERAGE", 1.0)
    monkeypatch.setattr(wordpiece, "ALPHABET_SHARE", 0.6)
    crowded = wordpiece.train({"abab": 9, "cd": 5}, 7)
    assert crowded.tokens[:4] == ["a", "b", "##a", "##b"] and crowded.dropped_characters == ["c", "d"]


def test_where_nothing_is_left_to_merge_more_characters_find_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "ALPHABET_SHARE", 0.5)
    words = {chr(0x4E00 + number): 100 - number for number in range(20)}  # Chinese: each a word of its own
    found = wordpiece.train(words, 15, specials=["[UNK]"])
    assert found.tokens == ["[UNK]", *list(words)[:14]] and found.dropped_characters == list(words)[14:]
    mixed = wordpiece.train(words | {"ab": 500}, 12)
    assert set(mixed.tokens) == {"a", "b", "##a", "##b", "ab", *list(words)[:7]}
    with refused("20 tokens", "21,"):
        wordpiece.train(words, 21)


def test_words_too_long_are_left_out() -> None:
    found = wordpiece.train({"ab": 3, "c" * 101: 5}, 5)
    assert found.tokens == ["a", "b", "##a", "##b", "ab"] and found.dropped_words == 5


@pytest.mark.parametrize(("words", "name"), [({}, "no text"), ({"": 3}, "100,")])
def test_no_text_is_an_error(words: dict[str, int], name: str) -> None:
    with refused(name):
        wordpiece.train(words, 100)


# Counting

SPLIT_TEXT = st.text(
    st.sampled_from("ab A.é中文\u3400\uf900。 \t\n\r\x0b\x0c\x1c\x1f\x85\u00a0\u2028\u200b\u0301\U0001f600\ud800𠀀")
    | st.characters(),
    max_size=40,
)


def cut(text: str) -> list[str]:
    normal = normalizers.BertNormalizer().normalize_str(text)
    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normal)]


@settings(max_examples=300, deadline=None)
@given(st.lists(SPLIT_TEXT, max_size=8), st.integers(0, 5))
def test_words_are_counted_as_if_each_text_were_split(texts: list[str], raw_tokens: int) -> None:
    counter = WordCounter(cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "RAW_TOKENS", raw_tokens)
        for text in texts:
            counter.add(text)
    expected = Counter(
        word for text in texts for word in cut("".join("" if "\ud800" <= c <= "\udfff" else c for c in text))
    )
    assert counter.counts() == expected
    assert (counter.texts, counter.characters) == (len(texts), sum(map(len, texts)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abcd", min_size=1, max_size=3), max_size=200), st.integers(2, 12))
def test_forgetting_is_bounded_and_told(words: list[str], most_words: int) -> None:
    counter = WordCounter(str.split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "MAX_WORDS", most_words)
        patch.setattr(counting, "RAW_TOKENS", 5)
        for start in range(0, len(words), 7):
            counter.add(" ".join(words[start : start + 7]))
            counter._absorb()
        found, exact = counter.counts(), Counter(words)
    assert len(found) <= most_words
    assert counter.dropped_occurrences == len(words) - sum(found.values())
    assert all(found.get(word, 0) <= exact[word] for word in exact)


def test_training_is_the_same_for_every_hash_seed() -> None:
    program = (
        "from unmask.text import wordpiece, words; words.MAX_WORDS, words.RAW_TOKENS = 400, 100;"
        "counter = words.WordCounter(str.split);"
        "[counter.add(' '.join(format(i * j % 9973, 'o') for j in range(30))) for i in range(200)];"
        "print(counter.dropped_occurrences, wordpiece.train(counter.counts(), 150).tokens)"
    )
    outputs = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        outputs.add(
            subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
        )
    assert len(outputs) == 1 and b"##" in outputs.pop()
