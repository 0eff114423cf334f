"""Records with character spans: `{"text": "...", "spans": [{"start": 0, "end": 4, "label": "PER"}]}`.

So write doccano, Label Studio (data/rows/labelstudio.py) and this package itself; bounds of tokens may stand beside.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from unmask import console
from unmask.data.rows.columns import SPANS, ColumnChoice, Columns, choose_columns
from unmask.data.rows.records import Records
from unmask.data.rows.sentences import TaggedSentences
from unmask.data.rows.tables import Example, Span
from unmask.data.textfiles import Faults
from unmask.errors import UserError

STARTS = ("start", "start_offset")
ENDS = ("stop", "end", "end_offset")
NAMES = ("label", "type", "tag")
FORMS = '[{"start": 0, "end": 4, "label": "PER"}, ...] or [[0, 4, "PER"], ...]; stop is exclusive'
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


def overlapping(spans: Iterable[E]) -> tuple[E, E] | None:
    """The first two spans that have a character in common, in the order of their starts; None where all are apart."""
    ordered = sorted(spans, key=lambda span: (span.start, -span.end, span.label))
    return next((pair for pair in pairwise(ordered) if pair[1].start < pair[0].end), None)


def keep_outermost(spans: Iterable[E]) -> tuple[E, ...]:
    """The spans without those that overlap one before them; of several at one start the longest stays."""
    kept: list[E] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end, span.label)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return tuple(kept)


class _Skipped:
    """Spans that cannot stand beside the others: counted, the first few with their lines."""

    def __init__(self) -> None:
        self.count, self.lines = 0, list[int]()

    def add(self, line: int) -> None:
        self.count += 1
        if line not in self.lines and len(self.lines) < SHOWN:
            self.lines.append(line)


def read_span_rows(
    source: str,
    records: Records,
    faults: Faults,
    require_tags: bool = False,
    columns: Columns | None = None,
    nested: bool = False,
) -> TaggedSentences:
    """Texts with their spans; in which columns these stand is told by their names (data/rows/columns.py).

    A span is {"start", "stop" or "end", "label" or "type"} or [start, stop, label], in characters (Unicode
    code points). White space at the ends of a span is taken off; empty ones are left out, counted and said.
    nested: spans may overlap; otherwise that is a UserError, or with on_error="skip" the first of them is kept (at
    one start the longest), and the others are counted and said. `tokens`, where there are any, are the bounds
    [start, stop] of given tokens. Faults: no text, a span that is not of this form or reaches beyond the text.
    Raises UserError where no row can be used.
    """
    columns = columns or Columns()
    chosen = choose_columns(source, records.names, columns, False, records.annotated, "spans")
    # without a word of the user or the format, each row may have its spans under another name
    told = columns.label is not None or bool(records.annotated)
    keys = [chosen.label] if told and chosen.label is not None else list(SPANS)
    examples = []
    empty, inner = _Skipped(), _Skipped()
    for line, row in records.rows:
        where = f"{source}, line {line:,}"
        try:
            example = _example(row, chosen, line, source)
            given = _spans(row, keys, example.text, where)
            if given is None and require_tags:
                raise UserError(f"{where} has no spans", keys_found=", ".join(row), allowed='"spans": ' + FORMS)
            spans = None if given is None else _sorted(given, example.text, line, empty)
        except UserError as error:
            faults.record(error)
            continue
        if spans is not None and not nested:
            spans = _apart(spans, example.text, line, where, faults, inner)
        examples.append(replace(example, spans=spans))
    if not examples:
        what = "that can be used" if faults.count else ""
        raise UserError(f"{source} holds no row {what}".rstrip(), the_first=faults.first and faults.first.message)
    for missing, kind in ((empty, "empty"), (inner, "overlapping")):
        if missing.count:
            lines = ", ".join(f"{line:,}" for line in missing.lines)
            console.note(f"{source}: {missing.count:,} {kind} spans left out (the first on line {lines})")
    labels = sorted({span.label for example in examples for span in example.spans or ()})
    tokens_given = sum(len(example.tokens or ()) for example in examples)
    left_out = empty.count + inner.count
    return TaggedSentences(examples, "BIO", labels, tokens_given, left_out=faults.count, spans_left_out=left_out)


def _example(row: dict[str, Any], chosen: ColumnChoice, line: int, source: str) -> Example:
    """A row without its spans."""
    where = f"{source}, line {line:,}"
    text = _text(row, chosen, where)
    identity = row.get(chosen.id) if chosen.id else None
    group = row.get(chosen.group) if chosen.group else None
    return Example(
        id=str(line) if identity in (None, "") else str(identity),
        text=text,
        pair=None,
        label=None,
        line=line,
        source=source,
        group=None if group in (None, "") else str(group),
        tokens=_tokens(row, text, where),
    )


def _text(row: dict[str, Any], chosen: ColumnChoice, where: str) -> str:
    column = chosen.text
    text = row.get(column)
    if column not in row:
        raise UserError(f"{where} has no {column!r}", keys_found=", ".join(row))
    if not isinstance(text, str):
        raise UserError(f"{where}: {column!r} is not text", given=_format_value(text))
    if not text.strip():
        raise UserError(f"{where}: the text is empty")
    return text


def _spans(row: dict[str, Any], keys: Sequence[str], text: str, where: str) -> list[Span] | None:
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        return None
    if not isinstance(row[key], list):
        raise UserError(f"{where}: {key!r} is not a list of spans", given=_format_value(row[key]), allowed=FORMS)
    return [_span(value, text, f"{where}: {key!r}") for value in row[key]]


def _tokens(row: dict[str, Any], text: str, where: str) -> tuple[tuple[int, int], ...] | None:
    """The bounds of the tokens, where they are given: in order, without overlap."""
    given = row.get("tokens")
    if not isinstance(given, list) or not given or not all(isinstance(one, list) for one in given):
        return None
    bounds, end = [], 0
    for one in given:
        if len(one) != 2 or not all(type(place) is int for place in one) or not end <= one[0] < one[1] <= len(text):
            raise UserError(
                f"{where}: 'tokens' holds something that is no token",
                given=_format_value(one),
                allowed=f"[start, stop] in order, without overlap, up to {len(text):,}, in characters",
            )
        end = one[1]
        bounds.append((one[0], one[1]))
    return tuple(bounds)


def _span(value: Any, text: str, where: str) -> Span:
    if isinstance(value, dict):
        stop = next((value[key] for key in ENDS if key in value), None)
        start = next((value[key] for key in STARTS if key in value), None)
        label = next((value[key] for key in NAMES if key in value), None)
    elif isinstance(value, list) and len(value) == 3:
        start, stop, label = value
    else:
        raise UserError(f"{where} holds something that is no span", given=_format_value(value), allowed=FORMS)
    if type(start) is not int or type(stop) is not int or not isinstance(label, str) or not label.strip():
        raise UserError(f"{where} holds something that is no span", given=_format_value(value), allowed=FORMS)
    if not 0 <= start <= stop <= len(text):
        raise UserError(
            f"{where}: a span reaches beyond the text",
            given=_format_value(value),
            allowed=f"0 <= start <= stop <= {len(text):,}, in characters",
        )
    return Span(start, stop, label.strip())


def _sorted(given: list[Span], text: str, line: int, empty: _Skipped) -> tuple[Span, ...]:
    """Sorted, around before inside, without white space at the ends; the empty ones are left out and counted."""
    trimmed = []
    for span in given:
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        stop = span.end - (len(inner) - len(inner.rstrip()))
        if start < stop:
            trimmed.append(Span(start, stop, span.label))
        else:
            empty.add(line)
    return tuple(sorted(set(trimmed), key=lambda one: (one.start, -one.end, one.label)))


def _apart(
    spans: tuple[Span, ...], text: str, line: int, where: str, faults: Faults, inner: _Skipped
) -> tuple[Span, ...]:
    """Spans without overlap. Raises UserError where some do, unless what cannot be used is to be left out."""
    pair = overlapping(spans)
    if pair is None:
        return spans
    if faults.on_error == "stop":
        raise UserError(
            f"{where}: two spans overlap, and tags are one for each word",
            given="; ".join(f"{text[span.start : span.end]!r} ({span.label})" for span in pair),
            for_entities_that_nest="--task nested",
            to_leave_the_inner_ones_out="--on-error skip",
        )
    kept = keep_outermost(spans)
    for _ in range(len(spans) - len(kept)):
        inner.add(line)
    return kept


def _format_value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 70 else text[:67] + "..."
