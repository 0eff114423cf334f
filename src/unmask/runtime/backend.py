"""Backend: what runs a network on a batch of arrays; the one seam between the code that knows torch and the rest.

`infer` makes batches of rows, and collects the outputs row by row.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from unmask import console
from unmask.advice import advise, option
from unmask.console import SILENT, Progress
from unmask.data.encoded import EncodedRow, groups_by_length
from unmask.errors import missing_engine
from unmask.runtime.choice import Choice, check_exists, fastest, find_choices, trial_key
from unmask.runtime.machine import usable_cores
from unmask.runtime.manifest import WEIGHTS, HeadName, Manifest, has_networks, model_folder, read_manifest
from unmask.tasks.task import Arrays, Collected, Task

TOKENS_PER_BATCH = 8192
TOKENS_PER_PADDED_BATCH = 512  # what it computes stays in the caches of a core: see docs/design.md
MAX_PADDING = 64  # tokens: what a call costs beside its tokens

ENGINES = {
    "torch": "unmask.engine.torch_backend:TorchEngine",
    "onnx": "unmask.runtime.onnx:OnnxEngine",
    "openvino": "unmask.runtime.openvino:OpenvinoEngine",
}
"""By backend, the class that opens a model folder: module and attribute, so that nothing here imports it."""


class Backend(Protocol):
    """A network with one head. Several threads may run it at once.

    parameters: arrays of the head that decoding needs, such as the transitions of a CRF; pads: whether it pads the
    sequences of a batch to one length.
    """

    @property
    def parameters(self) -> Arrays: ...

    @property
    def pads(self) -> bool: ...

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Compute the outputs of a batch, arrays by name: (sequences, ...), (tokens, ...) or (positions, ...).

        arrays: input_ids, token_type_ids (tokens,) int64 of sequences one after another, lengths (sequences,) int64;
        where the head reads single tokens, positions (positions,) int64 among all tokens, and position_counts
        (sequences,) int64, how many of them are of each sequence.
        """
        ...


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


def open_engine(
    source: Path | str,
    backend: str = "auto",
    precision: str = "auto",
    *,
    device: str = "auto",
    threads: int | None = None,
    revision: str | None = None,
    allow_unused: bool = False,
) -> Engine:
    """Open a model with the backend and precision that are named, or with the fastest that there are.

    device: of torch; threads: of the other backends, all cores if None. Raises UserError where the engine is not
    installed, or the model has no such network.
    """
    folder = model_folder(source)
    check_exists(folder)
    manifest = read_manifest(folder) if has_networks(folder) else None
    torch_too = manifest is None or (folder / WEIGHTS).is_file()
    choices = find_choices(manifest.networks if manifest else (), torch_too, backend, precision)
    if device != "auto" and torch_too and backend == "auto":
        choices = [one for one in choices if one.backend == "torch"] or choices

    @cache
    def opened(choice: Choice) -> Engine:
        engine = _engine_class(choice.backend)
        if choice.backend == "torch":
            more = {"revision": revision, "allow_unused": allow_unused}
            made = engine.open(source, device, precision=choice.precision, **more)
        else:
            made = engine(manifest, choice.precision, threads or usable_cores())
        return made  # type: ignore[no-any-return]

    if len(choices) == 1:
        return opened(choices[0])
    if manifest is None:
        weights: Any = opened(choices[0])
        known, key = weights.manifest, weights.bundle.sha256
        if weights.device != "cpu" or not weights.has_head(_head_of(known)):
            return weights  # type: ignore[no-any-return]
    else:
        known, key = manifest, trial_key(manifest.networks, threads)
    sizes = known.tokenizer.vocab_size, known.max_position_embeddings
    chosen = fastest(choices, key, lambda choice: opened(choice).backend(_head_of(known)).run, *sizes)
    if chosen.precision != "float32" and precision == "auto":
        away = advise("{option} for the exact numbers", option("precision", "float32"))
        console.note("{folder} runs in {precision}, the fastest here: {advice}", folder, chosen.precision, away)
    return opened(chosen)


def _head_of(manifest: Manifest) -> HeadName:
    return "task" if manifest.task else "masked"


def _engine_class(backend: str) -> Any:
    module, _, attribute = ENGINES[backend].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise missing_engine(error) from error


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
    """Run the network over rows, in groups of about the same length, and collect what decoding needs of each."""
    tokens, padding = TOKENS_PER_BATCH, None
    if backend.pads:
        tokens, padding = min(tokens, TOKENS_PER_PADDED_BATCH), MAX_PADDING
    result: dict[int, Collected] = {}
    progress.start(len(rows), "rows")
    for group in groups_by_length(rows, tokens, padding):
        batch = [rows[index] for index in group]
        result.update(zip(group, task.collect(backend.run(arrays_of(batch)), batch), strict=True))
        progress.advance(len(group))
    return [result[index] for index in range(len(rows))]
