"""Decoding of a linear-chain conditional random field over tags (Lafferty, McCallum and Pereira, ICML 2001).

A path y of n tags scores start[y1] + sum of emissions[t, y_t] + sum of transitions[y_t-1, y_t] + end[y_n]; its
probability is the exponential of that over the sum for all paths (the paper's equation 1). Without learnt transitions
the chain constrains independent predictions to sequences that are allowed. The scores are learnt in `heads/crf.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unmask.tasks.alignment import Flags, Numbers, Tags
from unmask.tasks.task import Arrays, Floats

FORBIDDEN = float("-inf")  # the score of what is not allowed


@dataclass(frozen=True)
class CRFDecoder:
    """Scores to decode with: start, end (tags,), transitions (tags, tags) float64, -inf where not allowed.

    within (tags, tags) bool: what may follow inside a given token. Everywhere below, emissions are
    (sequences, longest, tags) float64, -inf where a tag is not allowed at a place; lengths (sequences,) int64,
    each at least 1; joined (sequences, longest) bool: the place goes on with the given token of the one before it.
    """

    start: Floats
    transitions: Floats
    end: Floats
    within: Flags

    @staticmethod
    def of(tags: Tags, parameters: Arrays) -> "CRFDecoder":
        """Take the scores `crf.start`, `crf.transitions` and `crf.end`, 0 where not given, of what is allowed."""
        start, transitions, end = (
            parameters.get(f"crf.{name}", np.zeros(1)).astype(np.float64) for name in ("start", "transitions", "end")
        )
        return CRFDecoder(
            np.where(tags.start, start, FORBIDDEN),
            np.where(tags.follows, transitions, FORBIDDEN),
            np.broadcast_to(end, tags.start.shape),
            tags.within,
        )

    def viterbi(self, emissions: Floats, lengths: Numbers, joined: Flags) -> Numbers:
        """Find the most probable path of each sequence (Viterbi 1967): (sequences, longest), 0 beyond its length.

        Of equally probable tags the first is taken.
        """
        sequences, longest, tags = emissions.shape
        score = self.start + emissions[:, 0]
        came = np.zeros((longest, sequences, tags), dtype=np.int32)
        for place in range(1, longest):
            paths = score[:, :, None] + self._steps(joined[:, place])
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
        self, emissions: Floats, lengths: Numbers, joined: Flags, spans: Sequence[tuple[int, int, int, int, int]]
    ) -> Floats:
        """Compute the probability (0 to 1) of each span: (spans,) float64.

        A span is (sequence, first place, stop, tag of the first place, tag of the places after it): it is summed over
        all paths that have exactly these tags there and do not go on with the last.
        """
        rows = np.arange(len(lengths))
        for exact in (False, True):
            alpha = self._alpha(emissions, joined, exact)
            beta = self._beta(emissions, lengths, joined, exact)
            total = _logsum(alpha[rows, lengths - 1] + self.end)
            back = _logsum(self.start + emissions[:, 0] + beta[:, 0])
            if np.isfinite(total).all() and np.allclose(total, back, rtol=1e-9, atol=1e-6):
                break
        moves = (self.transitions, self._inside)
        result = np.zeros(len(spans))
        for number, (row, start, stop, first, rest) in enumerate(spans):
            score, tag = alpha[row, start, first], first
            for place in range(start + 1, stop):
                score += moves[int(joined[row, place])][tag, rest] + emissions[row, place, rest]
                tag = rest
            if stop == lengths[row]:
                score += self.end[tag]
            else:
                onward = moves[int(joined[row, stop])][tag] + emissions[row, stop] + beta[row, stop]
                onward[rest] = FORBIDDEN
                score += _logsum(onward)
            result[number] = score - total[row]
        return np.clip(np.exp(result), 0.0, 1.0)

    @cached_property
    def _inside(self) -> Floats:
        """The scores of moving on inside a given token."""
        return np.where(self.within, self.transitions, FORBIDDEN)

    @cached_property
    def _factors(self) -> tuple[Floats, Floats]:
        """The exponentials of the transitions: all, and those inside a given token."""
        return np.exp(self.transitions), np.exp(self._inside)

    def _steps(self, joined: Flags) -> Floats:
        """The scores of moving to a place: (sequences, tags, tags), or (tags, tags) for all."""
        return np.where(joined[:, None, None], self._inside, self.transitions) if joined.any() else self.transitions

    def _moved(self, values: Floats, joined: Flags, exact: bool, back: bool) -> Floats:
        """Log of the sum over the tags that one moves from to each tag, or (back) over those that one moves to:
        (sequences, tags), as the values of those tags.

        Not exact: a product of matrices, much faster than adding up logarithms. What is below 1e-308 of the greatest is
        lost; where nothing else goes on, the sums over all paths from both ends are not finite or not equal, and
        `span_probabilities` takes the exact way.
        """
        if exact and back:
            return _logsum(self._steps(joined) + values[:, None, :], 2)
        if exact:
            return _logsum(values[:, :, None] + self._steps(joined), 1)
        every, inside = (factors.T if back else factors for factors in self._factors)
        most = values.max(1, keepdims=True)
        shift = np.where(np.isfinite(most), most, 0.0)
        scaled = np.exp(values - shift)
        sums = scaled @ every
        if joined.any():
            sums = np.where(joined[:, None], scaled @ inside, sums)
        with np.errstate(divide="ignore"):
            return np.log(sums) + shift

    def _alpha(self, emissions: Floats, joined: Flags, exact: bool) -> Floats:
        """Log of the sum over all beginnings up to a place with a tag there: as emissions."""
        alpha = emissions.copy()
        alpha[:, 0] += self.start
        for place in range(1, emissions.shape[1]):
            alpha[:, place] += self._moved(alpha[:, place - 1], joined[:, place], exact, back=False)
        return alpha

    def _beta(self, emissions: Floats, lengths: Numbers, joined: Flags, exact: bool) -> Floats:
        """Log of the sum over all ways on from a tag at a place to the end: as emissions."""
        beta = np.broadcast_to(self.end, emissions.shape).copy()
        for place in range(emissions.shape[1] - 1, 0, -1):
            moved = self._moved(emissions[:, place] + beta[:, place], joined[:, place], exact, back=True)
            beta[:, place - 1] = np.where((lengths > place)[:, None], moved, self.end)
        return beta


def _logsum(values: Floats, axis: int = -1) -> Floats:
    """Log of the sum of exponentials, -inf where there is nothing to sum."""
    most = values.max(axis, keepdims=True)
    shift = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = np.log(np.exp(values - shift).sum(axis)) + shift.squeeze(axis)
    return total
