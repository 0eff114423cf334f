"""Measuring predictions: what is measured, and that the figures add up."""

from pathlib import Path

import numpy as np
import pytest

from unmask.runtime.bench import Cell
from unmask.runtime.bench_child import synthetic_workloads
from unmask.runtime.choice import Choice
from unmask.runtime.predictor import load


def test_figures_of_a_cell_are_those_of_its_calls() -> None:
    rounds = [
        {"seconds": [0.1] * 60, "texts": 120, "tokens": 1200},
        {"seconds": [0.2] * 60, "texts": 120, "tokens": 1200},
    ]
    told = Cell(Choice("onnx", "float32"), {"length": 10, "batch_size": 2}, rounds).to_dict()
    assert told["calls"] == 120 and told["lowest"] == pytest.approx(10) and told["highest"] == pytest.approx(20)
    assert told["texts_per_second"] == pytest.approx(15) and told["tokens_per_second"] == pytest.approx(150)
    every = [one for each in rounds for one in each["seconds"]]  # type: ignore[attr-defined]
    for name, value in told["latency"].items():
        assert value == pytest.approx(np.percentile(every, int(name[1:])))
    few = Cell(Choice("onnx", "float32"), {}, [{"seconds": [0.1] * 19, "texts": 19, "tokens": 19}]).to_dict()
    assert few["latency"]["p50"] and few["latency"]["p95"] is None and few["latency"]["p99"] is None


def test_random_texts_have_the_length_that_is_named(classifier: Path) -> None:
    predictor = load(classifier)
    made = synthetic_workloads(predictor, [16, 20, 512], [1, 3])
    assert [(one.length, one.batch_size) for one in made] == [(n, size) for n in (16, 20, 24) for size in (1, 3)]
    for work in made:
        assert all(len(batch) == work.batch_size for batch in work.batches) and len(work.batches) > 10
        counted = [sum(len(row) for row in predictor.task.encode(batch)[0]) for batch in work.batches]
        assert counted == work.tokens
        assert np.mean(counted) / work.batch_size == pytest.approx(work.length, abs=2)
