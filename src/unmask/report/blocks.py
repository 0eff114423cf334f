"""What a page is made of: sections of tables, figures, example sentences and lines to copy.

Blocks hold plain text; the template escapes it. A page leaves out what has no figures.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Words = dict[str, str]
Show = Callable[[Any], "str | Cell"]
Columns = Mapping[str, "Show | type[str]"]

LONG = 40  # letters from which a cell is read as text, and its table becomes cards on a phone
PHONE = 400  # pixels; a little more than a phone has, since scrolling a little is better than cards


@dataclass(frozen=True)
class Cell:
    """A figure with what belongs to it in smaller letters, such as its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Cells of plain text. `numbers` are the columns set to the right; `strong` is a row to point out."""

    columns: list[str]
    rows: list[list[str | Cell]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    strong: int | None = None
    total: bool = False  # whether the last row is a sum
    kind: str = "table"

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

    text: str
    title: str = ""
    kind: str = "code"


@dataclass(frozen=True)
class Figure:
    """A plot as SVG for a desk and for a phone, and the sentence below it, which is also its description."""

    wide: str
    narrow: str
    caption: str
    kind: str = "figure"


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

    rows: list[Sentence]
    caption: str = ""
    kind: str = "sentences"


@dataclass(frozen=True)
class Panel:
    """A small plot under its title, as wide as a phone; `note` says what to look for."""

    title: str
    plot: str
    note: str = ""


@dataclass(frozen=True)
class Panels:
    """Small plots, two beside each other at a desk."""

    panels: list[Panel]
    kind: str = "panels"


@dataclass(frozen=True)
class Folded:
    """Blocks to unfold under a title; `open` where they are seen at once."""

    title: str
    blocks: "list[Block]"
    open: bool = False
    kind: str = "folded"


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
    """A whole page: heading, summary in sentences, sections."""

    kind: str
    title: str
    language: str
    command: str | None = None
    created: str | None = None
    summary: list[str] = field(default_factory=list)
    figures: list[KeyFigure] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def sections(blocks: Mapping[str, Iterable[Block | None]], words: Words) -> list[Section]:
    """Sections in the given order, each named by its key; those without blocks are left out."""
    found = (Section(name, words[name], [block for block in some if block]) for name, some in blocks.items())
    return [section for section in found if section.blocks]


def table(
    rows: Sequence[Row],
    columns: Columns,
    words: Words,
    caption: str = "",
    **settings: Any,
) -> Table | None:
    """A table of the given columns (key: how to show it); columns that no row has are left out."""
    used = {key: show for key, show in columns.items() if any(row.get(key) is not None for row in rows)}
    cells = [["" if row.get(key) is None else show(row[key]) for key, show in used.items()] for row in rows]
    numbers = frozenset(number for number, show in enumerate(used.values()) if show is not str)
    heads = [words[key] for key in used]
    return Table(heads, cells, caption, numbers, **settings) if rows and used else None


def facts(row: Row, columns: Columns, words: Words, caption: str = "") -> Table | None:
    """One row as a table of names and values (key: how to show it); what it lacks is left out."""
    cells: list[list[str | Cell]] = [
        [words[key], show(row[key])] for key, show in columns.items() if row.get(key) is not None
    ]
    return Table([], cells, caption) if cells else None


def pairs(values: Mapping[str, Any], heads: Sequence[str], caption: str) -> Table | None:
    """Names that are not ours, with their values."""
    cells: list[list[str | Cell]] = [[name, str(value)] for name, value in values.items() if value is not None]
    return Table(list(heads), cells, caption) if cells else None
