"""What people see in the terminal: work under way, tables, plain lines when piped. Only rank 0 prints.

Results go to stdout, progress and remarks to stderr. `quiet` silences the latter. Messages, titles and headings are
translated here (unmask.messages); values are printed as they are.
"""

import dataclasses
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from unmask.errors import UserError
from unmask.messages import Message, message, pad, render, translate

TITLE_WIDTH = 14  # cells of a terminal
SUMMARY_WIDTH = 72
PLAIN_EVERY = 10.0  # seconds between the lines of work under way when not on a terminal
RECENT_SECONDS, RECENT_SHARE = 30.0, 0.1  # the last part of the work, whose speed counts: the longer of both
SAMPLES = 100  # of that part

_state = {"quiet": False}
_noted: set[str] | None = None  # what a command has remarked so far; None: nobody keeps count


def set_quiet(quiet: bool) -> None:
    _state["quiet"] = quiet


def is_quiet() -> bool:
    return _state["quiet"] or not is_main()


def is_main() -> bool:
    """Whether this is the process that speaks, where several train together."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def command() -> Iterator[None]:
    """One command of the command line: a remark is made once, though a file is read more than once."""
    global _noted
    before, _noted = _noted, set()
    try:
        yield
    finally:
        _noted = before


def error_console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_text(text: str, *values: object) -> None:
    """A result, to stdout: a message (or its template and values), or text that programs read, such as YAML."""
    if is_main():
        print(render(message(text, *values) if values else text))


def print_json(value: Any) -> None:
    """A result for programs: JSON on one line of stdout. Objects are written as their `to_dict`, fields or text."""
    text = json.dumps(value, ensure_ascii=False, default=_to_plain)
    print_text(text.encode("utf-8", "backslashreplace").decode("utf-8"))  # JSON's escapes of half characters


def _to_plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return dataclasses.asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)


def note(text: str, *values: object) -> None:
    """A message (or its template and values) that is no result, to stderr."""
    text = message(text, *values) if values else text
    if _noted is not None:
        if text in _noted:
            return
        _noted.add(text)
    if not is_quiet():
        error_console().print(escape(translate(text)), style="dim")


def notes(texts: Iterable[str]) -> None:
    """Several remarks, one a line."""
    for text in texts:
        note(text)


def seconds(value: float) -> Message:
    """A duration in the unit that people would use: `0.8 s`, `2 min 5 s`, `1 h 12 min`."""
    if value < 99.5:
        return message("{seconds} s", f"{value:.1f}" if value < 9.95 else f"{value:.0f}")
    minutes, rest = divmod(round(value), 60)
    if minutes < 10 and rest:
        return message("{minutes} min {seconds} s", minutes, rest)
    if minutes < 60:
        return message("{minutes} min", minutes)
    return message("{hours} h {minutes} min", minutes // 60, minutes % 60)


def count(value: float) -> str:
    """A number with its thousands grouped: `27,449`."""
    return f"{value:,.0f}"


def size(value: float) -> str:
    """A number of bytes: `27.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


class Progress:
    """What long work reports as it goes. Library functions take one; this one shows nothing."""

    def start(self, total: float | None, unit: str) -> None:
        """A new stretch of work: `total` in `unit` (words, bytes, rows, tokens), None when not known."""

    def advance(self, amount: float) -> None:
        """So much more is done."""

    def resume(self, amount: float) -> None:
        """So much was done before this stretch began, by a run that is continued."""

    def show(self, text: str) -> None:
        """Text to show beside the bar, for example the loss."""


SILENT = Progress()


class Speed:
    """The speed of the last part of the work: the last 30 seconds, or the last tenth of the time where that is longer.

    Rows are sorted by length and the first steps wait for compilers and caches, so that the speed of all the work so
    far is not the speed to come.
    """

    def __init__(self, begun: float) -> None:
        self.begun = self.last = begun
        self.done = 0.0
        self._samples = deque([(begun, 0.0)])  # (time in seconds, amount done by then)

    def advance(self, amount: float, now: float) -> None:
        """So much more is done at the time `now`, in seconds."""
        self.done, self.last = self.done + amount, now
        part = max(RECENT_SECONDS, RECENT_SHARE * (now - self.begun))
        if now - self._samples[-1][0] >= part / SAMPLES:
            self._samples.append((now, self.done))
        while len(self._samples) > 1 and self._samples[1][0] <= now - part:
            self._samples.popleft()

    def resume(self, amount: float) -> None:
        """Count what was done before: it took none of the time."""
        self.done += amount
        self._samples = deque((when, done + amount) for when, done in self._samples)

    def measure(self, now: float) -> tuple[float, float]:
        """(amount per second, amount done since the last report at this speed); (0, 0) where no time has passed.

        Work reports now and then. The time since the last report counts from the moment on at which the next one
        was due, by the longest pause between two: so a stall lowers the speed, and a pause does not.
        """
        first, before = self._samples[0]
        times = [*(when for when, _ in self._samples), self.last]
        pause = min(now - self.last, max(b - a for a, b in pairwise(times)))
        spent = now - pause - first
        speed = (self.done - before) / spent if spent > 0 else 0.0
        return speed, speed * pause


class StepProgress(Progress):
    """One line of work: a live bar while it runs, with the throughput of the last part of the work (`Speed`) and the
    time left at that, one line when it is done."""

    def __init__(self, title: str, number: int | None, is_live: bool) -> None:
        self.title, self.number, self.is_live = title, number, is_live
        self.summary = self.prefix = ""  # prefix: shown before every text
        self.begun = self._last_plain = time.monotonic()
        self.start(None, "")

    def start(self, total: float | None, unit: str) -> None:
        self.total, self.unit, self.text = total, unit, ""
        self.speed = Speed(time.monotonic())

    def advance(self, amount: float) -> None:
        now = time.monotonic()
        self.speed.advance(amount, now)
        if not self.is_live and not is_quiet() and now - self._last_plain >= PLAIN_EVERY:
            self._last_plain = now
            print(f"{self._head()}{self._status()}", file=sys.stderr, flush=True)

    def resume(self, amount: float) -> None:
        self.speed.resume(amount)

    def show(self, text: str) -> None:
        self.text = text

    def result(self, summary: str, *values: object) -> None:
        """Set the message (or its template and values) of the one line that stays."""
        self.summary = message(summary, *values) if values else summary

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def _head(self) -> str:
        number = "" if self.number is None else f"{self.number:>2}  "
        return number + pad(translate(self.title), TITLE_WIDTH)

    def seconds_left(self) -> float | None:
        """Until the end at the present speed, None where that is not known (yet)."""
        now = time.monotonic()
        speed, since = self.speed.measure(now)
        if not self.total or speed <= 0 or now - self.speed.begun <= 0.5:
            return None
        return max(0.0, (self.total - self.speed.done - since) / speed)

    def _status(self) -> str:
        parts = []
        if self.total:
            parts.append(f"{min(1.0, self.speed.done / self.total):>4.0%}")
        if self.unit and (rate := self.speed.measure(time.monotonic())[0]) > 0:
            amount = size(rate) if self.unit == "bytes" else f"{count(rate)} {translate(self.unit)}"
            parts.append(f"{amount}/{translate('s')}")
        parts += [translate(text) for text in (self.prefix, self.text) if text]
        if (left := self.seconds_left()) is not None:
            parts.append(translate(message("{time} left", seconds(left))))
        return "  ".join(parts)

    def __rich__(self) -> Table:
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.total, completed=self.speed.done, width=30, pulse=self.total is None)
        row.add_row(Text(self._head()), bar, Text(self._status()))
        return row

    def line(self) -> str:
        """The line that stays: the title, the result, the time it took."""
        took = translate(seconds(self.elapsed))
        return f"{self._head()}{pad(translate(self.summary), SUMMARY_WIDTH)}  {' ' * (8 - cell_len(took))}{took}"


@contextmanager
def start_step(title: str, number: int | None = None) -> Iterator[StepProgress]:
    """Show one piece of work on stderr: live on a terminal, a plain line now and then when piped."""
    terminal = error_console()
    item = StepProgress(title, number, terminal.is_terminal and not is_quiet())
    with Live(item, console=terminal, refresh_per_second=5, transient=True) if item.is_live else nullcontext():
        yield item
    if not is_quiet():
        print(item.line(), file=sys.stderr, flush=True)


def plain(value: object) -> str:
    """A value as people read it: yes or no, numbers with their thousands grouped, several values on one line."""
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "  ".join(map(plain, value))
    if isinstance(value, bool):
        return translate("yes" if value else "no")
    if isinstance(value, int | float):
        return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
    return "-" if value is None else str(render(value))


def facts(values: Mapping[str, object]) -> None:
    """Names and values in two columns, to stdout; a value may have several lines. None and empty ones are left out."""
    present = {name: plain(value) for name, value in values.items() if value not in (None, "", [], {})}
    rows = [
        (translate(name.replace("_", " ")) if number == 0 else "", line)
        for name, value in present.items()
        for number, line in enumerate(value.split("\n"))
    ]
    width = max(cell_len(name) for name, _ in rows)
    for name, line in rows:
        print_text(f"{pad(name, width)}  {line}")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table on stdout; numbers stand on the right."""
    if not is_main():
        return
    grid = Table(title=title and translate(title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    cells = [[plain(cell) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        numeric = rows and all(row[number][:1].isdigit() for row in cells)
        grid.add_column(translate(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        grid.add_row(*map(escape, row))
    wide = None if sys.stdout.isatty() else 200
    Console(highlight=False, width=wide).print(grid)


def show_error(error: UserError) -> None:
    """Print an error on stderr, with its facts below it in two columns."""
    if error.shown_elsewhere:
        return
    terminal = error_console()
    mark = translate("error:")
    gap = " " if mark.isascii() else ""  # a full-width colon is wide enough
    terminal.print(f"[bold red]{mark}[/]{gap}{escape(error.render())}")
