"""World: the processes that train one model together. One process alone is a world of one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unmask.learner import Learner


class World:
    """This process among those that train one model; every method is called by all of them alike."""

    rank = 0
    size = 1

    def __init__(self, device: str | None = None) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        return list(values)

    def plain(self, learner: nn.Module) -> Learner:
        """The Learner inside of what trains it."""
        assert isinstance(learner, Learner)
        return learner

    @contextmanager
    def exchanging(self, learner: nn.Module, now: bool) -> Iterator[None]:
        """Within it a backward pass adds up the gradients of all processes, if `now`, or keeps them for later."""
        yield

    def clip(self, parameters: Iterable[Tensor], longest: float) -> Tensor:
        """Shorten the gradient (2-norm over all parameters) to `longest`; returns how long it was."""
        return torch.nn.utils.clip_grad_norm_(parameters, longest)
