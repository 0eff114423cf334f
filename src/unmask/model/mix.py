"""A mix of all layers: what is useful for a task need not be in the last one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unmask.model.encoder import EncoderConfig


class LayerMix(nn.Module):
    """scale x sum of softmax(weights)_j h_j over the embeddings and all blocks (Peters et al. 2018, equation 1).

    It begins with all layers alike. states: layers + 1 tensors (tokens, width), as `Encoder` gives them.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        shares = (self.scale * self.weights.softmax(0)).to(hidden_states[0].dtype)
        mixed = shares[0] * hidden_states[0]
        for share, state in zip(shares[1:], hidden_states[1:], strict=True):
            mixed = mixed + share * state
        return mixed
