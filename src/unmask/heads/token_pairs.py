"""TokenPairs: a linear model of pairs of tokens beside the network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow

BUCKETS = 1 << 15  # of pairs of tokens; two that share one share their scores
PRIOR = 2.0  # a pair seen so often is believed by half


class TokenPairs(nn.Module):
    """A linear model over pairs of neighbouring tokens, which remembers what a network has to see more often.

    The wide part of wide and deep learning (Cheng et al. 2016, arXiv 1606.07792, section 3.1). Each word has two
    features, its first token with the token before and with the token after, hashed into BUCKETS rows of scores.

    dropout: share of the features that are left out in training, drawn anew each time. What the pairs have seen in
    these very rows they know, so that beside all of them the network would have nothing left to learn.
    """

    def __init__(self, tags: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.scores = nn.Embedding(BUCKETS, tags)
        nn.init.zeros_(self.scores.weight)

    @staticmethod
    def buckets(input_ids: Tensor, positions: Tensor) -> Tensor:
        """input_ids (tokens,) int64, positions (words,) of first tokens, inside [CLS] and [SEP] -> (words, 2) int64."""
        token = input_ids[positions]
        before = (input_ids[positions - 1] * 2654435761 + token * 40503) * 2
        after = (token * 2654435761 + input_ids[positions + 1] * 40503) * 2 + 1
        mixed = torch.stack([before, after], 1)
        return (mixed ^ (mixed >> 17)) % BUCKETS

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.buckets(input_ids, positions))
        if self.training and self.dropout:
            shown = torch.rand(scores.shape[:2], device=scores.device) >= self.dropout
            scores = scores * shown.unsqueeze(2)  # not scaled up: what is seen has its full weight always
        return scores.sum(1)

    @torch.no_grad()
    def init_from_counts(self, name: str, rows: Sequence[EncodedRow]) -> None:
        """Start from half of ln p(tag | pair) / p(tag) for each pair, shrunk towards 0 for pairs seen rarely.

        name: of the targets."""
        counts = torch.zeros(self.scores.weight.shape)
        for row in rows:
            positions = torch.from_numpy(row.positions)
            tags = torch.from_numpy(row.targets[name][row.positions])
            buckets = self.buckets(torch.from_numpy(row.input_ids), positions)
            counts.index_put_((buckets, tags.unsqueeze(1).expand_as(buckets)), torch.ones(1), accumulate=True)
        share = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        expected = counts.sum(1, keepdim=True) + PRIOR
        self.scores.weight.copy_(((counts + PRIOR * share) / (expected * share)).log() / 2)
