"""int8: what the matrices of an ONNX network multiply, in 8 bits; static with a sample of rows, dynamic without.

What the head computes stays in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask import files
from unmask.engine.static_int8 import SCOPES, quantise_static
from unmask.engine.torch_backend import TorchEngine
from unmask.errors import missing_extra
from unmask.runtime.backend import arrays_of
from unmask.runtime.drop import encode_rows, read_examples
from unmask.runtime.exported import pad_arrays
from unmask.runtime.predictor import Predictor

Inputs = Mapping[str, npt.NDArray[np.int64]]
MULTIPLIES = ("MatMul", "Gemm")
ROWS = 256  # that calibrate


@dataclass(frozen=True)
class Sample:
    """Rows that int8 is calibrated on. batches: as `quantise` takes them, None where there are no rows; facts: the
    method, and which rows of which file."""

    batches: Sequence[Inputs] | None
    facts: dict[str, Any]


def draw_sample(engine: TorchEngine, file: Path | None) -> Sample:
    """Draw rows of a file, the same each time; by default the file that the model was trained on, if it is unchanged.

    Raises UserError for a file that cannot be read.
    """
    file = file or _training_file(engine)
    if file is None:
        return Sample(None, {"method": "dynamic"})
    predictor = Predictor(engine)
    examples = read_examples(predictor, file, "predict")
    drawn = np.sort(np.random.default_rng(0).permutation(len(examples))[:ROWS])
    rows = encode_rows(predictor, [examples[number] for number in drawn])
    batches = [pad_arrays(arrays_of([row])) for row in rows]  # alone: ranges without padding
    facts = {"file": file.name, "sha256": files.sha256(file), "rows": len(rows)}
    return Sample(batches, {"method": "static", "calibration": facts})


def _training_file(engine: TorchEngine) -> Path | None:
    last = engine.bundle.lineage[-1] if engine.bundle.lineage else {}
    name, digest = last.get("recipe", {}).get("data", {}).get("train"), last.get("train_sha256")
    path = Path(str(name))
    return path if name and digest and path.is_file() and files.sha256(path) == digest else None


def quantise(source: Path, target: Path, batches: Sequence[Inputs] | None, *, fused: bool) -> None:
    """Write the network in the ONNX file `source` in int8 into `target`, the same bytes each time.

    batches: padded inputs, from which the ranges of activations are taken (static); without them, each batch gives
    its own when it is computed (dynamic, by onnxruntime's quantiser); fused: for onnxruntime alone. Raises UserError
    where onnxruntime is not installed.
    """
    try:
        import onnxruntime.quantization as ort
    except ImportError:
        raise missing_extra("onnxruntime", "onnx", "quantising") from None
    if batches is not None:
        quantise_static(source, target, batches, fused=fused)
        return
    ort.quantize_dynamic(
        source,
        target,
        op_types_to_quantize=list(MULTIPLIES),
        nodes_to_exclude=head_nodes(source),
        per_channel=True,
        reduce_range=True,  # sums of two products fit into 16 bits, which is all that AVX2 has
        weight_type=ort.QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def head_nodes(source: Path) -> list[str]:
    """The names of nodes that multiply by a weight of the head."""
    import onnx

    nodes = onnx.load(source, load_external_data=False).graph.node
    scopes = {node.name: one.value for node in nodes for one in node.metadata_props if one.key == SCOPES}
    return [node.name for node in nodes if node.op_type in MULTIPLIES and "'head'" in scopes.get(node.name, "")]
