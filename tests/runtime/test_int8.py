"""Networks in int8: what is calibrated, what they lose, and when they are chosen."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from errors import refused
from unmask.cli.app import run
from unmask.engine.export import export
from unmask.engine.quantise import quantise
from unmask.files import read_object, sha256, write_json
from unmask.runtime.choice import find_choices
from unmask.runtime.drop import measure_drop
from unmask.runtime.manifest import FACTS, read_manifest
from unmask.runtime.predictor import load
from unmask.runtime.verify import verify


@pytest.fixture(scope="module")
def engines(classifier: Path, onnx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier in ONNX, in float32 and int8, not verified."""
    folder = Path(shutil.copytree(onnx_folder, tmp_path_factory.mktemp("exported") / "engines"))
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
