"""Windows of tagged texts put together again, to be decoded as wholes: scores of all tags at all units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmask.data.batch import EncodedRow
from unmask.data.rows.tables import Example
from unmask.tasks.crf import CRFDecoder
from unmask.tasks.spans import Tags, Words
from unmask.tasks.taghead import word_row
from unmask.tasks.task import Logits

CELLS = 1 << 20  # bounds the memory of decoding: sequences x longest x tags at once


@dataclass(frozen=True)
class TagLattice:
    """Examples to decode together: their numbers, units, and the scores of all tags, padded to the longest.

    emissions (examples, longest, tags) float64, lengths (examples,), joined (examples, longest) bool or None.
    """

    numbers: list[int]
    words: list[Words]
    emissions: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    is_continuation: npt.NDArray[np.bool_] | None

    def decode(self, chain: CRFDecoder) -> list[npt.NDArray[np.int64]]:
        """The tags of the units of each example."""
        found = chain.viterbi(self.emissions, self.lengths, self.is_continuation)
        return [path[:length] for path, length in zip(found, self.lengths, strict=True)]


def lattices(
    tags: Tags,
    tags_every_token: bool,
    examples: Sequence[Example],
    rows: Sequence[EncodedRow],
    logits: Sequence[Logits],
) -> Iterator[TagLattice]:
    """The windows of each example put together again, in groups of about the same length."""
    parts: dict[int, list[Logits]] = {}
    units: dict[int, Words] = {}
    for row, said in zip(map(word_row, rows), logits, strict=True):
        assert row.words is not None
        parts.setdefault(row.owner, []).append(said)
        units[row.owner] = row.words
    group: list[int] = []
    for number in sorted(parts, key=lambda number: -len(units[number])):
        if group and (len(group) + 1) * len(units[group[0]]) * len(tags) > CELLS:
            yield _lattice(tags, tags_every_token, group, examples, units, parts)
            group = []
        group.append(number)
    if group:
        yield _lattice(tags, tags_every_token, group, examples, units, parts)


def _lattice(
    tags: Tags,
    plain: bool,
    numbers: list[int],
    examples: Sequence[Example],
    units: Mapping[int, Words],
    parts: Mapping[int, list[Logits]],
) -> TagLattice:
    lengths = np.array([len(units[number]) for number in numbers])
    emissions = np.zeros((len(numbers), int(lengths.max()), len(tags)))
    joined = np.zeros(emissions.shape[:2], dtype=np.bool_)
    for row, (number, length) in enumerate(zip(numbers, lengths.tolist(), strict=True)):
        tokens = examples[number].tokens is not None
        allowed = tags.allowed(units[number], plain and tokens)
        emissions[row, :length] = np.where(allowed, np.concatenate(parts[number]), -np.inf)
        joined[row, :length] = units[number].joined
    return TagLattice(numbers, [units[n] for n in numbers], emissions, lengths, joined if joined.any() else None)


def chunk_bounds(path: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The units (first, one past the last) of each span of a path that keeps the rules."""
    begins = (path % 2 == 1).nonzero()[0]
    fresh = np.append(((path == 0) | (path % 2 == 1)).nonzero()[0], len(path))
    stops = fresh[np.searchsorted(fresh, begins, side="right")]
    return zip(begins.tolist(), stops.tolist(), strict=True)
