"""Where the time of a training step goes: marks at the borders of the parts, in the forward and the backward pass."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unmask.learner.learner import Learner

PARTS = ("embedding", "attention", "feed-forward", "vocabulary head", "optimiser", "data", "other")


class Timeline:
    """From each mark on, time belongs to the part that it names. On a GPU the marks are events in its own queue, so
    that nobody waits for them."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def enter(self, part: str) -> None:
        if self._gpu:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append((part, event))
        else:
            self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """The time of each part up to the last mark, which ends it."""
        found = dict.fromkeys(PARTS, 0.0)
        if self._gpu:
            torch.cuda.synchronize()
        for (part, begun), (_, ended) in zip(self._marks, self._marks[1:], strict=False):
            found[part] += begun.elapsed_time(ended) / 1000 if self._gpu else ended - begun
        return found


class _Border(torch.autograd.Function):
    """The identity, which tells when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, timeline: Timeline, part: str) -> Tensor:
        ctx.told = timeline, part
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        timeline, part = ctx.told
        timeline.enter(part)
        return gradient, None, None


@contextmanager
def timed(learner: Learner, optimizer: torch.optim.Optimizer) -> Iterator[Timeline]:
    """Within it, passes of the learner and steps of the optimiser leave marks on the timeline.

    `vocabulary head` is all that the objectives do, `optimiser` also the clipping of gradients, `other` what is between
    the parts: norms, residual sums, sending batches. What torch computes again in a backward pass to save memory counts
    for the part that it is of. Waiting for data leaves no mark: the loop tells it.
    """
    timeline = Timeline(next(learner.parameters()).device)
    handles: list[Any] = []

    def around(module: nn.Module, part: str, argument: int) -> None:
        """Mark the borders of a module: going in and out, in both directions."""

        def enter(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            timeline.enter(part)
            hidden = given[argument]
            if hidden.is_floating_point() and hidden.requires_grad:
                given = (*given[:argument], _bordered(hidden, timeline, "other"), *given[argument + 1 :])
            return given

        def leave(_: nn.Module, __: tuple[Any, ...], made: Any) -> Any:
            timeline.enter("other")
            return _bordered(made, timeline, part) if isinstance(made, Tensor) else None

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))

    around(learner.encoder.embeddings, "embedding", 0)
    for block in learner.encoder.blocks:
        around(block.attention, "attention", 0)  # type: ignore[arg-type]
        around(block.feed_forward, "feed-forward", 0)  # type: ignore[arg-type]
    for objective in getattr(learner, "objectives", nn.ModuleDict()).values():
        around(objective, "vocabulary head", 1)
    # a backward pass begins with the objectives and ends with the lowest part that learns: the table of tokens
    handles.append(learner.register_forward_hook(lambda *_: timeline.enter("vocabulary head")))
    lowest = next(parameter for parameter in learner.parameters() if parameter.requires_grad)
    handles.append(
        lowest.register_post_accumulate_grad_hook(lambda _: timeline.enter("optimiser"))  # type: ignore[no-untyped-call]
    )
    handles.append(learner.register_forward_pre_hook(lambda *_: timeline.enter("other")))
    handles.append(optimizer.register_step_post_hook(lambda *_: timeline.enter("other")))
    try:
        yield timeline
    finally:
        for handle in handles:
            handle.remove()


def _bordered(hidden: Tensor, timeline: Timeline, part: str) -> Tensor:
    return _Border.apply(hidden, timeline, part)  # type: ignore[no-untyped-call,no-any-return]
