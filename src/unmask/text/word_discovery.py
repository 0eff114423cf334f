"""Finding the words of unsegmented text by statistics of its character sequences alone.

A stretch of characters is a word as far as it is autonomous: inside it the next character is easy to foretell,
at its ends it is hard (Harris 1955; branching entropy, Jin and Tanaka-Ishii, ACL 2006; accessor variety, Feng
et al. 2004). With H(x) the entropy of the character after x, and of that before it, the measure is the
variation of branching entropy of Magistry and Sagot, "Unsupervized word segmentation: the case for Mandarin
Chinese" (ACL 2012):

    V(x_1..x_n) = H(x_1..x_n) - H(x_1..x_n-1)    to the right, and alike to the left from x_2..x_n

each less its mean over the stretches of the same length, and the sum of both is the autonomy a. The text is
then cut where the sum over its words of length * (a + BONUS for words of two characters and more) is
greatest. Of the words found this way are kept those that occur often enough and whose parts attract each
other: the pointwise mutual information of the weakest place to cut is positive (Sproat and Shih 1990).

Everything is counted exactly, over at most MAX_CHARACTERS characters, in whole-array operations.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.advice import option
from unmask.console import SILENT, Progress
from unmask.errors import UserError
from unmask.text.chinese import RUN

MAX_CHARACTERS = 2**22  # Chinese characters learnt from: about 600 MB of memory
MAX_WORD_LENGTH = 4  # characters of a word
MIN_FREQUENCY = 2
BONUS = 3.0  # nats; chosen on the development part of zh-pos

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Stretches:
    """The stretches of one length that occur often enough, numbered from 1; 0 is any other."""

    at: Ints  # (places,) the number of the stretch that begins at each place
    counts: Ints  # (stretches + 1,)
    example: Ints  # (stretches + 1,) a place where each begins
    before: Floats  # (stretches + 1,) entropy of the character before, nats
    after: Floats


def find_words(texts: Iterable[str], *, progress: Progress = SILENT) -> dict[str, int]:
    """Words of Chinese texts with their counts, single characters included.

    Raises UserError where there is no Chinese character.
    """
    progress.start(None, "characters")
    runs = _runs(texts, progress)
    if not runs:
        raise UserError("no Chinese characters to learn words from", hint=option("words", "none"))
    joined = "\0" + "\0".join(runs) + "\0"
    _, text = np.unique(np.frombuffer(joined.encode("utf-32-le"), np.uint32), return_inverse=True)
    progress.show("finding words")
    stretches = _stretches(text.astype(np.int64))
    scores = [np.where(s.at > 0, a[s.at], -np.inf) for s, a in zip(stretches, _weights(stretches), strict=True)]
    lengths = _cut(text, scores)
    found: dict[str, int] = {}
    for length, these in enumerate(stretches, 1):
        used = np.bincount(these.at[lengths == length], minlength=len(these.counts))
        if length > 1:
            kept = (used >= MIN_FREQUENCY) & (_cohesion(stretches, length) > 0)
        else:  # every character must be able to stand alone
            used, kept = np.maximum(used, 1), these.counts > 0
        for number in np.flatnonzero(kept[1:]) + 1:
            place = these.example[number]
            found[joined[place : place + length]] = int(used[number])
    return found


def _runs(texts: Iterable[str], progress: Progress) -> list[str]:
    """The runs of Chinese characters, in lines chosen by hash so that there are at most MAX_CHARACTERS.

    A line is kept while the lowest `level` bits of its hash are 0; the level rises when there are too many.
    Which lines are kept in the end depends on the lines, not on their order.
    """
    kept: list[tuple[int, list[str], int]] = []  # hash, runs, characters
    size = level = 0
    part = max(1, MAX_CHARACTERS // 8)  # a longer line is read as several
    for text in texts:
        progress.advance(len(text))
        lines = (line[begin : begin + part] for line in text.split("\n") for begin in range(0, len(line), part))
        for runs in filter(None, map(RUN.findall, lines)):
            key = int.from_bytes(hashlib.blake2b("\0".join(runs).encode(), digest_size=8).digest(), "big")
            if key % 2**level == 0:
                kept.append((key, runs, sum(map(len, runs))))
                size += kept[-1][2]
            while size > MAX_CHARACTERS:
                level += 1
                kept = [line for line in kept if line[0] % 2**level == 0]
                size = sum(characters for *_, characters in kept)
    return [run for _, runs, _ in kept for run in runs]


def _stretches(text: Ints) -> list[_Stretches]:
    """Of lengths 1 to MAX_WORD_LENGTH. `text` has 0 between runs, and at both ends."""
    _, example, counts = np.unique(text, return_index=True, return_counts=True)
    counts[0] = 0
    found = [_measured(text, 1, text, counts, example)]
    for length in range(2, MAX_WORD_LENGTH + 1):
        shorter = found[-1].at
        places = np.flatnonzero((shorter[:-1] > 0) & (shorter[1:] > 0))
        keys = (shorter[places] << 32) | shorter[places + 1]
        _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        often = counts >= MIN_FREQUENCY
        at = np.zeros(len(text), np.int64)
        at[places] = (np.cumsum(often) * often)[inverse]
        found.append(_measured(text, length, at, np.append(0, counts[often]), np.append(0, places[first[often]])))
    return found


def _measured(text: Ints, length: int, at: Ints, counts: Ints, example: Ints) -> _Stretches:
    places = np.flatnonzero(at)
    before = _entropies(at[places], text[places - 1], counts)
    after = _entropies(at[places], text[places + length], counts)
    return _Stretches(at, counts, example, before, after)


def _entropies(stretch: Ints, neighbour: Ints, counts: Ints) -> Floats:
    """H of the neighbours of each stretch, nats. The end of a run (0) is another neighbour every time."""
    keys, sizes = np.unique((stretch << 32) | neighbour, return_counts=True)
    terms = np.where(keys & 0xFFFFFFFF > 0, sizes * np.log(sizes), 0.0)
    safe = np.maximum(counts, 1)
    entropies: Floats = np.log(safe) - np.bincount(keys >> 32, terms, minlength=len(counts)) / safe
    return entropies


def _weights(stretches: list[_Stretches]) -> list[Floats]:
    """length * (autonomy + BONUS) of the stretches of each length."""
    shares = stretches[0].counts[1:] / stretches[0].counts.sum()
    nothing = float(-(shares * np.log(shares)).sum())  # the entropy of a character without neighbours
    weights = []
    for length, these in enumerate(stretches, 1):
        sides = [these.after - nothing, these.before - nothing]
        if length > 1:
            shorter = stretches[length - 2]
            sides[0] = these.after - shorter.after[shorter.at[these.example]]
            sides[1] = these.before - shorter.before[shorter.at[these.example + 1]]
        right, left = (side - side[1:].sum() / max(1, len(side) - 1) for side in sides)
        weights.append(length * (right + left + (BONUS if length > 1 else 0.0)))
    return weights


def _cut(text: Ints, scores: list[Floats]) -> Ints:
    """For each place the length of the word that begins there, 0 elsewhere: the best sum, all runs abreast."""
    starts = np.flatnonzero((text[:-1] == 0) & (text[1:] > 0)) + 1
    ends = np.flatnonzero((text[:-1] > 0) & (text[1:] == 0)) + 1
    sizes = ends - starts
    order = np.argsort(-sizes, kind="stable")
    starts, sizes = starts[order], sizes[order]
    best = np.zeros(len(text) + 1)
    chosen = np.zeros(len(text) + 1, np.int64)  # the length of the last word of the best cut up to a place
    for step in range(1, int(sizes.max()) + 1):
        places = starts[: np.searchsorted(-sizes, -step, side="right")] + step  # runs at least so long
        options = [
            best[places - length] + scores[length - 1][places - length]
            for length in range(1, min(step, len(scores)) + 1)
        ]
        last = np.argmax(options, axis=0)
        best[places] = np.choose(last, options)
        chosen[places] = last + 1
    lengths = np.zeros(len(text) + 1, np.int64)
    places = starts + sizes
    while len(places):
        begins = places - chosen[places]
        lengths[begins] = chosen[places]
        more = text[begins - 1] > 0
        places = begins[more]
    return lengths[: len(text)]


def _cohesion(stretches: list[_Stretches], length: int) -> Floats:
    """The least pointwise mutual information over the places to cut each stretch of a length, nats."""

    def logs(size: int, places: Ints) -> Floats:
        """Of the counts of the stretches of a length that begin there."""
        one = stretches[size - 1]
        return np.asarray(np.log(np.maximum(one.counts[one.at[places]], 1)))

    begins = stretches[length - 1].example
    parts = [logs(cut, begins) + logs(length - cut, begins + cut) for cut in range(1, length)]
    least: Floats = logs(length, begins) + np.log(stretches[0].counts.sum()) - np.max(parts, axis=0)
    return least
