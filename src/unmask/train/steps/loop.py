"""The training loop: a generator of what happened. The caller logs, evaluates and saves."""

import dataclasses
import math
import time
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from unmask import console
from unmask.data.hashing import hash_integers
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.train.budget import Budget, TrainConfig
from unmask.train.steps.device import Precision, resolve_precision
from unmask.train.steps.optim import set_lr
from unmask.train.steps.parallel import World, is_distributed, sum_of_squares

DROPOUT = 21  # what a hash is for
PREFETCH_STEPS = 2  # steps whose batches are being prepared
MAX_SKIPPED_STEPS = 3  # in a row, because their loss or gradient is no finite number
NORM_SAMPLES = 100  # times in a run at which the norms of each layer are taken


@dataclass
class LoopState:
    """How far a run is: all that resuming needs beside the weights. examples: read; seconds: spent in all, pauses
    not counted."""

    step: int = 0
    examples: int = 0
    tokens: int = 0
    seconds: float = 0.0


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
        self.budget = budget
        self.steps = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
        self._started = time.monotonic() - state.seconds

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def progress(self, step: int, seconds: float) -> float:
        """After `step` updates and `seconds`. Counted in steps, the seconds do not matter."""
        return min(1.0, seconds / self.budget.amount if self.steps is None else step / self.steps)

    def step_share(self, seconds: float) -> float:
        """The share of the budget of a step that takes so long."""
        return seconds / self.budget.amount if self.steps is None else 1 / self.steps


class Prefetch:
    """The batches of this step and of those to come, prepared in a thread while the network learns.

    examples: how many were read before.
    """

    def __init__(self, learner: Learner, batches: Batches, seed: int, world: World, examples: int) -> None:
        self.learner, self.batches, self.seed, self.world = learner, batches, seed, world
        self._requested = examples
        self._steps: deque[tuple[int, Future[list[Batch]]]] = deque()  # number of examples, batches
        torch.get_num_threads()  # a thread in which torch has not yet been asked takes over the setting of another one
        # each thread has this setting for itself: with more, torch would keep a second pool of threads busy, with which
        # training on both of two cores took more than twice as long
        self._worker = ThreadPoolExecutor(1, "prefetch", torch.set_num_threads, (1,))

    def request(self, progress: float) -> None:
        """Prepare one more step, for the progress that is foreseen."""
        size = self.batches.step_size(progress)
        self._steps.append((size, self._worker.submit(self._prepare, self._requested, progress)))
        self._requested += size

    def _prepare(self, start: int, progress: float) -> list[Batch]:
        step = self.batches.step(start, progress, self.learner.copies)
        prepared = [self.learner.prepare(batch, self.seed) for batch in step]
        return [batch.pin_memory() for batch in prepared] if self.world.on_gpu else prepared

    def get(self, ahead: int) -> list[Batch]:
        """The batches of this step (0) or of a later one, on the device. Raises what preparing them raised."""
        return [batch.to(self.world.device) for batch in self._steps[ahead][1].result()]

    def finish(self) -> int:
        """Drop the batches of this step, since the next one begins. Returns the number of its examples."""
        return self._steps.popleft()[0]

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)


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
    took, now = 0.0, clock.progress(state.step, state.seconds)
    bad = 0  # steps in a row that were left out
    with closing(Prefetch(plain, batches, seed, world, state.examples)) as prefetch:
        for ahead in range(PREFETCH_STEPS):
            prefetch.request(clock.progress(state.step + ahead, state.seconds))
        micro = prefetch.get(0) if now < 1 else []
        while now < 1:  # `now` is what was yielded last: a run ends with a step whose progress is 1
            started = time.monotonic()
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
            prefetch.request(clock.progress(state.step + PREFETCH_STEPS, state.seconds))
            waiting = time.monotonic()
            micro = prefetch.get(1)
            waited, norm = time.monotonic() - waiting, float(length)
            *figures, ended = world.sum([*means.tolist(), clock.seconds() if world.is_main else 0.0])
            loss, parts = figures[0], dict(zip(counts, figures[1:], strict=True))
            if math.isfinite(norm) and math.isfinite(loss):
                bad = 0
                optimizer.step()
            else:
                bad += 1
                with world.sync_errors():
                    _skip_step(state, bad, loss, norm, lr)
            state.step += 1
            state.examples += prefetch.finish()
            state.tokens += tokens
            state.seconds = ended
            took, now = ended - begun, clock.progress(state.step, ended)  # of the main process: the same in all
            spent = time.monotonic() - started  # with the optimiser, whose time no process knows of the others
            yield Step(state.step, since, now, loss, parts, lr, norm, tokens, spent, waited, ended, norms, bad > 0)


def _global_counts(world: World, micro: Sequence[Batch], seconds: float) -> tuple[dict[str, int], int, float]:
    """Of a whole step: how many places are scored, by name; tokens; the seconds of the main process."""
    counts: Counter[str] = Counter()
    for batch in micro:
        counts.update(batch.target_counts)
    tokens = sum(batch.num_tokens for batch in micro)
    *summed, seconds = world.sum([*counts.values(), tokens, seconds if world.is_main else 0.0])
    *totals, all_tokens = map(round, summed)
    return dict(zip(counts, totals, strict=True)), all_tokens, seconds


def _accumulate(
    learner: nn.Module, micro: Sequence[Batch], counts: Mapping[str, int], world: World, precision: Precision
) -> Tensor:
    """Gradients of a whole step. Returns this process's share of the loss and of each part's mean, in one tensor; a
    part need not be in every pass.

    Sums are divided once, by the counts over all micro-batches and processes. Dividing each micro-batch by its own
    count, and the sum by their number, would weigh a place by how many others are scored beside it.
    """
    results = []
    passes = world.unwrap(learner).backward_passes
    turns = [dataclasses.replace(batch, backward_pass=turn) for batch in micro for turn in range(passes)]
    for number, batch in enumerate(turns, start=1):
        with world.gradient_sync(learner, now=number == len(turns)):
            with precision.autocast(world.device):
                outcome = learner(batch)
                share = outcome.share(counts)
            # engines average over processes what is to be added up
            (share * world.size).backward()
        none = torch.zeros_like(share)
        sums = [outcome.terms[name].sum.detach() if name in outcome.terms else none for name in counts]
        means = [total / max(1, counts[name]) for name, total in zip(counts, sums, strict=True)]
        results.append(torch.stack([share.detach(), *means]))
    return torch.stack(results).sum(0)


@torch.no_grad()
def layer_norms(learner: Learner, world: World) -> dict[str, list[float]]:
    """Whether gradients reach the lower layers, and whether activations stay in bounds.

    `gradient`: 2-norms of the gradients of the embeddings and of each block, bottom to top, as backward left them;
    `activation`: root mean squares of the hidden states after each of these, in the pass that the encoder watched last.
    """
    layers = [learner.encoder.embeddings, *learner.encoder.blocks]
    gradients = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in layers]
    squares = [sum_of_squares(each) for each in gradients]
    if is_distributed(*chain.from_iterable(gradients)):
        squares = world.sum(squares)
    return {
        "gradient": [math.sqrt(total) for total in squares],
        "activation": [float(norm) for norm in learner.encoder.activation_norms or ()],
    }


def _skip_step(state: LoopState, bad: int, loss: float, norm: float, lr: float) -> None:
    """Report a step that is left out; raises UserError when there are too many in a row."""
    if bad > MAX_SKIPPED_STEPS:
        raise UserError(
            f"step {state.step + 1}: the loss is no longer a finite number, so the run stops here",
            given=[
                f"loss {loss}, gradient norm {norm}, learning rate {lr:.2g}",
                f"skipped before: {MAX_SKIPPED_STEPS} steps in a row",
            ],
            hint="start a new run with a lower train.optimizer.lr or a longer train.schedule.warmup_ratio",
        )
    values = str(round(loss, 4)), str(round(norm, 4))
    console.note("step {step} skipped: loss is {loss}, gradient norm {norm}", state.step + 1, *values)


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
