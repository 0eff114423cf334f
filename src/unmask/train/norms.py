"""Norms by layer: whether gradients reach the lower layers, and whether activations stay in bounds."""

import math
from collections.abc import Mapping

import torch

from unmask.learner.learner import Learner
from unmask.train.parallel import World, is_distributed, local_tensor


@torch.no_grad()
def layer_gradient_norms(learner: Learner, world: World) -> list[float]:
    """2-norms of the gradients of the embeddings and of each block, bottom to top, as backward left them."""
    layers = [learner.encoder.embeddings, *learner.encoder.blocks]
    gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in layers]
    squares = [
        torch.stack([torch.linalg.vector_norm(local_tensor(g)) for g in each]).double().square().sum().cpu()
        if each
        else torch.zeros((), dtype=torch.float64)
        for each in gradients
    ]
    spread = is_distributed(*(gradient for each in gradients for gradient in each))
    sums: list[float] = torch.stack(squares).tolist()
    return [math.sqrt(total) for total in (world.sum(sums) if spread else sums)]


def layer_norms(learner: Learner, world: World) -> Mapping[str, list[float]]:
    """`gradient`: gradient_norms; `activation`: root mean squares of the hidden states after the embeddings and
    each block, of the pass that the encoder watched last."""
    watched = learner.encoder.activation_norms or []
    return {
        "gradient": layer_gradient_norms(learner, world),
        "activation": torch.stack(watched).tolist() if watched else [],
    }
