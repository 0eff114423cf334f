"""Blocks of a page: tables, plots, example sentences and lines to copy, in sections.

Texts are messages, or plain text of the user's, which is not translated; the template escapes both. Blocks without
values are left out.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar

from unmask.messages import message, render
from unmask.report.chart import Plot

Row = dict[str, Any]
Show = Callable[[Any], "str | Cell"]
Columns = Mapping[str, "str | tuple[str, Show]"]  # key of a row: heading, and how to show a number; texts as they are

LONG = 40  # letters from which a cell is read as text, and its table becomes cards on a phone
PHONE = 400  # pixels; a little more than a phone has, since scrolling a little is better than cards


@dataclass(frozen=True)
class Cell:
    """A figure with what belongs to it in smaller letters, such as its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells. numbers: columns aligned right; strong: the row to emphasise; total: the last row is a sum."""

    kind: ClassVar = "table"

    columns: list[str]
    rows: list[list[str | Cell]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    strong: int | None = None
    total: bool = False

    @property
    def cards(self) -> bool:
        """Whether a phone shows each row as a card: the table would be too wide for it, or its texts too long."""
        if len(self.columns) < 3:
            return False
        columns = list(zip(self.columns, *self.rows, strict=True))
        long = any(letters(cell) > LONG for column in columns for cell in column if isinstance(cell, str))
        needed = sum(_room(column, number in self.numbers) for number, column in enumerate(columns))
        return long or needed > PHONE


def _room(column: Sequence[str | Cell], numeric: bool) -> float:
    """About the least width of a column, in pixels: numbers stay on one line, texts are broken at blanks."""
    cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in column]
    widest = 0.0
    for cell in cells:
        words = [letters(word) for word in cell.text.split()] or [0]
        text = letters(cell.text) if numeric and cell is not cells[0] else max(*words, min(letters(cell.text), 14))
        widest = max(widest, 8.3 * text, 7.2 * letters(cell.note))
    return widest + 11


def letters(text: str) -> int:
    """How much room a text takes: a Chinese character takes that of two letters."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@dataclass(frozen=True)
class Code:
    """Lines to copy, or a file to unfold where `title` is given."""

    kind: ClassVar = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot and the sentence below it, which is also its description."""

    kind: ClassVar = "figure"
    plot: Plot
    caption: str


@dataclass(frozen=True)
class Part:
    """A stretch of a sentence; `tag` is its label where it has one, `colour` from 1, `wrong` where it is."""

    text: str
    tag: str = ""
    colour: int = 0
    wrong: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is short enough to stay on one line with its tag."""
        return letters(self.text) <= LONG / 2


@dataclass(frozen=True)
class Sentence:
    """A sentence in one or more readings (what it is called, its parts)."""

    verdict: str
    readings: list[tuple[str, list[Part]]]


@dataclass(frozen=True)
class Sentences:
    """Example sentences with coloured spans."""

    kind: ClassVar = "sentences"
    rows: list[Sentence]
    caption: str = ""


@dataclass(frozen=True)
class Panel:
    """A small plot under its title; `note` says what to look for."""

    title: str
    plot: Plot
    note: str = ""


@dataclass(frozen=True)
class Panels:
    """Small plots, two beside each other on a wide screen."""

    kind: ClassVar = "panels"
    panels: list[Panel]


@dataclass(frozen=True)
class Folded:
    """Blocks to unfold under a title; `open` where they are seen at once."""

    kind: ClassVar = "folded"
    title: str
    blocks: "list[Block]"
    open: bool = False


Block = Table | Figure | Code | Sentences | Panels | Folded


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class KeyFigure:
    """One of the few figures at the top of the page."""

    value: str
    what: str
    note: str
    unit: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page: heading, key figures, summary in paragraphs of sentences, sections."""

    kind: str
    title: str
    command: str | None = None
    created: str | None = None
    summary: list[list[str]] = field(default_factory=list)
    figures: list[KeyFigure] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def in_language(value: Any, language: str) -> Any:
    """Translate all messages within a page or a block."""
    if isinstance(value, str):
        return render(value, language)
    if isinstance(value, list | tuple):
        return type(value)(in_language(one, language) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: in_language(getattr(value, one.name), language) for one in fields(value)})
    return value


def sections(blocks: Mapping[tuple[str, str], Iterable[Block | None]]) -> list[Section]:
    """Sections by (name, title), in the given order; those without blocks are left out."""
    all_sections = (
        Section(name, message(title), [block for block in some if block]) for (name, title), some in blocks.items()
    )
    return [section for section in all_sections if section.blocks]


def _columns(rows: Sequence[Row], columns: Columns) -> dict[str, tuple[str, Show | None]]:
    """Heading and format of each column that any row has a value for."""
    used = {key: column for key, column in columns.items() if any(row.get(key) is not None for row in rows)}
    return {key: (message(c), None) if isinstance(c, str) else (message(c[0]), c[1]) for key, c in used.items()}


def _cell(value: Any, show: Show | None) -> str | Cell:
    if value is None:
        return ""
    if show is not None and not isinstance(value, Cell):
        return show(value)
    return value if isinstance(value, str | Cell) else str(value)


def table(rows: Sequence[Row], columns: Columns, caption: str = "", **settings: Any) -> Table | None:
    """A table of the given columns; columns that no row has are left out."""
    used = _columns(rows, columns)
    cells = [[_cell(row.get(key), show) for key, (_, show) in used.items()] for row in rows]
    numbers = frozenset(number for number, (_, show) in enumerate(used.values()) if show is not None)
    heads = [head for head, _ in used.values()]
    return Table(heads, cells, caption, numbers, **settings) if used else None


def facts(row: Row, columns: Columns, caption: str = "") -> Table | None:
    """One row as a table of names and values; what it lacks is left out."""
    used = _columns([row], columns)
    cells: list[list[str | Cell]] = [[head, _cell(row[key], show)] for key, (head, show) in used.items()]
    return Table([], cells, caption) if cells else None


def pairs(values: Mapping[str, Any], heads: Sequence[str], caption: str) -> Table | None:
    """Names that are not ours, with their values."""
    cells: list[list[str | Cell]] = [[name, str(value)] for name, value in values.items() if value is not None]
    return Table(list(heads), cells, caption) if cells else None
