"""In what span offsets are counted: detected by the text that a file has beside its spans, converted to characters.

Python and this package count characters (Unicode code points). JavaScript, and so what annotates in a browser, counts
UTF-16 units, two of them for an emoji, and browsers make one character of \\r\\n; other tools count the bytes of UTF-8,
or give the last character in place of the end. A span may have its text beside it, as in exports of Label Studio.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from unmask.advice import advise, option, to_change
from unmask.data.rows.columns import excerpt
from unmask.data.rows.options import SpanOffsets
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError
from unmask.messages import Message, join, message

Bounds = tuple[int, int]

KEYS = (  # of a span
    ("start", "start_offset", "start_idx"),
    ("stop", "end", "end_offset", "end_idx"),
    ("label", "type", "tag", "entity_group"),
)
MARKED = ("text", "surface", "mention", "word", "token_text", "value", "entity")  # of the text beside a span
LAST = "end_idx"  # of spans that are read only with their text beside them: whether the end is included, differs
ROW_KEY = "span_offsets"  # of a row that says itself how its offsets are counted
NAMES: Mapping[SpanOffsets, str] = {
    "characters": "characters",
    "utf-16": "UTF-16 units",
    "bytes": "bytes of UTF-8",
}


@dataclass(frozen=True)
class Unit:
    """What offsets are counted in. crlf: \\r\\n counts as one; inclusive: the end is the place of the last one."""

    name: SpanOffsets = "characters"
    crlf: bool = False
    inclusive: bool = False

    @property
    def title(self) -> str:
        """What to call it in messages."""
        crlf = message("\\r\\n as one") if self.crlf else None
        inclusive = message("the end included") if self.inclusive else None
        return join([message(NAMES[self.name]), crlf, inclusive], ", ")


CHARACTERS = Unit()
_PLAIN = (CHARACTERS, Unit("utf-16"), Unit(crlf=True), Unit("utf-16", crlf=True), Unit("bytes"))
UNITS = (*_PLAIN, *(replace(unit, inclusive=True) for unit in _PLAIN))  # in the order in which they are tried


@dataclass(frozen=True)
class FileSpan:
    """A span as a file has it: offsets in the unit of the file, its label, and the text beside it under `key`."""

    start: int
    end: int
    label: str
    marked: str | None = None
    key: str | None = None


def span_fields(value: Any) -> Any:
    """A span of a file as [start, end, label], where it is an object."""
    if not isinstance(value, dict):
        return value
    return [next((value[key] for key in names if key in value), None) for names in KEYS]


def file_span(value: Any) -> FileSpan | None:
    """A span of a file; None for what is not of a form that a span has."""
    fields = span_fields(value)
    start, end, label = fields if isinstance(fields, list) and len(fields) == 3 else (None, None, None)
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
        return None
    texts = value if isinstance(value, dict) else {}
    key = next((key for key in MARKED if isinstance(texts.get(key), str) and texts[key].strip()), None)
    return None if key is None and LAST in texts else FileSpan(start, end, label.strip(), key and texts[key], key)


def boundaries(text: str, unit: Unit) -> Sequence[int]:
    """Where each character of a text begins, and the last ends, counted in a unit: len(text) + 1 numbers."""
    joined = unit.crlf and "\r\n" in text
    if (unit.name == "characters" or text.isascii()) and not joined:
        return range(len(text) + 1)
    if unit.name == "utf-16":
        sizes = [1 + (character > "\uffff") for character in text]
    elif unit.name == "bytes":
        sizes = [1 + (one > "\x7f") + (one > "\u07ff") + (one > "\uffff") for one in text]
    else:
        sizes = [1] * len(text)
    for match in re.finditer("\r\n", text) if joined else ():
        sizes[match.start()] = 0
    return list(accumulate(sizes, initial=0))


def to_characters(start: int, end: int, bounds: Sequence[int], unit: Unit) -> Bounds | None:
    """Offsets as characters, by the `boundaries` of the text; None beyond the text and inside a character."""
    end += unit.inclusive
    first, last = bisect_left(bounds, start), bisect_left(bounds, end)
    if not 0 <= start <= end or last == len(bounds) or (bounds[first], bounds[last]) != (start, end):
        return None
    return first, last


_TWO_UNITS = re.compile("[\U00010000-\U0010ffff]")
_BLANK, _MARKS = re.compile(r"(?:\s|\\[nrt])+"), re.compile(r"(?:\s|\\[nrt]|##|[\u2581\u0120])+")
Form = Callable[[str], str]


def _exact(text: str) -> str:
    """A text to compare: white space (Label Studio writes a line break as \\n in two characters) as one blank."""
    return _BLANK.sub(" ", text).strip()


def _folded(text: str) -> str:
    """The same for the words that models print: without case, accents, blanks and the marks of tokens."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if unicodedata.category(one) != "Mn")
    return _MARKS.sub("", plain).casefold()


MarkedRow = tuple[str, Sequence[FileSpan]]  # a text, and those of its spans that have their text beside them


def _fits(span: FileSpan, text: str, bounds: Sequence[int], unit: Unit, form: Form) -> bool:
    assert span.marked is not None
    place = to_characters(span.start, span.end, bounds, unit)
    return place is not None and form(text[slice(*place)]) == form(span.marked)


def _all_fit(rows: Sequence[MarkedRow], unit: Unit, form: Form) -> bool:
    return all(_fits(span, text, boundaries(text, unit), unit, form) for text, spans in rows for span in spans)


def _count(rows: Sequence[MarkedRow], unit: Unit) -> int:
    """The spans whose text is beside them."""
    bounds = ((text, spans, boundaries(text, unit)) for text, spans in rows)
    return sum(_fits(span, text, of_text, unit, _folded) for text, spans, of_text in bounds for span in spans)


class OffsetReader:
    """Reads the spans of one file: offsets in the unit that an option names, or that all marked texts agree with.

    option: of the settings; inherited: whether it was set for another file, so that marked text counts for more. Where
    no unit agrees with all, the one that agrees with most: the other rows are a UserError. A unit that an option names
    for this file is not doubted, but what differs is noted.
    """

    def __init__(self, source: str, option: SpanOffsets, inherited: bool, rows: Sequence[MarkedRow], log: ReadLog):
        self.source, self.log = source, log
        self.spans = self.moved = self.doubtful = 0
        self.different: list[str] = []
        self.form: Form = _exact
        rows = self._trusted(rows)
        self.detected = option == "auto" or (inherited and bool(rows))
        self.unit = CHARACTERS if option == "auto" else Unit(option)
        self.compared = bool(rows)
        self.guessed = option == "auto" and not rows
        if self.detected and rows:
            self.unit, self.form, self.compared = self._agreed(rows)

    def _trusted(self, rows: Sequence[MarkedRow]) -> Sequence[MarkedRow]:
        """The rows with marked text; none where what is beside the spans occurs in no text, such as ids."""
        if any(
            span.key == "text" or _folded(span.marked or "") in _folded(text) for text, all_ in rows for span in all_
        ):
            return rows
        if rows:
            key = rows[0][1][0].key
            self.log.note("{source}: {key!r} of the spans occurs in no text: not compared", self.source, key)
        return ()

    @staticmethod
    def _agreed(rows: Sequence[MarkedRow]) -> tuple[Unit, Form, bool]:
        """The first unit that all marked texts agree with, else the one that most agree with; how they are compared,
        and whether some differ."""
        for form in (_exact, _folded):
            for unit in UNITS:
                if _all_fit(rows, unit, form):
                    return unit, form, False
        return max(UNITS, key=lambda unit: _count(rows, unit)), _folded, True

    def bounds(self, text: str, row: Mapping[str, Any]) -> tuple[Sequence[int], Unit]:
        """The boundaries of the characters of a row in its unit, and that unit."""
        unit = next((Unit(name) for name in NAMES if row.get(ROW_KEY) == name), self.unit)
        return boundaries(text, unit), unit

    def read(self, span: FileSpan, text: str, bounds: Sequence[int], unit: Unit, where: str) -> Bounds:
        """The characters of a span. Raises UserError for one that is not in the text, or not the text beside it."""
        place = to_characters(span.start, span.end, bounds, unit)
        differs = self.compared and span.marked is not None and not _fits(span, text, bounds, unit, self.form)
        if differs and self.detected:
            raise UserError(
                f"{where}: a span is not the text beside it",
                given=f"{excerpt([span.start, span.end, span.label])}: {_both(span, text, place)}",
                allowed="the same text, offsets counted alike in the whole file",
                hint=advise("{option} reads the offsets as they are", option("span_offsets", "characters")),
            )
        if place is None:
            inside = 0 <= span.start <= span.end + unit.inclusive <= bounds[-1]
            raise UserError(
                f"{where}: a span {'begins or ends inside a character' if inside else 'reaches beyond the text'}",
                given=excerpt([span.start, span.end, span.label]),
                allowed=message("0 <= start <= stop <= {length:,}, in {unit}", bounds[-1], unit.title),
                hint=_hints(span, text, unit),
            )
        if differs:
            self.different.append(f"{where}: {_both(span, text, place)}")
        if unit == self.unit:  # rows with a unit of their own are not converted
            self.spans += 1
            self.moved += place != (span.start, span.end)
            self.doubtful += self.guessed and _TWO_UNITS.search(text, 0, place[1]) is not None
        return place

    def note(self) -> None:
        """Note what was converted, and what differs."""
        if self.unit != CHARACTERS and self.spans:
            text = (
                "{source}: span offsets are {unit}, as the text beside them shows: {moved:,} of {spans:,} converted"
                if self.detected
                else "{source}: span offsets read as {unit}: {moved:,} of {spans:,} converted to characters"
            )
            self.log.note(text, self.source, self.unit.title, self.moved, self.spans)
        if self.doubtful:
            text = "{source}: offsets of {count:,} spans after an emoji read as characters"
            self.log.note(to_change(text, self.source, self.doubtful, by=[option("span_offsets")]))
        if self.different:
            text = "{source}: {count:,} of {spans:,} spans are not the text beside them (the first: {first})"
            self.log.note(text, self.source, len(self.different), self.spans, self.different[0])


def _both(span: FileSpan, text: str, place: Bounds | None) -> str:
    """The text beside a span, and the one at its offsets; and where the former is, if that is one place."""
    start, end = place or (max(0, span.start), max(0, span.end))
    marked = (span.marked or "").strip()
    elsewhere = f"; {shorten(marked)!r} is at {text.index(marked)}" if text.count(marked) == 1 else ""
    return f"{shorten(marked)!r} beside it, {shorten(text[start:end])!r} in the text{elsewhere}"


def _hints(span: FileSpan, text: str, unit: Unit) -> list[Message]:
    """The options by which a span is in its text."""
    others = (name for name in NAMES if name != unit.name)
    fitting = (name for name in others if to_characters(span.start, span.end, boundaries(text, Unit(name)), Unit(name)))
    hints = (advise("{option} if they are {unit}", option("span_offsets", one), message(NAMES[one])) for one in fitting)
    return [hint for hint in hints if hint is not None]


def marked_spans(values: Collection[Any]) -> list[FileSpan]:
    """Those of the spans of a row that have their text beside them."""
    return [span for value in values if (span := file_span(value)) is not None and span.marked is not None]
