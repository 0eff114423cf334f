"""Arguments and options that several commands share, so that one thing has one name and one help."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unmask.cli.common.help import KEYS

_text = partial(typer.Option, rich_help_panel="Reading text")
_training = partial(typer.Option, rich_help_panel="Training")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RandomSeed = Annotated[int, typer.Option(help="Random seed.")]
RunFolder = Annotated[Path | None, typer.Option(help="The run folder. [default: runs/RECIPE, or runs/TASK]")]

FinetunedModel = Annotated[Path, typer.Argument(help="A fine-tuned model: a run or its model/.")]
AnyModel = Annotated[str, typer.Argument(help="A run, a model folder, a public checkpoint, or OWNER/NAME on the hub.")]
AllowUnused = Annotated[bool, typer.Option("--allow-unused", help="Ignore weights that unmask does not use.")]

_engine = partial(typer.Option, rich_help_panel="Engine")
BackendName = Annotated[
    Literal["auto", "torch", "onnx", "openvino"],
    _engine("--backend", help="What runs the network; auto: the fastest here of those in the folder (unmask export)."),
]
PrecisionName = Annotated[
    Literal["auto", "float32", "bfloat16", "int8"],
    _engine("--precision", help="Precision of the network; auto: the fastest here, int8 only where it is verified."),
]

TextFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        help="txt, jsonl, json, csv, tsv or parquet files, also .gz or .zst; folders; globs; - for standard input.",
    ),
]
TextColumn = Annotated[str, _text(help="Column or JSON key of the text.")]
Split = Annotated[Literal["blank", "line", "file"], _text(help="Separator of documents in plain text.")]
Encoding = Annotated[str | None, _text(help="Encoding of the files; detected by default.")]
OnError = Annotated[Literal["stop", "skip"], _text(help="Action on an unreadable line; skipped ones are reported.")]
MinFrequency = Annotated[int, typer.Option(min=1, help="Minimum count of words and parts of words.")]

AnyRecipe = Annotated[str, typer.Argument(help="A recipe file, or the name of a built-in recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar=KEYS, help="Settings of the recipe to replace, such as train.budget=5m."),
]
Corpus = Annotated[Path | None, typer.Option(help="The corpus folder (unmask corpus build): data.corpus.")]
TASK = typer.Option(help="The task: classify, multilabel, regress, tag, nested, answer or embed.")
TestRows = Annotated[Path | None, typer.Option(help="Rows to evaluate on at the end.")]
DevRows = Annotated[Path | None, typer.Option(help="Dev rows, to select the best step. [default: a tenth of train]")]

LearningRate = Annotated[float | None, _training("--lr", help="Peak learning rate: train.optimizer.lr.")]
Epochs = Annotated[float | None, _training(help="Number of epochs: train.budget.")]
BatchSize = Annotated[int | None, _training(help="Rows per step: data.batch_size.")]
MaxLength = Annotated[int | None, _training(help="Maximum length in tokens: data.max_length, or task.max_length.")]
Seed = Annotated[int | None, _training(help="Random seed of the run: seed.")]


def assigned(settings: Mapping[str, Any]) -> list[str]:
    """Options that stand for recipe keys, as `key=value`; those not given (None) are left out."""
    present = {key: str(value) for key, value in settings.items() if value is not None}
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in present.items()]


def recipe_settings(lr: float | None, epochs: float | None, seed: int | None, allow_unused: bool) -> dict[str, Any]:
    """The recipe keys that the options of every command that trains stand for, with their values."""
    budget = None if epochs is None else f"{epochs:g} epochs"
    unused = "true" if allow_unused else None
    return {"train.optimizer.lr": lr, "train.budget": budget, "seed": seed, "transfer.allow_unused": unused}
