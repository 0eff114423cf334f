"""How many CPU threads to train with: measured, since more are slower where cores are shared or steps small."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.train import optim
from unmask.train.allocator import keep_few_kernels
from unmask.train.budget import Budget, TrainConfig
from unmask.train.loop import LoopState, train_steps

GAIN = 1.1  # more threads must be so much faster: they suffer more from a neighbour on the machine
SHARE = 0.02  # of a run that may be spent on measuring
LONGEST = 20.0  # seconds
ROUNDS = 3
SHORT, FEW = 120.0, 100  # seconds or steps of a run in which nothing is tried: a step may take seconds


@dataclass(frozen=True)
class ThreadChoice:
    """A number of threads; tokens_per_second: with them, where it was measured."""

    threads: int
    tokens_per_second: float | None = None


def candidates(max_threads: int) -> list[int]:
    """The powers of two up to `most`, and `most`."""
    return sorted({*(1 << k for k in range(max_threads.bit_length())), max_threads})


def fastest_threads(work: Callable[[], object], numbers: Sequence[int], rounds: int = ROUNDS) -> tuple[int, float]:
    """(the number of threads with which `work` takes least, the seconds that it takes with them).

    All that it takes counts, waiting included; in turn, so that a neighbour falls on all alike. Leaves the number
    set. The measurement is noisy: store the answer with the run.
    """
    took = dict.fromkeys(numbers, 0.0)
    for _ in range(rounds):
        for threads in numbers:
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            work()
            took[threads] += time.perf_counter() - begun
    best = numbers[0]
    for threads in numbers[1:]:
        if took[threads] * GAIN < took[best]:
            best = threads
    torch.set_num_threads(best)
    return best, took[best] / rounds


def choose_threads(
    learner: Learner, batches: Batches, settings: TrainConfig, seed: int, seconds: float | None = None
) -> ThreadChoice:
    """`fastest` for real steps of a copy of the learner, with the thread that prepares batches beside them.

    seconds: that measuring may take; a small share of the run if not given, and then it is left out where that is
    too little: the answer is as many threads as torch has.
    """
    keep_few_kernels()
    numbers = candidates(torch.get_num_threads())
    budget = Budget.parse(settings.budget)
    known = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
    if seconds is None and (budget.amount < SHORT if known is None else known < FEW):
        return ThreadChoice(numbers[-1])
    tried = copy.deepcopy(learner)
    optimizer = optim.build_optimizer(settings.optimizer, tried)
    read = LoopState()

    def take(count: int) -> float:
        begun = time.perf_counter()
        loop = train_steps(tried, optimizer, batches, settings, LoopState(), seed)
        for step in islice(loop, count):
            read.tokens += step.tokens
        loop.close()
        return time.perf_counter() - begun

    take(2)  # the first ones pay for memory and caches
    each = take(2) / 2
    if seconds is None:
        seconds = min(LONGEST, SHARE * (budget.amount if known is None else known * each))
    count = int(seconds / (each * ROUNDS * len(numbers)))
    if count < 1:
        return ThreadChoice(numbers[-1])
    read.tokens = 0
    threads, took = fastest_threads(lambda: take(count), numbers)
    return ThreadChoice(threads, read.tokens / (ROUNDS * len(numbers)) / took)
