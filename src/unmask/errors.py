"""The one exception that a user's mistake raises; everything that prints errors prints this."""

import difflib
from collections.abc import Callable, Iterable

from rich.cells import cell_len

from unmask.language import pad

GIVEN = ("given", "did you mean", "found")  # facts whose words may be the user's: a single one is a name


class UserError(Exception):
    """Something the user gave cannot be used.

    `what` says what is wrong and where (file, line, key). Each keyword adds one line below it, in order,
    with underscores shown as spaces: `given=...`, `allowed=...`, `to_leave_such_lines_out="--on-error skip"`.
    Facts that are None are left out. shown_elsewhere: another process of the same run shows it.
    """

    shown_elsewhere = False

    def __init__(self, what: str, **facts: object) -> None:
        self.message = what
        self.facts = {key.replace("_", " "): str(value) for key, value in facts.items() if value is not None}
        super().__init__(what)

    def __str__(self) -> str:
        return self.render()

    def render(self, translate: Callable[[str], str] = str, label: Callable[[str], str] = str) -> str:
        """The lines that people read, in another language: `translate` messages, `label` single words too."""
        names = [label(key) for key in self.facts]
        width = max(map(cell_len, names), default=0)
        lines = [
            f"  {pad(name, width)}  {(translate if key in GIVEN else label)(value)}"
            for name, (key, value) in zip(names, self.facts.items(), strict=True)
        ]
        return "\n".join([translate(self.message), *lines])


def suggest(value: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(value, list(allowed), n=1, cutoff=0.6)), None)


def missing_extra(package: str, extra: str, purpose: str) -> UserError:
    """The error for an optional library that is not installed."""
    return UserError(
        f"{purpose} needs the package {package}, which is not installed",
        to_install=f"pip install 'unmask[{extra}]'",
    )


def missing_engine(error: ModuleNotFoundError) -> Exception:
    """Make the error for a torch that is not installed; any other error stays as it is."""
    if (error.name or "").partition(".")[0] != "torch":
        return error
    return UserError(
        "this needs torch, which is not installed",
        to_install="pip install 'unmask[train]'",
        on_a_cpu="pip install torch --index-url https://download.pytorch.org/whl/cpu, then the line above",
    )
