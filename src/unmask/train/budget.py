"""How long to train: in wall-clock, steps, tokens or epochs.

Everything that changes over a run is a function of its progress, the share of the budget that is spent.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from unmask.config import by_name, config, setting
from unmask.messages import message
from unmask.schedules import AnySchedule, Linear, Ramp
from unmask.train.steps.device import PrecisionName
from unmask.train.steps.optim import OptimizerConfig
from unmask.train.steps.parallel import ParallelMode

CompileMode = Literal["auto", "always", "never"]

BUDGET_FORMS = "30s, 5m, 2h (wall-clock), 1000 steps, 10M tokens or 3 epochs"

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


@dataclass(frozen=True)
class Budget:
    """An amount in seconds, steps, tokens or epochs."""

    amount: float
    unit: Literal["seconds", "steps", "tokens", "epochs"]

    @staticmethod
    def parse(text: str) -> "Budget":
        """Raises ValueError naming the allowed forms."""
        compact = text.strip().lower().replace(",", "").replace("_", "")
        clock = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _SECONDS), compact)
        if clock is not None:
            seconds = sum(float(n or 0) * one for n, one in zip(clock.groups(), _SECONDS.values(), strict=True))
            if seconds > 0:
                return Budget(seconds, "seconds")
        counted = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgb]?)\s*(steps?|tokens?|epochs?)", compact)
        if counted and float(counted[1]) > 0:
            unit = counted[3].rstrip("s") + "s"
            return Budget(float(counted[1]) * _SCALE[counted[2]], unit)  # type: ignore[arg-type]
        raise ValueError(message("{text!r} is not a budget; allowed: {forms}", text, BUDGET_FORMS))

    def steps(self, steps_per_epoch: float, tokens_per_step: float) -> int | None:
        """The number of steps that it means; None for wall-clock, where it is not known before."""
        if self.unit == "seconds":
            return None
        exact = {"steps": self.amount, "tokens": self.amount / tokens_per_step, "epochs": self.amount * steps_per_epoch}
        return max(1, math.ceil(exact[self.unit] - 1e-9))


@config
class TrainConfig:
    """Settings of training: budget, optimiser, schedule, evaluations, checkpoints."""

    budget: str = setting(default="10m", description=f"length of the run: {BUDGET_FORMS}")
    optimizer: Annotated[OptimizerConfig, by_name()] = setting(default_factory=OptimizerConfig, description="optimiser")
    schedule: AnySchedule = setting(default_factory=Linear, description="learning rate over the run")
    max_grad_norm: float = setting(default=1.0, gt=0, description="maximum gradient norm")
    gradient_accumulation_steps: int = setting(default=1, ge=1, description="micro-batches per step, for less memory")
    batch_ramp: Ramp | None = setting(default=None, description="smaller steps at the beginning of the run")
    parallel: ParallelMode = setting(default="ddp", description="several processes: ddp replicates, fsdp shards")
    precision: PrecisionName = setting(default="auto", description="of matrix products; auto: bfloat16 on capable GPUs")
    compile: CompileMode = setting(default="auto", description="compile the blocks on a GPU; auto: in long runs")
    gradient_checkpointing: bool = setting(default=False, description="recompute activations: less memory, more time")
    threads: int | None = setting(default=None, ge=1, description="CPU threads; default: measured when a run begins")
    ema: float | None = setting(default=None, gt=0, lt=1, description="average the weights over this share of the run")
    evaluations: int = setting(default=5, ge=1, description="number of evaluations, evenly spaced over the run")
    save_minutes: float = setting(default=5.0, gt=0, description="interval of checkpoints; also saved at evaluations")
    tensorboard: bool = setting(default=False, description="write the log to tensorboard/ in the run folder as well")

    def __post_init__(self) -> None:
        Budget.parse(self.budget)
