"""Trying how fast a pretraining recipe runs here: real steps for some seconds, and where their time goes."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from unmask.config import changed
from unmask.console import Progress
from unmask.data.corpus.shards import Shards
from unmask.messages import message
from unmask.train.pretrain import PretrainLearner, build_batches, build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe
from unmask.train.steps.choices import choose_threads, fixed_threads
from unmask.train.steps.device import keep_freed_memory, resolve_precision
from unmask.train.steps.loop import LoopState, Step, train_steps
from unmask.train.steps.optim import build_optimizer
from unmask.train.steps.parallel import World
from unmask.train.steps.speed import measure_speed

ENDLESS = "1000000000 steps"
WARMUP_STEPS = 3  # do not count: they pay for memory and caches
PROFILED = 4  # steps at most whose parts are measured, after the others
THREADS = 0.3  # of the time may be spent on finding the number of threads

PARTS = ("embedding", "attention", "feed-forward", "vocabulary head", "optimiser", "data", "other")
BACKWARD = "autograd::engine::evaluate_function: "  # how the profiler names a node of the backward pass
BACKWARD_SCOPE = 1  # of its events that are such nodes
OPTIMIZER = "Optimizer.step#"  # torch records this range itself


def run_benchmark(recipe: PretrainRecipe, shards: Shards, seconds: float, progress: Progress) -> dict[str, Any]:
    """Train with the recipe for about so many seconds, and throw the weights away.

    Ramps of length and batch are at their end, the learning rate is at its beginning. Returns `speed` (see
    measure_speed) and `steps` of plain steps; of profiled ones, on average, `step_seconds` and their `breakdown`,
    seconds of each part; `parameters` of the whole learner.
    """
    keep_freed_memory()
    data, train = changed(recipe.data, max_length_ramp=None), changed(recipe.train, budget=ENDLESS, batch_ramp=None)
    recipe = fit_to_corpus(changed(recipe, data=data, train=train), shards.tokenizer)
    torch.manual_seed(recipe.seed)
    world = World()
    precision = resolve_precision(train.precision, world.device)
    learner = build_learner(recipe, shards.tokenizer).to(world.device, precision.weights_dtype).train()
    batches = build_batches(recipe, shards)
    optimizer = build_optimizer(recipe.train.optimizer, learner)
    threads = torch.get_num_threads()
    progress.start(seconds, "")
    try:
        chosen = fixed_threads(train, world)
        if chosen is None:
            progress.show("measuring threads")
            chosen, _ = choose_threads(learner, batches, recipe.train, recipe.seed, seconds * THREADS)
        torch.set_num_threads(chosen)
        progress.show("warming up")
        loop = train_steps(learner, optimizer, batches, recipe.train, LoopState(), recipe.seed)
        with closing(loop):
            for _ in islice(loop, WARMUP_STEPS):
                pass
            plain = _plain_steps(loop, seconds, progress)
            spent = sum(step.step_seconds for step in plain)
            rate = sum(step.tokens for step in plain) / spent
            waited = sum(step.data_wait_seconds for step in plain) / spent
            speed = measure_speed(learner, batches, precision, rate, waited)
            progress.show("profiling")
            profiled: list[Step] = []
            parts = profile_steps(learner, lambda: profiled.extend(islice(loop, min(PROFILED, len(plain)))))
    finally:
        torch.set_num_threads(threads)
    # what the profiler saw no operation in is `data` or `other`
    parts["data"] = sum(step.data_wait_seconds for step in profiled)
    seen = sum(parts.values()) - parts["other"]
    parts["other"] = max(0.0, sum(step.step_seconds for step in profiled) - seen)
    return {
        "speed": speed,
        "steps": len(plain),
        "step_seconds": sum(parts.values()) / len(profiled),
        "breakdown": {name: took / len(profiled) for name, took in parts.items()},
        "parameters": sum(p.numel() for p in learner.parameters()),
    }


def _plain_steps(loop: Iterator[Step], seconds: float, progress: Progress) -> list[Step]:
    """Steps for so long, at least one."""
    begun, steps = time.monotonic(), [next(loop)]
    while (spent := time.monotonic() - begun) * (1 + 1 / len(steps)) < seconds:
        progress.show(message("{speed:,.0f} tokens/s", sum(step.tokens for step in steps) / spent))
        steps.append(next(loop))
        progress.advance(steps[-1].step_seconds)
    return steps


def profile_steps(learner: PretrainLearner, steps: Callable[[], object]) -> dict[str, float]:
    """Seconds of each part while `steps` runs, forward and backward; without `data` and `other`, which no range marks.

    On a GPU the time of its kernels, else that of the calling thread. `vocabulary head` is all that the objectives do.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes to stderr
    gpu = next(learner.parameters()).device.type == "cuda"
    with _ranges(learner), profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as run:
        steps()
    events = sorted(run.events() or (), key=lambda event: event.time_range.start)
    forward: dict[int, str] = {}  # part of the operation that made a node of the graph, by its number
    for event in events:
        if event.sequence_nr >= 0 and event.scope != BACKWARD_SCOPE and not event.name.startswith(BACKWARD):
            forward[event.sequence_nr] = _part(event, {})
    seconds = dict.fromkeys(PARTS, 0.0)
    for event in events:
        own = event.self_device_time_total if gpu else event.self_cpu_time_total
        seconds[_part(event, forward)] += own / 1e6
    return seconds


def _part(event: Any, forward: dict[int, str]) -> str:
    """Part of an event: that of the innermost range around it; of a node of the backward pass that of its forward."""
    while event is not None:
        if event.name in PARTS:
            return str(event.name)
        if event.name.startswith(OPTIMIZER):
            return "optimiser"
        if event.name.startswith(BACKWARD):
            return forward.get(event.sequence_nr, "other")
        event = event.cpu_parent
    return "other"


@contextmanager
def _ranges(learner: PretrainLearner) -> Iterator[None]:
    """Within it, forward passes of the parts are ranges of the profiler."""
    modules: list[tuple[nn.Module, str]] = [(learner.encoder.embeddings, "embedding")]
    for block in learner.encoder.blocks:
        modules += [(block.attention, "attention"), (block.feed_forward, "feed-forward")]  # type: ignore[list-item]
    modules += [(objective, "vocabulary head") for objective in learner.objectives.values()]
    for module, part in modules:
        module.forward = record_function(part)(module.forward)
    try:
        yield
    finally:
        for module, _ in modules:
            module.__dict__.pop("forward", None)  # a block that is shared is there several times
