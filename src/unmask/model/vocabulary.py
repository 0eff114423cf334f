"""From hidden states to a loss over the vocabulary, at the places that are scored and nowhere else."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.model.encoder import ACTIVATIONS, Encoder, EncoderConfig, norm_of


class VocabularyHead(nn.Module):
    """BERT's masked-LM head: dense, activation, norm, then the tied token embeddings and a bias per piece.

    hidden (places, width) -> logits (places, vocabulary). Devlin et al. 2019, appendix A.2; tying: Press and
    Wolf 2017. The embedding matrix belongs to the encoder and is passed in at each call, never copied.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = norm_of(config)
        self.bias = nn.Parameter(self.dense.weight.new_zeros(config.vocabulary))
        nn.init.normal_(self.dense.weight, std=config.init_std)
        nn.init.zeros_(self.dense.bias)

    @torch.no_grad()
    def begin_with(self, counts: Tensor) -> None:
        """Start from how frequent pieces are, counts (vocabulary,): otherwise that is what is learnt first."""
        smoothed = counts.to(self.bias) + 0.5
        self.bias.copy_(smoothed.log() - smoothed.log().mean())

    def forward(self, hidden: Tensor, encoder: Encoder) -> Tensor:
        transformed = self.norm(self.activation(self.dense(hidden)))
        return F.linear(transformed, encoder.embeddings.token.weight, self.bias)

    def loss(self, hidden: Tensor, targets: Tensor, encoder: Encoder) -> Tensor:
        """The sum of the cross-entropies in nats; hidden (places, width), targets (places,) int64."""
        return F.cross_entropy(self(hidden, encoder), targets, reduction="sum")
