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
        came = np.zeros((longest, sequences, tags), dtype=np.int64)
        some_joined: Flags = np.asarray(joined.any(0))
        shortest = int(lengths.min())
        for place in range(1, longest):
            paths = score[:, :, None] + (self._steps(joined[:, place]) if some_joined[place] else self.transitions)
            paths.argmax(1, out=came[place])
            best: Floats = np.max(paths, 1) + emissions[:, place]
            score = best if place < shortest else np.where((lengths > place)[:, None], best, score)
        result = np.zeros((sequences, longest), dtype=np.int64)
        every = np.arange(sequences)
        tag = (score + self.end).argmax(1)
        for place in range(longest - 1, -1, -1):
            inside = lengths > place
            result[:, place] = np.where(inside, tag, 0)
            tag = np.where(inside, came[place][every, tag], tag)
        return result

    def span_probabilities(
        self, emissions: Floats, lengths: Numbers, joined: Flags, spans: Sequence[tuple[int, int, int, int, int]]
    ) -> Floats:
        """Compute the probability (0 to 1) of each span: (spans,) float64.

        A span is (sequence, first place, stop, tag of the first place, tag of the places after it): it is summed over
        all paths that have exactly these tags there and do not go on with the last.
        """
        if not spans:
            return np.zeros(0)
        row, start, stop, tag, rest = np.array(spans, dtype=np.int64).T
        alpha, beta, total = self._sums(emissions, lengths, joined)
        moves = np.stack([self.transitions, self._inside])
        result = alpha[row, start, tag]
        for more in range(1, int((stop - start).max())):
            here = np.flatnonzero(start + more < stop)
            one, place = row[here], start[here] + more
            result[here] += moves[joined[one, place].astype(np.int64), tag[here], rest[here]]
            result[here] += emissions[one, place, rest[here]]
            tag[here] = rest[here]
        ends = stop == lengths[row]
        result[ends] += self.end[tag[ends]]
        here = np.flatnonzero(~ends)
        if len(here):
            one, place = row[here], stop[here]
            onward = moves[joined[one, place].astype(np.int64), tag[here]] + emissions[one, place] + beta[one, place]
            onward[np.arange(len(here)), rest[here]] = FORBIDDEN
            result[here] += _logsum(onward)
        return np.asarray(np.clip(np.exp(result - total[row]), 0.0, 1.0))

    def _sums(self, emissions: Floats, lengths: Numbers, joined: Flags) -> tuple[Floats, Floats, Floats]:
        """Logs of the sums over all beginnings up to a place with a tag there, over all ways on from it to the end
        (both as emissions), and over all paths (sequences,)."""
        rows = np.arange(len(lengths))
        for compute in (self._scaled_sums, self._exact_sums):
            alpha, beta = compute(emissions, lengths, joined)
            total = _logsum(alpha[rows, lengths - 1] + self.end)
            back = _logsum(self.start + emissions[:, 0] + beta[:, 0])
            if (np.abs(total - back) <= 1e-6 + 1e-9 * np.abs(back)).all():  # not where either is infinite
                break
        return alpha, beta, total

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

    def _scaled_sums(self, emissions: Floats, lengths: Numbers, joined: Flags) -> tuple[Floats, Floats]:
        """Sum by products of matrices, much faster than adding up logarithms: at each place the sums are divided by
        their own sum, whose logarithm is kept (Rabiner 1989, section V.A).

        What is below 1e-308 of that is lost; where nothing else goes on, the sums over all paths from both ends are
        not finite or not equal.
        """
        every, inside = self._factors
        some_joined: Flags = np.asarray(joined.any(0))

        def move(values: Floats, place: int, back: bool) -> Floats:
            moved = values @ (every.T if back else every)
            if some_joined[place]:
                moved = np.where(joined[:, place, None], values @ (inside.T if back else inside), moved)
            return moved

        longest, shortest = emissions.shape[1], int(lengths.min())
        alpha, beta = np.empty((2, *emissions.shape))
        forward, backward = np.ones((2, len(lengths), longest))  # what the sums at each place were divided by
        peak = emissions.max(-1)
        weights, end = np.exp(emissions - peak[:, :, None]), np.exp(self.end)
        with np.errstate(all="ignore"):
            values = np.exp(self.start) * weights[:, 0]
            for place in range(longest):
                if place:
                    values = move(values, place, back=False) * weights[:, place]
                norm = values.sum(1, keepdims=True)
                values = values / norm
                alpha[:, place], forward[:, place] = values, norm[:, 0]
            values = beta[:, -1] = np.broadcast_to(end, alpha[:, -1].shape)
            for place in range(longest - 1, 0, -1):
                moved = move(weights[:, place] * values, place, back=True)
                norm = moved.sum(1, keepdims=True)
                values = moved / norm
                if place >= shortest:
                    going_on = (lengths > place)[:, None]
                    values, norm = np.where(going_on, values, end), np.where(going_on, norm, 1.0)
                beta[:, place - 1], backward[:, place] = values, norm[:, 0]
            after = np.where(np.arange(longest) < lengths[:, None], np.log(backward) + peak, 0.0)
            after = np.cumsum(after[:, :0:-1], axis=1)[:, ::-1]  # of the places after each but the last
            alpha = np.log(alpha) + np.cumsum(np.log(forward) + peak, axis=1)[:, :, None]
            beta = np.log(beta)
            beta[:, :-1] += after[:, :, None]
        return alpha, beta

    def _exact_sums(self, emissions: Floats, lengths: Numbers, joined: Flags) -> tuple[Floats, Floats]:
        alpha = emissions.copy()
        alpha[:, 0] += self.start
        beta = np.broadcast_to(self.end, emissions.shape).copy()
        longest = emissions.shape[1]
        for place in range(1, longest):
            alpha[:, place] += _logsum(alpha[:, place - 1, :, None] + self._steps(joined[:, place]), 1)
        for place in range(longest - 1, 0, -1):
            onward = emissions[:, place] + beta[:, place]
            moved = _logsum(self._steps(joined[:, place]) + onward[:, None, :], 2)
            beta[:, place - 1] = np.where((lengths > place)[:, None], moved, self.end)
        return alpha, beta


def _logsum(values: Floats, axis: int = -1) -> Floats:
    """Log of the sum of exponentials, -inf where there is nothing to sum."""
    most = values.max(axis, keepdims=True)
    shift = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = np.log(np.exp(values - shift).sum(axis)) + shift.squeeze(axis)
    return total
