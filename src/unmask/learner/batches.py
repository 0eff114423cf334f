"""Batches: the order in which examples are read. Its whole state is one integer: how many were read.

A step takes the next examples of an endless numbering; number g is place g mod N of the permutation of epoch
g div N. Ranks take whole examples; packing changes the layout only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from unmask.data.encoded import EncodedRow, groups_by_length
from unmask.data.hashing import permute
from unmask.data.sequences import RowSequences, SequenceSource
from unmask.errors import UserError
from unmask.learner.batch import Batch, pack
from unmask.schedules import Ramp

ORDER = 1  # what a hash is for


@dataclass
class Batches:
    """Which examples each step takes, as packed batches. `steps_per_epoch * mean_step_size` examples make an epoch.

    examples_per_step: in all ranks together, at the end of the `ramp` if there is one; gradient_accumulation_steps:
    micro-batches per step; rank, world_size: this process among several.
    Raises UserError where some rank would have too few examples.
    """

    examples: SequenceSource
    examples_per_step: int
    seed: int
    gradient_accumulation_steps: int = 1
    rank: int = 0
    world_size: int = 1
    ramp: Ramp | None = None

    def __post_init__(self) -> None:
        if self.world_size > 1 and self.step_size(0.0) < self.world_size * self.gradient_accumulation_steps:
            raise UserError(
                "too few sequences per step for the number of processes",
                given=f"{self.step_size(0.0)} sequences in {self.world_size} processes times "
                f"{self.gradient_accumulation_steps} micro-batches",
                hint="larger steps, fewer processes or a smaller train.gradient_accumulation_steps",
            )

    def step_size(self, progress: float) -> int:
        """Examples in a step, at this share of the run."""
        share = 1.0 if self.ramp is None else self.ramp.factor(progress)
        return max(1, round(self.examples_per_step * share))

    @property
    def mean_step_size(self) -> float:
        """Examples in a step, on average over a run."""
        return self.examples_per_step * (1.0 if self.ramp is None else self.ramp.mean_factor)

    @property
    def steps_per_epoch(self) -> float:
        return len(self.examples) / self.mean_step_size

    @property
    def tokens_per_step(self) -> float:
        return self.mean_step_size * self.examples.mean_tokens

    def example_epochs(self, start: int, count: int) -> list[tuple[int, int]]:
        """(example, epoch) of each sequence that this rank takes of the `count` ones after the first `start`."""
        every = np.arange(start, start + count)[self.rank :: self.world_size]
        epochs, places = np.divmod(every, len(self.examples))
        result: list[tuple[int, int]] = []
        for epoch in np.unique(epochs):
            chosen = permute(places[epochs == epoch], len(self.examples), self.seed, ORDER, int(epoch))
            result += [(int(number), int(epoch)) for number in chosen]
        return result

    def step(self, start: int, progress: float = 0.0, copies: int = 1) -> list[Batch]:
        """The micro-batches of the step that begins after `start` examples, with each row so often. Examples are dealt
        out by length, so that parts are of equal size; rows that one owner needs together stay so."""
        rows = self.examples.rows(self.example_epochs(start, self.step_size(progress)), progress)
        rows.sort(key=lambda row: (-len(row.input_ids), row.epoch, row.example))
        together = isinstance(self.examples, RowSequences) and self.examples.together
        groups: dict[tuple[int, int], list[EncodedRow]] = {}
        for row in rows:
            groups.setdefault((row.epoch, row.owner if together else row.example), []).append(row)
        dealt: list[list[EncodedRow]] = [[] for _ in range(self.gradient_accumulation_steps)]
        for part, group in zip(cycle(dealt), groups.values(), strict=False):
            part.extend(group)
        return [pack(part, progress, copies) for part in dealt if part]


def evaluation_batches(examples: SequenceSource, tokens_per_batch: int, max_tokens: int) -> Iterator[Batch]:
    """Examples once each, for evaluation: packed by length, `tokens_per_batch` at a time, about `max_tokens` in all.

    Where not all fit, they are taken evenly over the whole.
    """
    wanted = min(len(examples), max(1, int(max_tokens / examples.mean_tokens)))
    numbers = np.linspace(0, len(examples) - 1, wanted).round()
    rows = examples.rows([(int(number), 0) for number in numbers])
    for group in groups_by_length(rows, tokens_per_batch):
        yield pack([rows[index] for index in group])
