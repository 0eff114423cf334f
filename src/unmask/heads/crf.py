"""Learning of a linear-chain conditional random field over tags (Lafferty, McCallum and Pereira, ICML 2001).

The formula is in `tasks/crf.py`, which decodes with the scores that are learnt here, in float32.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.tasks.alignment import Tags
from unmask.tasks.crf import FORBIDDEN

SMALL_SCORE = 100.0  # nats: scores below it, twice in a row, stay far from what float64 cannot hold (about 700)
MIN_SUM = 1e-300  # replaces a sum of nothing, whose logarithm has no gradient


class CRF(nn.Module):
    """Scores of transitions, learnt; what the grammar does not allow has probability 0."""

    not_start: Tensor
    not_follows: Tensor

    def __init__(self, tags: Tags) -> None:
        super().__init__()
        count = len(tags.start)
        self.start = nn.Parameter(torch.zeros(count))
        self.transitions = nn.Parameter(torch.zeros(count, count))
        self.end = nn.Parameter(torch.zeros(count))
        self.register_buffer("not_start", torch.from_numpy(~tags.start), persistent=False)
        self.register_buffer("not_follows", torch.from_numpy(~tags.follows), persistent=False)

    @torch.no_grad()
    def init_from_counts(self, tag_sequences: Sequence[Sequence[int]], smoothing: float = 1.0) -> None:
        """Set the scores to the logarithm of how often the sequences begin, go on and end so, add-one smoothed.

        They then are a Markov chain: of each tag, what may follow it and the end share a probability of 1.
        """
        count = len(self.start)
        start, end, follows = np.zeros(count), np.zeros(count), np.zeros((count, count))
        for sequence in tag_sequences:
            if len(sequence):
                own = np.asarray(sequence, dtype=np.int64)
                start[own[0]] += 1
                end[own[-1]] += 1
                np.add.at(follows, (own[:-1], own[1:]), 1)
        start = (start + smoothing) * ~self.not_start.cpu().numpy()
        onward = np.column_stack([(follows + smoothing) * ~self.not_follows.cpu().numpy(), end + smoothing])
        shares = onward / onward.sum(1, keepdims=True)
        for parameter, share in (
            (self.start, start / start.sum()),
            (self.transitions, shares[:, :-1]),
            (self.end, shares[:, -1]),
        ):
            logs = np.log(share, out=np.zeros_like(share), where=share > 0)  # the masks are log 0
            parameter.copy_(torch.from_numpy(logs))

    def masked_scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return start (tags,), transitions (tags, tags), end (tags,), float32, with -inf where not allowed."""
        return (
            self.start.float().masked_fill(self.not_start, FORBIDDEN),
            self.transitions.float().masked_fill(self.not_follows, FORBIDDEN),
            self.end.float(),
        )

    def decoding_parameters(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the scores for `CRFDecoder`."""
        return {f"crf.{name}": x.detach().float().cpu().numpy() for name, x in self.named_parameters()}

    def forward(self, emissions: Tensor, tags: Tensor, lengths: Tensor, opens: Tensor, closes: Tensor) -> Tensor:
        """Compute the negative log-likelihood (nats) of each path, (sequences,) float32.

        emissions (sequences, longest, tags); tags (sequences, longest) int64, anything beyond `lengths`
        (sequences,), each at least 1. opens, closes (sequences,) bool: whether a sequence begins and ends
        where its sentence does; where it does not, start and end have no score and forbid nothing.
        """
        # subtracting the same from all tags of a position changes no probability, and keeps the sums small
        emissions = emissions.float().log_softmax(-1)
        start, transitions, end = self.masked_scores()
        start = torch.where(opens[:, None], start, 0.0)
        end = torch.where(closes[:, None], end, 0.0)
        total = _log_partition(emissions, lengths, start, transitions, end)
        return total - _path_score(emissions, tags, lengths, start, transitions, end)


def _log_partition(emissions: Tensor, lengths: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The logarithm of the summed exponentials of all paths, by the forward algorithm: (sequences,).

    Where the scores are small enough for float64, a step is one product of matrices; else logarithms are added up.
    """
    small = (
        emissions.device.type != "mps" and _greatest(emissions) < SMALL_SCORE and _greatest(transitions) < SMALL_SCORE
    )
    if small:
        emissions, start, transitions, end = (x.double() for x in (emissions, start, transitions, end))
    moves = transitions.exp()
    alpha = start + emissions[:, 0]
    for place in range(1, emissions.shape[1]):
        if small:
            most = alpha.detach().amax(1, keepdim=True)
            ahead = ((alpha - most).exp() @ moves).clamp_min(MIN_SUM).log() + most
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
    emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).masked_fill(~inside, 0.0).sum(1)
    moved = transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~inside[:, 1:], 0.0).sum(1)
    last = tags.gather(1, (lengths - 1).unsqueeze(1))
    return start.gather(1, tags[:, :1]).squeeze(1) + emitted + moved + end.gather(1, last).squeeze(1)


def _logsumexp(values: Tensor, dim: int) -> Tensor:
    """torch.logsumexp, whose gradient is NaN where all are -inf; here it is 0 there."""
    dead = (values == FORBIDDEN).all(dim, keepdim=True)
    return values.masked_fill(dead, 0.0).logsumexp(dim).masked_fill(dead.squeeze(dim), FORBIDDEN)
