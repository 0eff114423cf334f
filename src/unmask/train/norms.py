"""Norms by layer: whether gradients reach the lower layers, and whether activations stay in bounds."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.learner import Learner


@torch.no_grad()
def gradient_norms(learner: Learner) -> list[float]:
    """2-norms of the gradients of the embeddings and of each block, bottom to top, as backward left them."""
    layers = [learner.encoder.embeddings, *learner.encoder.blocks]
    norms = []
    for layer in layers:
        each = [_whole(torch.linalg.vector_norm(p.grad)) for p in layer.parameters() if p.grad is not None]
        norms.append(torch.linalg.vector_norm(torch.stack(each)) if each else torch.zeros(()))
    return [float(norm) for norm in torch.stack([norm.cpu() for norm in norms])]


def layer_norms(learner: Learner) -> Mapping[str, list[float]]:
    """`gradient`: gradient_norms; `activation`: root mean squares of the hidden states after the embeddings and
    each block, of the pass that the encoder watched last."""
    watched = learner.encoder.watched or []
    return {
        "gradient": gradient_norms(learner),
        "activation": torch.stack(watched).tolist() if watched else [],
    }


def _whole(norm: Tensor) -> Tensor:
    """A norm over all processes, where a gradient is spread over them."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
