"""Records with a text or two and what is true of them: a label, any number of labels, a number, a score of a pair."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from unmask.advice import advise, option, to_change
from unmask.data.rows.cells.lists import with_lists
from unmask.data.rows.cells.missing import are_numbers, plain, without_missing
from unmask.data.rows.cells.onehot import hint_of, no_column, with_columns, without_bits
from unmask.data.rows.cells.pairs import are_classes, number, pair_column, with_scores
from unmask.data.rows.columns import LABELS, NEGATIVES, Records, cell, excerpt, text_in
from unmask.data.rows.example import Example, Labels, RowKind, Target
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

SEPARATORS = "|;,"  # between several labels in one field


def text_examples(records: Records, log: ReadLog, kind: RowKind, labelled: bool) -> Iterator[Example]:
    """A text or a pair a row. Labels are text as written: `1`, `true`.

    Rows whose label is missing are left out and counted. What `log` may leave out: a row without text, or (`labelled`,
    save of pairs) without label; a value of another kind. Of pairs the label is their score.
    Raises UserError for columns that are not there, or whose names tell nothing.
    """
    text, pair = records.texts()
    label, separator, form = None, None, kind
    if labelled:
        records, label, separator = _with_labels(records, log, kind, text, pair)
    else:
        records.note_detected(log, text=text, pair=pair)
    if kind == "pairs" and label is not None:
        form = "label" if are_classes(records, label) else "number"
    required = labelled and kind != "pairs"
    about, negative = records.about(), records.usual(NEGATIVES)
    log.columns |= {"negative": negative} if kind == "pairs" and negative else {}

    def example(line: int, row: dict[str, Any]) -> Example:
        where, target = records.place(line), None
        first = text_in(row, text, where)
        second = None if pair is None else text_in(row, pair, where)
        if label is not None:
            target = target_of(row.get(label), form, separator, where, label)
        if target is None and required:
            raise UserError("{place} has no label", where, allowed=f"a value in column {label!r}")
        other = cell(row, negative)
        other = other if isinstance(other, str) and other.strip() else None
        meta = about(line, row)
        if labelled and kind == "pairs" and target is None:
            # what belongs to a text would be known from training, if its rows were parted by a split
            meta["group"] = meta["group"] or first
        return Example(first, second, target, **meta, negative=other)

    return log.usable(records.every_row(), example)


def _with_labels(
    records: Records, log: ReadLog, kind: RowKind, text: str, pair: str | None
) -> tuple[Records, str | None, str | None]:
    """The records with their labels in one column and without those whose label is missing; the column, and what
    separates several labels in it."""
    names, others, separator = records.label_names, (text, pair), None
    named = bool(names) and set(names) <= set(records.names)
    if named:
        label = records.options.label_columns
    else:
        label = pair_column(records, others) if kind == "pairs" else records.labels(LABELS, others)
    if label is None and kind != "pairs":
        if names:
            raise no_column(records, names)
        records.missing("label", LABELS, hint_of(records))
    records.note_detected(log, text=text, pair=pair, label=None if named else label)
    records.note_unused(log, (text, pair, label, records.usual(NEGATIVES), *names))
    if label is None:
        return records, None, None
    if named:
        records = with_columns(records, names, label, kind)
    else:
        records = with_lists(records, label, log, bare=kind == "labels")
        if kind in ("label", "labels"):
            before, records = records, without_bits(records, label, kind, log)
            named = records is not before
    if kind == "labels":
        separator = _label_separator(records, label, log)

    texts: dict[str, set[str]] = {}  # cells that occur in many rows are read once

    def written(row: Row) -> set[str]:
        value = row[1].get(label)
        if isinstance(value, str) and (before := texts.get(value)) is not None:
            return before
        labels = {plain(one if isinstance(one, str) else json.dumps(one)) for one in _parts(value, separator)}
        # of any number of labels, an empty cell holds none
        is_empty = label in row[1] and (value is None or (kind != "labels" and not isinstance(value, UserError)))
        labels = labels or ({""} if is_empty else set())
        if isinstance(value, str):
            texts[value] = labels
        return labels

    records = without_missing(records, written, None if named else kind, log)
    if kind == "labels" and are_numbers(one for row in records.rows for one in written(row)):
        log.note("{source}: labels are numbers; for names, write these in place of the numbers", records.source)
    if kind != "pairs":
        return records, label, separator
    records, scores = with_scores(records, label, log)
    if scores is None:
        records.resolved.pop("label_column", None)
    return records, scores, None


def target_of(value: Any, kind: RowKind, separator: str | None, where: str, column: str) -> Target | None:
    """What a value of the column of the labels stands for; None where it is missing.

    kind "labels": of a list, or of a text with a separator, sorted, each once; an empty one is no labels at all.
    Raises UserError, naming the place, for a value of another kind.
    """
    if isinstance(value, UserError):
        raise value
    if kind == "labels":
        if value is None:
            return None
        parts = value.split(separator) if isinstance(value, str) and separator else value
        parts = parts if isinstance(parts, list) else [parts]
        return Labels(sorted({label for part in parts if (label := _label(part, where, column, True)) is not None}))
    if isinstance(value, list) and len(value) <= 1:  # so annotation tools write one choice, or none
        value = value[0] if value else None
    if kind == "label":
        return _label(value, where, column)
    found = number(value)
    if not math.isfinite(found or 0):
        allowed = "a number with a point, such as 3.5 or -2e-3"
        raise UserError("{place}: {column!r} is not a number", where, column, given=excerpt(value), allowed=allowed)
    return found


def _label(value: Any, where: str, column: str, several: bool = False) -> str | None:
    """A label as text: as written in CSV, `true`, `1` or `0.5` from JSON; None where it is missing."""
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    if isinstance(value, list | dict):
        nested = isinstance(value, dict) or any(isinstance(one, list | dict) for one in value)
        many = None if several or nested else option("task", "multilabel")
        hint = [
            advise("where a row may have several labels: {option}", many),
            advise("spans of the text: {option}", option("task", "tag")) if nested else None,
            "of an object, write the names of its labels, such as a|b" if isinstance(value, dict) else None,
        ]
        raise UserError(f"{where}: {column!r} is not one label", given=excerpt(value), hint=hint)
    return json.dumps(value)


def _parts(value: Any, separator: str | None) -> list[Any]:
    """The labels in a cell, not yet as text; a missing one in a list is nan."""
    if isinstance(value, str):
        return [text for part in (value.split(separator) if separator else [value]) if (text := part.strip())]
    if isinstance(value, list):
        return [math.nan if one is None else one for one in value]
    return [] if value is None or isinstance(value, UserError) else [value]


def _label_separator(records: Records, label: str, log: ReadLog) -> str | None:
    """What separates several labels in a cell: as the options say, unless that was detected in another file and occurs
    in no cell here."""
    separator, cells = records.options.label_separator, [row.get(label) for _, row in records.rows]
    doubtful = separator in (*SEPARATORS,) and "label_separator" in records.inherited
    if separator is None or (doubtful and not any(separator in cell for cell in cells if isinstance(cell, str))):
        separator = _separator(cells, records.source, log) or separator
    records.resolved.update({"label_separator": separator} if separator else {})
    return separator


def _separator(cells: Sequence[Any], source: str, log: ReadLog) -> str | None:
    """What stands between the labels in these cells, which is noted: of several the one that leaves the fewest labels.
    None where nothing does, as where some are lists: a text is then one label."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if not texts or any(isinstance(cell, list) for cell in cells):
        return None
    distinct = {*texts}
    present = [one for one in SEPARATORS if any(one in text for text in distinct)]
    if not present:
        return None
    # what joins labels repeats them: "Food, drink|Travel" beside "Food, drink" and "Travel" has two
    best = min(present, key=lambda one: len({part.strip() for text in distinct for part in text.split(one)}))
    log.note(to_change("{source}: labels are separated by {best!r}", source, best, by=[option("label_separator")]))
    return best
