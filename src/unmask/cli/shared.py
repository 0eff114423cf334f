"""Arguments and layouts that several commands share."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from unmask import console
from unmask.messages import message, translate

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY.SUB=VALUE]...",
        help="Settings that replace those of the recipe, such as train.budget=5m (unmask recipe explain).",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
LearningRate = Annotated[
    float | None, typer.Option("--lr", help="Peak learning rate: train.optimizer.lr.", show_default=False)
]
Epochs = Annotated[
    float | None,
    typer.Option(help="How often to train on every row or document: train.budget.", show_default=False),
]
Seed = Annotated[
    int | None, typer.Option(help="Of initial weights, order and whatever else is drawn: seed.", show_default=False)
]
AllowUnused = Annotated[
    bool,
    typer.Option("--allow-unused", help="Ignore weights of a public checkpoint that unmask does not use."),
]

Encoding = Annotated[
    str | None, typer.Option(help="Of the files; without it UTF-8, and UTF-16 or GB18030 where detected.")
]


def assigned(settings: Iterable[tuple[str, Any]]) -> list[str]:
    """Options that stand for recipe keys as `key=value`; those not given are left out."""
    return [f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in settings if value is not None]


def training_settings(lr: float | None, epochs: float | None, seed: int | None) -> list[tuple[str, Any]]:
    """The recipe keys that the options of every command that trains stand for, with their values."""
    budget = None if epochs is None else f"{epochs:g} epochs"
    return [("train.optimizer.lr", lr), ("train.budget", budget), ("seed", seed)]


def print_notes(sentences: Iterable[str]) -> None:
    """What reading rows ran into."""
    for sentence in sentences:
        console.note(sentence)


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    console.facts(rows)


def scores_table(evaluation: Mapping[str, Any]) -> None:
    """The figures of several models on the same test rows, as `Comparison.to_dict` has them."""
    from unmask.metrics import Interval, figure_of

    models = evaluation["models"]
    names = [name for name in models[0] if name not in ("name", "kind")]
    units = {name: ", % [95 %]" if figure_of(name).percent else " [95 %]" for name in names}
    heads = [message("{metric}{unit}", message(figure_of(name).title), unit) for name, unit in units.items()]
    rows = [(translate(model["name"]), *(Interval(**model[name]).format(name) for name in names)) for model in models]
    first = message("{rows:,} test {unit}", evaluation["rows"], message(f"{evaluation['unit']}s"))
    console.table((first, *heads), rows)
