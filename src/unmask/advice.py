"""How whoever reads a message changes a setting: by an option of the command that runs, by key=value, or by a keyword.

One fault is met by many commands and from Python. A message that names a setting gets it from here, so that the
advice works with the very command that prints it; where that has no way to change the setting, there is no advice.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from unmask.messages import Message, join, message

PLACEHOLDERS = ("NAME", "FILE", "FOLDER")  # what a value that is not one begins with


@dataclass(frozen=True)
class Caller:
    """A command, or Python.

    ways: by keyword, what stands before the value: {"label_column": "--label-column "}, {"scheme": "data.scheme="}.
    is_python: any other setting is a keyword. takes_recipe: it takes `key.sub=value` for every setting of a recipe.
    """

    ways: Mapping[str, str] = field(default_factory=dict)
    is_python: bool = False
    takes_recipe: bool = False


_state = {"caller": Caller(is_python=True, takes_recipe=True)}


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Give advice to this caller."""
    before, _state["caller"] = _state["caller"], caller
    try:
        yield
    finally:
        _state["caller"] = before


@contextmanager
def with_recipe(reading: Iterable[str]) -> Iterator[None]:
    """Advise on the settings of a recipe in a function that takes one, unless a command runs it. reading: settings that
    say how rows are read; from Python, other functions take these as keywords."""
    caller = _state["caller"]
    if caller.is_python:
        caller = Caller({name: f"data.{name}=" for name in reading}, is_python=True, takes_recipe=True)
    with calling(caller):
        yield


def option(keyword: str, value: str | None = None, *, python: str | None = None) -> str | None:
    """How to give a setting this value (None: any): `--label-column NAME`, `data.label_column=NAME`, or
    `label_column=NAME`; None where the caller cannot. Values other than placeholders are quoted where the shell or
    Python needs it. python: the keyword in Python, where it is another one."""
    caller = _state["caller"]
    way = caller.ways.get(keyword)
    if way is not None:
        return (way + ("..." * way.endswith("=") if value is None else _quoted(value, shlex.quote))).rstrip()
    if not caller.is_python:
        return None
    return (python or keyword) + ("" if value is None else f"={_quoted(value, repr)}")


def _quoted(value: str, quote: Callable[[str], str]) -> str:
    return value if value.startswith(PLACEHOLDERS) else quote(value)


def flag(keyword: str) -> str | None:
    """How to switch something on: `--restart`, or `restart=True`; None where the caller cannot."""
    name = option(keyword)
    return f"{name}=True" if name == keyword else name


def setting(text: str) -> str | None:
    """A setting of the recipe with its value, `task.loss=cosine`; None where the caller takes no recipe."""
    return text if _state["caller"].takes_recipe else None


def advise(template: str, *ways: object) -> Message | None:
    """A hint that names these options and settings; None where the caller has one of them not."""
    return None if None in ways else message(template, *ways)


def to_change(template: str, *values: object, by: Iterable[str | None]) -> Message:
    """A note, followed by the options that change what it notes, as far as the caller has them."""
    note, options = message(template, *values), join(by, ", ")
    return message("{note} (to change: {options})", note, options) if options else note
