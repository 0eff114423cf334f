"""Blocks of a page: tables, plots, example sentences and lines to copy, in sections.

Texts are messages, or plain text of the user's, which is not translated; the template escapes both. Blocks without
values are left out.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from rich.cells import cell_len

from unmask.messages import render
from unmask.report.chart import Plot

LONG = 40  # letters from which a cell is read as text


@dataclass(frozen=True)
class Cell:
    """A figure with what belongs to it in smaller letters, such as its interval."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; facts, if there are no columns. numbers: columns aligned right; strong: the row to emphasise;
    total: the last row is a sum."""

    columns: list[str]
    rows: list[list[str | Cell]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    strong: int | None = None
    total: bool = False

    @property
    def cards(self) -> bool:
        """Whether a phone shows each row as a card: the table would be too wide for it, or its texts too long."""
        long = any(cell_len(cell) > LONG for row in self.rows for cell in row if isinstance(cell, str))
        return len(self.columns) > 3 or (len(self.columns) == 3 and long)


@dataclass(frozen=True)
class Code:
    """Lines to copy, or a file to unfold where `title` is given."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot and the sentence below it, which is also its description; as one of `Panels`, its title above it, and a
    note on what to look for below."""

    plot: Plot
    caption: str
    note: str = ""


@dataclass(frozen=True)
class Panels:
    """Small plots, two beside each other on a wide screen, to unfold under a title; `open`: seen at once."""

    title: str
    figures: list[Figure]
    open: bool


@dataclass(frozen=True)
class Part:
    """A stretch of a sentence; `tag` is its label where it has one, `colour` from 1, `wrong` where it is."""

    text: str
    tag: str = ""
    colour: int = 0
    wrong: bool = False


@dataclass(frozen=True)
class Sentence:
    """A sentence in one or more readings (what it is called, its parts)."""

    verdict: str
    readings: list[tuple[str, list[Part]]]


@dataclass(frozen=True)
class Sentences:
    """Example sentences with coloured spans."""

    rows: list[Sentence]
    caption: str


Block = Table | Figure | Code | Sentences | Panels


@dataclass(frozen=True)
class Section:
    """Blocks under a title; `name` is that of its anchor."""

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
    summary: list[list[str]]
    figures: list[KeyFigure]
    sections: list[Section]
    command: str | None = None
    created: str | None = None


def in_language(value: Any, language: str) -> Any:
    """Translate all messages within a page or a block."""
    if isinstance(value, str):
        return render(value, language)
    if isinstance(value, list | tuple):
        return type(value)(in_language(one, language) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: in_language(getattr(value, one.name), language) for one in fields(value)})
    return value
