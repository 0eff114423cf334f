"""Arguments and options that several commands share, so that one thing has one name and one help."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

_TEXT, _TRAINING = "Reading text", "Training"  # groups in the help

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RandomSeed = Annotated[int, typer.Option(help="Random seed.")]
RunFolder = Annotated[Path | None, typer.Option(help="The run folder. [default: runs/RECIPE, or runs/TASK]")]

FinetunedModel = Annotated[Path, typer.Argument(help="A fine-tuned model: a run or its model/.")]
AnyModel = Annotated[
    str, typer.Argument(help="A run, a model folder, a public checkpoint, or OWNER/NAME on the model hub.")
]
AllowUnused = Annotated[
    bool, typer.Option("--allow-unused", help="Ignore weights of a public checkpoint that unmask does not use.")
]

TextFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        help="txt, jsonl, csv or tsv files, also .gz or .zst; folders; globs; - for standard input.",
    ),
]
TextColumn = Annotated[str, typer.Option(help="The CSV column or JSON key that holds the text.", rich_help_panel=_TEXT)]
Split = Annotated[
    Literal["blank", "line", "file"],
    typer.Option(help="Separator of documents in plain text: blank (lines), line, file.", rich_help_panel=_TEXT),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="Encoding of the files; UTF-8 if not given, or UTF-16 or GB18030 where detected.", rich_help_panel=_TEXT
    ),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="Action on an unreadable line: stop, or skip (the number is reported).", rich_help_panel=_TEXT),
]
MinFrequency = Annotated[int, typer.Option(min=1, help="Minimum count of words and parts of words.")]

PretrainRecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or tiny, small, base, bert-base, pairs, long.")
]
AnyRecipe = Annotated[str, typer.Argument(help="A recipe file, or the name of one that comes with unmask.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY.SUB=VALUE]...",
        help="Settings that replace those of the recipe, such as train.budget=5m (unmask recipe explain).",
    ),
]
Corpus = Annotated[Path | None, typer.Option(help="The corpus folder (unmask corpus build): data.corpus.")]
TASK = typer.Option(help="The task: classify, multilabel, regress, tag, nested, answer or embed.")
TestRows = Annotated[Path | None, typer.Option(help="Rows to evaluate on at the end.")]
DevRows = Annotated[Path | None, typer.Option(help="Rows to choose the best step by; a tenth of train if not given.")]

LearningRate = Annotated[
    float | None, typer.Option("--lr", help="Peak learning rate: train.optimizer.lr.", rich_help_panel=_TRAINING)
]
Epochs = Annotated[
    float | None,
    typer.Option(help="How often to train on every row or document: train.budget.", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[int | None, typer.Option(help="Rows in a step: data.batch_size.", rich_help_panel=_TRAINING)]
MaxLength = Annotated[
    int | None,
    typer.Option(help="Longest text in tokens: data.max_length, or task.max_length.", rich_help_panel=_TRAINING),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Of initial weights, order and whatever else is drawn: seed.", rich_help_panel=_TRAINING),
]


def assigned(settings: Mapping[str, Any]) -> list[str]:
    """Options that stand for recipe keys, as `key=value`; those not given (None) are left out."""
    return [
        f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in settings.items() if value is not None
    ]


def recipe_settings(lr: float | None, epochs: float | None, seed: int | None) -> dict[str, Any]:
    """The recipe keys that the options of every command that trains stand for, with their values."""
    budget = None if epochs is None else f"{epochs:g} epochs"
    return {"train.optimizer.lr": lr, "train.budget": budget, "seed": seed}
