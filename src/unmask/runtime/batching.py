"""Rows as batches of arrays, and the outputs of a network collected row by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.console import SILENT, Progress
from unmask.data.encoded import EncodedRow, groups_by_length
from unmask.runtime.backend import Backend
from unmask.tasks.task import Collected, Task

TOKENS_PER_BATCH = 8192


def arrays_of(rows: Sequence[EncodedRow]) -> dict[str, npt.NDArray[np.int64]]:
    """Put rows one after another, as `Backend.run` takes them."""
    lengths = np.array([len(row) for row in rows])
    arrays = {
        "input_ids": np.concatenate([row.input_ids for row in rows]),
        "token_type_ids": np.concatenate([row.token_type_ids for row in rows]),
        "lengths": lengths,
    }
    positions = [row.positions for row in rows if row.positions is not None]
    if positions:
        begins = np.cumsum(lengths) - lengths
        arrays["positions"] = np.concatenate([begin + own for begin, own in zip(begins, positions, strict=True)])
        arrays["position_counts"] = np.array([len(own) for own in positions])
    return arrays


def infer(
    backend: Backend,
    task: Task[Any],
    rows: Sequence[EncodedRow],
    progress: Progress = SILENT,
) -> list[Collected]:
    """Run the network over rows, about TOKENS_PER_BATCH tokens at a time, and collect what decoding needs of each."""
    result: dict[int, Collected] = {}
    progress.start(len(rows), "rows")
    for group in groups_by_length(rows, TOKENS_PER_BATCH):
        batch = [rows[index] for index in group]
        result.update(zip(group, task.collect(backend.run(arrays_of(batch)), batch), strict=True))
        progress.advance(len(group))
    return [result[index] for index in range(len(rows))]
