"""Whether a GPU runs compiled blocks (torch.compile): measured, since compiling takes a quarter of a minute."""

import copy
import time
from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor

from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.model.encoder import run_block
from unmask.train import optim
from unmask.train.budget import Budget, TrainConfig
from unmask.train.loop import LoopState, train_steps
from unmask.train.precision import resolve_precision

WORTH = 15 * 60.0  # seconds that a run must take, for the trial to be worth its time
STEPS = 10
FEW = 50 * STEPS  # in so short a run, not even the steps of the trial


def compile_block() -> Callable[..., Tensor]:
    """What `Encoder.compiled` takes: one compiled function for all blocks and all lengths.

    For packed batches whose attention is `varlen`; the calls of other kinds differ from batch to batch, and each
    would be compiled anew.
    """
    compiled: Callable[..., Tensor] = torch.compile(run_block, dynamic=True)
    return compiled


def measure_compile_gain(learner: Learner, batches: Batches, settings: TrainConfig, seed: int) -> bool:
    """Whether a copy of the learner takes less time for real steps when compiled; False for a short run, untried,
    and where attention has no kernel for packed batches."""
    device = next(learner.parameters()).device
    if learner.encoder.config.dropout or resolve_precision(settings.precision, device.type).matmul_dtype is None:
        return False
    budget = Budget.parse(settings.budget)
    known = budget.steps(batches.steps_per_epoch, batches.tokens_per_step)
    if (budget.amount < WORTH) if known is None else (known < FEW):
        return False
    tried = copy.deepcopy(learner)
    plain = _seconds(tried, batches, settings, seed)
    if known is not None and known * plain < WORTH:
        return False
    tried.encoder.compiled_block = compile_block()
    return _seconds(tried, batches, settings, seed) < plain


def _seconds(learner: Learner, batches: Batches, settings: TrainConfig, seed: int) -> float:
    """Of one step, after those that pay for memory and compilation."""
    optimizer = optim.build_optimizer(settings.optimizer, learner)
    loop = train_steps(learner, optimizer, batches, settings, LoopState(), seed)
    for _ in islice(loop, STEPS):
        pass
    begun = time.perf_counter()
    for _ in islice(loop, STEPS):
        pass
    loop.close()
    return (time.perf_counter() - begun) / STEPS
