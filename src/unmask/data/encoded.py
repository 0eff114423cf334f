"""EncodedRow: one sequence as a network reads it, in numpy; and rows grouped by length into batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unmask.text.tokenizer import SPECIAL_TOKEN as SPECIAL_TOKEN  # flag of [CLS], [SEP] and markers: never masked

IGNORE_INDEX = -100  # a target that is not scored, as torch's cross-entropy has it


@dataclass(frozen=True)
class EncodedRow:
    """One sequence before batching: what the network reads, and where it comes from.

    input_ids, token_type_ids (tokens,) int64; flags (tokens,) uint8; targets: name -> (n,) array (per token or per
    sequence); positions (n,) int64: the tokens whose outputs a task reads, None where it reads none or all of them.
    """

    input_ids: npt.NDArray[np.int64]
    token_type_ids: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]
    example: int
    epoch: int = 0
    owner: int = 0
    targets: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    positions: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.input_ids)


def longest_first(rows: Sequence[EncodedRow]) -> list[int]:
    """The indices of rows, longest first (attention is cheapest so); equal lengths keep their order."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return np.argsort(-lengths, kind="stable").tolist()  # type: ignore[no-any-return]


def groups_by_length(rows: Sequence[EncodedRow], tokens: int, padding: int | None = None) -> Iterator[list[int]]:
    """The indices of `rows`, longest first, in groups of at most `tokens` tokens (at least one row each).

    padding: where the rows of a group are padded to the longest of it, the most tokens of padding in a group.
    """
    group: list[int] = []
    size = longest = padded = 0
    for index in longest_first(rows):
        length = len(rows[index])
        padded += longest - length
        if group and (size + length > tokens or (padding is not None and padded > padding)):
            yield group
            group, size = [], 0
        if not group:
            longest, padded = length, 0
        group.append(index)
        size += length
    if group:
        yield group
