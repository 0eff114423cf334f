"""Backend: what runs a network on a batch of arrays; the one seam between the code that knows torch and the rest.

`infer` makes batches of rows, and collects the outputs row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from unmask.config import from_mapping
from unmask.console import SILENT, Progress
from unmask.data.encoded import EncodedRow, groups_by_length
from unmask.data.rows.options import ReadOptions
from unmask.errors import missing_engine
from unmask.tasks.task import Arrays, Collected, Task
from unmask.text.tokenizer import Tokenizer

HeadName = Literal["task", "masked"]
TOKENS_PER_BATCH = 8192

ENGINES = {"torch": "unmask.engine.torch_backend:TorchEngine"}
"""By name, the class that opens a model folder: module and attribute, so that nothing here imports it."""


class Backend(Protocol):
    """A network with one head. Several threads may run it at once.

    parameters: arrays of the head that decoding needs, such as the transitions of a CRF.
    """

    @property
    def parameters(self) -> Arrays: ...

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Compute the outputs of a batch, arrays by name: (sequences, ...), (tokens, ...) or (positions, ...).

        arrays: input_ids, token_type_ids (tokens,) int64 of sequences one after another, lengths (sequences,) int64;
        where the head reads single tokens, positions (positions,) int64 among all tokens, and position_counts
        (sequences,) int64, how many of them are of each sequence.
        """
        ...


@dataclass(frozen=True)
class Manifest:
    """A model folder without its weights.

    task: the schema of the task it was fine-tuned for, if it was; reading: how the rows were read that it was trained
    on, and whether they are `pairs`.
    """

    folder: Path
    tokenizer: Tokenizer
    max_position_embeddings: int
    task: Mapping[str, Any] | None
    reading: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def read_options(self) -> ReadOptions:
        """How to read other rows by default."""
        values = {name: value for name, value in self.reading.items() if name != "pairs"}
        return from_mapping(ReadOptions, values, where=str(self.folder / "unmask.json"))


class Engine(Protocol):
    """A model folder that is open: its manifest, and its network with the head of a task or of masked tokens."""

    @property
    def manifest(self) -> Manifest: ...

    def backend(self, head: HeadName) -> Backend:
        """Raises UserError where the model has no such head."""
        ...

    def save(self, folder: Path) -> None:
        """Write the whole model folder, atomically."""
        ...


def open_engine(name: str, source: Path | str, **options: Any) -> Engine:
    """Open a model folder with an engine of `ENGINES`. Raises UserError where it is not installed."""
    module, _, attribute = ENGINES[name].partition(":")
    try:
        opened: Engine = getattr(import_module(module), attribute).open(source, **options)
    except ModuleNotFoundError as error:
        raise missing_engine(error) from error
    return opened


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
    backend: Backend, task: Task[Any], rows: Sequence[EncodedRow], progress: Progress = SILENT
) -> list[Collected]:
    """Run the network over rows, about TOKENS_PER_BATCH tokens at a time, and collect what decoding needs of each."""
    result: dict[int, Collected] = {}
    progress.start(len(rows), "rows")
    for group in groups_by_length(rows, TOKENS_PER_BATCH):
        batch = [rows[index] for index in group]
        result.update(zip(group, task.collect(backend.run(arrays_of(batch)), batch), strict=True))
        progress.advance(len(group))
    return [result[index] for index in range(len(rows))]
