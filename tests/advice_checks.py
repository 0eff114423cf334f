"""The options, settings and commands that a text names, and whether the command that prints it has them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from unmask.cli.app import command_line
from unmask.cli.common.help import DATA_KEYS, KEYS
from unmask.config import config_classes
from unmask.data.rows.options import DataSettings
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe

ANYWHERE = {"--quiet", "--debug", "--lang", "--help", "--version"}
OTHERS = re.compile(r"pip install [^;\n]*|torchrun .*?-m (?=unmask)|torchrun --[\w-]+ \S+")  # programs of others
COMMAND = re.compile(r"\bunmask ((?:[a-z]+)(?: [a-z]+)?)([^`);\n]*)")
FLAG = re.compile(r"(?<![\w/-])--[a-z][a-z-]*")
KEY = re.compile(r"(?<![\w./-])((?:data|task|train|init|model|transfer|regularisation|objectives)(?:\.\w+)+)=")


@cache
def commands() -> dict[str, Any]:
    """Every command by its full name."""
    found: dict[str, Any] = {}

    def visit(group: Any, prefix: str) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                visit(command, f"{prefix}{name} ")
            else:
                found[f"{prefix}{name}"] = command

    visit(command_line(), "")
    return found


@dataclass(frozen=True)
class Named:
    """An option or a key that a text names. command: of `unmask command ...`, None: of whatever prints the text."""

    what: str
    command: str | None = None


def named_in(text: str) -> Iterator[Named]:
    """All options and keys in a text, with the command that they are said to be of."""
    text = OTHERS.sub(" ", text)

    def own(match: re.Match[str]) -> str:
        words = match[1].split()
        name = next((name for name in (match[1], words[0]) if name in commands()), None)
        if name is None:
            return match[0]
        rest = " ".join(words[len(name.split()) :]) + match[2]
        of_commands.extend(Named(what, name) for what in [*FLAG.findall(rest), *KEY.findall(rest)])
        return " "

    of_commands: list[Named] = []
    rest = COMMAND.sub(own, text)
    yield from of_commands
    yield from map(Named, [*FLAG.findall(rest), *KEY.findall(rest)])


def accepts(name: str, what: str) -> bool:
    """Whether a command has an option, or takes a setting with this key."""
    command = commands()[name]
    if what.startswith("--"):
        return what in ANYWHERE or any(what in (*param.opts, *param.secondary_opts) for param in command.params)
    announced = " ".join(param.metavar or "" for param in command.params)
    roots = [FinetuneRecipe, PretrainRecipe] if KEYS in announced else [DataSettings] if DATA_KEYS in announced else []
    return any(_is_setting([root], what.split(".")) for root in roots)


def _is_setting(classes: Iterable[Any], path: list[str]) -> bool:
    """Whether a dotted key leads to a setting of one of these classes."""
    head, *rest = path
    for one in classes:
        if head.isdecimal() and _is_setting([one], rest):
            return True
        if head in one.__pydantic_fields__:
            inner = config_classes(one.__pydantic_fields__[head].annotation)
            if not rest or _is_setting(inner, rest):
                return True
    return False


def refused_advice(command: str | None, text: str, given: Iterable[str] = ()) -> list[str]:
    """What a text names that the command which prints it does not have; not what the user wrote, `given`.

    command: None for a text from Python, which names no option of its own.
    """
    written = {part for argument in given for part in (argument, argument.partition("=")[0])}
    faults = []
    for named in named_in(text):
        of = named.command or command
        if named.command is None and named.what in written:
            continue
        if of is None or not accepts(of, named.what):
            faults.append(f"unmask {of or '(from Python)'} has no {named.what}: {text}")
    return faults
