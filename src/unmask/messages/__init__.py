"""Messages are templates: looked up in the catalogue of the language before they are filled in, where they are printed.

`message("{path} does not exist", path)` is the English text itself, so that tests, logs, JSON and exceptions know
nothing of languages. It keeps its template and its values; `translate` looks the template up in `LANGUAGE.json` and
fills in the values, translating those that are messages. Titles, headings and help have no values and are looked up
as they are. Text that is in no catalogue stays English.
"""

import json
import re
from collections.abc import Iterable
from functools import cache, reduce
from importlib.resources import files
from pathlib import PurePath
from string import Formatter
from typing import Any

from rich.cells import cell_len

ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh")

_state = {"language": ENGLISH}


class Message(str):
    """An English text with the template and the values that it was made of; `message` makes one."""

    template: str
    values: dict[str, Any]


def message(template: str, *values: object) -> Message:
    """Fill in a template: `message("{rows:,} rows of {path}", 7, "x.csv")`, by the rules of str.format.

    values: of the names in the template, in the order in which they first stand there; of `{run.steps}` and
    `{run[steps]}`, the run. A text without values is taken as it is.
    """
    if isinstance(template, Message):
        return template
    fields = (name for _, name, _, _ in Formatter().parse(template) if name) if values else ()
    names = dict.fromkeys(re.split(r"[.\[]", name)[0] for name in fields)
    named = dict(zip(names, values, strict=True))
    made = Message(template.format(**named) if values else template)
    made.template, made.values = template, named
    return made


def join(parts: Iterable[str | None], separator: str = " · ") -> str:
    """One text of several; empty ones and None are left out."""
    chosen = [part for part in parts if part]
    return reduce(lambda a, b: message("{a}" + separator + "{b}", a, b), chosen) if chosen else ""


def language_of(name: str) -> str | None:
    """The language that a name such as `zh`, `zh-CN` or `zh_CN.UTF-8` means; None if there is no catalogue."""
    first = name.strip().lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return first if first in LANGUAGES else None


def set_language(name: str) -> None:
    """Print messages in this language from now on. Raises ValueError unless it is one of LANGUAGES."""
    if name not in LANGUAGES:
        raise ValueError(f"no messages in the language {name!r}")
    _state["language"] = name


def language() -> str:
    """The language in which messages are printed."""
    return _state["language"]


def translate(text: str, into: str | None = None) -> str:
    """A message, a title or a heading in a language (the one set, if None); what has no translation, as it is."""
    chosen = into or _state["language"]
    if chosen == ENGLISH:
        return text
    if not isinstance(text, Message):
        return _catalogue(chosen).get(text, text)
    template = _catalogue(chosen).get(text.template, text.template)
    values = {name: render(value, chosen) for name, value in text.values.items()}
    return template.format(**values) if values else template


def render(value: Any, into: str | None = None) -> Any:
    """A value where text of the user's may stand: only a Message is translated."""
    return translate(value, into) if isinstance(value, Message) else value


def verbatim(text: str) -> Message:
    """Text of the user's where a title or a heading stands, which is not to be translated."""
    return message("{text}", text)


def pad(text: str, width: int) -> str:
    """Fill up to `width` cells of a terminal, on the right. Chinese characters take two cells."""
    return text + " " * (width - cell_len(text))


def to_json(text: object) -> Any:
    """A text as JSON that keeps the template and the values of a message."""
    if not isinstance(text, Message):
        return str(text) if isinstance(text, PurePath) else text
    return {"template": text.template, "values": {name: to_json(value) for name, value in text.values.items()}}


def from_json(value: Any) -> Any:
    """The inverse of `to_json`."""
    if not isinstance(value, dict):
        return value
    return message(value["template"], *map(from_json, value["values"].values()))


@cache
def _catalogue(name: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return texts
