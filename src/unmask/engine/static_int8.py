"""Static int8 of an ONNX network: the products of the encoder's blocks, with fixed scales from a calibration sample.

Few input channels of a Transformer have values far beyond the others, and a range that holds them leaves few steps for
the rest. Where a product widens (query, key and value; the inner layer), they are divided by a factor, and the weights
multiplied by it (Xiao et al. 2023, SmoothQuant, equation 4). Where it narrows (the outer layer), they are computed in
float32 (Dettmers et al. 2022, LLM.int8(), section 3.2). The range of the rest is the one that changes the product
least, and may cut off values. It is fixed, so that an output does not depend on the batch.

Weights: one scale for each output, 7 of the 8 bits, so that a sum of two products fits into 16 bits where the processor
has no instruction for whole ones; what rounding one changes is made up for by the next ones (Frantar et al. 2023, GPTQ,
section 3). Activations: 8 bits, one scale. As QuantizeLinear and DequantizeLinear around the products, which engines
replace by products of integers.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
OUTLIERS = 16  # input channels in float32
MIGRATION = 0.5  # of the range of activations to the weights: SmoothQuant's alpha
LARGEST_WEIGHT = 63
LEVELS = 255  # of an activation
RANGES = np.linspace(0.3, 1.0, 15)  # shares of the whole range that are tried
SAMPLED = 4096  # rows of activations that weights are rounded by
TRIED = 256, 64  # rows and outputs of them that a range is chosen by
DAMPING = 0.1  # of the mean square of an input: with 0.01, few rows make rounding worse than without them
BLOCK = 128  # inputs whose rounding is made up for at a time
FUSED_DOMAIN = "com.microsoft"
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter writes which module a node is of


@dataclass(frozen=True)
class Quantised:
    """A weight (inputs, outputs) in int8, with a scale for each output, for inputs that are multiplied by the factors.

    float32: the same without outliers, the input channels that are computed apart, in float32.
    """

    weight: npt.NDArray[np.int8]
    scales: Floats
    factors: Floats | None
    outliers: npt.NDArray[np.int64]
    float32: Floats

    def integer_part(self, sample: Floats) -> Floats:
        """Return the part of inputs (rows, inputs) that the product in int8 multiplies."""
        sample = sample.copy() if self.factors is None else sample * self.factors
        sample[:, self.outliers] = 0.0
        return sample


def quantise_static(
    source: Path, target: Path, batches: Sequence[Mapping[str, npt.NDArray[np.int64]]], *, fused: bool
) -> None:
    """Write the network of an ONNX file in int8. batches: inputs without padding that calibrate it; fused: with the
    operator of onnxruntime that other engines do not know."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    inputs: dict[str, list[str]] = defaultdict(list)  # of each weight: ALBERT's layers share theirs
    for node in graph.node:
        if _is_product(node, weights):
            inputs[node.input[1]].append(node.input[0])
    samples = _activations(model, sorted({name for names in inputs.values() for name in names}), batches)
    matrices = {}
    for name, read in inputs.items():
        weight = numpy_helper.to_array(weights[name])
        matrices[name] = Matrix(name, weight, quantise(np.concatenate([samples[one] for one in read]), weight))
    biases = {one.input[0]: one for one in graph.node if one.op_type == "Add" and one.input[1] in weights}
    nodes: list[Any] = []
    constants, merged = list(graph.initializer), set()
    for node in graph.node:
        if _is_product(node, weights):
            bias = biases.get(node.output[0]) if fused else None
            product = Product(node, matrices[node.input[1]], samples[node.input[0]], bias)
            nodes += product.nodes()
            constants += product.constants
            merged |= set() if bias is None else {bias.output[0]}
        elif node.output[0] not in merged:
            nodes.append(node)
    constants += [one for matrix in matrices.values() for one in matrix.constants]
    used = {name for node in nodes for name in node.input}
    constants = [one for one in constants if one.name in used]
    model.graph.CopyFrom(onnx.helper.make_graph(nodes, graph.name, graph.input, graph.output, constants))
    if fused:
        model.opset_import.append(onnx.helper.make_opsetid(FUSED_DOMAIN, 1))
    onnx.save(model, target)


def _is_product(node: Any, weights: Collection[str]) -> bool:
    """Whether a node multiplies by a weight of a block of the encoder."""
    scopes = next((one.value for one in node.metadata_props if one.key == SCOPES), "")
    return node.op_type == "MatMul" and "encoder.blocks." in scopes and node.input[1] in weights


def _activations(model: Any, names: Sequence[str], batches: Sequence[Any]) -> dict[str, Floats]:
    """Some rows (rows, channels) of each of these values, over the whole sample."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = [one.name for one in session.get_inputs()]
    per_batch = max(1, SAMPLED // len(batches))
    found: dict[str, list[Floats]] = defaultdict(list)
    for number, batch in enumerate(batches):
        values = session.run(list(names), {name: batch[name] for name in fed})
        for name, value in zip(names, values, strict=True):
            rows = value.reshape(-1, value.shape[-1])
            found[name].append(rows[np.random.default_rng(number).permutation(len(rows))[:per_batch]])
    return {name: np.concatenate(rows) for name, rows in found.items()}


def quantise(sample: Floats, weight: Floats) -> Quantised:
    """Choose how to compute a product. sample (rows, inputs), weight (inputs, outputs)."""
    largest = np.abs(sample).max(axis=0)
    factors, outliers, left = None, np.array([], dtype=np.int64), weight.copy()
    if weight.shape[1] > weight.shape[0]:
        factors = _factors(largest, np.abs(weight).max(axis=1))
        left /= factors[:, None]
    elif weight.shape[1] < weight.shape[0]:
        outliers = np.sort(np.argsort(-largest, kind="stable")[:OUTLIERS])
        left[outliers] = 0.0
    made = Quantised(np.zeros(weight.shape, dtype=np.int8), np.ones(1, np.float32), factors, outliers, left)
    integers, scales = _round(made.integer_part(sample), left)
    return replace(made, weight=integers, scales=scales)


def _factors(activations: Floats, weights: Floats) -> Floats:
    """What the input channels are multiplied by, from the largest values of each."""
    factors = np.maximum(weights, 1e-5) ** (1 - MIGRATION) / np.maximum(activations, 1e-5) ** MIGRATION
    scaled: Floats = (factors / factors.mean()).astype(np.float32)
    return scaled


def _range(sample: Floats, weight: Floats) -> tuple[float, int]:
    """The scale and the zero of activations that change the product least."""
    rows, outputs = (max(1, size // most) for size, most in zip((len(sample), weight.shape[1]), TRIED, strict=True))
    x, w = sample[::rows], weight[:, ::outputs]
    low, high = min(float(sample.min()), 0.0), max(float(sample.max()), 1e-6)
    errors = {}
    for share in RANGES:
        scale = float(np.float32((high - low) * share / LEVELS))
        zero = round(-low * share / scale)
        error = (np.clip(np.round(x / scale) + zero, 0, LEVELS) - zero) * scale - x
        errors[scale, zero] = float(np.square(error @ w).mean())
    return min(errors, key=lambda one: errors[one])


def _round(sample: Floats, weight: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round weights to integers, input by input; return them and the scale of each output."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-12) / LARGEST_WEIGHT
    squares = (sample.T @ sample).astype(np.float64)
    squares += np.eye(len(squares)) * max(DAMPING * float(np.diag(squares).mean()), 1e-12)
    passing = np.linalg.cholesky(np.linalg.inv(squares)).T.astype(np.float32)
    left, integers = weight.copy(), np.zeros(weight.shape, dtype=np.int8)
    for begin in range(0, len(weight), BLOCK):
        block = slice(begin, min(begin + BLOCK, len(weight)))
        errors = np.zeros_like(left[block])
        for row in range(block.start, block.stop):
            integers[row] = np.clip(np.round(left[row] / scales), -LARGEST_WEIGHT, LARGEST_WEIGHT)
            errors[row - begin] = (left[row] - integers[row] * scales) / passing[row, row]
            left[row + 1 : block.stop] -= np.outer(passing[row, row + 1 : block.stop], errors[row - begin])
        left[block.stop :] -= passing[block, block.stop :].T @ errors
    return integers, scales.astype(np.float32)


class Matrix:
    """The constants of a weight in int8, which all products with it read."""

    def __init__(self, name: str, weight: Floats, how: Quantised) -> None:
        self.name, self.how, self.constants = name, how, list[Any]()
        self.weight = self.add("int8", how.weight)
        self.scales = self.add("scales", how.scales)
        self.zeros = self.add("zeros", np.zeros_like(how.scales, dtype=np.int8))
        self.factors = None if how.factors is None else self.add("factors", how.factors)
        self.outliers = self.add("outliers", how.outliers)
        self.columns = self.add("columns", weight[how.outliers])

    def add(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant; return its name."""
        self.constants.append(constant(f"{self.name}_{name}", value))
        return f"{self.name}_{name}"


class Product:
    """A product in int8: the nodes that take the place of a MatMul and, with its bias, of the Add after it."""

    def __init__(self, node: Any, matrix: Matrix, sample: Floats, bias: Any | None) -> None:
        self.x, self.output = node.input[0], node.output[0]
        self.matrix, self.bias = matrix, bias
        scale, zero = _range(matrix.how.integer_part(sample), matrix.how.float32)
        self.scale, self.zero = f"{self.output}_scale", f"{self.output}_zero"
        self.constants = [
            constant(self.scale, np.array(scale, np.float32)),
            constant(self.zero, np.array(zero, np.uint8)),
        ]

    def nodes(self) -> list[Any]:
        """Make the nodes."""
        from onnx.helper import make_node

        matrix, x, nodes = self.matrix, self.x, []
        output = self.output if self.bias is None else self.bias.output[0]
        if matrix.factors is not None:
            x = f"{self.output}_smooth"
            nodes.append(make_node("Mul", [self.x, matrix.factors], [x]))
        apart = len(matrix.how.outliers) > 0
        quantised, product = f"{self.output}_quantised", f"{self.output}_integer" if apart else output
        nodes.append(make_node("QuantizeLinear", [x, self.scale, self.zero], [quantised]))
        if self.bias is not None:
            inputs = [quantised, matrix.weight, self.scale, matrix.scales, self.zero, "", self.bias.input[1]]
            nodes.append(make_node("MatMulIntegerToFloat", inputs, [product], domain=FUSED_DOMAIN))
        else:
            restored = [f"{self.output}_restored", f"{self.output}_weight_restored"]
            nodes.append(make_node("DequantizeLinear", [quantised, self.scale, self.zero], restored[:1]))
            nodes.append(
                make_node("DequantizeLinear", [matrix.weight, matrix.scales, matrix.zeros], restored[1:], axis=1)
            )
            nodes.append(make_node("MatMul", restored, [product]))
        if apart:
            columns, float32 = f"{self.output}_apart", f"{self.output}_float"
            nodes.append(make_node("Gather", [self.x, matrix.outliers], [columns], axis=-1))
            nodes.append(make_node("MatMul", [columns, matrix.columns], [float32]))
            nodes.append(make_node("Add", [product, float32], [output]))
        return nodes


def constant(name: str, value: npt.NDArray[Any]) -> Any:
    """Make a constant of a graph."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
