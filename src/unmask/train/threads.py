"""How many CPU threads to train with: measured, since more are slower where cores are shared or steps small."""

import time
from collections.abc import Callable
from itertools import islice

import torch

from unmask.data.shards import Shards
from unmask.train import optim
from unmask.train.pretrain import batches_of, fitted, learner_of
from unmask.train.recipe import PretrainRecipe
from unmask.train.steps import State, steps

GAIN = 1.1  # more threads must be so much faster: they suffer more from a neighbour on the machine


def fastest(work: Callable[[], object], most: int | None = None, rounds: int = 3) -> int:
    """The number of threads, a power of two or `most` (default: all), with which `work` takes least.

    All that it takes counts, waiting included; in turn, so that a neighbour falls on all alike. Leaves the number
    set. The measurement is noisy: store the answer with the run.
    """
    most = most or torch.get_num_threads()
    candidates = sorted({*(1 << k for k in range(most.bit_length())), most})
    took = dict.fromkeys(candidates, 0.0)
    for _ in range(rounds):
        for threads in candidates:
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            work()
            took[threads] += time.perf_counter() - begun
    best = candidates[0]
    for threads in candidates[1:]:
        if took[threads] * GAIN < took[best]:
            best = threads
    torch.set_num_threads(best)
    return best


def fastest_for(recipe: PretrainRecipe, shards: Shards, count: int = 6) -> int:
    """`fastest` for the real steps of a recipe, with the thread that prepares batches beside them."""
    if torch.get_num_threads() == 1:
        return 1
    recipe = fitted(recipe, shards.tokenizer)
    learner, batches = learner_of(recipe, shards.tokenizer), batches_of(recipe, shards)
    optimizer = optim.build(recipe.train.optimizer, learner)

    def some_steps() -> None:
        loop = steps(learner, optimizer, batches, recipe.train, State(), recipe.seed)
        for _ in islice(loop, count):
            pass
        loop.close()

    some_steps()  # the first ones pay for memory and caches
    return fastest(some_steps)
