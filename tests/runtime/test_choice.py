"""Which backend and precision are chosen: of made-up networks, with made-up speeds."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.files import read_json
from unmask.runtime import choice
from unmask.runtime.choice import Choice, check_exists, fastest, find_choices
from unmask.runtime.exported import pad_arrays
from unmask.runtime.manifest import ExportedNetwork

PASSED, FAILED, MEASURED = {"passed": True}, {"passed": False}, {"passed": True, "dev": {"rows": 3}}


def network(backend: str, precision: Any = "float32", verified: dict[str, Any] | None = None) -> ExportedNetwork:
    return ExportedNetwork(
        backend=backend,
        precision=precision,
        head="task",
        output="logits",
        per_token=False,
        file="x",
        sha256={},
        verified=verified,
    )


@pytest.fixture(autouse=True)
def no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: False)


@pytest.mark.parametrize(
    ("networks", "weights", "expected"),
    [
        ([], True, ["torch float32"]),
        ([network("onnx")], False, ["onnx float32"]),
        ([network("onnx"), network("openvino", verified=FAILED)], False, ["onnx float32"]),
        ([network("onnx", verified=PASSED), network("onnx", "int8")], False, ["onnx float32"]),
        ([network("onnx"), network("onnx", "int8", PASSED)], False, ["onnx float32"]),
        ([network("onnx"), network("onnx", "int8", {**MEASURED, **FAILED})], False, ["onnx float32"]),
        ([network("onnx"), network("onnx", "int8", MEASURED)], True, ["onnx float32", "onnx int8", "torch float32"]),
    ],
)
def test_what_may_run(networks: list[ExportedNetwork], weights: bool, expected: list[str]) -> None:
    assert [str(one) for one in find_choices(networks, weights, "auto", "auto")] == expected


def test_bfloat16_is_for_processors_with_units_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [network("onnx"), network("openvino")]
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: True)
    with_units = {str(one) for one in find_choices(networks, True, "auto", "auto")}
    assert with_units == {"onnx float32", "openvino float32", "torch float32", "openvino bfloat16", "torch bfloat16"}
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: False)
    named = find_choices(networks, False, "auto", "bfloat16")
    assert named == [Choice("openvino", "bfloat16")]


def test_what_failed_runs_where_it_is_named() -> None:
    networks = [network("onnx", verified=FAILED), network("onnx", "int8")]
    assert find_choices(networks, False, "onnx", "float32") == [Choice("onnx", "float32")]
    assert find_choices(networks, False, "onnx", "int8") == [Choice("onnx", "int8")]
    with refused("backend auto", "unmask export"):
        find_choices(networks, False, "auto", "auto")


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("'tensorrt'", "torch, onnx, openvino"):
        find_choices([], True, "tensorrt", "auto")
    with refused("'float16'", "bfloat16"):
        find_choices([], True, "auto", "float16")
    with refused("backend onnx", "torch float32", "--format onnx"):
        find_choices([], True, "onnx", "auto")
    with refused("backend openvino", "onnx float32", "--format openvino"):
        find_choices([network("onnx")], False, "openvino", "auto")
    with refused("backend torch", "exported from"):
        find_choices([network("onnx")], False, "torch", "auto")
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    both = [network("openvino"), network("onnx")]
    with refused("onnxruntime", "unmask[onnx]"):
        find_choices(both, False, "onnx", "auto")
    with refused("unmask[openvino]", "unmask[onnx]"):
        find_choices(both, False, "auto", "auto")
    with refused("torch", "unmask[train]", "unmask export"):
        find_choices([], True, "auto", "auto")
    with refused("folder/absent", "does not exist"):
        check_exists(Path("folder/absent"))
    check_exists(Path(__file__).parent)


def test_the_fastest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    opened: list[Choice] = []

    def run(one: Choice) -> Any:
        opened.append(one)
        return lambda arrays: time.sleep(0.02 if one.backend == "torch" else 0)

    both = [Choice("torch", "float32"), Choice("onnx", "float32")]
    assert fastest(both, "model", run, 10, 64) == both[1] and opened == both
    assert fastest(both, "model", run, 10, 64) == both[1] and opened == both, "nothing is tried twice"
    (kept,) = (tmp_path / "backends").iterdir()
    assert read_json(kept)["seconds"].keys() == {"torch float32", "onnx float32"}
    kept.write_text("{")
    assert fastest(both, "model", run, 10, 64) == both[1] and opened == both * 2, "a damaged file is made anew"
    assert fastest(both[:1], "other", run, 10, 64) == both[0] and opened == both * 2, "one needs no trial"


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=6), st.integers(20, 30))
def test_padding_keeps_every_token_and_position(rows: list[list[bool]], longest: int) -> None:
    lengths = np.array([len(row) for row in rows])
    flags = np.concatenate([np.array(row) for row in rows])
    ids = np.arange(1, len(flags) + 1)
    packed = {"input_ids": ids, "token_type_ids": ids % 2, "lengths": lengths, "positions": np.flatnonzero(flags)}
    padded = pad_arrays(packed, longest)
    mask = padded["attention_mask"] > 0
    assert (
        lengths.max() <= mask.shape[1] <= longest
        and (mask.sum(1) == lengths).all()
        and (np.diff(padded["attention_mask"]) <= 0).all()
    )
    for name in ("input_ids", "token_type_ids"):
        assert (padded[name][mask] == packed[name]).all() and not padded[name][~mask].any()
    assert (padded["input_ids"].flatten()[padded["positions"]] == ids[flags]).all()
