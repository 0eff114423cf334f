"""The rows, the sides and the agreement of `engines`, and the lines around an engine by hand. No peers needed."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import engine_peers, engines
from errors import refused
from unmask.text.tokenizer import Tokenizer

WIDTH = 5


def options(*given: str) -> argparse.Namespace:
    return command.parser_of("engines", engines).parse_args(given)


def test_rows_that_are_held_back_are_not_measured(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    every = [f'{{"text": "row {number}"}}\n' for number in range(1000)]
    file.write_text("".join(every), encoding="utf-8")
    held, measured, name = engines._rows(options("--file", str(file), "--rows", "60"))
    assert (len(held), len(measured), name) == (500, 60, "rows.jsonl")
    assert not {*held} & {*measured} and {*held, *measured} <= {*every}


@pytest.mark.parametrize("content", ["", '{"text": "alone"}\n'])
def test_too_few_rows(content: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content, encoding="utf-8")
    with refused("too few rows"):
        engines._rows(options("--file", str(file)))


def test_texts_of_rows() -> None:
    assert engines._text('{"text": "One film.", "label": "good"}\n', "classify") == "One film."
    assert engines._text("Anna\tB-PER\nsings\tO\n\n", "tag") == "Anna sings"


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("task", engines.TASKS)
def test_sides_of_a_task(task: str, units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_bfloat16_units", lambda: units)
    count, sides = engines.sides(options("--task", task), {"task": task})
    names = [side.name for side in sides]
    assert len({*names}) == len(names)
    assert [name.startswith("ours, ") for name in names] == [number < count for number in range(len(names))]
    assert any("bfloat16" in name for name in names) == units
    for side in sides[count:]:
        assert side.settings["peer"] in engine_peers.PEERS and side.settings["task"] == task
    count, sides = engines.sides(options("--task", task, "--latency"), {"task": task})
    assert [side.name.replace("ours", "bare") for side in sides[:count]] == [side.name for side in sides[count:]]
    assert [side.settings for side in sides[:count]] == [side.settings for side in sides[count:]]


def test_sides_by_words_of_their_names() -> None:
    count, sides = engines.sides(options("--only", "onnx float32", "onnxruntime"), {})
    assert count == 1 and [side.name for side in sides] == [
        "ours, onnx float32",
        "onnxruntime float32",
        "onnxruntime int8",
    ]
    with refused("--only", "sentence-transformers"):
        engines.sides(options("--only", "ours"), {})


def test_agreement() -> None:
    assert engines.agreement([[3.0, 4.0], [1.0, 0.0]], [[6.0, 8.0], [0.0, 2.0]]) == pytest.approx(0.5)
    assert engines.agreement(["a", "b", "b"], ["a", "b", "a"]) == pytest.approx(2 / 3)


def test_by_hand_gives_each_text_its_own(tokenizer: Tokenizer, stories: list[str], tmp_path: Path) -> None:
    """With a network that knows nothing but embeddings, batched and sorted is the same as one text after another."""
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "no", "1": "yes"}}), encoding="utf-8")
    table = np.random.default_rng(0).normal(size=(tokenizer.vocab_size, WIDTH)).astype(np.float32)
    texts = [story[: 7 * number + 1] for number, story in enumerate(stories[:40])][::-1]
    ids = [tokenizer.encode(text).input_ids for text in texts]
    limit = 30
    cut = [row if len(row) <= limit else [*row[: limit - 1], row[-1]] for row in ids]
    assert len(texts) > engine_peers.BATCH and cut != ids

    settings = {"model": str(tmp_path), "max_length": limit, "task": "embed"}
    found = engine_peers._by_hand(settings, lambda arrays: table[arrays["input_ids"]])(texts)
    means = np.stack([table[row].mean(axis=0) for row in cut])
    np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-5, atol=1e-6)

    labels = engine_peers._by_hand(
        {**settings, "task": "classify"},
        lambda arrays: np.stack([20.5 - arrays["attention_mask"].sum(axis=1), np.zeros(len(arrays["input_ids"]))], 1),
    )(texts)
    assert labels == ["no" if len(row) <= 20 else "yes" for row in cut]
