"""One vector per sequence from the hidden states of its tokens."""

from typing import Literal

import torch
from torch import Tensor, nn

from unmask.model.attention import Spans
from unmask.model.encoder import EncoderConfig
from unmask.model.sequences import greatest, lengths_of, softmax_of_sequences, sums

Pooling = Literal["cls", "mean", "max", "attention"]


class Pooler(nn.Module):
    """A tanh layer on the [CLS] state (Devlin et al. 2019), or on what all tokens of the sequence say together: their
    mean, the greatest value of each axis, or a mean weighted by attention (see `AttentionPooling`).

    hidden (tokens, width) packed -> (sequences, width).
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "cls") -> None:
        super().__init__()
        self.pooling = pooling
        self.attention = AttentionPooling(config.width) if pooling == "attention" else None
        self.dense = nn.Linear(config.width, config.width)
        nn.init.normal_(self.dense.weight, std=config.init_std)
        nn.init.zeros_(self.dense.bias)

    @property
    def reads_first(self) -> bool:
        """Whether it reads the first place of each sequence and no other."""
        return self.pooling == "cls"

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        pooled = (
            pool(hidden, spans, self.pooling) if self.attention is None else self.attention(hidden, spans)
        )
        return torch.tanh(self.dense(pooled))


class AttentionPooling(nn.Module):
    """The mean over the tokens of a sequence, weighted by softmax(h q) with a query q that is learnt (Yang et al. 2016,
    "Hierarchical Attention Networks", section 2.2, without its hidden layer). It begins as the plain mean.

    hidden (tokens, width) packed -> (sequences, width).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1, bias=False)  # softmax knows no bias: it would be the same for all
        nn.init.zeros_(self.query.weight)

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        weights = softmax_of_sequences(self.query(hidden).squeeze(-1).float(), spans)
        return sums(hidden * weights.unsqueeze(1).to(hidden.dtype), spans)


def pool(hidden: Tensor, spans: Spans, pooling: Pooling) -> Tensor:
    """hidden (tokens, width) packed -> (sequences, width), where nothing is learnt: not for attention."""
    if pooling == "cls":
        return hidden.index_select(0, spans.first)
    if pooling == "max":
        return greatest(hidden, spans)
    assert pooling == "mean"
    return sums(hidden, spans) / lengths_of(spans).unsqueeze(1)
