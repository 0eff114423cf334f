"""The training loop: a generator of what happened. The caller logs, evaluates and saves."""

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from unmask.data.batch import Batch
from unmask.data.batches import Batches, prefetched
from unmask.data.hashing import hashed
from unmask.errors import UserError
from unmask.learner import Learner
from unmask.train.budget import Budget, TrainConfig
from unmask.train.optim import set_lr

DROPOUT = 21  # what a hash is for


@dataclass
class State:
    """How far a run is: all that resuming needs beside the weights. seconds: spent in all, pauses not counted."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """What happened in one update. loss: weighted sum of the parts' means (nats); tokens: read in this step;
    took: seconds for this step alone; seconds: spent in all."""

    number: int
    progress: float
    loss: float
    parts: Mapping[str, float]
    lr: float
    grad_norm: float
    tokens: int
    took: float
    seconds: float


class Clock:
    """Progress as a share of the budget; wall-clock goes on where an interrupted run stopped."""

    def __init__(self, budget: Budget, batches: Batches, state: State) -> None:
        self.budget, self.state = budget, state
        tokens_per_step = batches.per_step * batches.examples.mean_tokens
        self.steps = budget.steps(batches.steps_per_epoch, tokens_per_step)
        self._begun = time.monotonic() - state.seconds

    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def progress(self, step: int) -> float:
        """After `step` updates. Counted in steps, it is a pure function; under wall-clock, what is spent now."""
        done = self.seconds() / self.budget.amount if self.steps is None else step / self.steps
        return min(1.0, done)


def steps(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    settings: TrainConfig,
    state: State,
    seed: int,
) -> Generator[Step]:
    """Train from `state` until the budget is spent; `state` is kept up to date.

    Raises UserError when the loss is no longer a number; the weights are then those of the step before.
    """
    clock = Clock(Budget.parse(settings.budget), batches, state)

    def make(step: int) -> list[Batch]:
        return [learner.prepare(batch, seed) for batch in batches.step(step, clock.progress(step))]

    ready = prefetched(make, state.step)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    last = 0.0  # seconds that the step before took; the rate of a step is that of its middle
    try:
        now = clock.progress(state.step)
        while now < 1:  # `now` is what was yielded last: a run ends with a step that is told to be the end
            micro = next(ready)
            begun, done = clock.seconds(), clock.progress(state.step)
            ahead = last / clock.budget.amount if clock.steps is None else 1 / clock.steps
            lr = settings.optimizer.lr * settings.schedule.factor(min(1.0, done + ahead / 2))
            set_lr(optimizer, lr)
            torch.manual_seed(int(hashed(seed, DROPOUT, state.step)[0] >> np.uint64(1)))
            optimizer.zero_grad(set_to_none=True)
            loss, means = _accumulate(learner, micro)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
            if not (math.isfinite(norm) and math.isfinite(loss)):
                raise _not_a_number(state.step + 1, loss, norm, lr)
            optimizer.step()
            tokens = sum(batch.tokens for batch in micro)
            state.step += 1
            state.tokens += tokens
            state.seconds = clock.seconds()
            last = state.seconds - begun
            now = clock.progress(state.step)
            yield Step(state.step, now, loss, means, lr, norm, tokens, last, state.seconds)
    finally:
        ready.close()


def _accumulate(learner: Learner, micro: list[Batch]) -> tuple[float, dict[str, float]]:
    """Gradients of a whole step. Sums are divided once, by the counts over all micro-batches.

    Dividing each micro-batch by its own count, and the sum by their number, would weigh a place by how many
    others are scored beside it.
    """
    device = next(learner.parameters()).device
    counts: dict[str, int] = {}
    for batch in micro:
        for name, value in batch.counts.items():
            counts[name] = counts.get(name, 0) + value
    loss = 0.0
    means = dict.fromkeys(counts, 0.0)
    for batch in micro:
        outcome = learner(batch.to(device))
        share = outcome.share(counts)
        share.backward()
        loss += float(share.detach())
        for name, part in outcome.parts.items():
            means[name] += float(part.total.detach()) / max(1, counts[name])
    return loss, means


def _not_a_number(step: int, loss: float, norm: float, lr: float) -> UserError:
    return UserError(
        f"step {step}: the loss is no longer a finite number, so the run stops here",
        loss=loss,
        gradient_norm=norm,
        learning_rate=f"{lr:.2g}",
        kept="the last checkpoint, if one was due before",
        to_do="start a new run with a lower train.optimizer.lr or a longer train.schedule.warmup",
    )


@torch.no_grad()
def evaluate(learner: Learner, batches: list[Batch]) -> dict[str, float]:
    """Mean loss (nats) and accuracy of each part over prepared batches: `masked.loss`, `masked.accuracy`, ..."""
    device = next(learner.parameters()).device
    was_training = learner.training
    learner.eval()
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, part in learner(batch.to(device)).parts.items():
            counts[name] = counts.get(name, 0) + part.count
            sums[f"{name}.loss"] = sums.get(f"{name}.loss", 0.0) + float(part.total)
            if part.correct is not None:
                sums[f"{name}.accuracy"] = sums.get(f"{name}.accuracy", 0.0) + float(part.correct)
    learner.train(was_training)
    return {key: value / max(1, counts[key.rpartition(".")[0]]) for key, value in sums.items()}
