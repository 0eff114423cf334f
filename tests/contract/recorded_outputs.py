"""Outputs of networks that were recorded with torch, and decoding of them where there is no torch.

UNMASK_RECORD=1 pytest tests/contract/test_tasks.py records them anew. As a script, decodes all of them and compares the
predictions with those that were recorded.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "recorded"
TEXTS = ["river stone captain winter", "the captain answered river mountain remembered.", "feather"]
PAIRS = [("river what?", "lantern river golden stone market."), ("stone what?", "captain winter stone letter.")]


class Recorded:
    """A backend that returns recorded outputs for the recorded batch, and an engine that has no other."""

    pads = False

    def __init__(self, manifest: Any, arrays: Mapping[str, Any]) -> None:
        self.manifest, self.arrays = manifest, arrays
        self.parameters = self._named("parameter.")

    def _named(self, prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): x for name, x in self.arrays.items() if name.startswith(prefix)}

    def backend(self, head: str) -> "Recorded":
        return self

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        expected = self._named("in.")
        assert set(arrays) == set(expected)
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
        return self._named("out.")


def file_of(kind: str) -> Path:
    return FOLDER / f"{kind.replace(', ', '-').replace(' ', '-')}.npz"


def given(kind: str) -> list[Any]:
    """The texts of a kind."""
    return [list(pair) for pair in PAIRS] if kind.startswith(("answer", "embed, scores")) else TEXTS


def records(predictor: Any, texts: list[Any]) -> list[dict[str, Any]]:
    """The predictions as JSON objects."""
    from unmask.runtime.formats import format_of

    predictions = predictor.predict([tuple(text) if isinstance(text, list) else text for text in texts])
    from unmask.data.rows.example import Example

    written = format_of(predictor.task)
    examples = [
        Example(*((text, None) if isinstance(text, str) else text), None, str(number), number + 1, "texts")
        for number, text in enumerate(texts)
    ]
    return [
        json.loads(json.dumps(written.to_record(example, one, predictor.task.kind != "tags")))
        for example, one in zip(examples, predictions, strict=True)
    ]


def record(kind: str, predictor: Any) -> None:
    """Write what the backend of a predictor computes for the texts, and the predictions."""
    backend, arrays = predictor.backend, {}

    class Recording:
        parameters, pads = backend.parameters, backend.pads

        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            outputs: dict[str, Any] = backend.run(inputs)
            arrays.update({f"in.{name}": x for name, x in inputs.items()})
            arrays.update({f"out.{name}": x for name, x in outputs.items()})
            return outputs

    texts = given(kind)
    engine = predictor.engine
    original, engine.backend = engine.backend, lambda head: Recording()
    manifest, predictor.manifest = predictor.manifest, replace(predictor.manifest, reading={})  # single texts will do
    made = records(predictor, texts)
    engine.backend, predictor.manifest = original, manifest
    arrays.update({f"parameter.{name}": x for name, x in backend.parameters.items()})
    facts = {"kind": kind, "schema": dict(predictor.manifest.task), "texts": texts, "predictions": made}
    FOLDER.mkdir(exist_ok=True)
    arrays["facts"] = np.frombuffer(json.dumps(facts, ensure_ascii=False).encode(), dtype=np.uint8)
    np.savez_compressed(file_of(kind), **arrays)
    predictor.tokenizer.save_pretrained(FOLDER)


def decode(file: Path) -> None:
    """Decode a recorded file; raises AssertionError where the predictions are others."""
    from unmask.runtime.backend import Manifest
    from unmask.runtime.predictor import Predictor
    from unmask.text.tokenizer import Tokenizer

    arrays = dict(np.load(file, allow_pickle=False))
    facts = json.loads(arrays.pop("facts").tobytes())
    manifest = Manifest(FOLDER, lambda: Tokenizer.from_pretrained(FOLDER), 32, facts["schema"])
    made = records(Predictor(Recorded(manifest, arrays)), facts["texts"])
    same(facts["predictions"], made, facts["kind"])


def same(expected: Any, made: Any, where: str) -> None:
    """Raises AssertionError where values differ, numbers by more than rounding."""
    if isinstance(expected, dict):
        assert list(expected) == list(made), where
        for key in expected:
            same(expected[key], made[key], f"{where}: {key}")
    elif isinstance(expected, list):
        assert len(expected) == len(made), where
        for one, other in zip(expected, made, strict=True):
            same(one, other, where)
    elif isinstance(expected, float):
        assert abs(expected - made) < 2e-6, f"{where}: {expected} {made}"
    else:
        assert expected == made, f"{where}: {expected} {made}"


if __name__ == "__main__":
    from without_torch import refuse

    refuse()
    files = sorted(FOLDER.glob("*.npz"))
    for one in files:
        decode(one)
    assert "torch" not in sys.modules and "transformers" not in sys.modules
    print(*(one.stem for one in files))
