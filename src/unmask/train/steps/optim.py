"""Optimisers: AdamW, and Muon for the matrices of the blocks."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unmask.config import config, setting
from unmask.learner.learner import Learner
from unmask.model.encoder import Attention, FeedForward
from unmask.train.steps.parallel import full_tensor, local_shard

# Muon: learning rate of the matrices, as a multiple of the rest's (docs/studies.md, "What a run begins with, and the
# optimiser")
MATRIX_FACTOR = 2.0
MOMENTUM = 0.95  # decay of the mean of the matrices' gradients
# AdamW: decay of the mean of gradients, and what is added to the denominator
BETA1, EPS = 0.9, 1e-6


PEAK_LR = {"adamw": 1e-3, "muon": 2e-3}  # in pretraining


@config
class OptimizerConfig:
    """Settings of the optimiser.

    adamw: AdamW (Loshchilov and Hutter 2019), bias-corrected. Norms, biases and embeddings are not decayed.

    muon: Muon on the matrices of the blocks, AdamW on all else: embeddings, heads, norms, biases. An update of a matrix
    is its averaged gradient with all singular values set to about one (Jordan et al. 2024, "Muon: an optimizer for
    hidden layers"), times 0.2 sqrt(longer side), which gives it the size of AdamW's updates (Liu et al. 2025, arXiv
    2502.16982, section 2.2), so that both can share a learning rate and decay.
    """

    name: Literal["adamw", "muon"] = setting(default="adamw", description="muon: matrices of the blocks; rest: adamw")
    lr: float | None = setting(
        default=None,
        gt=0,
        description="peak learning rate; default: 1e-3 (muon: 2e-3), "
        "in fine-tuning 5e-4 x min(1, (256 / hidden_size)^2)",
    )
    beta2: float = setting(default=0.98, ge=0, lt=1, description="decay of the mean of squared gradients")
    weight_decay: float = setting(default=0.01, ge=0, description="weight decay, as a share of the learning rate")

    @property
    def peak_lr(self) -> float:
        return PEAK_LR[self.name] if self.lr is None else self.lr


def default_finetune_lr(hidden_size: int) -> float:
    """Wider networks want smaller steps: from 5e-4 at 256, which was measured, by the square of the width to the
    5e-5 that Devlin et al. (2019) took for 768 (docs/studies.md)."""
    return 5e-4 * min(1.0, (256 / hidden_size) ** 2)


def build_optimizer(settings: OptimizerConfig, learner: Learner) -> torch.optim.Optimizer:
    """Optimiser over the parameters that learn, in groups by learning rate and weight decay, with the `lr_factors` and
    `no_weight_decay` of the learner. `fused` is torch's one-kernel form of the same update.
    """
    muon, stacked = settings.name == "muon", _stacked(learner)
    # by weight decay, matrices in each parameter (0: for AdamW) and factor on the learning rate
    groups: dict[tuple[float, int, float], list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = math.prod(factor for prefix, factor in learner.lr_factors.items() if name.startswith(prefix))
        decay, matrices = settings.weight_decay, 0
        if parameter.ndim < 2 or ".embeddings." in f".{name}" or name.startswith(tuple(learner.no_weight_decay)):
            decay = 0.0
        elif muon and ".blocks." in f".{name}":
            matrices = stacked.get(parameter, 1)
            factor *= MATRIX_FACTOR
        groups.setdefault((decay, matrices, factor), []).append(parameter)
    return (MuonWithAdamW if muon else torch.optim.AdamW)(
        [
            {"params": parameters, "weight_decay": decay, "stacked": matrices, "factor": factor}
            for (decay, matrices, factor), parameters in sorted(
                groups.items(), key=lambda group: (group[0][1], -group[0][0])
            )
        ],
        lr=settings.peak_lr,
        betas=(BETA1, settings.beta2),
        eps=EPS,
        fused=True,
    )


def _stacked(learner: nn.Module) -> dict[Tensor, int]:
    """The parameters that hold several matrices one below another, and how many: query, key and value; gate and up."""
    found: dict[Tensor, int] = {}
    for module in learner.modules():
        if isinstance(module, Attention):
            found[module.qkv.weight] = 3
        elif isinstance(module, FeedForward) and module.gated:
            found[module.inner.weight] = 2
    return found


class MuonWithAdamW(torch.optim.AdamW):
    """Muon for the groups whose parameters hold matrices (`stacked`: how many), AdamW for the others.

    torch's own Muon works in bfloat16, which takes longer than the whole step on a CPU without such units.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is None, "the loss is computed before"
        every = self.param_groups
        self.param_groups = [group for group in every if not group["stacked"]]
        try:
            super().step()
        finally:
            self.param_groups = every
        # matrices of one shape are orthogonalised together: many small products cost more than one large
        shapes: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor, dict[str, Any]]]] = {}
        for group in every:
            for parameter in group["params"] if group["stacked"] else ():
                if parameter.grad is not None:
                    # whole matrices, also where processes hold parts of them
                    ahead = full_tensor(self._momentum(parameter))
                    matrices = ahead.view(group["stacked"], -1, ahead.shape[1])
                    shapes.setdefault(matrices.shape[1:], []).append((parameter, matrices, group))
        for shape, rows in shapes.items():
            turned = orthogonalize(torch.cat([matrices for _, matrices, _ in rows]))
            updates = torch.split(turned, [len(matrices) for _, matrices, _ in rows])
            for (parameter, _, group), update in zip(rows, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(shape))
                parameter.add_(local_shard(update.flatten(0, 1), parameter), alpha=-group["lr"] * size)

    def _momentum(self, parameter: Tensor) -> Tensor:
        """The mean of the gradients up to now, one step ahead (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["step"] = torch.zeros((), device=parameter.device)  # AdamW looks for it in a loaded state
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(mean, MOMENTUM)


def orthogonalize(matrices: Tensor) -> Tensor:
    """About U V^T of the singular value decompositions U S V^T. matrices (count, rows, columns).

    Five Newton-Schulz steps with the coefficients of Jordan et al. 2024, which bring all but the least singular
    values to between 0.7 and 1.2. Of float32 in bfloat16 on a GPU; else in the matrices' own precision.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16() if x.is_cuda and x.dtype == torch.float32 else x
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.mT if tall else x).to(matrices.dtype)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)
