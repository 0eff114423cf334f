"""The one exception that a user's mistake raises; everything that prints errors prints this."""

import difflib
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len

from unmask.messages import ENGLISH, Message, from_json, join, message, pad, render, to_json, translate


class UserError(Exception):
    """The user's input cannot be used.

    text, values: what is wrong and where (file, line, key), as `message` takes it. Four facts stand below it, each one
    value or a list, None left out: given (what the user wrote, or what is there), allowed (what may stand there), hint
    (what to do), see (where to read more). facts: those that there are, several lines where there are several values.
    shown_elsewhere: another process of the same run prints it.
    """

    shown_elsewhere = False

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
        self.facts = {name: text for name, fact in facts.items() if (text := _fact(name, fact))}

    def __str__(self) -> str:
        return self.render(ENGLISH)

    def render(self, language: str | None = None) -> str:
        """The message and its facts, one a line, in a language (the one set, if None)."""
        rows = [
            (translate(name, language) if number == 0 else "", line)
            for name, fact in self.facts.items()
            for number, line in enumerate(render(fact, language).split("\n"))
        ]
        width = max((cell_len(name) for name, _ in rows), default=0)
        return "\n".join([translate(self.message, language), *(f"  {pad(name, width)}  {line}" for name, line in rows)])

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON, for another process of the run."""
        return {"message": to_json(self.message), **{name: to_json(fact) for name, fact in self.facts.items()}}

    @classmethod
    def from_dict(cls, error: dict[str, Any]) -> "UserError":
        """The inverse of `to_dict`."""
        facts = {name: from_json(value) for name, value in error.items()}
        return cls(facts.pop("message"), **facts)


def _fact(name: str, fact: object) -> str:
    """The values of a fact, one a line. What was given, and names that are allowed, may be the user's own words."""
    values = [value for value in (fact if isinstance(fact, list) else [fact]) if value is not None]
    ours = [not isinstance(value, Message) and name != "given" and " " in str(value) for value in values]
    texts = [message(str(value)) if own else value for own, value in zip(ours, values, strict=True)]
    return join((text if isinstance(text, str) else str(text) for text in texts), "\n")


def suggest(value: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)), None)


def did_you_mean(name: object | None) -> Message | None:
    """A hint that names what was probably meant."""
    return None if name is None else message("did you mean {name}?", name)


def missing_extra(package: str, extra: str, purpose: str | Message) -> UserError:
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
