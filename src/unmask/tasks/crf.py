"""Linear-chain conditional random field over tags (Lafferty, McCallum and Pereira, ICML 2001).

A path y of n tags scores start[y1] + sum of emissions[t, y_t] + sum of transitions[y_t-1, y_t] + end[y_n];
its probability is the exponential of that over the sum for all paths (the paper's equation 1). Learning
(`Crf`) is in torch and float32. Decoding (`Chain`) is in numpy and float64 on scores that are already there:
a chain without learnt transitions is what constrains independent predictions to sequences that are allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FORBIDDEN = float("-inf")  # the score of what is not allowed
SOFT_PENALTY = 100.0  # nats: scores below it, twice in a row, stay far from what float64 cannot hold (about 700)
MIN_SCORE = 1e-300  # stands for a sum of nothing, whose logarithm has no gradient


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


class CRF(nn.Module):
    """Scores of transitions, learnt; what the grammar does not allow has probability 0."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self.grammar = grammar
        self.start = nn.Parameter(torch.zeros(grammar.tags))
        self.transitions = nn.Parameter(torch.zeros(grammar.tags, grammar.tags))
        self.end = nn.Parameter(torch.zeros(grammar.tags))
        for name in ("start", "follows", "end"):
            mask = torch.from_numpy(~getattr(grammar, name))
            self.register_buffer(f"not_{name}", mask, persistent=False)

    @torch.no_grad()
    def init_from_counts(self, tag_sequences: Sequence[Sequence[int]], smoothing: float = 1.0) -> None:
        """Set the scores to the logarithm of how often the paths begin, go on and end so, add-one smoothed.

        They then are a Markov chain: of each tag, what may follow it and the end share a probability of 1.
        """
        tags = self.grammar.tags
        start, end = np.zeros(tags), np.zeros(tags)
        follows = np.zeros((tags, tags))
        for path in tag_sequences:
            if len(path):
                tags_of = np.asarray(path, dtype=np.int64)
                start[tags_of[0]] += 1
                end[tags_of[-1]] += 1
                np.add.at(follows, (tags_of[:-1], tags_of[1:]), 1)
        start = (start + smoothing) * self.grammar.start
        onward = np.concatenate(
            [(follows + smoothing) * self.grammar.follows, ((end + smoothing) * self.grammar.end)[:, None]], 1
        )
        shares = onward / onward.sum(1, keepdims=True)
        for parameter, share in (
            (self.start, start / start.sum()),
            (self.transitions, shares[:, :-1]),
            (self.end, shares[:, -1]),
        ):
            logs = np.log(share, out=np.zeros_like(share), where=share > 0)  # the masks stand for log 0
            parameter.copy_(torch.from_numpy(logs))

    def masked_scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """start (tags,), transitions (tags, tags), end (tags,), float32, with -inf where not allowed."""
        return (
            self.start.float().masked_fill(self.get_buffer("not_start"), FORBIDDEN),
            self.transitions.float().masked_fill(self.get_buffer("not_follows"), FORBIDDEN),
            self.end.float().masked_fill(self.get_buffer("not_end"), FORBIDDEN),
        )

    def decoder(self) -> "CRFDecoder":
        """The same scores for decoding."""
        start, transitions, end = (x.detach().cpu().double().numpy() for x in self.masked_scores())
        return CRFDecoder(start, transitions, end, self.grammar.within)

    def forward(
        self,
        emissions: Tensor,
        tags: Tensor,
        lengths: Tensor,
        opens: Tensor | None = None,
        closes: Tensor | None = None,
    ) -> Tensor:
        """The negative log-likelihood (nats) of each path, (sequences,) float32.

        emissions (sequences, longest, tags); tags (sequences, longest) int64, anything beyond `lengths`
        (sequences,), each at least 1. opens, closes (sequences,) bool: whether a sequence begins and ends
        where its sentence does; where it does not, start and end have no score and forbid nothing.
        """
        # subtracting the same from all tags of a place changes no probability, and keeps the sums small
        emissions = emissions.float().log_softmax(-1)
        start, transitions, end = self.masked_scores()
        start = start.expand(len(lengths), -1)
        end = end.expand(len(lengths), -1)
        if opens is not None:
            start = torch.where(opens[:, None], start, 0.0)
        if closes is not None:
            end = torch.where(closes[:, None], end, 0.0)
        total = _log_partition(emissions, lengths, start, transitions, end)
        return total - _path_score(emissions, tags, lengths, start, transitions, end)


def _log_partition(emissions: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The logarithm of the summed exponentials of all paths, by the forward algorithm: (sequences,).

    Where the scores are small enough for float64, a step is one product of matrices; else logarithms are added up.
    """
    mild = (
        emissions.device.type != "mps" and _greatest(emissions) < SOFT_PENALTY and _greatest(transitions) < SOFT_PENALTY
    )
    if mild:
        emissions, start, transitions, end = (x.double() for x in (emissions, start, transitions, end))
    moves = transitions.exp()
    alpha = start + emissions[:, 0]
    for place in range(1, emissions.shape[1]):
        if mild:
            most = alpha.detach().amax(1, keepdim=True)
            ahead = ((alpha - most).exp() @ moves).clamp_min(MIN_SCORE).log() + most
        else:
            ahead = _logsumexp(alpha.unsqueeze(2) + transitions, 1)
        alpha = torch.where((lengths > place).unsqueeze(1), ahead + emissions[:, place], alpha)
    return _logsumexp(alpha + end, 1).float()


def _greatest(scores: Tensor) -> float:
    """The greatest absolute value, what is not allowed aside."""
    return float(scores.detach().masked_fill(scores == FORBIDDEN, 0.0).abs().max())


def _path_score(
    emissions: Tensor, tags: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> Tensor:
    places = torch.arange(emissions.shape[1], device=emissions.device)
    inside = places < lengths.unsqueeze(1)
    tags = tags.masked_fill(~inside, 0)
    said = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).masked_fill(~inside, 0.0).sum(1)
    moved = transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~inside[:, 1:], 0.0).sum(1)
    last = tags.gather(1, (lengths - 1).unsqueeze(1))
    return start.gather(1, tags[:, :1]).squeeze(1) + said + moved + end.gather(1, last).squeeze(1)


def _logsumexp(values: Tensor, dim: int) -> Tensor:
    """torch.logsumexp, whose gradient is NaN where all are -inf; here it is 0 there."""
    dead = (values == FORBIDDEN).all(dim, keepdim=True)
    return values.masked_fill(dead, 0.0).logsumexp(dim).masked_fill(dead.squeeze(dim), FORBIDDEN)


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
    def unconstrained(grammar: Grammar) -> "CRFDecoder":
        """All that the grammar allows is alike."""
        start, follows, end = (
            np.where(flags, 0.0, FORBIDDEN) for flags in (grammar.start, grammar.follows, grammar.end)
        )
        return CRFDecoder(start, follows, end, grammar.within)

    def viterbi(self, emissions: Floats, lengths: Numbers, joined: Flags | None = None) -> Numbers:
        """The most probable path of each sequence (Viterbi 1967): (sequences, longest), 0 beyond its length.

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
        found: Sequence[tuple[int, int, int, int, int | None]],
        joined: Flags | None = None,
    ) -> Floats:
        """The probability (0 to 1) of each span found: (spans,) float64.

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
        result = np.zeros(len(found))
        for number, (row, start, stop, first, rest) in enumerate(found):
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
        sums over all paths from both ends are not finite or not equal, and `spans` takes the exact way."""
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
