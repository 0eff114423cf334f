"""Fine-tuning as a whole command: `unmask finetune` beside a script with transformers' Trainer.

A small model (all-MiniLM-L6-v2, 6 layers x 384) learns to classify or to tag for a counted number of steps; both
read the file, encode it, train, evaluate once on the dev rows and write the model. Timed from the start of the
process to its end, imports included. Rows that were trained on count (steps x batch size).

Ours also looks for duplicates and contradictions in the rows, writes a checkpoint and a log, and tags with a CRF; the
Trainer pads every batch and tags with a softmax.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import commands, conditions
from benchmarks.harness import Benchmark, Prepared, Settings, Side


def add_options(parser: argparse.ArgumentParser) -> None:
    commands.add_options(parser, rows=2000, steps=40)


def arrange(
    arguments: argparse.Namespace, folder: Path, checkout: Path = conditions.ROOT
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    return commands.arrange(arguments, folder, checkout)


def ours(settings: Settings) -> Prepared:
    rows = settings["steps"] * settings["batch_size"]
    return commands.prepared(commands.unmask, "finetune", settings, rows, "run")


def trainer(settings: Settings) -> Prepared:
    rows = settings["steps"] * settings["batch_size"]
    return commands.prepared(commands.transformers, "finetune", settings, rows, "run")


BENCHMARK = Benchmark(
    name="finetuning",
    unit="rows",
    sides=(Side("ours", ours), Side("transformers, Trainer", trainer)),
    packages=("torch", "transformers", "accelerate"),
    shown={"seconds": "seconds"},
    repeat=1,
    runs_commands=True,
)
