"""One vector per sequence from the hidden states of its tokens."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.model.attention import Spans
from unmask.model.encoder import EncoderConfig, norm_of
from unmask.model.families import FAMILIES

Pooling = Literal["cls", "mean"]


class Pooler(nn.Module):
    """The dense layer of the family on the [CLS] state, with BERT a tanh (Devlin et al. 2019), or on the mean over all
    tokens of the sequence. hidden (tokens, width) packed -> (sequences, width).
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "cls") -> None:
        super().__init__()
        self.pooling = pooling
        self.transform = Transform(config)

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        return self.transform(pool(hidden, spans, self.pooling))  # type: ignore[no-any-return]

    def published(self) -> dict[str, nn.Module]:
        return self.transform.published()


POOLED: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu, "gelu": F.gelu}


class Transform(nn.Module):
    """What the family has before the last layer of its heads (model/families.py). (..., width) -> (..., width)"""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        style = FAMILIES[config.family].head
        self.dense = nn.Linear(config.width, config.width, bias=style.bias)
        self.activation = POOLED[style.activation]
        self.norm = norm_of(config) if style.norm else None
        nn.init.normal_(self.dense.weight, std=config.init_std)
        if style.bias:
            nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        made = self.activation(self.dense(x))
        return made if self.norm is None else self.norm(made)

    def published(self) -> dict[str, nn.Module]:
        return {"pooler": self.dense, **({} if self.norm is None else {"pooler_norm": self.norm})}


def pool(hidden: Tensor, spans: Spans, pooling: Pooling) -> Tensor:
    """hidden (tokens, width) packed -> (sequences, width)."""
    if pooling == "cls":
        return hidden.index_select(0, spans.first)
    lengths = torch.tensor(spans.lengths, device=hidden.device)
    owner = torch.arange(len(spans.lengths), device=hidden.device).repeat_interleave(lengths)
    sums = hidden.new_zeros(len(spans.lengths), hidden.shape[-1]).index_add(0, owner, hidden)
    return sums / lengths.unsqueeze(1)
