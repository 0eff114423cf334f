"""Backend: what runs a network on a batch of arrays; the one seam between the code that knows torch and the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from unmask.config import from_mapping
from unmask.data.rows.options import ReadOptions
from unmask.errors import missing_engine
from unmask.tasks.task import Arrays
from unmask.text.tokenizer import Tokenizer

HeadName = Literal["task", "masked"]

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
