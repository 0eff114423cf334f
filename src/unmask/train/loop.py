"""The training loop: a generator of what happened. The caller logs, evaluates and saves."""

import dataclasses
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unmask import console
from unmask.data.hashing import hash_integers
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.learner.prefetch import Prefetch
from unmask.train.budget import Budget, TrainConfig
from unmask.train.norms import layer_norms
from unmask.train.optim import set_lr
from unmask.train.parallel import World
from unmask.train.precision import Precision, resolve_precision

DROPOUT = 21  # what a hash is for
PREFETCH_STEPS = 2  # steps whose batches are being prepared
MAX_SKIPPED_STEPS = 3  # in a row, because their loss or gradient is no finite number
NORM_SAMPLES = 100  # times in a run at which the norms of each layer are taken


@dataclass
class LoopState:
    """How far a run is: all that resuming needs beside the weights. examples: read; seconds: spent in all, pauses
    not counted; skipped: steps left out because their loss or gradient was no finite number."""

    step: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: int = 0


@dataclass(frozen=True)
class Step:
    """What happened in one update. since, progress: share of the budget before and after it; loss: weighted sum of
    the parts' means (nats); tokens: read in this step, by all processes; took: seconds for this step alone, of
    which it waited for data; seconds: spent in all; norms: of gradients and activations by layer, now and then;
    skipped: nothing was learnt, since the loss or the gradient was no finite number."""

    number: int
    previous_progress: float
    progress: float
    loss: float
    losses: Mapping[str, float]
    lr: float
    grad_norm: float
    tokens: int
    step_seconds: float
    data_wait_seconds: float
    seconds: float
    norms: Mapping[str, Sequence[float]] | None = None
    skipped: bool = False


class Clock:
    """Progress as a share of the budget; wall-clock goes on where an interrupted run stopped."""

    def __init__(self, budget: Budget, batches: Batches, state: LoopState) -> None:
        self.budget, self.state = budget, state
        self.steps = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
        self._started = time.monotonic() - state.seconds

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def progress(self, step: int, seconds: float) -> float:
        """After `step` updates and `seconds`. Counted in steps, the seconds do not matter."""
        done = seconds / self.budget.amount if self.steps is None else step / self.steps
        return min(1.0, done)

    def step_share(self, seconds: float) -> float:
        """What of the budget a step takes, that takes so long."""
        return seconds / self.budget.amount if self.steps is None else 1 / self.steps


def train_steps(
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    settings: TrainConfig,
    state: LoopState,
    seed: int,
    world: World | None = None,
) -> Generator[Step]:
    """Train from `state` until the budget is spent; `state` is kept up to date.

    learner: a Learner, or what a World made of one. A step whose loss or gradient is no finite number changes no
    weight; raises UserError after more than MAX_SKIPPED_STEPS of them in a row.
    """
    world = world or World(next(learner.parameters()).device.type)
    plain, clock = world.unwrap(learner), Clock(Budget.parse(settings.budget), batches, state)
    precision = resolve_precision(settings.precision, world.device)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    requested, took, now = state.examples, 0.0, clock.progress(state.step, state.seconds)
    bad = 0  # steps in a row that were left out

    def make(start: int, progress: float) -> list[Batch]:
        made = [plain.prepare(batch, seed) for batch in batches.step(start, progress)]
        return [batch.pin_memory() for batch in made] if world.on_gpu else made

    def request(step: int) -> None:
        """Have the batches of a step prepared, for the progress that is foreseen."""
        nonlocal requested
        ready.request(requested, clock.progress(step, state.seconds))
        requested += batches.examples_per_step

    def received() -> tuple[list[Batch], float]:
        """The next batches, on the device, and for how many seconds they were waited for."""
        waiting = time.monotonic()
        micro = ready.get()
        return [batch.to(world.device) for batch in micro], time.monotonic() - waiting

    with Prefetch(make) as ready:
        for ahead in range(PREFETCH_STEPS):
            request(state.step + ahead)
        micro = received()[0] if now < 1 else []
        while now < 1:  # `now` is what was yielded last: a run ends with a step that is told to be the end
            counts, tokens, begun = _global_counts(world, micro, clock.seconds())
            since = clock.progress(state.step, begun)
            # the rate of a step is that of its middle
            lr = settings.optimizer.peak_lr * settings.schedule.factor(min(1.0, since + clock.step_share(took) / 2))
            set_lr(optimizer, lr)
            torch.manual_seed(int(hash_integers(seed, DROPOUT, state.step, world.rank)[0] >> np.uint64(1)))
            watch = state.step == 0 or int(since * NORM_SAMPLES) != int((since + clock.step_share(took)) * NORM_SAMPLES)
            plain.encoder.activation_norms = [] if watch else None
            optimizer.zero_grad(set_to_none=True)
            means = _accumulate(learner, micro, counts, world, precision)
            norms = layer_norms(plain, world) if watch else None
            length = world.clip_grad_norm(parameters, settings.max_grad_norm)
            # a GPU has its work now: in the meantime the next batches are sent, and those after them prepared
            request(state.step + PREFETCH_STEPS)
            micro, waited = received()
            norm = float(length)
            *figures, told = world.sum([*means.tolist(), clock.seconds() if world.is_main else 0.0])
            loss, parts = figures[0], dict(zip(counts, figures[1:], strict=True))
            if math.isfinite(norm) and math.isfinite(loss):
                bad = 0
                optimizer.step()
            else:
                bad += 1
                with world.sync_errors():
                    _skip_step(state, bad, loss, norm, lr)
            state.step += 1
            state.examples += batches.examples_per_step
            state.tokens += tokens
            state.seconds = told
            took = told - begun
            now = clock.progress(state.step, told)
            yield Step(
                state.step,
                since,
                now,
                loss,
                parts,
                lr,
                norm,
                tokens,
                took,
                waited,
                told,
                norms,
                bad > 0,
            )


def _global_counts(world: World, micro: Sequence[Batch], seconds: float) -> tuple[dict[str, int], int, float]:
    """Of a whole step: how many places are scored, by name; tokens; the seconds of the main process."""
    counts: dict[str, int] = {}
    for batch in micro:
        for name, value in batch.target_counts.items():
            counts[name] = counts.get(name, 0) + value
    tokens = sum(batch.num_tokens for batch in micro)
    *summed, tokens_of_all, told = world.sum([*counts.values(), tokens, seconds if world.is_main else 0.0])
    return (
        {name: round(value) for name, value in zip(counts, summed, strict=True)},
        round(tokens_of_all),
        told,
    )


def _accumulate(
    learner: nn.Module, micro: Sequence[Batch], counts: Mapping[str, int], world: World, precision: Precision
) -> Tensor:
    """Gradients of a whole step. Returns this process's share of the loss and of each part's mean, in one tensor; a
    part need not be in every pass.

    Sums are divided once, by the counts over all micro-batches and processes. Dividing each micro-batch by its own
    count, and the sum by their number, would weigh a place by how many others are scored beside it.
    """
    told = []
    passes = world.unwrap(learner).backward_passes
    turns = [dataclasses.replace(batch, backward_pass=turn) for batch in micro for turn in range(passes)]
    for number, batch in enumerate(turns, start=1):
        with world.gradient_sync(learner, now=number == len(turns)):
            with precision.autocast(world.device):
                outcome = learner(batch)
                share = outcome.share(counts)
            # engines average over processes what is to be added up
            (share * world.size).backward()
        totals = {name: part.sum.detach() for name, part in outcome.terms.items()}
        none = torch.zeros_like(share)
        parts = [totals.get(name, none) / max(1, counts[name]) for name in counts]
        told.append(torch.stack([share.detach(), *parts]))
    return torch.stack(told).sum(0)


def _skip_step(state: LoopState, bad: int, loss: float, norm: float, lr: float) -> None:
    """Count and report a step that is left out; raises UserError when there are too many in a row."""
    if bad > MAX_SKIPPED_STEPS:
        raise UserError(
            f"step {state.step + 1}: the loss is no longer a finite number, so the run stops here",
            given=[
                f"loss {loss}",
                f"gradient norm {norm}",
                f"learning rate {lr:.2g}",
                f"skipped before: {MAX_SKIPPED_STEPS} steps in a row",
            ],
            hint=[
                "the last checkpoint is kept, if there is one",
                "start a new run with a lower train.optimizer.lr or a longer train.schedule.warmup_ratio",
            ],
        )
    state.skipped += 1
    shown, length = str(round(loss, 4)), str(round(norm, 4))
    console.note("step {step} skipped: loss is {loss}, gradient norm {norm}", state.step + 1, shown, length)


@torch.no_grad()
def evaluate(learner: Learner, batches: list[Batch]) -> dict[str, float]:
    """Mean loss (nats) and accuracy of each part over prepared batches: `masked.loss`, `masked.accuracy`, ..."""
    device = next(learner.parameters()).device
    was_training = learner.training
    learner.eval()
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, part in learner(batch.to(device)).terms.items():
            counts[name] = counts.get(name, 0) + part.count
            sums[f"{name}.loss"] = sums.get(f"{name}.loss", 0.0) + float(part.sum)
            if part.correct is not None:
                sums[f"{name}.accuracy"] = sums.get(f"{name}.accuracy", 0.0) + float(part.correct)
    learner.train(was_training)
    return {key: value / max(1, counts[key.rpartition(".")[0]]) for key, value in sums.items()}
