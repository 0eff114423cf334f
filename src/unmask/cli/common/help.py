"""Help and wrong usage, drawn by commands of our own, so that both speak the language of messages."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand, TyperGroup

from unmask import console
from unmask.advice import Caller, calling
from unmask.config import ALLOWED, allowed_by
from unmask.data.rows.options import ReadOptions
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import message, translate

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer's own or click's, as its version has it
F = TypeVar("F", bound=Callable[..., Any])
KEYS, DATA_KEYS = "[KEY.SUB=VALUE]...", "[DATA.KEY=VALUE]..."  # arguments that are settings
NAMES = 34  # cells of the column of names


class Translated:
    """A command with its help in the language that is set."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page of help."""
        formatter.write(_page(self, ctx))


class Command(Translated, TyperCommand):
    """A single command. While it runs, messages name its options."""

    def invoke(self, ctx: Any) -> Any:
        with calling(_caller(self)):
            return super().invoke(ctx)


def _caller(command: Any) -> Caller:
    """What a command takes: its options, and the settings that its arguments announce."""
    ways = {param.name: f"{_name(param)} " for param in command.params if param.param_type_name != "argument"}
    announced = " ".join(param.metavar or "" for param in command.params)
    takes_recipe = KEYS in announced
    if takes_recipe:
        ways = {"task": "task.name=", **ways}
    if takes_recipe or DATA_KEYS in announced:
        ways = {name: f"data.{name}=" for name in ReadOptions.__pydantic_fields__} | ways  # type: ignore[attr-defined]
    return Caller(ways, takes_recipe=takes_recipe)


class Group(Translated, TyperGroup):
    """A group of commands; without one of them it prints its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            console.print_text(self.get_help(ctx))
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            raise Misused(
                "{name} is not a command of {program}",
                args[0],
                ctx.command_path,
                allowed=", ".join(self.commands),
                hint=did_you_mean(suggest(args[0], self.commands)),
            )
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """Commands under a noun, or all of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"cls": Group, **settings})

    def command(self, name: str | None = None, *, example: str = "", **settings: Any) -> Callable[[F], F]:
        return super().command(name, cls=Command, epilog=message("Example: {command}", example), **settings)


class Misused(UserError):
    """An error in the command line itself, which ends with exit code 2."""


def misused(error: Any) -> Misused:
    """The error for a command line that typer refuses."""
    see = f"{error.ctx.command_path} --help" if error.ctx else None
    param = getattr(error, "param", None)
    name = param and _name(param)
    if hasattr(error, "possibilities"):
        hint = [did_you_mean(name) for name in error.possibilities or []]
        text = message("{name} is not an option of {of}", error.option_name, error.ctx.command_path)
        return Misused(text, hint=hint, see=see)
    if hasattr(error, "param_type"):
        return Misused("{name} is missing", name, see=see)
    if name := name or getattr(error, "option_name", None):
        found: list[Any] = getattr(error.__cause__, "errors", list)()  # of pydantic, if typer reads values with it
        given = [repr(one["input"]) for one in found] or error.message
        allowed = [
            allowed_by(one) if one["type"] in ALLOWED else one["msg"].rpartition("not one of ")[2].rstrip(".")
            for one in found
        ]
        return Misused("{name} cannot be used", name, given=given, allowed=allowed, see=see)
    return Misused(error.format_message(), see=see)


def _name(param: Any) -> str:
    """An argument as it stands in the usage, an option by its long name."""
    if param.param_type_name != "argument":
        return str(max(param.opts, key=len))
    name: str = param.metavar or param.name.upper()
    return name if param.required or name.startswith("[") else f"[{name}]"


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a help text, each on one line: what the catalogue has."""
    return [" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n") if part]


def _page(command: Any, ctx: Any) -> str:
    """The help of a command: usage, purpose, arguments, options, commands, an example."""
    terminal = Console(highlight=False)
    with terminal.capture() as page:
        arguments = [_name(param) for param in command.params if param.param_type_name == "argument"]
        inner = ["COMMAND [ARGS]..."] if hasattr(command, "commands") else []
        usage = " ".join([ctx.command_path, "[OPTIONS]", *arguments, *inner])
        terminal.print(f"[bold]{translate('Usage:')}[/] {escape(usage)}")
        for text in paragraphs(command.help):
            terminal.print(f"\n{escape(translate(text))}")
        for title, rows in _sections(command, ctx).items():
            terminal.print(f"\n[bold]{translate(title)}[/]")
            grid = Table.grid(padding=(0, 2), pad_edge=True)
            grid.add_column(max_width=NAMES, overflow="fold")
            grid.add_column(overflow="fold")  # Chinese has no blanks to break at
            for name, text in rows:
                grid.add_row(escape(name), escape(translate(text)))
            terminal.print(grid)
        if command.epilog:
            terminal.print(f"\n{escape(translate(command.epilog))}")
    return page.get()


def _sections(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Names and help of parameters and commands, by the titles of their sections."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        is_argument = param.param_type_name == "argument"
        rows = sections.setdefault(param.rich_help_panel or ("Arguments" if is_argument else "Options"), [])
        rows.append((_name(param) if is_argument else param.get_help_record(ctx)[0], _described(param, ctx)))
    for name, inner in getattr(command, "commands", {}).items():
        sections.setdefault("Commands", []).append((name, paragraphs(inner.help)[0]))
    return {title: rows for title, rows in sections.items() if rows}


def _described(param: Any, ctx: Any) -> str:
    """The help of a parameter, with what it must or may be."""
    default = param.get_default(ctx, call=False) if param.show_default else None
    facts = [
        message("[required]") if param.required else None,
        None if default in (None, False, "") else message("[default: {value}]", default),
    ]
    return " ".join(translate(text) for text in (param.help or "", *facts) if text)
