"""Baselines that read the texts and learn nothing: the words that question and context, or two texts, share."""

import math
import re
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from unmask.metrics.retrieval import Vectors
from unmask.text.chinese import IDEOGRAPHS

WORD = re.compile(f"[{IDEOGRAPHS}]|[^\\W{IDEOGRAPHS}]+")
SENTENCE_END = re.compile(r"[.!?]+\s|[。！？；]|\n")
LONGEST = 6  # words of an answer
BUCKETS = 2048  # numbers that words are hashed into


def nearest_span(question: str, context: str) -> tuple[int, int]:
    """Find an answer by the sliding window of Richardson et al. 2013 (MCTest, Algorithm 1), for free answers: the
    characters (start, end), (0, 0) where the context has no words.

    In the sentence that shares most with the question, where a rare word counts more, it is the longest run of words
    that the question does not hold.
    """
    asked = {word[0].lower() for word in WORD.finditer(question)}
    words = [(found.start(), found.end(), found[0].lower()) for found in WORD.finditer(context)]
    if not words:
        return 0, 0
    count = Counter(word for _, _, word in words)
    ends = [found.end() for found in SENTENCE_END.finditer(context)]
    sentences = [list(some) for _, some in groupby(words, key=lambda word: bisect_right(ends, word[0]))]

    def shared(sentence: list[tuple[int, int, str]]) -> float:
        return sum(math.log(1 + 1 / count[word]) for word in {word for *_, word in sentence} & asked)

    best = max(sentences, key=shared)  # of equal ones the first
    runs = [list(some) for new, some in groupby(best, key=lambda word: word[2] not in asked) if new]
    run = max(runs, key=len)[:LONGEST] if runs else best[:LONGEST]
    return run[0][0], run[-1][1]


def word_vectors(texts: Sequence[str]) -> Vectors:
    """(texts, BUCKETS): the words that a text holds as a vector; in Chinese each character is one.

    A word counts for log(1 + n / the number of these texts that have it); words share buckets, as their hashes do,
    with signs that let them cancel (Weinberger et al. 2009).
    """
    vectors = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in {found[0] for found in WORD.finditer(text.lower())}:
            hashed = zlib.crc32(word.encode())
            vectors[row, hashed % BUCKETS] += 1 if hashed & (1 << 31) else -1
    frequency = (vectors != 0).sum(0)
    weights: Vectors = np.log1p(len(texts) / np.maximum(frequency, 1)).astype(np.float32)
    return vectors * weights
