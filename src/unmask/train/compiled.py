"""Whether a GPU runs compiled blocks (torch.compile): measured, since compiling takes about a minute."""

import copy
import time
from itertools import islice

from unmask.data.batches import Batches
from unmask.learner import Learner
from unmask.train import optim
from unmask.train.budget import Budget, TrainConfig
from unmask.train.steps import State, steps

WORTH = 15 * 60.0  # seconds that a run must take, for the trial to be worth its time
STEPS = 10


def compile_blocks(learner: Learner) -> None:
    """Let the blocks of the encoder be compiled when they first run, once for all lengths. Weights and their names
    stay as they are. Only for packed batches with the attention `varlen`: the calls of others differ by batch."""
    for block in learner.encoder.blocks:
        block.compile(dynamic=True)


def compiling_pays(learner: Learner, batches: Batches, settings: TrainConfig, seed: int) -> bool:
    """Whether a copy of the learner takes less time for real steps when compiled; False for a short run, untried."""
    tried = copy.deepcopy(learner)
    plain = _seconds(tried, batches, settings, seed)
    budget = Budget.parse(settings.budget)
    known = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
    if (budget.amount if known is None else known * plain) < WORTH:
        return False
    compile_blocks(tried)
    return _seconds(tried, batches, settings, seed) < plain


def _seconds(learner: Learner, batches: Batches, settings: TrainConfig, seed: int) -> float:
    """Of one step, after those that pay for memory and compilation."""
    optimizer = optim.build(settings.optimizer, learner, learner.lr_factors)
    loop = steps(learner, optimizer, batches, settings, State(), seed)
    for _ in islice(loop, STEPS):
        pass
    begun = time.perf_counter()
    for _ in islice(loop, STEPS):
        pass
    loop.close()
    return (time.perf_counter() - begun) / STEPS
