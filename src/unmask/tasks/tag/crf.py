"""Decoding of a linear-chain conditional random field over tags (Lafferty, McCallum and Pereira, ICML 2001).

A path y of n tags scores start[y1] + sum of emissions[t, y_t] + sum of transitions[y_t-1, y_t] + end[y_n]; its
probability is the exponential of that over the sum for all paths (the paper's equation 1). Without learnt transitions
the chain constrains independent predictions to sequences that are allowed. The scores are learnt in `heads/crf.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from unmask.tasks.task import Arrays

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FORBIDDEN = float("-inf")  # the score of what is not allowed


@dataclass(frozen=True)
class Grammar:
    """Which tags may begin, follow one another, and end. start, end (tags,); follows (tags, tags) bool.

    within (tags, tags) bool: which may follow inside one given token.
    """

    start: Flags
    follows: Flags
    end: Flags
    within: Flags

    @property
    def tags(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class CRFDecoder:
    """Scores to decode with: start, end (tags,), transitions (tags, tags) float64, -inf where not allowed.

    within (tags, tags) bool: what may follow inside a given token. Everywhere below, emissions are
    (sequences, longest, tags) float64, -inf where a tag is not allowed at a place; lengths (sequences,) int64,
    each at least 1; joined (sequences, longest) bool, or None: the place goes on with the token before it.
    """

    start: Floats
    transitions: Floats
    end: Floats
    within: Flags

    @staticmethod
    def of(grammar: Grammar, parameters: Arrays) -> "CRFDecoder":
        """Take the scores `crf.start`, `crf.transitions` and `crf.end`, 0 where not given, of what is allowed."""
        allowed = {"start": grammar.start, "transitions": grammar.follows, "end": grammar.end}
        start, transitions, end = (
            np.where(flags, parameters.get(f"crf.{name}", np.zeros(1)).astype(np.float64), FORBIDDEN)
            for name, flags in allowed.items()
        )
        return CRFDecoder(start, transitions, end, grammar.within)

    def viterbi(self, emissions: Floats, lengths: Numbers, joined: Flags | None = None) -> Numbers:
        """Find the most probable path of each sequence (Viterbi 1967): (sequences, longest), 0 beyond its length.

        Of equally probable tags the first is taken.
        """
        sequences, longest, tags = emissions.shape
        score = self.start + emissions[:, 0]
        came = np.zeros((longest, sequences, tags), dtype=np.int32)
        for place in range(1, longest):
            paths = score[:, :, None] + self._steps(place, joined)
            came[place] = paths.argmax(1)
            best = np.take_along_axis(paths, came[place][:, None], 1)[:, 0] + emissions[:, place]
            score = np.where((lengths > place)[:, None], best, score)
        result = np.zeros((sequences, longest), dtype=np.int64)
        every = np.arange(sequences)
        tag = (score + self.end).argmax(1)
        for place in range(longest - 1, -1, -1):
            result[:, place] = np.where(lengths > place, tag, 0)
            tag = np.where(lengths > place, came[place][every, tag], tag)
        return result

    def span_probabilities(
        self,
        emissions: Floats,
        lengths: Numbers,
        spans: Sequence[tuple[int, int, int, int, int | None]],
        joined: Flags | None = None,
    ) -> Floats:
        """Compute the probability (0 to 1) of each span: (spans,) float64.

        A span is (sequence, first place, stop, tag of the first place, tag of the places after it or None):
        it is summed over all paths that have exactly these tags there and do not go on with the last.
        """
        rows = np.arange(len(lengths))
        for exact in (False, True):
            alpha = self._alpha(emissions, lengths, joined, exact)
            beta = self._beta(emissions, lengths, joined, exact)
            total = _logsum(alpha[rows, lengths - 1] + self.end)
            back = _logsum(self.start + emissions[:, 0] + beta[:, 0])
            if np.isfinite(total).all() and np.allclose(total, back, rtol=1e-9, atol=1e-6):
                break
        result = np.zeros(len(spans))
        for number, (row, start, stop, first, rest) in enumerate(spans):
            score, tag = alpha[row, start, first], first
            for place in range(start + 1, stop):
                assert rest is not None
                score += self._steps(place, joined, row)[tag, rest] + emissions[row, place, rest]
                tag = rest
            if stop == lengths[row]:
                score += self.end[tag]
            else:
                onward = self._steps(stop, joined, row)[tag] + emissions[row, stop] + beta[row, stop]
                if rest is not None:
                    onward[rest] = FORBIDDEN
                score += _logsum(onward)
            result[number] = score - total[row]
        return np.clip(np.exp(result), 0.0, 1.0)

    def _steps(self, place: int, joined: Flags | None, row: int | None = None) -> Floats:
        """The scores of moving to a place: (sequences, tags, tags), or (tags, tags) of one or for all."""
        if joined is None:
            return self.transitions
        inside = np.where(self.within, self.transitions, FORBIDDEN)
        if row is not None:
            return inside if joined[row, place] else self.transitions
        return np.where(joined[:, place][:, None, None], inside, self.transitions)

    def _alpha(self, emissions: Floats, lengths: Numbers, joined: Flags | None, exact: bool) -> Floats:
        """Log of the sum over all beginnings up to a place with a tag there: as emissions."""
        alpha = np.zeros_like(emissions)
        alpha[:, 0] = self.start + emissions[:, 0]
        for place in range(1, emissions.shape[1]):
            before = alpha[:, place - 1]
            if exact:
                moved = _logsum(before[:, :, None] + self._steps(place, joined), 1)
            else:
                moved = self._moved(before, place, joined, self._factors)
            alpha[:, place] = moved + emissions[:, place]
        return alpha

    def _beta(self, emissions: Floats, lengths: Numbers, joined: Flags | None, exact: bool) -> Floats:
        """Log of the sum over all ways on from a tag at a place to the end: as emissions."""
        beta = np.zeros_like(emissions)
        back = tuple(factors.T for factors in self._factors)
        following = np.broadcast_to(self.end, beta[:, 0].shape)
        for place in range(emissions.shape[1] - 1, -1, -1):
            if place + 1 < emissions.shape[1]:
                onward = emissions[:, place + 1] + beta[:, place + 1]
                if exact:
                    moved = _logsum(self._steps(place + 1, joined) + onward[:, None, :], 2)
                else:
                    moved = self._moved(onward, place + 1, joined, back)
                following = np.where((lengths > place + 1)[:, None], moved, self.end)
            beta[:, place] = following
        return beta

    @cached_property
    def _factors(self) -> tuple[Floats, ...]:
        """The exponentials of the transitions: all, and those inside a given token."""
        return np.exp(self.transitions), np.exp(np.where(self.within, self.transitions, FORBIDDEN))

    @staticmethod
    def _moved(values: Floats, place: int, joined: Flags | None, factors: tuple[Floats, ...]) -> Floats:
        """Log of (exponentials of values (sequences, tags) x factors): a product of matrices, much faster than
        adding up logarithms. What is below 1e-308 of the greatest is lost; where nothing else goes on, the
        sums over all paths from both ends are not finite or not equal, and
        `span_probabilities` takes the exact way."""
        most = values.max(1, keepdims=True)
        shift = np.where(np.isfinite(most), most, 0.0)
        scaled = np.exp(values - shift)
        sums = scaled @ factors[0]
        if joined is not None:
            sums = np.where(joined[:, place][:, None], scaled @ factors[1], sums)
        with np.errstate(divide="ignore"):
            return np.log(sums) + shift


def _logsum(values: Floats, axis: int = -1) -> Floats:
    """Log of the sum of exponentials, -inf where there is nothing to sum."""
    most = values.max(axis, keepdims=True)
    shift = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = np.log(np.exp(values - shift).sum(axis)) + shift.squeeze(axis)
    return total
