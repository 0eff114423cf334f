"""What a run chooses for its device when it begins: the number of CPU threads, compiled blocks on a GPU."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice

import torch
from torch import Tensor

from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.model.encoder import run_block
from unmask.train.budget import Budget, TrainConfig
from unmask.train.steps.device import limit_kernel_cache, resolve_precision
from unmask.train.steps.loop import LoopState, train_steps
from unmask.train.steps.optim import build_optimizer
from unmask.train.steps.parallel import World

GAIN = 1.1  # more threads must be so much faster: they suffer more from a neighbour on the machine
SHARE = 0.02  # of a run that may be spent on measuring threads
LONGEST = 20.0  # seconds
ROUNDS = 3
SHORT_SECONDS, SHORT_STEPS = 120.0, 100  # a run in which no threads are tried: a step may take seconds
COMPILE_SECONDS, COMPILE_STEPS = 900.0, 5000  # a run whose blocks are compiled, which takes a quarter of a minute


def fixed_threads(settings: TrainConfig, world: World) -> int | None:
    """The number of threads of a run where there is nothing to measure."""
    if settings.threads is None and world.size == 1 and not world.on_gpu and torch.get_num_threads() > 1:
        return None
    return settings.threads or torch.get_num_threads()


def choose_threads(
    learner: Learner, batches: Batches, settings: TrainConfig, seed: int, seconds: float | None = None
) -> tuple[int, float | None]:
    """The number of threads with which real steps are fastest, and their tokens per second where that was measured.

    More are slower where cores are shared or steps small. seconds: that measuring may take; by default a small share of
    the run, and where that is too little, nothing is measured: the answer is as many threads as torch has.
    """
    limit_kernel_cache()
    most = torch.get_num_threads()
    budget = Budget.parse(settings.budget)
    run_steps = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
    if seconds is None and (budget.amount < SHORT_SECONDS if run_steps is None else run_steps < SHORT_STEPS):
        return most, None
    tried = copy.deepcopy(learner)
    optimizer = build_optimizer(settings.optimizer, tried)
    tokens = 0

    def train(steps: int) -> float:
        """Seconds of so many steps, with the thread that prepares batches beside them."""
        nonlocal tokens
        begun = time.perf_counter()
        with closing(train_steps(tried, optimizer, batches, settings, LoopState(), seed)) as loop:
            tokens += sum(step.tokens for step in islice(loop, steps))
        return time.perf_counter() - begun

    train(2)  # the first ones pay for memory and caches
    each = train(2) / 2
    if seconds is None:
        seconds = min(LONGEST, SHARE * (budget.amount if run_steps is None else run_steps * each))
    numbers = sorted({*(1 << k for k in range(most.bit_length())), most})  # powers of two, and all
    steps = int(seconds / (each * ROUNDS * len(numbers)))
    if steps < 1:
        return most, None
    tokens = 0
    threads, took = fastest_threads(lambda: train(steps), numbers)
    return threads, tokens / (ROUNDS * len(numbers)) / took


def fastest_threads(seconds: Callable[[], float], numbers: Sequence[int]) -> tuple[int, float]:
    """(the number of threads with which something takes least, the mean seconds that it takes with them).

    They are tried in turn, so that a neighbour falls on all alike. Leaves the number set. The measurement is noisy:
    store the answer with the run.
    """
    took = dict.fromkeys(numbers, 0.0)
    for _ in range(ROUNDS):
        for threads in numbers:
            torch.set_num_threads(threads)
            took[threads] += seconds()
    best = numbers[0]
    for threads in numbers[1:]:
        if took[threads] * GAIN < took[best]:
            best = threads
    torch.set_num_threads(best)
    return best, took[best] / ROUNDS


def compiles_blocks(learner: Learner, batches: Batches, settings: TrainConfig, world: World) -> bool:
    """Whether a run compiles the blocks of its encoder; auto: a long one on a GPU where attention has a kernel for
    packed batches."""
    if settings.compile != "auto":
        return settings.compile == "always"
    precision = resolve_precision(settings.precision, world.device)
    if not world.on_gpu or precision.matmul_dtype is None or learner.encoder.config.dropout:
        return False
    budget = Budget.parse(settings.budget)
    run_steps = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
    return budget.amount >= COMPILE_SECONDS if run_steps is None else run_steps >= COMPILE_STEPS


def compile_block() -> Callable[..., Tensor]:
    """What `Encoder.compiled_block` takes: one compiled function for all blocks and all lengths.

    For packed batches whose attention is `varlen`; the calls of other kinds differ from batch to batch, and each
    would be compiled anew.
    """
    compiled: Callable[..., Tensor] = torch.compile(run_block, dynamic=True)
    return compiled
