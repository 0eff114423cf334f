"""Labelled data: the rows of a file of any kind, or of a program, as examples; their labels checked.

Which columns hold the text, a second text and the label is guessed from their names, and said; `Columns`
overrides the guess.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from unmask import console
from unmask.data import columns as known_names
from unmask.data.columns import Chosen, Columns
from unmask.data.memory import Source
from unmask.data.records import FormatOrAuto, format_of, read_records
from unmask.data.textfiles import Faults, OnError, name_of, shortened
from unmask.errors import UserError, closest

__all__ = [
    "Columns",
    "Example",
    "Span",
    "Unknown",
    "check_labels",
    "of_test_rows",
    "read_examples",
    "report_unknown",
]


@dataclass(frozen=True, order=True)
class Span:
    """A labelled stretch of a text: the characters from `start` up to, but without, `stop`."""

    start: int
    stop: int
    label: str


Unknown = Literal["stop", "skip", "wrong"]
"""What becomes of a row with a label that a model does not know: an error, left out, or counted as wrong."""


@dataclass(frozen=True)
class Example:
    """One row. It begins on `line` (from 1) of `source`; rows of one `group` stay together in a split.

    For sequence labelling `spans` are the tags, sorted, without overlap; `tokens` the character bounds of the
    given tokens (None for running text).
    """

    id: str
    text: str
    pair: str | None
    label: str | None
    line: int
    source: str
    group: str | None = None
    spans: tuple[Span, ...] | None = None
    tokens: tuple[tuple[int, int], ...] | None = None

    @property
    def labels(self) -> set[str]:
        """Its label, or those of its spans."""
        return {span.label for span in self.spans or ()} | ({self.label} if self.label is not None else set())

    def only(self, known: Collection[str]) -> "Example":
        """The same without the labels that are not among these."""
        if self.labels <= set(known):
            return self
        spans = None if self.spans is None else tuple(span for span in self.spans if span.label in known)
        return replace(self, label=self.label if self.label in known else None, spans=spans)

    @property
    def place(self) -> str:
        return f"{self.source}, line {self.line:,}"


def read_examples(
    path: Source,
    *,
    columns: Columns | None = None,
    on_error: OnError = "stop",
    require_labels: bool = False,
    encoding: str | None = None,
    format: FormatOrAuto = "auto",
) -> list[Example]:
    """The rows of a file of any kind (data/records.py; text also .gz, .zst, and "-"), or of `Rows` in memory.

    A file of which neither name nor content tell what it is holds one text a line. Labels are text as written:
    `1`, `true`. encoding: of the file; without it UTF-8, and UTF-16 or GB18030 where they are found out.
    A row without text, with another number of fields, or (`require_labels`) without label is a UserError that
    names the line, or is left out and counted with on_error="skip". Raises UserError also for columns that
    are not there or not told by their names, and for files that hold no rows.
    """
    columns, source, faults = columns or Columns(), name_of(path), Faults(on_error)
    kind = format_of(path, format, encoding)
    records = read_records(path, kind, faults, encoding, labelled=require_labels)
    chosen = known_names.choose(source, records.names, columns, require_labels, records.annotated)
    examples = []
    for line, row in records.rows:
        try:
            examples.append(_example(row, chosen, line, source, require_labels))
        except UserError as error:
            faults.found(error)
    faults.report()
    if not examples:
        raise UserError(
            f"{source} holds no row that can be used", the_first=faults.first and faults.first.what
        )
    return examples


def _example(row: dict[str, Any], chosen: Chosen, line: int, source: str, require_labels: bool) -> Example:
    where = f"{source}, line {line:,}"
    label = None if chosen.label is None else _label(row.get(chosen.label), where, chosen.label)
    if label is None and require_labels:
        raise UserError(f"{where} has no label", allowed=f"a value in column {chosen.label!r}")
    given_id = row.get(chosen.id) if chosen.id else None
    group = row.get(chosen.group) if chosen.group else None
    return Example(
        id=str(line) if given_id in (None, "") else str(given_id),
        text=_text(row, chosen.text, where),
        pair=None if chosen.pair is None else _text(row, chosen.pair, where),
        label=label,
        line=line,
        source=source,
        group=None if group in (None, "") else str(group),
    )


def _text(row: dict[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if value is None and column not in row:
        raise UserError(f"{where} has no {column!r}", columns_found=", ".join(row))
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{where}: the text is empty", given=f"column {column!r}")
    if not isinstance(value, str):
        raise UserError(
            f"{where}: {column!r} is not text", given=shortened(json.dumps(value, ensure_ascii=False))
        )
    return value


def _label(value: Any, where: str, column: str) -> str | None:
    """A label as text: as written in CSV, `true`, `1` or `0.5` from JSON; None where it is missing.

    A list of one label is that label: so annotation tools write choices.
    """
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, list | dict):
        several = isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)
        spans = isinstance(value, list) and not several
        raise UserError(
            f"{where}: {column!r} is not one label",
            given=shortened(json.dumps(value, ensure_ascii=False)),
            allowed="a text or number; several labels of a text are a multi-label task"
            if several
            else "a text or number",
            for_spans="--task tag" if spans else None,
        )
    return json.dumps(value)


def check_labels(
    examples: Sequence[Example],
    known: Iterable[str],
    of: str = "the training data",
    unknown: Unknown = "stop",
) -> list[Example]:
    """The examples whose label is among `known`, the labels of `of` (a file or a model).

    Raises UserError for the first label that is not; unknown="skip" leaves such rows out, "wrong" keeps them,
    and both say how many. A row without any label is never kept.
    """
    allowed = set(known)
    if unknown == "wrong":
        strange = Counter(e.label for e in examples if e.label is not None and e.label not in allowed)
        report_unknown(strange, of)
        allowed |= set(strange)
        unknown = "stop"
    faults, kept = Faults(unknown), []
    for example in examples:
        if example.label in allowed:
            kept.append(example)
            continue
        shown = sorted(allowed)
        what = "has no label" if example.label is None else f'label "{example.label}" is not among'
        what += "" if example.label is None else f" the {len(allowed):,} labels of {of}"
        faults.found(
            UserError(
                f"{example.place}: {what}" if example.label is not None else f"{example.place} {what}",
                did_you_mean=closest(example.label or "", allowed),
                allowed=", ".join(shown[:16]) + (", ..." if len(shown) > 16 else ""),
            )
        )
    faults.report()
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: no row is left, because {of} knows the labels of none",
            allowed=", ".join(sorted(allowed)[:16]),
        )
    return kept


@contextmanager
def of_test_rows() -> Iterator[None]:
    """Where labels of test rows are checked, an error also says how to count unknown ones as wrong."""
    try:
        yield
    except UserError as error:
        error.facts["to leave such lines out"] = "--unknown-labels skip"
        error.facts["to count them as wrong"] = "--unknown-labels wrong"
        raise


def report_unknown(strange: Mapping[str, int], of: str) -> None:
    """Says how often labels occur that `of` does not know, and that no prediction of them can be right."""
    if strange:
        listed = ", ".join(f"{label} ({strange[label]:,})" for label in sorted(strange))
        console.remark(f"counted as wrong, because {of} does not know these labels: {listed}")
