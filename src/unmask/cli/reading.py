"""The options of commands that read rows: one for each setting of `ReadOptions`, and data.key=value."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Literal

import typer

SETTING = re.compile(r"data\.\w+=")
Given = Mapping[str, Any]
NOTHING: Given = {}


_SETTINGS: dict[str, tuple[Any, str]] = {
    "text_column": (str, "Column of the text; detected by its name if not given."),
    "pair_column": (str, "Column of the second text of a pair."),
    "label_column": (str, "Column of the label; detected by its name if not given."),
    "label_separator": (str, "Between several labels in one field; detected if not given."),
    "token_column": (str, "Column of the tokens in CoNLL: a number from 1, or a name; the first if not given."),
    "tag_column": (str, "Column of the tags in CoNLL: a number (-1: the last), or a name; the last if not given."),
    "scheme": (
        Literal["auto", "BIO", "IOB1", "BIOES", "plain"],
        "Tag scheme of CoNLL; auto: detected and reported.",
    ),
    "format": (
        Literal["auto", "csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll"],
        "Format of the files; auto: detected from content and name, and reported.",
    ),
    "encoding": (str, "Of the files; without it UTF-8, and UTF-16 or GB18030 where detected."),
    "on_error": (Literal["stop", "skip"], "A row that cannot be read: stop, or skip it and report how many."),
    "unknown_labels": (
        Literal["stop", "skip", "wrong"],
        "A test row with a label that training did not have: stop, skip the row, or count it as wrong. "
        "[default: as --on-error]",
    ),
}
NAMES = {name: "--input-format" if name == "format" else f"--{name.replace('_', '-')}" for name in _SETTINGS}
OPTIONS: dict[str, Any] = {
    name: Annotated[kind | None, typer.Option(NAMES[name], help=text, show_default=False)]
    for name, (kind, text) in _SETTINGS.items()
}
SETTINGS = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DATA.KEY=VALUE]...",
        help="How to read the rows, as in a recipe (unmask recipe explain data); stands above options.",
        show_default=False,
    ),
]


def reads_rows(*left_out: str, settings: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of reading rows, without those left out, and `data.key=value` arguments.

    The command takes `reading`: what was given, by the names of `ReadOptions`. settings: False for a command with
    arguments of its own, which calls `read_settings`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = {name: option for name, option in OPTIONS.items() if name not in left_out}
        added = {**options, **({"settings": SETTINGS} if settings else {})}

        @wraps(command)
        def run(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in options}
            more = list(arguments.pop("settings", None) or ()) if settings else []
            if isinstance(file := arguments.get("file"), str) and SETTING.match(file):
                more, arguments["file"] = [file, *more], None  # FILE may be left out before settings
            reading = {name: value for name, value in given.items() if value is not None}
            command(**arguments, reading=read_settings(reading, more))

        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name != "reading":
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
                for name, annotation in added.items()
            ]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments, and the `data.key=value` among them."""
    settings = [argument for argument in arguments if SETTING.match(argument)]
    return [argument for argument in arguments if argument not in settings], settings


def read_settings(options: Given, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of `ReadOptions` that options and `data.key=value` give; the latter stand above the former.

    Raises UserError for what is no such setting.
    """
    if not options and not settings:
        return {}
    from unmask.config import from_mapping, override
    from unmask.data.rows.options import DataSettings

    values = override({"data": dict(options)}, settings)
    from_mapping(DataSettings, values, where="the settings given")
    given: dict[str, Any] = values["data"]
    return given
