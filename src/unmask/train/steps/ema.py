"""EMA: exponential moving average of the weights, over a share of the run."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unmask.schedules import ema_weight
from unmask.train.steps.parallel import local_shard


class EMA:
    """Mean of a learner's weights over about the last `span` of the run (Polyak and Juditsky 1992).

    At the beginning it is as long as the run so far (`schedules.ema_weight`), so that the initial weights do not stay
    in it.
    """

    def __init__(self, learner: nn.Module, span: float) -> None:
        self.span = span
        learning = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        self._learning: list[Tensor] = list(learning.values())
        self._averages = {name: parameter.detach().clone() for name, parameter in learning.items()}

    @torch.no_grad()
    def update(self, previous_progress: float, progress: float) -> None:
        """Take the weights in, after an update that brought the run from `previous_progress` to `progress`."""
        new = ema_weight(previous_progress, progress, self.span)
        if new > 0:
            torch._foreach_lerp_(list(self._averages.values()), self._learning, new)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within it the learner has the averaged weights."""
        own = [parameter.detach().clone() for parameter in self._learning]
        self.copy_to_learner()
        try:
            yield
        finally:
            self._set_weights(own)

    def copy_to_learner(self) -> None:
        """Leave the learner with the averaged weights."""
        self._set_weights(self._averages.values())

    @torch.no_grad()
    def _set_weights(self, weights: Iterable[Tensor]) -> None:
        for parameter, weight in zip(self._learning, weights, strict=True):
            parameter.copy_(weight)

    def state_dict(self) -> dict[str, Tensor]:
        return self._averages

    @torch.no_grad()
    def load_state_dict(self, means: Mapping[str, Tensor]) -> None:
        for name, mean in self._averages.items():
            mean.copy_(local_shard(means[name], mean))
