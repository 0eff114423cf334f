"""One vector per sequence from the hidden states of its tokens."""

from typing import Literal

import torch
from torch import Tensor, nn

from unmask.model.attention import Spans
from unmask.model.encoder import EncoderConfig

Pooling = Literal["cls", "mean"]


class Pooler(nn.Module):
    """A tanh layer on the [CLS] state (Devlin et al. 2019), or on the mean over all tokens of the sequence.

    hidden (tokens, width) packed -> (sequences, width).
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "cls") -> None:
        super().__init__()
        self.pooling = pooling
        self.dense = nn.Linear(config.width, config.width)
        nn.init.normal_(self.dense.weight, std=config.init_std)
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        return torch.tanh(self.dense(pool(hidden, spans, self.pooling)))


def pool(hidden: Tensor, spans: Spans, pooling: Pooling) -> Tensor:
    """hidden (tokens, width) packed -> (sequences, width)."""
    if pooling == "cls":
        return hidden.index_select(0, spans.first)
    lengths = torch.tensor(spans.lengths, device=hidden.device)
    owner = torch.arange(len(spans.lengths), device=hidden.device).repeat_interleave(lengths)
    sums = hidden.new_zeros(len(spans.lengths), hidden.shape[-1]).index_add(0, owner, hidden)
    return sums / lengths.unsqueeze(1)
