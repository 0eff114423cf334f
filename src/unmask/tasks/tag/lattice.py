"""Lattices of tags: windows of tagged texts put together again, to be decoded as wholes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmask.data.tables import Example
from unmask.tasks.alignment import Tags, Units
from unmask.tasks.labelled_spans import WindowRow
from unmask.tasks.tag.crf import LinearChain
from unmask.tasks.task import Collected, Rows, Values, log_softmax

CELLS = 1 << 20  # bounds the memory of decoding: sequences x longest x tags at once


@dataclass(frozen=True)
class Lattice:
    """Examples to decode together: their numbers, units, and the scores of all tags, padded to the longest.

    emissions (examples, longest, tags) float64, lengths (examples,), joined (examples, longest) bool or None.
    """

    numbers: list[int]
    units: list[Units]
    emissions: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    joined: npt.NDArray[np.bool_] | None

    def best(self, chain: LinearChain) -> list[npt.NDArray[np.int64]]:
        """Find the most probable tags of the units of each example."""
        paths = chain.viterbi(self.emissions, self.lengths, self.joined)
        return [path[:length] for path, length in zip(paths, self.lengths, strict=True)]


def lattices(
    tags: Tags,
    plain: bool,
    examples: Sequence[Example],
    rows: Rows,
    collected: Values,
) -> Iterator[Lattice]:
    """Put the windows of each example together, in groups of about the same length. collected: logits of each row."""
    parts: dict[int, list[Collected]] = {}
    units: dict[int, Units] = {}
    for row, logits in zip(rows, collected, strict=True):
        assert isinstance(row, WindowRow) and row.units is not None
        parts.setdefault(row.owner, []).append(logits)
        units[row.owner] = row.units
    group: list[int] = []
    for number in sorted(parts, key=lambda number: -len(units[number])):
        if group and (len(group) + 1) * len(units[group[0]]) * len(tags) > CELLS:
            yield _lattice(tags, plain, group, examples, units, parts)
            group = []
        group.append(number)
    if group:
        yield _lattice(tags, plain, group, examples, units, parts)


def _lattice(
    tags: Tags,
    plain: bool,
    numbers: list[int],
    examples: Sequence[Example],
    units: Mapping[int, Units],
    parts: Mapping[int, list[Collected]],
) -> Lattice:
    lengths = np.array([len(units[number]) for number in numbers])
    emissions = np.zeros((len(numbers), int(lengths.max()), len(tags)))
    joined = np.zeros(emissions.shape[:2], dtype=np.bool_)
    for row, (number, length) in enumerate(zip(numbers, lengths.tolist(), strict=True)):
        tokens = examples[number].tokens is not None
        allowed = tags.allowed(units[number], plain and tokens)
        logs = log_softmax(np.concatenate(parts[number]))
        emissions[row, :length] = np.where(allowed, logs, -np.inf)
        joined[row, :length] = units[number].joined
    return Lattice(numbers, [units[n] for n in numbers], emissions, lengths, joined if joined.any() else None)


def chunks_of(path: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Return the units (first, one past the last) of each span of a path that follows the rules."""
    begins = (path % 2 == 1).nonzero()[0]
    fresh = np.append(((path == 0) | (path % 2 == 1)).nonzero()[0], len(path))
    stops = fresh[np.searchsorted(fresh, begins, side="right")]
    return zip(begins.tolist(), stops.tolist(), strict=True)
