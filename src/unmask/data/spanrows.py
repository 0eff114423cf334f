"""JSON lines with character spans: `{"text": "...", "spans": [{"start": 0, "stop": 4, "label": "PER"}]}`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from unmask import console
from unmask.data.tables import Example, Span
from unmask.data.textfiles import Faults, name_of, read_objects
from unmask.errors import UserError
from unmask.metrics import Entity

SPANS = ("spans", "entities", "labels", "label")
STOPS = ("stop", "end")
NAMES = ("label", "type", "tag")
FORMS = '[{"start": 0, "stop": 4, "label": "PER"}, ...] or [[0, 4, "PER"], ...]; stop is exclusive'
SHOWN = 3  # lines shown where spans were left out


E = TypeVar("E", bound=Entity)


def overlapping(spans: Iterable[E]) -> tuple[E, E] | None:
    """The first two spans that have a character in common, in the order of their starts; None where all are apart."""
    ordered = sorted(spans, key=lambda span: (span.start, -span.stop, span.label))
    return next((pair for pair in pairwise(ordered) if pair[1].start < pair[0].stop), None)


def outermost(spans: Iterable[E]) -> tuple[E, ...]:
    """The spans without those that overlap one before them; of several at one start the longest stays."""
    kept: list[E] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.stop, span.label)):
        if not kept or span.start >= kept[-1].stop:
            kept.append(span)
    return tuple(kept)


@dataclass(frozen=True)
class SpanRows:
    examples: list[Example]
    spans_left_out: int  # empty, or overlapping where that is not allowed


class _LeftOut:
    """Spans that cannot stand beside the others: counted, the first few with their lines."""

    def __init__(self) -> None:
        self.count, self.lines = 0, list[int]()

    def add(self, line: int) -> None:
        self.count += 1
        if line not in self.lines and len(self.lines) < SHOWN:
            self.lines.append(line)


def read_span_rows(
    path: str | Path,
    faults: Faults,
    require_tags: bool = False,
    encoding: str | None = None,
    nested: bool = False,
) -> SpanRows:
    """The rows of a JSON lines file: `text`, and `spans` (also `entities`, `labels`, `label`).

    A span is {"start", "stop" or "end", "label" or "type"} or [start, stop, label], in characters (Unicode
    code points). White space at the ends of a span is taken off; empty ones are left out, counted and said.
    nested: spans may overlap; otherwise that is a UserError, or with on_error="skip" the first of them is kept (at
    one start the longest), and the others are counted and said. Faults: no text, a span that is not of this form
    or reaches beyond the text. Raises UserError where no row can be used.
    """
    source, examples = name_of(path), []
    empty, inner = _LeftOut(), _LeftOut()
    for line, row in read_objects(path, faults, encoding):
        where = f"{source}, line {line:,}"
        try:
            text = _text(row, where)
            given = _spans(row, text, where)
            if given is None and require_tags:
                raise UserError(
                    f"{where} has no spans", keys_found=", ".join(row), allowed='"spans": ' + FORMS
                )
            spans = None if given is None else _sorted(given, text, line, empty)
        except UserError as error:
            faults.found(error)
            continue
        if spans is not None and not nested:
            spans = _apart(spans, text, line, where, faults, inner)
        identity, group = row.get("id"), row.get("group")
        examples.append(
            Example(
                id=str(line) if identity in (None, "") else str(identity),
                text=text,
                pair=None,
                label=None,
                line=line,
                source=source,
                group=None if group in (None, "") else str(group),
                spans=spans,
            )
        )
    if not examples:
        what = "that can be used" if faults.count else ""
        raise UserError(
            f"{source} holds no row {what}".rstrip(), the_first=faults.first and faults.first.what
        )
    for left_out, kind in ((empty, "empty"), (inner, "overlapping")):
        if left_out.count:
            lines = ", ".join(f"{line:,}" for line in left_out.lines)
            console.remark(f"{source}: {left_out.count:,} {kind} spans left out (the first on line {lines})")
    return SpanRows(examples, empty.count + inner.count)


def _text(row: dict[str, Any], where: str) -> str:
    text = row.get("text")
    if "text" not in row:
        raise UserError(f"{where} has no 'text'", keys_found=", ".join(row))
    if not isinstance(text, str):
        raise UserError(f"{where}: 'text' is not text", given=_shown(text))
    if not text.strip():
        raise UserError(f"{where}: the text is empty")
    return text


def _spans(row: dict[str, Any], text: str, where: str) -> list[Span] | None:
    key = next((key for key in SPANS if row.get(key) is not None), None)
    if key is None:
        return None
    if not isinstance(row[key], list):
        raise UserError(f"{where}: {key!r} is not a list of spans", given=_shown(row[key]), allowed=FORMS)
    return [_span(value, text, f"{where}: {key!r}") for value in row[key]]


def _span(value: Any, text: str, where: str) -> Span:
    if isinstance(value, dict):
        stop = next((value[key] for key in STOPS if key in value), None)
        start, label = value.get("start"), next((value[key] for key in NAMES if key in value), None)
    elif isinstance(value, list) and len(value) == 3:
        start, stop, label = value
    else:
        raise UserError(f"{where} holds something that is no span", given=_shown(value), allowed=FORMS)
    if type(start) is not int or type(stop) is not int or not isinstance(label, str) or not label.strip():
        raise UserError(f"{where} holds something that is no span", given=_shown(value), allowed=FORMS)
    if not 0 <= start <= stop <= len(text):
        raise UserError(
            f"{where}: a span reaches beyond the text",
            given=_shown(value),
            allowed=f"0 <= start <= stop <= {len(text):,}, in characters",
        )
    return Span(start, stop, label.strip())


def _sorted(given: list[Span], text: str, line: int, empty: _LeftOut) -> tuple[Span, ...]:
    """Sorted, around before inside, without white space at the ends; the empty ones are left out and counted."""
    trimmed = []
    for span in given:
        inner = text[span.start : span.stop]
        start = span.start + len(inner) - len(inner.lstrip())
        stop = span.stop - (len(inner) - len(inner.rstrip()))
        if start < stop:
            trimmed.append(Span(start, stop, span.label))
        else:
            empty.add(line)
    return tuple(sorted(set(trimmed), key=lambda one: (one.start, -one.stop, one.label)))


def _apart(
    spans: tuple[Span, ...], text: str, line: int, where: str, faults: Faults, inner: _LeftOut
) -> tuple[Span, ...]:
    """Spans without overlap. Raises UserError where some do, unless what cannot be used is to be left out."""
    pair = overlapping(spans)
    if pair is None:
        return spans
    if faults.on_error == "stop":
        raise UserError(
            f"{where}: two spans overlap, and tags are one for each word",
            given="; ".join(f"{text[span.start : span.stop]!r} ({span.label})" for span in pair),
            for_entities_that_nest="task.decoder=spans",
            to_leave_the_inner_ones_out="--on-error skip",
        )
    kept = outermost(spans)
    for _ in range(len(spans) - len(kept)):
        inner.add(line)
    return kept


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 70 else text[:67] + "..."
