"""Static int8: what it rounds against plain rounding, and what a graph computes against the formula."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from unmask.engine.static_int8 import (
    LARGEST_WEIGHT,
    LEVELS,
    OUTLIERS,
    Floats,
    Quantised,
    _range,
    quantise,
    quantise_static,
)


def drawn(inputs: int, outputs: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Activations that depend on one another, some of them far larger than others; and weights."""
    draw = np.random.default_rng(seed)
    few = draw.normal(size=(600, inputs // 2)) @ draw.normal(size=(inputs // 2, inputs))
    few[:, draw.permutation(inputs)[:4]] *= 30
    weight = draw.normal(size=(inputs, outputs)) / np.sqrt(inputs)
    return few.astype(np.float32), weight.astype(np.float32)


def computed(sample: Floats, x: Floats, weight: Floats, how: Quantised) -> Floats:
    """The product by the formula, with the range of a sample."""
    scale, zero = _range(how.integer_part(sample), how.float32)
    rounded = (np.clip(np.round(how.integer_part(x) / scale) + zero, 0, LEVELS) - zero) * scale
    product: Floats = rounded @ (how.weight * how.scales) + x[:, how.outliers] @ weight[how.outliers]
    return product


def plain(sample: Floats, x: Floats, weight: Floats) -> Floats:
    """The product with one range of all activations, and weights that are rounded by themselves."""
    low, high = float(sample.min()), float(sample.max())
    scale = (high - low) / LEVELS
    integers = np.clip(np.round(x / scale), np.round(low / scale), np.round(high / scale))
    scales = np.abs(weight).max(axis=0) / LARGEST_WEIGHT
    product: Floats = integers * scale @ (np.round(weight / scales) * scales)
    return product


@pytest.mark.parametrize(("inputs", "outputs"), [(96, 288), (96, 32), (96, 96)])
def test_error_is_smaller_than_that_of_plain_rounding(inputs: int, outputs: int) -> None:
    sample, weight = drawn(inputs, outputs)
    how = quantise(sample[:400], weight)
    exact, unseen = sample[400:] @ weight, sample[400:]
    ours, others = computed(sample[:400], unseen, weight, how), plain(sample[:400], unseen, weight)
    assert np.square(ours - exact).mean() < np.square(others - exact).mean()


def test_weights_and_outliers_keep_to_their_bounds() -> None:
    sample, weight = drawn(96, 32)
    how = quantise(sample, weight)
    assert how.factors is None
    assert np.abs(how.weight).max() <= LARGEST_WEIGHT
    assert len(how.outliers) == OUTLIERS
    assert set(np.argsort(-np.abs(sample).max(axis=0))[:4]) <= set(how.outliers)
    assert not how.weight[how.outliers].any()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 96), (96, 32), (32, 32)])
def test_graph_computes_the_formula(tmp_path: Path, inputs: int, outputs: int, fused: bool) -> None:
    sample, weight = drawn(inputs, outputs)
    bias = np.arange(outputs, dtype=np.float32)
    product = helper.make_node("MatMul", ["x", "w"], ["product"], name="product")
    product.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'encoder', 'encoder.blocks.0', 'linear']")
    nodes = [product, helper.make_node("Add", ["product", "b"], ["output"], name="bias")]
    x, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])
        for name, size in (("x", inputs), ("output", outputs))
    )
    constants = [numpy_helper.from_array(one, name) for one, name in ((weight, "w"), (bias, "b"))]
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(helper.make_graph(nodes, "one", [x], [output], constants), opset_imports=opsets)
    model.ir_version = 10
    save(model, tmp_path / "float.onnx")
    batches = [{"x": sample[:300]}, {"x": sample[300:]}]
    quantise_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", batches, fused=fused)
    quantise_static(tmp_path / "float.onnx", tmp_path / "again.onnx", batches, fused=fused)
    assert (tmp_path / "int8.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": sample})
    expected = computed(sample, sample, weight, quantise(sample, weight)) + bias
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()
