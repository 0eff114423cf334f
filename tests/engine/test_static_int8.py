"""Static int8: what it rounds against plain rounding, and what a graph computes against the formula."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save
from torch import Tensor, nn

from unmask.engine.export import _Network, _onnx_program, _quiet
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
from unmask.learner.batch import Batch
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder


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


CONFIG = EncoderConfig(
    vocab_size=96, num_hidden_layers=2, hidden_size=64, num_attention_heads=2, max_position_embeddings=32
)
SHARED = {"num_hidden_groups": 1, "embedding_size": 8}
GATED = {"gated": True, "bias": False, "norm": "pre", "attention_pattern": "LG", "window": 3}


@pytest.mark.parametrize("values", [SHARED, GATED])
def test_every_product_of_the_blocks_is_of_integers(
    values: dict[str, Any], make_encoder: Callable[..., Encoder], tmp_path: Path
) -> None:
    """Also those of a matrix that is cut for the first token alone; a matrix that layers share is there once."""
    encoder = make_encoder(replace(CONFIG, **values))
    with _quiet():
        _onnx_program(_Network(encoder, _First(), reads_first=True), 32, False).save(tmp_path / "float32.onnx")
    ids = [np.random.default_rng(n).integers(0, 96, (1, 2 + n % 30)) for n in range(60)]
    batches = [
        {"input_ids": one, "attention_mask": np.ones_like(one), "token_type_ids": np.zeros_like(one)} for one in ids
    ]
    layers = encoder.config.num_hidden_layers
    vectors = {}
    for name in ("float32", "fused", "unfused"):
        if name != "float32":
            quantise_static(tmp_path / "float32.onnx", tmp_path / f"{name}.onnx", batches, fused=name == "fused")
            graph = load(tmp_path / f"{name}.onnx").graph
            weights = [one for one in graph.initializer if one.data_type == TensorProto.INT8 and len(one.dims) > 1]
            assert len(weights) == 4 * encoder.config.num_blocks + (2 if "num_hidden_groups" in values else 1)
            assert sum(one.op_type == "QuantizeLinear" for one in graph.node) == 4 * layers + 1
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
        taken = [one.name for one in session.get_inputs()]
        vectors[name] = np.concatenate([session.run(None, {key: one[key] for key in taken})[0] for one in batches])
    for name in ("fused", "unfused"):
        one, other = vectors["float32"], vectors[name]
        assert ((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).mean() > 0.99
    np.testing.assert_allclose(vectors["fused"], vectors["unfused"], atol=0.2)


class _First(nn.Module):
    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return hidden[:, 0]


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("shape", [(32, 96), (32, 32), (96, 32), (8, 4)])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_few_rows_or_none_but_zeros_calibrate(rows: int, shape: tuple[int, int], value: float) -> None:
    """A weight is never further from what it was than two steps, and a product of the sample stays near."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=shape).astype(np.float32)
    sample = (value * draw.normal(size=(rows, shape[0]))).astype(np.float32)
    made = quantise(sample, weight)
    restored = made.weight * made.scales
    assert np.isfinite(restored).all() and np.abs(made.weight).max(initial=0) <= LARGEST_WEIGHT
    np.testing.assert_allclose(
        made.integer_part(sample) @ restored,
        made.integer_part(sample) @ made.float32,
        atol=0.05 * value * shape[0] + 1e-6,
    )
