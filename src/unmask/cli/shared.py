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
