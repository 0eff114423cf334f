"""One vector per sequence from the hidden states of its tokens."""

from typing import Literal

from torch import Tensor, nn

from unmask.model.config import EncoderConfig
from unmask.model.encoder import ACTIVATIONS, LayerNorm, init_linear
from unmask.model.families import FAMILIES
from unmask.model.layout import SequenceLayout, sequence_lengths, sequence_max, sequence_softmax, sequence_sums

Pooling = Literal["cls", "mean", "max", "attention"]


class Pooler(nn.Module):
    """The dense layer of the family, with BERT a tanh (Devlin et al. 2019), on the [CLS] state, or on the mean, the
    maximum or a mean weighted by attention (see `AttentionPooling`) over all tokens of the sequence.

    hidden (tokens, hidden_size) packed or (batch, length, hidden_size) padded -> (sequences, hidden_size).
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "cls") -> None:
        super().__init__()
        self.pooling = pooling
        self.attention = AttentionPooling(config.hidden_size) if pooling == "attention" else None
        self.transform = HeadTransform(config)

    @property
    def reads_first(self) -> bool:
        """Whether it reads the first token of each sequence and no other."""
        return self.pooling == "cls"

    def forward(self, hidden: Tensor, layout: SequenceLayout) -> Tensor:
        """Pool and transform."""
        pooled = pool(hidden, layout, self.pooling) if self.attention is None else self.attention(hidden, layout)
        return self.transform(pooled)  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        """Return what the bundle stores, by the prefix of its parameter names."""
        return self.transform.saved_modules() | ({} if self.attention is None else {"pooling": self.attention})


class HeadTransform(nn.Module):
    """The layers of the family before the last one of a head (`HeadStyle`). (..., hidden_size) -> (..., hidden_size)"""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        style = FAMILIES[config.family].head
        self.dense = init_linear(nn.Linear(config.hidden_size, config.hidden_size, bias=style.bias), config)
        self.activation = ACTIVATIONS[style.activation]
        self.norm = LayerNorm(config, config.hidden_size) if style.norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers."""
        made = self.activation(self.dense(x))
        return made if self.norm is None else self.norm(made)

    def saved_modules(self) -> dict[str, nn.Module]:
        """Return what the bundle stores, by the prefix of its parameter names."""
        return {"pooler": self.dense} | ({} if self.norm is None else {"pooler_norm": self.norm})


class AttentionPooling(nn.Module):
    """The mean over the tokens of a sequence, weighted by softmax(h q) with a query q that is learnt (Yang et al. 2016,
    "Hierarchical Attention Networks", section 2.2, without its hidden layer). It begins as the plain mean.

    hidden (tokens, hidden_size) packed or (batch, length, hidden_size) padded -> (sequences, hidden_size).
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, 1, bias=False)  # softmax knows no bias: it would be the same for all
        nn.init.zeros_(self.query.weight)

    def forward(self, hidden: Tensor, layout: SequenceLayout) -> Tensor:
        """Average each sequence."""
        weights = sequence_softmax(self.query(hidden).squeeze(-1).float(), layout)
        return sequence_sums(hidden * weights.unsqueeze(-1).to(hidden.dtype), layout)


def pool(hidden: Tensor, layout: SequenceLayout, pooling: Pooling) -> Tensor:
    """Pool without weights: hidden (tokens, hidden_size) packed or (batch, length, hidden_size) padded -> (sequences,
    hidden_size)."""
    if pooling == "cls":
        return hidden.flatten(0, -2).index_select(0, layout.first_tokens)
    if pooling == "max":
        return sequence_max(hidden, layout)
    assert pooling == "mean"
    return sequence_sums(hidden, layout) / sequence_lengths(layout).unsqueeze(1)
