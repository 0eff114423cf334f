"""Lattices of tags: windows of tagged texts put together again, to be decoded as wholes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unmask.data.rows.example import Example
from unmask.tasks.alignment import Tags, Words
from unmask.tasks.labelled_spans import WindowRow
from unmask.tasks.tag.crf import CRFDecoder
from unmask.tasks.task import Collected, Rows, Values, log_softmax

CELLS = 1 << 20  # bounds the memory of decoding: sequences x longest x tags at once


@dataclass(frozen=True)
class TagLattice:
    """Examples to decode together: their numbers, words, and the scores of all tags, padded to the longest.

    emissions (examples, longest, tags) float64, lengths (examples,), joined (examples, longest) bool or None.
    """

    numbers: list[int]
    words: list[Words]
    emissions: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    joined: npt.NDArray[np.bool_] | None

    def best(self, chain: CRFDecoder) -> list[npt.NDArray[np.int64]]:
        """Find the most probable tags of the words of each example."""
        paths = chain.viterbi(self.emissions, self.lengths, self.joined)
        return [path[:length] for path, length in zip(paths, self.lengths, strict=True)]


def lattices(
    tags: Tags,
    tags_every_token: bool,
    examples: Sequence[Example],
    rows: Rows,
    collected: Values,
) -> Iterator[TagLattice]:
    """Put the windows of each example together, in groups of about the same length. collected: logits of each row."""
    parts: dict[int, list[Collected]] = {}
    words: dict[int, Words] = {}
    for row, logits in zip(rows, collected, strict=True):
        assert isinstance(row, WindowRow) and row.words is not None
        parts.setdefault(row.owner, []).append(logits)
        words[row.owner] = row.words
    group: list[int] = []
    for number in sorted(parts, key=lambda number: -len(words[number])):
        if group and (len(group) + 1) * len(words[group[0]]) * len(tags) > CELLS:
            yield _lattice(tags, tags_every_token, group, examples, words, parts)
            group = []
        group.append(number)
    if group:
        yield _lattice(tags, tags_every_token, group, examples, words, parts)


def _lattice(
    tags: Tags,
    tags_every_token: bool,
    numbers: list[int],
    examples: Sequence[Example],
    words: Mapping[int, Words],
    parts: Mapping[int, list[Collected]],
) -> TagLattice:
    lengths = np.array([len(words[number]) for number in numbers])
    emissions = np.zeros((len(numbers), int(lengths.max()), len(tags)))
    joined = np.zeros(emissions.shape[:2], dtype=np.bool_)
    for row, (number, length) in enumerate(zip(numbers, lengths.tolist(), strict=True)):
        tokens = examples[number].tokens is not None
        allowed = tags.allowed(words[number], tags_every_token and tokens)
        logs = log_softmax(np.concatenate(parts[number]))
        emissions[row, :length] = np.where(allowed, logs, -np.inf)
        joined[row, :length] = words[number].joined
    return TagLattice(numbers, [words[n] for n in numbers], emissions, lengths, joined if joined.any() else None)


def chunk_bounds(path: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Return the words (first, one past the last) of each span of a path that follows the rules."""
    begins = (path % 2 == 1).nonzero()[0]
    fresh = np.append(((path == 0) | (path % 2 == 1)).nonzero()[0], len(path))
    stops = fresh[np.searchsorted(fresh, begins, side="right")]
    return zip(begins.tolist(), stops.tolist(), strict=True)
