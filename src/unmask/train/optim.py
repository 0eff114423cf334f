"""Optimisers: AdamW, and Muon for the matrices of the blocks."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from unmask.config import by_name, config, discriminator_with_default, setting, tagged
from unmask.learner.learner import Learner
from unmask.model.encoder import Attention, FeedForward
from unmask.train.parallel import full_tensor, local_shard

# Muon: learning rate of the matrices, as a multiple of the rest's (docs/studies.md, "What a run begins with, and the
# optimiser")
MATRIX_FACTOR = 2.0


@config
class AdamW:
    """AdamW (Loshchilov and Hutter 2019), bias-corrected. Norms, biases and embeddings are not decayed."""

    name: Literal["adamw"] = "adamw"
    lr: float | None = setting(
        default=None,
        gt=0,
        description="peak learning rate; if not given 1e-3 (muon: 2e-3), "
        "in fine-tuning 5e-4 x min(1, (256 / hidden_size)^2)",
    )
    beta1: float = setting(default=0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = setting(default=0.98, ge=0, lt=1, description="decay of the mean of squared gradients")
    eps: float = setting(default=1e-6, gt=0, description="added to the denominator")
    weight_decay: float = setting(default=0.01, ge=0, description="weight decay, as a share of the learning rate")

    @property
    def peak_lr(self) -> float:
        return 1e-3 if self.lr is None else self.lr


def default_finetune_lr(hidden_size: int) -> float:
    """Wider networks want smaller steps: from 5e-4 at 256, which was measured, by the square of the width to the
    5e-5 that Devlin et al. (2019) took for 768 (docs/studies.md)."""
    return 5e-4 * min(1.0, (256 / hidden_size) ** 2)


@config
class Muon(AdamW):
    """Muon on the matrices of the blocks, AdamW on all else: embeddings, heads, norms, biases.

    An update of a matrix is its averaged gradient with all singular values set to about one (Jordan et al. 2024,
    "Muon: an optimizer for hidden layers"), times 0.2 sqrt(longer side), which gives it the size of AdamW's
    updates (Liu et al. 2025, arXiv 2502.16982, section 2.2), so that both can share a learning rate and decay.
    """

    name: Literal["muon"] = "muon"  # type: ignore[assignment]
    momentum: float = setting(default=0.95, ge=0, lt=1, description="decay of the mean of the matrices' gradients")

    @property
    def peak_lr(self) -> float:
        return 2e-3 if self.lr is None else self.lr


AnyOptimizer = Annotated[
    Annotated[AdamW, tagged("adamw")] | Annotated[Muon, tagged("muon")],
    setting(discriminator=discriminator_with_default("adamw")),
    by_name(),
]


def build_optimizer(settings: AdamW | Muon, learner: Learner) -> torch.optim.Optimizer:
    """Optimiser of a learner, with its `lr_factors` and `no_weight_decay`."""
    return build_param_groups(settings, learner, learner.lr_factors, learner.no_weight_decay)


def build_param_groups(
    settings: AdamW | Muon,
    learner: nn.Module,
    lr_factors: Mapping[str, float] | None = None,
    no_weight_decay: Sequence[str] = (),
) -> torch.optim.Optimizer:
    """Optimiser over the parameters that learn, in groups by learning rate and weight decay.

    lr_factors: prefix of parameter names -> factor on their learning rate, all that match are multiplied;
    no_weight_decay: prefixes of parameters that AdamW updates, without weight decay. `fused` is torch's
    one-kernel form of the same update.
    """
    muon = settings if isinstance(settings, Muon) else None
    kinds: list[dict[str, Any]] = [{"weight_decay": settings.weight_decay}, {"weight_decay": 0.0}]
    if muon is not None:
        turned = {"weight_decay": muon.weight_decay, "factor": MATRIX_FACTOR, "momentum": muon.momentum}
        kinds += [{"stacked": count, **turned} for count in (1, 2, 3)]
    decayed, plain = 0, 1
    stacked = _stacked(learner)
    found: list[dict[float, list[nn.Parameter]]] = [{} for _ in kinds]  # of each kind, by factor
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim > 1 and ".embeddings." not in f".{name}"
        if not matrix or name.startswith(tuple(no_weight_decay)):
            kind = plain
        elif muon is not None and ".blocks." in f".{name}":
            kind = plain + stacked.get(parameter, 1)
        else:
            kind = decayed
        factor = math.prod(factor for prefix, factor in (lr_factors or {}).items() if name.startswith(prefix))
        found[kind].setdefault(factor, []).append(parameter)
    groups = [
        {"params": parameters, **kind, "factor": kind.get("factor", 1.0) * factor}
        for kind, alike in zip(kinds, found, strict=True)
        for factor, parameters in alike.items()
    ]
    return (torch.optim.AdamW if muon is None else MuonWithAdamW)(
        groups,
        lr=settings.peak_lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
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
    """Muon for the groups that say how many matrices are `stacked` in each parameter, AdamW for the others.

    torch's own Muon works in bfloat16, which takes longer than the whole step on a CPU without such units.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is None, "the loss is computed before"
        every = self.param_groups
        self.param_groups = [group for group in every if "stacked" not in group]
        try:
            super().step()
        finally:
            self.param_groups = every
        # matrices of one shape are orthogonalised together: many small products cost more than one large
        shapes: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor, dict[str, Any]]]] = {}
        for group in every:
            for parameter in group["params"] if "stacked" in group else ():
                if parameter.grad is not None:
                    # whole matrices, also where processes hold parts of them
                    ahead = full_tensor(self._momentum(parameter, group["momentum"]))
                    matrices = ahead.view(group["stacked"], -1, ahead.shape[1])
                    shapes.setdefault(matrices.shape[1:], []).append((parameter, matrices, group))
        for shape, rows in shapes.items():
            turned = orthogonalize(torch.cat([matrices for _, matrices, _ in rows]))
            updates = torch.split(turned, [len(matrices) for _, matrices, _ in rows])
            for (parameter, _, group), update in zip(rows, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(shape))
                parameter.add_(local_shard(update.flatten(0, 1), parameter), alpha=-group["lr"] * size)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The mean of the gradients up to now, one step ahead (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["step"] = torch.zeros((), device=parameter.device)  # AdamW looks for it in a loaded state
            state["momentum"] = torch.zeros_like(parameter)
        mean = state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum)


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
