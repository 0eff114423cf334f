"""Networks in int8: what is calibrated, what they lose, and when they are chosen."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import Tensor, nn

from errors import refused
from unmask.cli.app import run
from unmask.console import SILENT
from unmask.engine import static_int8
from unmask.engine.export import _Network, _onnx_program, _quiet, export
from unmask.engine.quantise import quantise
from unmask.files import read_object, sha256, write_json
from unmask.learner.batch import Batch
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.runtime.choice import find_choices
from unmask.runtime.drop import measure_drop
from unmask.runtime.manifest import FACTS, read_manifest
from unmask.runtime.predictor import load
from unmask.runtime.verify import verify
from unmask.train.finetune import finetune

FAST = ["train.budget=30 steps", "train.evaluations=1", "task.max_length=24", "train.optimizer.lr=0.01"]


@pytest.fixture(scope="module")
def classifier(pretrained: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classifier"
    return finetune(None, FAST, model=pretrained, train=table, output=out, progress=SILENT).model


@pytest.fixture(scope="module")
def engines(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier in ONNX, in float32 and int8, not verified."""
    folder = tmp_path_factory.mktemp("exported") / "engines"
    export(classifier, "onnx", folder)
    export(classifier, "onnx", folder, precision="int8")
    return folder


@pytest.fixture
def copy(engines: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(engines, tmp_path / "copy"))


def test_it_is_calibrated_on_the_training_file(engines: Path, table: Path) -> None:
    quantised = read_manifest(engines).networks[1].quantised
    rows = {"file": table.name, "sha256": sha256(table), "rows": 80}
    assert quantised == {"method": "static", "calibration": rows}


def test_the_same_bytes_again(engines: Path, tmp_path: Path) -> None:
    ids = np.arange(12).reshape(2, 6)
    batches = [{"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}]
    source = engines / "onnx" / "model.onnx"
    for number, sample in enumerate((batches, batches, None, None)):
        quantise(source, tmp_path / f"{number}.onnx", sample, fused=True)
    sums = [sha256(tmp_path / f"{number}.onnx") for number in range(4)]
    assert sums[0] == sums[1] != sums[2] == sums[3]


def test_it_runs_by_itself_only_once_its_loss_was_measured(copy: Path, table: Path) -> None:
    def chosen() -> list[str]:
        return [one.precision for one in find_choices(read_manifest(copy).networks, False, "onnx", "auto")]

    assert chosen() == ["float32"]
    run(["verify", str(copy)])
    assert chosen() == ["float32"]
    assert run(["verify", str(copy), "--dev", str(table), "--max-drop", "1"]) == 0
    assert chosen() == ["float32", "int8"]
    verify(copy, threads=1)
    assert chosen() == ["float32", "int8"], "what was measured stays"


def test_the_drop_is_that_of_two_evaluations(engines: Path, table: Path) -> None:
    one, other = (load(engines, backend="onnx", precision=each, threads=1) for each in ("float32", "int8"))
    record = measure_drop(one, other, table, 0.01)
    values = [each.evaluate(table)["accuracy"].value for each in (one, other)]
    assert [record["float32"], record["int8"]] == values
    drop = record["drop"]
    assert drop["value"] == pytest.approx(values[0] - values[1]) and drop["low"] <= drop["value"] <= drop["high"]


def test_too_great_a_drop_fails(copy: Path) -> None:
    """What was measured is judged again by another --max-drop."""
    facts = read_object(copy / FACTS)
    drop = {"value": 0.05, "low": 0.0, "high": 0.1}
    dev = {"rows": 3, "metric": "accuracy", "float32": 0.9, "int8": 0.85, "drop": drop, "max_drop": 0.1}
    facts["networks"][1]["verified"] = {"passed": True, "dev": dev}
    write_json(copy / FACTS, facts)
    assert run(["verify", str(copy), "--max-drop", "0.04"]) == 1
    record = read_manifest(copy).networks[1].verified
    assert record is not None and not record["passed"] and record["dev"]["float32"] == 0.9
    assert run(["verify", str(copy), "--max-drop", "0.06"]) == 0


def test_what_is_refused(copy: Path, classifier: Path, table: Path, tmp_path: Path) -> None:
    facts = read_object(copy / FACTS)
    facts["networks"] = facts["networks"][1:]
    write_json(copy / FACTS, facts)
    with refused(copy, "float32"):
        verify(copy, threads=1, dev=table)
    with refused("verify FOLDER --dev"):
        load(copy)
    with refused("missing.csv"):
        export(classifier, "onnx", tmp_path / "out", precision="int8", calibration=tmp_path / "missing.csv")
    assert not (tmp_path / "out").exists()
    assert run(["export", str(classifier), "--output", str(tmp_path / "hf"), "--precision", "int8"]) == 1


CONFIG = EncoderConfig(
    vocab_size=96, num_hidden_layers=2, hidden_size=64, num_attention_heads=2, max_position_embeddings=32
)
SHARED = {"num_hidden_layers": 3, "num_hidden_groups": 1, "embedding_size": 8}
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
            quantise(tmp_path / "float32.onnx", tmp_path / f"{name}.onnx", batches, fused=name == "fused")
            graph = onnx.load(tmp_path / f"{name}.onnx").graph
            weights = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
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
    made = static_int8.quantise(sample, weight)
    restored = made.weight * made.scales
    assert np.isfinite(restored).all() and np.abs(made.weight).max(initial=0) <= static_int8.LARGEST_WEIGHT
    np.testing.assert_allclose(
        made.integer_part(sample) @ restored,
        made.integer_part(sample) @ made.float32,
        atol=0.05 * value * shape[0] + 1e-6,
    )
