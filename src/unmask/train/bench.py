"""Trying how fast a pretraining recipe runs here: real steps for some seconds, and where their time goes."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any

import torch

from unmask.config import changed
from unmask.console import Progress
from unmask.data.corpus.shards import Shards
from unmask.learner.batches import Batches
from unmask.messages import message
from unmask.train import optim
from unmask.train.allocator import keep_freed_memory
from unmask.train.breakdown import profile_steps
from unmask.train.loop import LoopState, Step, train_steps
from unmask.train.parallel import World
from unmask.train.precision import resolve_precision
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe
from unmask.train.speed import Speed, measure_speed, synchronize
from unmask.train.threads import choose_threads

ENDLESS = "1000000000 steps"
WARMUP_STEPS = 3  # do not count: they pay for memory and caches
PROFILED = 4  # steps at most whose parts are measured, after the others
SAMPLE = 4  # steps whose batches say what a token costs
THREADS = 0.3  # of the time may be spent on finding the number of threads


@dataclass(frozen=True)
class Trial:
    """speed: of plain steps; step_seconds: of profiled ones, on average; breakdown: seconds of each part in these;
    parameters: of the whole learner."""

    speed: Speed
    steps: int
    step_seconds: float
    breakdown: dict[str, float]
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "speed": self.speed.to_dict()}


def run_benchmark(recipe: PretrainRecipe, shards: Shards, seconds: float, progress: Progress) -> Trial:
    """Train with the recipe for about so many seconds, and throw the weights away.

    The learning rate is at its beginning.
    """
    keep_freed_memory()
    recipe = fit_to_corpus(_level(recipe), shards.tokenizer)
    torch.manual_seed(recipe.seed)
    device = torch.device(World().device)
    precision = resolve_precision(recipe.train.precision, str(device))
    learner = build_learner(recipe, shards.tokenizer).to(device, precision.weights_dtype).train()
    batches = build_batches(recipe, shards)
    optimizer = optim.build_optimizer(recipe.train.optimizer, learner)
    threads = torch.get_num_threads()
    progress.start(seconds, "")
    try:
        torch.set_num_threads(_threads(recipe, learner, batches, seconds * THREADS, progress))
        progress.show("warming up")
        loop = train_steps(learner, optimizer, batches, recipe.train, LoopState(), recipe.seed)
        with closing(loop):
            for _ in range(WARMUP_STEPS):
                next(loop)
            plain = _stretch(loop, device, seconds, progress)
            spent = sum(step.step_seconds for step in plain)
            waited = sum(step.data_wait_seconds for step in plain) / spent
            rate = sum(step.tokens for step in plain) / spent
            sample = [
                learner.prepare(batch, recipe.seed)
                for step in range(SAMPLE)
                for batch in batches.step(step * batches.examples_per_step)
            ]
            speed = measure_speed(learner, sample, rate, waited, precision.matmul_dtype or precision.weights_dtype)
            progress.show("profiling")
            profiled: list[Step] = []
            parts = profile_steps(learner, lambda: profiled.extend(islice(loop, min(PROFILED, len(plain)))))
    finally:
        torch.set_num_threads(threads)
    parameters = sum(p.numel() for p in learner.parameters())
    return Trial(speed, len(plain), *_per_step(parts, profiled), parameters)


def _level(recipe: PretrainRecipe) -> PretrainRecipe:
    """The recipe without an end."""
    return changed(recipe, train=changed(recipe.train, budget=ENDLESS))


def _threads(
    recipe: PretrainRecipe, learner: PretrainLearner, batches: Batches, seconds: float, progress: Progress
) -> int:
    """As many as a run would take."""
    if recipe.train.threads is not None or World().on_gpu or torch.get_num_threads() == 1:
        return recipe.train.threads or torch.get_num_threads()
    progress.show("measuring threads")
    return choose_threads(learner, batches, recipe.train, recipe.seed, seconds).threads


def _stretch(loop: Iterator[Step], device: torch.device, seconds: float, progress: Progress) -> list[Step]:
    """Steps for so long, at least one."""
    synchronize(device)
    begun, told, found = time.monotonic(), 0.0, []
    for number in count(1):
        found.append(next(loop))
        spent = time.monotonic() - begun
        progress.show(message("{speed:,.0f} tokens/s", sum(step.tokens for step in found) / spent))
        progress.advance(spent - told)
        told = spent
        if spent + spent / number > seconds:
            break
    return found


def _per_step(parts: dict[str, float], profiled: list[Step]) -> tuple[float, dict[str, float]]:
    """(seconds of a step, those of each part): what the profiler saw no operation in is `data` or `other`."""
    whole = sum(step.step_seconds for step in profiled)
    parts["data"] = sum(step.data_wait_seconds for step in profiled)
    parts["other"] = max(0.0, whole - sum(took for name, took in parts.items() if name != "other"))
    return sum(parts.values()) / len(profiled), {name: took / len(profiled) for name, took in parts.items()}
