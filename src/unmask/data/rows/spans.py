"""Records with character spans: `{"text": "...", "spans": [{"start": 0, "stop": 4, "label": "PER"}]}`.

So write doccano, Label Studio (label_studio.py) and this package itself; bounds of tokens may stand beside.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from unmask.data.rows.columns import SPANS, Records, excerpt, text_in
from unmask.data.rows.example import Example, Span, Spans, in_order, keep_outermost, overlapping
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError
from unmask.messages import message

STARTS = ("start", "start_offset")
STOPS = ("stop", "end", "end_offset")
NAMES = ("label", "type", "tag")
FORMS = '[{"start": 0, "stop": 4, "label": "PER"}, ...] or [[0, 4, "PER"], ...]; stop is exclusive'


def span_examples(records: Records, log: ReadLog, nested: bool) -> list[Example]:
    """Texts with their spans.

    A span is {"start", "stop" or "end", "label" or "type"} or [start, stop, label], in characters (Unicode
    code points). White space at the ends of a span is taken off; empty ones are left out and noted.
    nested: spans may overlap; otherwise that is a UserError, or with on_error="skip" the first of them is kept (at
    one start the longest), and the others are noted. `tokens`, where there are any, are the bounds [start, stop] of
    given tokens. What `log` may leave out: no text, a span that is not of this form or reaches beyond the text.
    """
    text, pair = records.texts()
    label = records.labels(SPANS, (text, pair))
    records.note_detected(log, text=text, pair=pair, label=label)
    # unless an option or the format names the column, each row may have its spans under another name
    named = records.named("label") or (label if records.annotated else None)
    keys = SPANS if named is None else (named,)
    about = records.about()
    left_out: dict[str, list[int]] = {"empty": [], "overlapping": []}  # lines

    def example(line: int, row: dict[str, Any]) -> Example:
        where = records.place(line)
        content = text_in(row, text, where)
        tokens = _tokens(row.get("tokens"), content, where)
        given = _spans(row, keys, content, where)
        spans = sorted({span for span in given if span.start < span.end}, key=in_order)
        left_out["empty"] += [line for span in given if span.start >= span.end]
        if not nested and (both := overlapping(spans)) is not None:
            if log.on_error == "stop":
                raise UserError(
                    f"{where}: two spans overlap, and tags are one for each word",
                    given="; ".join(f"{content[span.start : span.end]!r} ({span.label})" for span in both),
                    hint="--on-error skip leaves the inner ones out; --task nested is for entities that nest",
                )
            apart = keep_outermost(spans)
            left_out["overlapping"] += [line] * (len(spans) - len(apart))
            spans = apart
        return Example(content, target=Spans(spans), tokens=tokens, **about(line, row))

    examples = list(log.usable(records.rows, example))
    for kind, lines in left_out.items():
        if lines:
            text = "{source}: {lines:,} {kind} spans left out (the first on line {first})"
            log.note(text, records.source, len(lines), message(kind), lines[0])
    return examples


def _spans(row: dict[str, Any], keys: Sequence[str], text: str, where: str) -> list[Span]:
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        raise UserError(f"{where} has no spans", given=", ".join(row), allowed=f'"spans": {FORMS}')
    if not isinstance(row[key], list):
        raise UserError(f"{where}: {key!r} is not a list of spans", given=excerpt(row[key]), allowed=FORMS)
    return [_span(value, text, f"{where}: {key!r}") for value in row[key]]


def _span(value: Any, text: str, where: str) -> Span:
    """A span without white space at its ends; empty where it holds nothing else."""
    if isinstance(value, dict):
        value = [next((value[key] for key in names if key in value), None) for names in (STARTS, STOPS, NAMES)]
    start, stop, label = value if isinstance(value, list) and len(value) == 3 else (None, None, None)
    if type(start) is not int or type(stop) is not int or not isinstance(label, str) or not label.strip():
        raise UserError(f"{where} holds something that is no span", given=excerpt(value), allowed=FORMS)
    if not 0 <= start <= stop <= len(text):
        allowed = f"0 <= start <= stop <= {len(text):,}, in characters"
        raise UserError(f"{where}: a span reaches beyond the text", given=excerpt(value), allowed=allowed)
    inner = text[start:stop]
    start += len(inner) - len(inner.lstrip())
    return Span(start, start + len(inner.strip()), label.strip())


def _tokens(given: Any, text: str, where: str) -> tuple[tuple[int, int], ...] | None:
    """The bounds of the tokens, where the row has them: in order, without overlap."""
    if not isinstance(given, list) or not given or not all(isinstance(one, list) and len(one) == 2 for one in given):
        return None
    for (_, before), (start, end) in pairwise([(0, 0), *given]):
        if type(start) is not int or type(end) is not int or not before <= start < end <= len(text):
            allowed = f"[start, stop] in order, without overlap, up to {len(text):,}, in characters"
            what = f"{where}: 'tokens' holds something that is no token"
            raise UserError(what, given=excerpt([start, end]), allowed=allowed)
    return tuple((start, end) for start, end in given)
