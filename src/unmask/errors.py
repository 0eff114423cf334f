"""The one exception that a user's mistake raises; everything that prints errors prints this."""

import difflib
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len

from unmask.messages import ENGLISH, Message, from_json, message, pad, render, to_json, translate


class UserError(Exception):
    """The user's input cannot be used.

    text, values: what is wrong and where (file, line, key), as `message` takes it. Four facts stand below it, each one
    value or a list, None left out: given (what the user wrote, or what is there), allowed (what may stand there), hint
    (what to do), see (where to read more). elsewhere: another process of the same run prints it.
    """

    elsewhere = False

    def __init__(
        self,
        text: str,
        *values: object,
        given: object = None,
        allowed: object = None,
        hint: object = None,
        see: object = None,
    ) -> None:
        self.message = message(text, *values) if values else text
        super().__init__(self.message)
        facts = {"given": given, "allowed": allowed, "hint": hint, "see": see}
        lists = {name: fact if isinstance(fact, list) else [fact] for name, fact in facts.items()}
        self.facts = {
            name: [value if isinstance(value, str) else str(value) for value in values if value is not None]
            for name, values in lists.items()
        }

    def __str__(self) -> str:
        return self.render(ENGLISH)

    def render(self, language: str | None = None) -> str:
        """The message and its facts, one a line, in a language (the one set, if None)."""
        rows = [
            (translate(name, language) if number == 0 else "", _fact(name, value, language))
            for name, values in self.facts.items()
            for number, value in enumerate(values)
        ]
        width = max((cell_len(name) for name, _ in rows), default=0)
        return "\n".join(
            [translate(self.message, language), *(f"  {pad(name, width)}  {value}" for name, value in rows)]
        )

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON, for another process of the run."""
        facts = {name: [to_json(value) for value in values] for name, values in self.facts.items()}
        return {"message": to_json(self.message), "facts": facts}

    @classmethod
    def from_dict(cls, error: dict[str, Any]) -> "UserError":
        """The inverse of `to_dict`."""
        facts = {name: [from_json(value) for value in values] for name, values in error["facts"].items()}
        return cls(from_json(error["message"]), **facts)


def _fact(name: str, value: str, language: str | None) -> str:
    """A fact as it is printed. What was given, and names that are allowed, may be the user's own words."""
    ours = name != "given" and " " in value
    return translate(value, language) if ours else render(value, language)


def suggest(value: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)), None)


def did_you_mean(name: object | None) -> Message | None:
    """A hint that names what was probably meant."""
    return None if name is None else message("did you mean {name}?", name)


def missing_extra(package: str, extra: str, purpose: str) -> UserError:
    """The error for an optional library that is not installed."""
    return UserError(
        "{purpose} needs the package {package}, which is not installed",
        purpose,
        package,
        hint=f"pip install 'unmask[{extra}]'",
    )


def missing_engine(error: ModuleNotFoundError) -> Exception:
    """Make the error for a torch that is not installed; any other error stays as it is."""
    if (error.name or "").partition(".")[0] != "torch":
        return error
    return UserError(
        "this needs torch, which is not installed",
        hint=[
            "pip install 'unmask[train]'",
            "on a CPU: pip install torch --index-url https://download.pytorch.org/whl/cpu, then the line above",
        ],
    )
