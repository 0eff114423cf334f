"""The engine OpenVINO: networks in its own files, on the CPU, in float32, bfloat16 or int8."""

import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.runtime.exported import ExportedBackend, ExportedEngine
from unmask.runtime.manifest import ExportedNetwork
from unmask.tasks.task import Arrays

# without what converts models of other frameworks: that takes a tenth of a second to import, and sends a message to
# Google Analytics, while nothing here opens a connection
CONVERTER = "openvino.tools.ovc"
converter: Any = sys.modules.setdefault(CONVERTER, None)  # type: ignore[arg-type]
try:
    import openvino
finally:
    if converter is None:
        del sys.modules[CONVERTER]
if converter is None:  # for others in this process

    def _convert_model(*args: Any, **settings: Any) -> Any:
        return import_module(CONVERTER).convert_model(*args, **settings)

    openvino.convert_model = _convert_model


def convert(source: Path, file: Path) -> None:
    """Write the network in an ONNX file as OpenVINO's own files."""
    openvino.save_model(openvino.Core().read_model(source), file, compress_to_fp16=False)


class OpenvinoBackend(ExportedBackend):
    """A compiled network; each thread has a request of its own, since one serves one call at a time."""

    def __init__(self, file: Path, network: ExportedNetwork, parameters: Arrays, threads: int, precision: str) -> None:
        super().__init__(network, parameters)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",  # one call at a time uses all threads
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self.compiled = openvino.Core().compile_model(str(file), "CPU", settings)
        self.names = [one.get_any_name() for one in self.compiled.inputs]
        self._local = threading.local()

    def compute(self, inputs: Mapping[str, npt.NDArray[np.int64]]) -> npt.NDArray[Any]:
        if not hasattr(self._local, "request"):
            self._local.request = self.compiled.create_infer_request()
        outputs = self._local.request.infer({name: inputs[name] for name in self.names}, share_inputs=True)
        return np.asarray(outputs[0])


class OpenvinoEngine(ExportedEngine):
    name = "openvino"

    def load(self, file: Path, network: ExportedNetwork, parameters: Arrays) -> OpenvinoBackend:
        precision = "bf16" if self.precision == "bfloat16" else "f32"
        return OpenvinoBackend(file, network, parameters, self.threads, precision)
