"""Records with a text or two and what is true of them: a label, any number of labels, a number, a score of a pair."""

import json
import math
from collections.abc import Sequence
from typing import Any

from unmask.data.rows.columns import LABELS, NEGATIVES, Records, cell, excerpt, text_in
from unmask.data.rows.example import Example, Labels, RowKind, Target
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

SEPARATORS = "|;,"  # between several labels in one field; of equally frequent ones the first


def text_examples(records: Records, log: ReadLog, kind: RowKind, labelled: bool) -> list[Example]:
    """A text or a pair a row. Labels are text as written: `1`, `true`.

    What `log` may leave out: a row without text, or (`labelled`, save of pairs) without label; a value of another kind.
    Of pairs the label is their score; where its column was detected and holds anything but numbers, it is not used.
    Raises UserError for columns that are not there, or whose names tell nothing.
    """
    text, pair = records.texts()
    label = records.labels(LABELS, (text, pair)) if labelled else None
    required = labelled and kind != "pairs"
    if label is None and required:
        records.missing("label", LABELS)
    records.note_detected(log, text=text, pair=pair, label=label)
    separator = records.options.label_separator
    if kind == "labels" and label is not None:
        cells = [row.get(label) for _, row in records.rows]
        other = separator in (*SEPARATORS,) and "label_separator" in records.inherited
        if separator is None or (other and not any(separator in cell for cell in cells if isinstance(cell, str))):
            separator = _separator(cells, records.source, log) or separator
        records.resolved.update({"label_separator": separator} if separator else {})
    if kind == "pairs" and label not in (None, records.options.label_column):
        strange = next((one for one in records.rows if not math.isfinite(_number(cell(one[1], label)) or 0)), None)
        if strange is not None:
            first = f"line {strange[0]:,}: {excerpt(cell(strange[1], label))}"
            log.note("{source}: labels are not numbers and are not used ({no_numbers})", records.source, first)
            label = None
            records.resolved.pop("label_column")
    about, negative = records.about(), records.usual(NEGATIVES)

    def example(line: int, row: dict[str, Any]) -> Example:
        where, target = records.place(line), None
        first = text_in(row, text, where)
        second = None if pair is None else text_in(row, pair, where)
        if label is not None:
            target = target_of(row.get(label), kind, separator, where, label)
        if target is None and required:
            raise UserError("{place} has no label", where, allowed=f"a value in column {label!r}")
        other = cell(row, negative)
        other = other if isinstance(other, str) and other.strip() else None
        meta = about(line, row)
        if labelled and kind == "pairs" and target is None:
            # what belongs to a text would be known from training, if its rows were parted by a split
            meta["group"] = meta["group"] or first
        return Example(first, second, target, **meta, negative=other)

    return list(log.usable(records.rows, example))


def target_of(value: Any, kind: RowKind, separator: str | None, where: str, column: str) -> Target | None:
    """What a value of the column of the labels stands for; None where it is missing.

    kind "labels": of a list, or of a text with a separator, sorted, each once; an empty one is no labels at all.
    Raises UserError, naming the place, for a value of another kind.
    """
    if kind == "labels":
        if value is None:
            return None
        parts = value.split(separator) if isinstance(value, str) and separator else value
        parts = parts if isinstance(parts, list) else [parts]
        return Labels(sorted({label for part in parts if (label := _label(part, where, column)) is not None}))
    if isinstance(value, list) and len(value) <= 1:  # so annotation tools write one choice, or none
        value = value[0] if value else None
    if kind == "label":
        return _label(value, where, column)
    number = _number(value)
    if not math.isfinite(number or 0):
        allowed = "a number with a point, such as 3.5 or -2e-3"
        raise UserError("{place}: {column!r} is not a number", where, column, given=excerpt(value), allowed=allowed)
    return number


def _label(value: Any, where: str, column: str) -> str | None:
    """A label as text: as written in CSV, `true`, `1` or `0.5` from JSON; None where it is missing."""
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    if isinstance(value, list | dict):
        hint = "where a row may have several labels: --task multilabel; spans of the text: --task tag"
        raise UserError(f"{where}: {column!r} is not one label", given=excerpt(value), hint=hint)
    return json.dumps(value)


def _number(value: Any) -> float | None:
    """A number; None where it is missing, nan for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return math.nan if isinstance(value, bool | list | dict) else float(value)
    except (ValueError, OverflowError):
        return math.nan


def _separator(cells: Sequence[Any], source: str, log: ReadLog) -> str | None:
    """What stands between the labels in most of these cells, which is noted; None where nothing does, as where some are
    lists: a text is then one label."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if not texts or any(isinstance(cell, list) for cell in cells):
        return None
    best = max(SEPARATORS, key=lambda separator: sum(separator in text for text in texts))
    if not any(best in text for text in texts):
        return None
    log.note("{source}: labels are separated by {best!r} (to change: --label-separator)", source, best)
    return best
