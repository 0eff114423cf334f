"""Exported networks: the padded arrays that they take, and an engine for the folders that hold them.

An exported network takes input_ids, attention_mask and token_type_ids (batch, length) int64 and, where its head reads
single tokens, positions (positions,) int64 among the batch x length places.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from unmask import files
from unmask.errors import UserError
from unmask.runtime.manifest import ExportedNetwork, HeadName, Manifest, Precision, check_sums, head_arrays
from unmask.tasks.task import Arrays

_openings: WeakSet[Future[Any]] = WeakSet()
# a process that is forked has no threads, and would wait for its networks forever
os.register_at_fork(before=lambda: wait(list(_openings)))


def pad_arrays(arrays: Arrays) -> dict[str, npt.NDArray[np.int64]]:
    """Lay out packed arrays, as `Backend.run` takes them, as rows of equal length.

    The id of padding is 0, which no token of a sequence sees.
    """
    lengths = arrays["lengths"]
    inside = np.arange(int(lengths.max())) < lengths[:, None]
    padded = {"attention_mask": inside.astype(np.int64)}
    for name in ("input_ids", "token_type_ids"):
        padded[name] = np.zeros(inside.shape, dtype=np.int64)
        padded[name][inside] = arrays[name]
    if "positions" in arrays:
        padded["positions"] = np.flatnonzero(inside)[arrays["positions"]]
    return padded


class ExportedBackend(ABC):
    """A network that another engine runs."""

    pads = True

    def __init__(self, network: ExportedNetwork, parameters: Arrays) -> None:
        self.network, self.parameters = network, parameters

    @abstractmethod
    def compute(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[Any]:
        """Compute the output for padded inputs. Several threads may call it at once."""

    def run(self, arrays: Arrays) -> dict[str, Any]:
        inputs = pad_arrays(arrays)
        output = self.compute(inputs)
        if self.network.per_token:
            output = output[inputs["attention_mask"] > 0]
        return {self.network.output: output.astype(np.float32, copy=False)}


class ExportedEngine(ABC):
    """A folder with exported networks, opened for one backend and precision."""

    name: ClassVar[str]

    def __init__(self, manifest: Manifest, precision: Precision, threads: int) -> None:
        self.manifest, self.precision, self.threads = manifest, precision, threads
        self._backends: dict[HeadName, Future[ExportedBackend]] = {}
        head: HeadName = "task" if manifest.task else "masked"
        if self._network(head):
            self._start(head)

    def __repr__(self) -> str:
        return f"{self.manifest.folder} by {self.name} in {self.precision}"

    @abstractmethod
    def load(self, file: Path, network: ExportedNetwork, parameters: Arrays) -> ExportedBackend:
        """Open a network."""

    def backend(self, head: HeadName) -> ExportedBackend:
        """Open the network with this head. Raises UserError where the folder has none, or it is damaged."""
        if head not in self._backends:
            self._start(head)
        return self._backends[head].result()

    def _network(self, head: HeadName) -> ExportedNetwork | None:
        wanted = self.name, self.stored_precision, head
        return next((one for one in self.manifest.networks if (one.backend, one.precision, one.head) == wanted), None)

    def _start(self, head: HeadName) -> None:
        """Begin to open a network, which takes some tenths of a second, beside what else is made ready."""
        opening = ThreadPoolExecutor(1)
        self._backends[head] = opening.submit(self._open, head)
        _openings.add(self._backends[head])
        opening.shutdown(wait=False)

    def _open(self, head: HeadName) -> ExportedBackend:
        folder, network = self.manifest.folder, self._network(head)
        if network is None:
            raise UserError(
                "{folder} holds no exported network with these outputs",
                folder,
                given=f"backend {self.name}, precision {self.precision}, outputs {head}",
                allowed=[f"{one.backend} {one.precision} {one.head}" for one in self.manifest.networks],
                hint=f"unmask export MODEL --format {self.name} --output FOLDER",
            )
        with ThreadPoolExecutor(1) as checking:
            checked = checking.submit(check_sums, folder, network.sha256)
            try:
                return self.load(folder / network.file, network, head_arrays(folder))
            finally:
                checked.result()  # its error is the cause of any other

    @property
    def stored_precision(self) -> Precision:
        """The precision of the file: bfloat16 is one of running alone."""
        return "int8" if self.precision == "int8" else "float32"

    def save(self, folder: Path) -> None:
        """Copy the model folder, atomically."""
        with files.atomic(folder) as temporary:
            shutil.copytree(self.manifest.folder, temporary)
