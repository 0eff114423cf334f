"""Prediction as a whole command: `unmask predict` on a file of rows beside a script with transformers' pipeline.

A small model that `unmask finetune` made before (all-MiniLM-L6-v2, a few steps; not timed) predicts the label of each
row, or with --task tag the tags of each sentence. Both read the same weights and the same file, and write a file.
Timed from the start of the process to its end, imports included.

The pipeline gets the texts in batches of --batch-size in the order of the file. Of a tagger ours decodes with a CRF and
gives a tag to each token of the file; the pipeline reads sentences as text, and takes the best tag of each wordpiece.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import commands, conditions
from benchmarks.harness import Benchmark, Prepared, Settings, Side


def add_options(parser: argparse.ArgumentParser) -> None:
    commands.add_options(parser, rows=4000, steps=20)


def arrange(
    arguments: argparse.Namespace, folder: Path, checkout: Path = conditions.ROOT
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    settings, data = commands.arrange(arguments, folder, checkout)
    commands.unmask("finetune", settings, folder / "run")
    return {**settings, "model": str(folder / "run" / "model")}, data


def ours(settings: Settings) -> Prepared:
    return _prediction(commands.unmask, settings, same=True)


def pipeline(settings: Settings) -> Prepared:
    return _prediction(commands.transformers, settings, same=settings["task"] == "classify")


def _prediction(run: Any, settings: Settings, same: bool) -> Prepared:
    """same: the labels must be those of the other sides."""
    output = f"predictions.{commands.SUFFIXES[settings['task']]}"
    facts = labels_of if same else lambda path: {}
    return commands.prepared(run, "predict", settings, settings["rows"], output, facts)


def labels_of(path: Path) -> dict[str, str]:
    """The checksum of the predicted labels of a jsonl file, of the predicted tags of a CoNLL file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        text = "\n".join(json.loads(line)["label"] for line in text.splitlines())
    return {"labels_sha256": hashlib.sha256(text.encode()).hexdigest()}


BENCHMARK = Benchmark(
    name="prediction",
    unit="rows",
    sides=(Side("ours", ours), Side("transformers, pipeline", pipeline)),
    packages=("torch", "transformers", "accelerate"),
    same=("labels_sha256",),
    shown={"seconds": "seconds"},
    repeat=1,
    runs_commands=True,
)
