"""Ramp: a value that grows over the first part of a run."""

from unmask.config import config, setting


@config
class Ramp:
    """From `start`, a share of the full value, in a straight line to all of it over the first part of the run."""

    start: float = setting(default=0.25, gt=0, le=1, description="share of the full value at the beginning")
    until: float = setting(default=0.1, gt=0, le=1, description="share of the run after which it is full")

    def factor(self, progress: float) -> float:
        """Share of the full value when `progress` (0 to 1) of the run is done."""
        return min(1.0, self.start + (1 - self.start) * progress / self.until)

    @property
    def mean_factor(self) -> float:
        """The factor's mean over a run."""
        return 1 - (1 - self.start) * self.until / 2
