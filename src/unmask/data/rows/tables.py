"""Labelled data: the rows of a file of any kind, or of a program, as examples; their labels checked.

Which columns hold the text, a second text and the label is guessed from their names, and said; `Columns`
overrides the guess.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from unmask.data.rows import columns as known_names
from unmask.data.rows.columns import ColumnChoice, Columns
from unmask.data.rows.labels import LabelKind, TargetValue, detect_separator, report_unknown, with_target
from unmask.data.rows.memory import Source
from unmask.data.rows.records import FormatOrAuto, detect_format, read_records
from unmask.data.textfiles import Faults, OnError, display_name, shorten_path
from unmask.errors import UserError, did_you_mean, suggest

__all__ = [
    "Columns",
    "Example",
    "ReferenceAnswer",
    "Span",
    "UnknownLabels",
    "check_labels",
    "read_examples",
]


@dataclass(frozen=True, order=True)
class Span:
    """A labelled stretch of a text: the characters from `start` up to, but without, `stop`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, order=True)
class ReferenceAnswer:
    """A right answer to a question: a stretch of its context, from the character `start` on."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


UnknownLabels = Literal["stop", "skip", "wrong"]
"""What becomes of a row with a label that a model does not know: an error, left out, or counted as wrong."""


@dataclass(frozen=True)
class Example:
    """One row. It begins on `line` (from 1) of `source`; rows of one `group` stay together in a split.

    What is true of it is `label`; or `label_set`, sorted, where it may have any number of labels; or `number`. For
    sequence labelling `spans` are the tags, sorted, without overlap save where a task asked for nested ones (then those
    around others come first); `tokens` the character bounds of the given tokens (None for running text). For answering
    `text` is a question and `pair` the context; `answers` are those that are right, empty where the context does not
    answer it (None: not known). `negative`: for vectors of texts, one that `text` is to be told apart from.
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
    label_set: tuple[str, ...] | None = None
    number: float | None = None
    answers: tuple[ReferenceAnswer, ...] | None = None
    negative: str | None = None

    @property
    def labels(self) -> set[str]:
        """Its label or labels, or those of its spans."""
        one = set() if self.label is None else {self.label}
        return {span.label for span in self.spans or ()} | one | set(self.label_set or ())

    @property
    def target(self) -> TargetValue | None:
        """What is true of the whole row: its label, its labels, or its number."""
        return next((one for one in (self.label, self.label_set, self.number) if one is not None), None)

    @property
    def without_targets(self) -> "Example":
        """The same without anything that is to be predicted."""
        return replace(self, label=None, label_set=None, number=None, spans=None, answers=None, negative=None)

    def keep_labels(self, labels: Collection[str]) -> "Example":
        """The same without the labels that are not among these."""
        if self.labels <= set(labels):
            return self
        spans = None if self.spans is None else tuple(span for span in self.spans if span.label in labels)
        several = None if self.label_set is None else tuple(x for x in self.label_set if x in labels)
        return replace(self, label=self.label if self.label in labels else None, label_set=several, spans=spans)

    @property
    def location(self) -> str:
        return f"{self.source}, line {self.line:,}"


def read_examples(
    path: Source,
    *,
    columns: Columns | None = None,
    on_error: OnError = "stop",
    require_labels: bool = False,
    encoding: str | None = None,
    kind: LabelKind | None = "label",
    format: FormatOrAuto = "auto",
) -> list[Example]:
    """The rows of a file of any kind (data/rows/records.py; text also .gz, .zst, and "-"), or of `Rows` in memory.

    A file of which neither name nor content tell what it is holds one text a line. Labels are text as written:
    `1`, `true`. kind: what the column of the label holds: one label, any number of labels (a list, or text with a
    separator), or a number; None: what does not matter. encoding: of the file; without it UTF-8, and UTF-16 or GB18030
    where they are found out.
    A row without text, with another number of fields, or (`require_labels`) without label is a UserError that
    names the line, or is left out and counted with on_error="skip". Raises UserError also for columns that
    are not there or not told by their names, and for files that hold no rows.
    """
    columns, source, faults = columns or Columns(), display_name(path), Faults(on_error)
    records = read_records(path, detect_format(path, format, encoding), faults, encoding, labelled=require_labels)
    chosen = known_names.choose_columns(source, records.names, columns, require_labels, records.annotated)
    separator = columns.separator
    if kind == "labels" and separator is None and chosen.label is not None:
        separator = detect_separator([row.get(chosen.label) for _, row in records.rows], source)
    examples = []
    for line, row in records.rows:
        try:
            example = _example(row, chosen, line, source)
            if chosen.label is not None and kind is not None:
                example = with_target(example, row.get(chosen.label), kind, separator, chosen.label)
            if example.target is None and require_labels:
                raise UserError(f"{source}, line {line:,} has no label", allowed=f"a value in column {chosen.label!r}")
            examples.append(example)
        except UserError as error:
            faults.record(error)
    faults.report()
    if not examples:
        raise UserError("{source} holds no row that can be used", source, given=faults.first and faults.first.message)
    return examples


def _example(row: dict[str, Any], chosen: ColumnChoice, line: int, source: str) -> Example:
    where = f"{source}, line {line:,}"
    given_id = row.get(chosen.id) if chosen.id else None
    group = row.get(chosen.group) if chosen.group else None
    negative = row.get(chosen.negative) if chosen.negative else None
    return Example(
        id=str(line) if given_id in (None, "") else str(given_id),
        text=_text(row, chosen.text, where),
        pair=None if chosen.pair is None else _text(row, chosen.pair, where),
        label=None,
        line=line,
        source=source,
        group=None if group in (None, "") else str(group),
        negative=negative if isinstance(negative, str) and negative.strip() else None,
    )


def _text(row: dict[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if value is None and column not in row:
        raise UserError("{where} has no {column!r}", where, column, given=f"columns: {', '.join(row)}")
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError("{where}: the text is empty", where, given=f"column {column!r}")
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} is not text", given=shorten_path(json.dumps(value, ensure_ascii=False)))
    return value


def check_labels(
    examples: Sequence[Example],
    labels: Iterable[str],
    owner: str = "the training data",
    unknown: UnknownLabels = "stop",
) -> list[Example]:
    """The examples whose labels are among `known`, the labels of `of` (a file or a model).

    Raises UserError for the first label that is not; unknown="skip" leaves such rows out, "wrong" keeps them,
    and both say how many. A row of which nothing is known to be true is never kept.
    """
    allowed = set(labels)
    if unknown == "wrong":
        strange = Counter(label for example in examples for label in example.labels - allowed)
        report_unknown(strange, owner)
        allowed |= set(strange)
        unknown = "stop"
    faults, kept = Faults(unknown), []
    for example in examples:
        new = min(example.labels - allowed, default=None)
        if new is None and example.target is not None:
            kept.append(example)
            continue
        shown = sorted(allowed)
        what = "has no label" if new is None else f'label "{new}" is not among'
        what += "" if new is None else f" the {len(allowed):,} labels of {owner}"
        faults.record(
            UserError(
                f"{example.location}: {what}" if new is not None else f"{example.location} {what}",
                allowed=", ".join(shown[:16]) + (", ..." if len(shown) > 16 else ""),
                hint=did_you_mean(suggest(new or "", allowed)),
            )
        )
    faults.report()
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: no row is left, because {owner} knows the labels of none",
            allowed=", ".join(sorted(allowed)[:16]),
        )
    return kept
