"""The options of commands that read rows: one for each setting of `ReadOptions`, and data.key=value."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from unmask.cli.common.help import DATA_KEYS
from unmask.config import from_mapping, override
from unmask.data.rows.options import DataSettings, ReadOptions

SETTING = re.compile(r"data\.\w+=")
ONLY_SETTINGS = ("answer_starts",)  # data.key=value alone
Given = Mapping[str, Any]
NOTHING: Given = {}


def _option(name: str, field: Any) -> Any:
    """The option that stands for a setting of `ReadOptions`."""
    flag = "--input-format" if name == "format" else f"--{name.replace('_', '-')}"
    option = typer.Option(flag, help=field.description, rich_help_panel="Reading rows")
    return Annotated[field.annotation | None, option]


OPTIONS: dict[str, Any] = {
    name: _option(name, field)
    for name, field in ReadOptions.__pydantic_fields__.items()  # type: ignore[attr-defined]
    if name not in ONLY_SETTINGS
}
SETTINGS = Annotated[
    list[str] | None,
    typer.Argument(metavar=DATA_KEYS, help="How to read the rows (unmask recipe explain data)."),
]

OF_TARGETS = (
    "label_column",
    "label_columns",
    "label_separator",
    "missing_labels",
    "tag_column",
    "scheme",
    "span_offsets",
    "unknown_labels",
)
"""Options that say what a row is to be predicted as: not of commands that predict."""


def reads_rows(*left_out: str, settings: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of reading rows, without those left out, and `data.key=value` arguments.

    The command takes `reading`: what was given, by the names of `ReadOptions`. settings: False for a command with
    arguments of its own, which calls `read_settings`.
    """
    options = {name: option for name, option in OPTIONS.items() if name not in left_out}
    added = options | ({"settings": SETTINGS} if settings else {})

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            reading = {name: value for name in options if (value := arguments.pop(name)) is not None}
            more = arguments.pop("settings", None) or []
            if isinstance(file := arguments.get("file"), str) and SETTING.match(file):
                more, arguments["file"] = [file, *more], None  # FILE may be left out before settings
            command(**arguments, reading=read_settings(reading, more))

        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(command, eval_str=True).parameters.values():
            parameter = one.replace(kind=one.KEYWORD_ONLY)
            if one.name == "reading":
                parameters += [
                    parameter.replace(name=name, annotation=each, default=None) for name, each in added.items()
                ]
            else:
                parameters.append(parameter)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def read_settings(options: Given, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of `ReadOptions` that options and `data.key=value` give; the latter stand above the former.

    Raises UserError for what is no such setting.
    """
    values = override({"data": dict(options)}, settings)
    from_mapping(DataSettings, values, where="the settings given")
    given: dict[str, Any] = values["data"]
    return given
