"""Schedules: everything that changes over a run is a function of its progress, the share of the run that is done."""

import math
from typing import Annotated, Literal

from unmask.config import by_name, config, setting


def interpolate(start: float, end: float, progress: float, until: float = 1.0) -> float:
    """Value at `progress` of a straight line from `start` to `end`, which it reaches at `until`."""
    return start + (end - start) * progress / until if progress < until else end


def ema_weight(previous: float, progress: float, span: float) -> float:
    """Weight of the newest value in an exponential moving average over about the last `span` of the run.

    `previous` is the progress before it. A value of x of the run ago counts exp(-x / span) as much as the newest. In
    the first `span` of the run the average reaches back to the beginning, evenly.
    """
    return 1 - math.exp(-(progress - previous) / min(span, progress)) if progress > previous else 0.0


@config
class Ramp:
    """From `start`, a share of the full value, in a straight line to all of it over the first part of the run."""

    start: float = setting(default=0.25, gt=0, le=1, description="share of the full value at the beginning")
    until: float = setting(default=0.1, gt=0, le=1, description="share of the run after which it is full")

    def factor(self, progress: float) -> float:
        """Share of the full value at `progress`."""
        return interpolate(self.start, 1.0, progress, self.until)

    @property
    def mean_factor(self) -> float:
        """Mean of the factor over a run."""
        return 1 - (1 - self.start) * self.until / 2


@config
class LRSchedule:
    """Learning rate as a share of its peak: up in a straight line, then down to `min_lr_ratio` as `decay` says."""

    name: str
    warmup_ratio: float = setting(default=0.06, ge=0, lt=1, description="share of the run")
    min_lr_ratio: float = setting(default=0.0, ge=0, le=1, description="share of the peak rate at the end")

    def factor(self, progress: float) -> float:
        """Share of the peak learning rate at `progress`."""
        if progress < self.warmup_ratio:
            return progress / self.warmup_ratio
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * self.decay(progress)

    def decay(self, progress: float) -> float:
        """Share of the way down that is left after the warm-up, from 1 to 0."""
        raise NotImplementedError


@config
class Linear(LRSchedule):
    """Linear warm-up and linear decay (BERT)."""

    name: Literal["linear"] = "linear"

    def decay(self, progress: float) -> float:
        return max(0.0, (1 - progress) / (1 - self.warmup_ratio))


@config
class Cosine(LRSchedule):
    """Linear warm-up and decay along half a cosine (Loshchilov and Hutter 2017, section 3)."""

    name: Literal["cosine"] = "cosine"

    def decay(self, progress: float) -> float:
        into = (min(1.0, progress) - self.warmup_ratio) / (1 - self.warmup_ratio)
        return (1 + math.cos(math.pi * into)) / 2


@config
class WarmupStableDecay(LRSchedule):
    """Linear warm-up, a constant rate, and decay over the last `decay_ratio` of the run (Hägele et al. 2024).

    decay_type "sqrt" is 1 - sqrt(x) over that time, "linear" is 1 - x.
    """

    name: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    decay_ratio: float = setting(default=0.4, gt=0, le=1, description="share of the run")
    decay_type: Literal["linear", "sqrt"] = setting(default="linear", description="form of the decay")

    def decay(self, progress: float) -> float:
        into = min(1.0, max(0.0, (progress - (1 - self.decay_ratio)) / self.decay_ratio))
        return 1 - (math.sqrt(into) if self.decay_type == "sqrt" else into)


AnySchedule = Annotated[Linear | Cosine | WarmupStableDecay, setting(discriminator="name"), by_name()]
