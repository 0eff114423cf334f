"""Optimisers and schedules. A schedule is a function of progress, the share of the run that is done."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import nn

from unmask.config import config, setting


@config
class AdamW:
    """AdamW (Loshchilov and Hutter 2019), bias-corrected. Norms, biases and embeddings are not decayed."""

    name: Literal["adamw"] = "adamw"
    lr: float = setting(default=1e-3, gt=0, description="peak learning rate")
    beta1: float = setting(default=0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = setting(default=0.98, ge=0, lt=1, description="decay of the mean of squared gradients")
    eps: float = setting(default=1e-6, gt=0, description="added to the denominator")
    decay: float = setting(default=0.01, ge=0, description="weight decay, as a share of the learning rate")


AnyOptimizer = AdamW


@config
class Linear:
    """Up in a straight line over `warmup`, then down in a straight line to `floor` (BERT)."""

    name: Literal["linear"] = "linear"
    warmup: float = setting(default=0.06, ge=0, lt=1, description="share of the run")
    floor: float = setting(default=0.0, ge=0, le=1, description="share of the peak rate at the end")

    def factor(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        rest = max(0.0, (1 - progress) / (1 - self.warmup))
        return self.floor + (1 - self.floor) * rest


@config
class Plateau:
    """Up over `warmup`, level, then down over the last `cooldown` of the run (Hägele et al. 2024).

    shape "sqrt" is 1 - sqrt(x) over the cooldown, "linear" is 1 - x.
    """

    name: Literal["plateau"] = "plateau"
    warmup: float = setting(default=0.06, ge=0, lt=1, description="share of the run")
    cooldown: float = setting(default=0.4, gt=0, le=1, description="share of the run")
    shape: Literal["linear", "sqrt"] = setting(default="linear", description="of the way down")
    floor: float = setting(default=0.0, ge=0, le=1, description="share of the peak rate at the end")

    def factor(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        into = min(1.0, max(0.0, (progress - (1 - self.cooldown)) / self.cooldown))
        down = 1 - (math.sqrt(into) if self.shape == "sqrt" else into)
        return self.floor + (1 - self.floor) * down


AnySchedule = Annotated[Linear | Plateau, setting(discriminator="name")]


def build(
    settings: AdamW, learner: nn.Module, factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The optimiser over the parameters that learn. `fused` is torch's one-kernel form of the same update.

    factors: prefix of parameter names -> factor on the learning rate; such parameters are not decayed.
    """
    factors = factors or {}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    own: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in factors}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            prefix = next((prefix for prefix in factors if name.startswith(prefix)), None)
            matrix = parameter.ndim > 1 and ".embeddings." not in f".{name}"
            (own[prefix] if prefix is not None else decayed if matrix else plain).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.decay},
        {"params": plain, "weight_decay": 0.0},
        *({"params": own[prefix], "weight_decay": 0.0, "factor": factors[prefix]} for prefix in factors),
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)
