"""Norms by layer: whether gradients reach the lower layers, and whether activations stay in bounds."""

import math
from collections.abc import Mapping

import torch

from unmask.learner import Learner
from unmask.train.parallel import World, is_spread, local


@torch.no_grad()
def gradient_norms(learner: Learner, world: World) -> list[float]:
    """2-norms of the gradients of the embeddings and of each block, bottom to top, as backward left them."""
    layers = [learner.encoder.embeddings, *learner.encoder.blocks]
    gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in layers]
    squares = [
        torch.stack([torch.linalg.vector_norm(local(g)) for g in each]).double().square().sum().cpu()
        if each
        else torch.zeros((), dtype=torch.float64)
        for each in gradients
    ]
    spread = is_spread(*(gradient for each in gradients for gradient in each))
    sums: list[float] = torch.stack(squares).tolist()
    return [math.sqrt(total) for total in (world.sum(sums) if spread else sums)]


def layer_norms(learner: Learner, world: World) -> Mapping[str, list[float]]:
    """`gradient`: gradient_norms; `activation`: root mean squares of the hidden states after the embeddings and
    each block, of the pass that the encoder watched last."""
    watched = learner.encoder.watched or []
    return {
        "gradient": gradient_norms(learner, world),
        "activation": torch.stack(watched).tolist() if watched else [],
    }
