"""Records with a text or two and what is true of them: a label, any number of labels, a number, a score of a pair."""

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from unmask.data.rows.columns import (
    GROUPS,
    IDS,
    LABELS,
    NEGATIVES,
    Columns,
    cell,
    excerpt,
    text_in,
    text_or_none,
)
from unmask.data.rows.example import Example, Labels, RowKind, Target
from unmask.data.rows.readers.records import Records
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

SEPARATORS = "|;,"  # between several labels in one field; of equally frequent ones the first
BINS = 10  # of numbers, in a split: rows of about equal numbers are one stratum
BIN_ROWS = 5  # at least, in each

Meta = Callable[[int, dict[str, Any]], dict[str, Any]]


def meta_of(records: Records, columns: Columns, groups: Sequence[str] = GROUPS) -> Meta:
    """Line and row -> id, group and place of an example."""
    identity, group = columns.known(IDS), columns.known(groups)

    def meta(line: int, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": text_or_none(cell(row, identity)) or str(line),
            "group": text_or_none(cell(row, group)),
            "line": line,
            "source": records.source,
        }

    return meta


def text_examples(records: Records, columns: Columns, log: ReadLog, kind: RowKind, labelled: bool) -> list[Example]:
    """A text or a pair a row. Labels are text as written: `1`, `true`.

    What `log` may leave out: a row without text, or (`labelled`, save of pairs) without label; a value of another kind.
    Of pairs the label is their score; where its column was detected and holds anything but numbers, it is not used.
    Raises UserError for columns that are not there, or whose names tell nothing.
    """
    text, pair = columns.texts()
    label = columns.labels(LABELS, (text, pair)) if labelled else None
    required = labelled and kind != "pairs"
    if label is None and required:
        replace(columns, names=columns.annotated or columns.names).missing("label", LABELS)
    if (note := columns.detected(text, pair, label, "label")) is not None:
        log.note(note)
    separator = columns.options.label_separator
    if kind == "labels" and label is not None and separator is None:
        separator = _separator([row.get(label) for _, row in records.rows], records.source, log)
    meta, negative = meta_of(records, columns), columns.known(NEGATIVES)
    detected = kind == "pairs" and label != columns.options.label_column
    no_numbers: list[str] = []

    def example(line: int, row: dict[str, Any]) -> Example:
        where, target = records.place(line), None
        first = text_in(row, text, where)
        second = None if pair is None else text_in(row, pair, where)
        try:
            target = None if label is None else target_of(row.get(label), kind, separator, where, label)
        except UserError:
            if not detected:
                raise
            no_numbers.append(f"line {line:,}: {excerpt(cell(row, label))}")
        if target is None and required:
            raise UserError(f"{where} has no label", allowed=f"a value in column {label!r}")
        other = cell(row, negative)
        other = other if isinstance(other, str) and other.strip() else None
        return Example(first, second, target, **meta(line, row), negative=other)

    examples = list(log.usable(records.rows, example))
    if no_numbers:
        log.note("{source}: its labels are no numbers and not used ({no_numbers})", records.source, no_numbers[0])
        examples = [replace(one, target=None) for one in examples]
    if labelled and kind == "pairs":
        # what belongs to a text would be known from training, if its rows were parted by a split
        examples = [
            replace(one, group=one.text) if one.group is None and one.target is None else one for one in examples
        ]
    return examples


def target_of(value: Any, kind: RowKind, separator: str | None, where: str, column: str) -> Target | None:
    """What a value of the column of the labels stands for; None where it is missing.

    Raises UserError, naming the place, for a value of another kind.
    """
    if kind == "labels":
        return _labels(value, separator, where, column)
    if isinstance(value, list) and len(value) <= 1:  # so annotation tools write one choice, or none
        value = value[0] if value else None
    return _label(value, where, column) if kind == "label" else _number(value, where, column)


def _label(value: Any, where: str, column: str) -> str | None:
    """A label as text: as written in CSV, `true`, `1` or `0.5` from JSON; None where it is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, list | dict):
        several = isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
        hint = "--task tag" if isinstance(value, list) else None
        raise UserError(
            f"{where}: {column!r} is not one label",
            given=excerpt(value),
            allowed="a text or number",
            hint="where a row may have several labels: --task multilabel" if several else hint,
        )
    return json.dumps(value)


def _labels(value: Any, separator: str | None, where: str, column: str) -> Labels | None:
    """Labels of a list, or of a text with a separator, sorted, each once; an empty one is no labels at all."""
    if value is None:
        return None
    if isinstance(value, str):
        parts: list[Any] = value.split(separator) if separator else [value]
    else:
        parts = value if isinstance(value, list) else [value]
    return Labels(sorted({label for part in parts if (label := _label(part, where, column)) is not None}))


def _number(value: Any, where: str, column: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool | list | dict) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        allowed = "a number with a point, such as 3.5 or -2e-3"
        raise UserError(f"{where}: {column!r} is not a number", given=excerpt(value), allowed=allowed)
    return number


def _separator(cells: Sequence[Any], source: str, log: ReadLog) -> str | None:
    """What stands between the labels in most of these cells, which is noted; None where nothing does, as where some are
    lists: a text is then one label."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if not texts or any(isinstance(cell, list) for cell in cells):
        return None
    counts = {separator: sum(separator in text for text in texts) for separator in SEPARATORS}
    best = max(counts, key=lambda separator: counts[separator])
    if counts[best]:
        log.note("{source}: labels are separated by {best!r} (to change: --label-separator)", source, best)
        return best
    log.note(
        "{source}: no field of labels holds any of {separators}, so each is one label (--label-separator)",
        source,
        " ".join(SEPARATORS),
    )
    return None


def stratify(targets: Sequence[Target | None]) -> list[str]:
    """What a split is to keep the shares of, row by row: the label; of several labels the one that is rarest over
    all rows; of numbers which tenth of them it is in; nothing of other targets.
    """
    counts = Counter(label for target in targets if isinstance(target, Labels) for label in target)
    numbers = sorted(target for target in targets if isinstance(target, float))
    bins = max(1, min(BINS, len(numbers) // BIN_ROWS))

    def stratum(target: Target | None) -> str:
        if isinstance(target, float):
            return f"{bisect_left(numbers, target) * bins // len(numbers):02}"
        if isinstance(target, Labels):
            return min(target, key=lambda label: (counts[label], label), default="")
        return target if isinstance(target, str) else ""

    return [stratum(target) for target in targets]
