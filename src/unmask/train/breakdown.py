"""Where the time of training steps goes, by torch's profiler."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from unmask.learner.learner import Learner

PARTS = ("embedding", "attention", "feed-forward", "vocabulary head", "optimiser", "data", "other")
BACKWARD = "autograd::engine::evaluate_function: "  # how the profiler names a node of the backward pass
BACKWARD_SCOPE = 1  # of its events that are such nodes
OPTIMIZER = "Optimizer.step#"  # torch records this range itself


def profile_steps(learner: Learner, steps: Callable[[], object]) -> dict[str, float]:
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
def _ranges(learner: Learner) -> Iterator[None]:
    """Within it, forward passes of the parts are ranges of the profiler."""
    encoder = learner.encoder
    modules: list[tuple[nn.Module, str]] = [(encoder.embeddings, "embedding")]
    for block in encoder.blocks:
        modules += [(block.attention, "attention"), (block.feed_forward, "feed-forward")]  # type: ignore[list-item]
    modules += [(o, "vocabulary head") for o in getattr(learner, "objectives", nn.ModuleDict()).values()]
    opened: list[Any] = []
    handles: list[Any] = []

    def enter(part: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            opened.append(record_function(part))
            opened[-1].__enter__()

        return hook

    for module, part in modules:
        handles.append(module.register_forward_pre_hook(enter(part)))
        handles.append(module.register_forward_hook(lambda *_: opened.pop().__exit__(None, None, None)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
