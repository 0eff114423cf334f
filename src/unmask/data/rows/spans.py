"""Records with character spans: `{"text": "...", "spans": [{"start": 0, "stop": 4, "label": "PER"}]}`.

So write doccano, Label Studio (label_studio.py) and this package itself; bounds of tokens may stand beside.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from unmask.data.rows.columns import SPANS, Columns, excerpt, text_in
from unmask.data.rows.example import Example, Span, Spans
from unmask.data.rows.readers.records import Records
from unmask.data.rows.texts import meta_of
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

STARTS = ("start", "start_offset")
STOPS = ("stop", "end", "end_offset")
NAMES = ("label", "type", "tag")
FORMS = '[{"start": 0, "stop": 4, "label": "PER"}, ...] or [[0, 4, "PER"], ...]; stop is exclusive'
SHOWN = 3  # lines shown where spans were left out


class Entity(Protocol):
    """A labelled stretch of a text."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def label(self) -> str: ...


E = TypeVar("E", bound=Entity)


def in_order(span: Entity) -> tuple[int, int, str]:
    """The key that sorts spans: by their starts, those around others first."""
    return span.start, -span.end, span.label


def overlapping(spans: Iterable[E]) -> tuple[E, E] | None:
    """The first two spans that have a character in common, in the order of their starts; None where all are apart."""
    return next((pair for pair in pairwise(sorted(spans, key=in_order)) if pair[1].start < pair[0].end), None)


def keep_outermost(spans: Iterable[E]) -> tuple[E, ...]:
    """The spans without those that overlap one before them; of several at one start the longest stays."""
    kept: list[E] = []
    for span in sorted(spans, key=in_order):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return tuple(kept)


def span_examples(records: Records, columns: Columns, log: ReadLog, nested: bool) -> tuple[list[Example], int]:
    """Texts with their spans, and how many spans were left out.

    A span is {"start", "stop" or "end", "label" or "type"} or [start, stop, label], in characters (Unicode
    code points). White space at the ends of a span is taken off; empty ones are left out and noted.
    nested: spans may overlap; otherwise that is a UserError, or with on_error="skip" the first of them is kept (at
    one start the longest), and the others are noted. `tokens`, where there are any, are the bounds [start, stop] of
    given tokens. What `log` may leave out: no text, a span that is not of this form or reaches beyond the text.
    """
    text, pair = columns.texts()
    label = columns.labels(SPANS, (text, pair))
    if (note := columns.detected(text, pair, label, "spans")) is not None:
        log.note(note)
    # unless an option or the format names the column, each row may have its spans under another name
    named = columns.named("label") or (label if records.annotated else None)
    keys = SPANS if named is None else (named,)
    meta, empty, inner = meta_of(records, columns), list[int](), list[int]()

    def example(line: int, row: dict[str, Any]) -> Example:
        where = records.place(line)
        content = text_in(row, text, where)
        tokens = _tokens(row, content, where)
        given = _spans(row, keys, content, where)
        spans = _trimmed(given, content)
        empty.extend([line] * (len(given) - len(spans)))
        spans = sorted(set(spans), key=in_order)
        if not nested and (both := overlapping(spans)) is not None:
            if log.on_error == "stop":
                raise UserError(
                    f"{where}: two spans overlap, and tags are one for each word",
                    given="; ".join(f"{content[span.start : span.end]!r} ({span.label})" for span in both),
                    hint="--on-error skip leaves the inner ones out; --task nested is for entities that nest",
                )
            apart = keep_outermost(spans)
            inner.extend([line] * (len(spans) - len(apart)))
            spans = list(apart)
        return Example(content, target=Spans(spans), tokens=tokens, **meta(line, row))

    examples = list(log.usable(records.rows, example))
    for lines, kind in ((empty, "empty"), (inner, "overlapping")):
        if lines:
            first = ", ".join(f"{line:,}" for line in list(dict.fromkeys(lines))[:SHOWN])
            log.note(
                "{source}: {lines:,} {kind} spans left out (the first on line {first})",
                records.source,
                len(lines),
                kind,
                first,
            )
    return examples, len(empty) + len(inner)


def _spans(row: dict[str, Any], keys: Sequence[str], text: str, where: str) -> list[Span]:
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        raise UserError(f"{where} has no spans", given=", ".join(row), allowed=f'"spans": {FORMS}')
    if not isinstance(row[key], list):
        raise UserError(f"{where}: {key!r} is not a list of spans", given=excerpt(row[key]), allowed=FORMS)
    return [_span(value, text, f"{where}: {key!r}") for value in row[key]]


def _span(value: Any, text: str, where: str) -> Span:
    start = stop = label = None
    if isinstance(value, dict):
        start, stop, label = (
            next((value[key] for key in names if key in value), None) for names in (STARTS, STOPS, NAMES)
        )
    elif isinstance(value, list) and len(value) == 3:
        start, stop, label = value
    if type(start) is not int or type(stop) is not int or not isinstance(label, str) or not label.strip():
        raise UserError(f"{where} holds something that is no span", given=excerpt(value), allowed=FORMS)
    if not 0 <= start <= stop <= len(text):
        allowed = f"0 <= start <= stop <= {len(text):,}, in characters"
        raise UserError(f"{where}: a span reaches beyond the text", given=excerpt(value), allowed=allowed)
    return Span(start, stop, label.strip())


def _trimmed(spans: Iterable[Span], text: str) -> list[Span]:
    """The spans without white space at their ends; those that hold nothing else are left out."""
    found = []
    for span in spans:
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        stop = span.end - (len(inner) - len(inner.rstrip()))
        if start < stop:
            found.append(Span(start, stop, span.label))
    return found


def _tokens(row: dict[str, Any], text: str, where: str) -> tuple[tuple[int, int], ...] | None:
    """The bounds of the tokens, where the row has them: in order, without overlap."""
    given = row.get("tokens")
    if not isinstance(given, list) or not given or not all(isinstance(one, list) for one in given):
        return None
    bounds: list[tuple[int, int]] = []
    for one in given:
        end = bounds[-1][1] if bounds else 0
        if len(one) != 2 or not all(type(place) is int for place in one) or not end <= one[0] < one[1] <= len(text):
            raise UserError(
                f"{where}: 'tokens' holds something that is no token",
                given=excerpt(one),
                allowed=f"[start, stop] in order, without overlap, up to {len(text):,}, in characters",
            )
        bounds.append((one[0], one[1]))
    return tuple(bounds)
