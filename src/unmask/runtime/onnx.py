"""The engine onnxruntime: networks in ONNX files, on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from unmask.runtime.exported import ExportedBackend, ExportedEngine
from unmask.runtime.manifest import ExportedNetwork
from unmask.tasks.task import Arrays

SLOWER = {"SkipLayerNormFusion"}  # on a CPU, a sum and a norm as one operator take 3 times as long as apart


class OnnxBackend(ExportedBackend):
    """A session, which several threads may use."""

    def __init__(self, file: Path, network: ExportedNetwork, parameters: Arrays, threads: int) -> None:
        super().__init__(network, parameters)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors alone: they are raised
        self.session = onnxruntime.InferenceSession(
            str(file),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOWER,
            enable_fallback=0,  # to the same provider, with a message on standard output
        )
        self.names = [one.name for one in self.session.get_inputs()]

    def compute(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[Any]:
        outputs = self.session.run(None, {name: inputs[name] for name in self.names})
        return np.asarray(outputs[0])


class OnnxEngine(ExportedEngine):
    name = "onnx"

    def load(self, file: Path, network: ExportedNetwork, parameters: Arrays) -> OnnxBackend:
        return OnnxBackend(file, network, parameters, self.threads)
