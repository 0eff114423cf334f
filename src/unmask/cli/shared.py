"""Arguments and layouts that several commands share."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unmask import console

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
    typer.Option("--allow-unused", help="Leave out weights of a public checkpoint that are not known here."),
]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text; guessed from its name if not given.")]
PairColumn = Annotated[str | None, typer.Option(help="Column of the second text of a pair.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the label; guessed from its name if not given.")]
LabelSeparator = Annotated[
    str | None,
    typer.Option(help="Between several labels in one field, where a row may have any; found out if not given."),
]
TokenColumn = Annotated[
    str | None,
    typer.Option(help="Column of the tokens in CoNLL: a number from 1, or a name; the first if not given."),
]
TagColumn = Annotated[
    str | None,
    typer.Option(help="Column of the tags in CoNLL: a number (-1: the last), or a name; the last if not given."),
]
Scheme = Annotated[
    Literal["auto", "BIO", "IOB1", "BIOES", "plain"],
    typer.Option(help="How tags are written in CoNLL; auto: found out, which is said."),
]
DataFormat = Annotated[
    Literal["auto", "csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll"],
    typer.Option(help="Kind of the files; auto: found out from content and name, which is said."),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Of the files; without it UTF-8, and UTF-16 or GB18030 where they are found out."),
]
OnError = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="A row that cannot be read: stop, or skip (the number is reported)."),
]

UnknownLabels = Annotated[
    Literal["stop", "skip", "wrong"] | None,
    typer.Option(
        help="A test row with a label that training did not have: stop, skip the row, or count it as wrong. "
        "[default: as --on-error]",
        show_default=False,
    ),
]


def assigned(settings: Iterable[tuple[str, Path | str | None]]) -> list[str]:
    """Options that stand for recipe keys as `key=value`; those not given are left out."""
    return [f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in settings if value is not None]


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    console.facts(rows)


def scores_table(evaluation: Mapping[str, Any]) -> None:
    """The figures of several models on the same test rows, as `Comparison.to_dict` has them."""
    from unmask.metrics import Interval, figure_of

    models = evaluation["models"]
    names = [name for name in models[0] if name not in ("name", "kind")]
    heads = [f"{figure_of(name).title}{', %' if figure_of(name).percent else ''} [95 %]" for name in names]
    rows = [(model["name"], *(Interval(**model[name]).format(name) for name in names)) for model in models]
    console.table((f"{evaluation['rows']:,} test {evaluation['unit']}s", *heads), rows, prose=(0,))
