"""Labels as 0 and 1: a column for each, or a list with a place for each (multi-hot). Their names: `label_columns`."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from unmask.advice import advise, option
from unmask.data.rows.cells.lists import with_cells
from unmask.data.rows.cells.missing import MARKERS, markers, plain
from unmask.data.rows.columns import Records, excerpt
from unmask.data.rows.example import RowKind
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import message

_BITS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_FLAGS = _BITS | dict.fromkeys(("yes", "y", "t", "是"), True) | dict.fromkeys(("no", "n", "f", "否"), False)
_BETWEEN = re.compile(r"\s*[,;|\s]\s*")
ALLOWED = "1, true or yes where the label applies, else 0, false or no; nan where that is missing"


def flag(value: Any) -> bool | None:
    """What a cell of 0 or 1, true or false, yes or no says; None for all else."""
    return None if isinstance(value, list | dict) else _FLAGS.get(str(value).strip().lower())


def no_column(records: Records, names: Sequence[str], given: str | None = None) -> UserError:
    """The error for names of labels that are neither columns nor those of the places of a list. given: the column of
    the labels and its first value."""
    absent = next((name for name in names if name not in records.names), "")
    hint = [did_you_mean(suggest(absent, records.names)), option("label_columns", "NAME,NAME,...")]
    return UserError(
        "{source} has no column {name!r}",
        records.source,
        absent,
        given=given,
        allowed=", ".join(records.names),
        hint=hint,
    )


def with_columns(records: Records, names: Sequence[str], column: str, kind: RowKind) -> Records:
    """The records with their labels in a new column, from one column of 0 and 1 for each.

    A missing label is its marker. What is neither becomes the UserError of its row.
    """
    missing = markers(records.options)

    def read(line: int, row: dict[str, Any]) -> Any:
        cells = {name: row.get(name) for name in names}
        marker = next((one for value in cells.values() if (one := plain(str(value).strip())) in missing), None)
        if marker is not None:
            return [marker]
        flags = {name: flag(value) for name, value in cells.items()}
        other = next((name for name, value in flags.items() if value is None), None)
        if other is not None:
            given, where = f"{other}: {excerpt(cells[other]) or 'an empty cell'}", records.place(line)
            return UserError("{place}: a label is neither 0 nor 1", where, given=given, allowed=ALLOWED)
        return _chosen([name for name, value in flags.items() if value], kind, records.place(line))

    rows = [(line, {**row, column: read(line, row)}) for line, row in records.rows]
    return replace(records, rows=rows)


def _chosen(labels: list[str], kind: RowKind, where: str) -> Any:
    """The labels of a row; of rows with one label an error where there are none or several."""
    if kind == "labels" or len(labels) == 1:
        return labels
    hint = "the task multilabel is for rows with any number of labels"
    return UserError(
        "{place} has {count} labels, where one is needed", where, len(labels), given=", ".join(labels), hint=hint
    )


def without_bits(records: Records, column: str, kind: RowKind, log: ReadLog) -> Records:
    """The records with labels in place of multi-hot lists, or of objects such as {"a": 1, "b": 0}, in a column that
    holds such.

    Raises UserError for such lists without names, for names without such lists, and for kind "labels" where a column
    holds single values of 0 and 1.
    """
    values = [value for _, row in records.rows if (value := row.get(column)) not in (None, "", [])]
    if values and all(isinstance(one, dict) and one and None not in map(flag, one.values()) for one in values):
        text = (
            "{source}: each label of an object in {column!r} applies where its value is 1 or true (the first: {first})"
        )
        log.note(text, records.source, column, excerpt(values[0]))
        return with_cells(records, column, lambda line, one: _of_object(one, kind, records.place(line)))
    length, names = _length(values, bool(records.label_names)), records.label_names
    # of a model of numbers, the labels of other rows may all be 0 or 1
    if length is None or (length == 1 and (kind != "labels" or records.inherited)):
        if names and "label_columns" not in records.inherited:
            raise no_column(records, names, f"{column}: {excerpt(values[0])}" if values else None)
        return records
    if length == 1:
        what = "{source}: column {column!r} holds only 0 and 1, which name no label"
        ways = [hint_of(records, {column}), "the task classify is for one label a row"]
        raise UserError(what, records.source, column, hint=ways)
    if length == len(names):
        missing = markers(records.options)
        return with_cells(
            records, column, lambda line, value: _from_places(value, missing, names, kind, records.place(line))
        )
    what = "{source}: column {column!r} holds {count} values of 0 and 1 in each row (multi-hot), which name no labels"
    example = ",".join(f"NAME{number}" for number in range(1, min(length, 4) + 1)) + (",..." if length > 4 else "")
    hint = advise("{option} names the label of each of the {count} places", option("label_columns", example), length)
    allowed = message("{count} names of labels", length) if names else 'the labels, such as ["a", "b"]'
    raise UserError(what, records.source, column, length, given=excerpt(values[0]), allowed=allowed, hint=hint)


def _of_object(value: Any, kind: RowKind, where: str) -> Any:
    """The labels of an object of 0 and 1; what is empty as it is."""
    if not isinstance(value, dict):
        return value
    return _chosen([label for label, one in value.items() if flag(one)], kind, where)


def _length(values: Sequence[Any], joined: bool) -> int | None:
    """The number of places of multi-hot lists; None where these values are none. joined: also of texts such as 101.

    They are if all are of 0 and 1 and equally long; or most of them, if a value stands twice in any: so no labels do.
    """
    texts = {value: _bits(value, joined) for value in {value for value in values if isinstance(value, str)}}
    every = (texts[value] if isinstance(value, str) else _bits(value, joined) for value in values)
    bits = [one for one in every if one is not None]
    lengths = Counter(map(len, bits))
    if not bits:
        return None
    (length, _), *others = lengths.most_common()
    if any(len(set(one)) < len(one) for one in bits) and 2 * len(bits) > len(values):
        return length
    all_texts = all(isinstance(one, list) and all(isinstance(part, str) for part in one) for one in values)
    # texts in lists are labels that are called "0" and "1"
    return None if others or len(bits) < len(values) or all_texts else length


def _from_places(value: Any, missing: frozenset[str], names: Sequence[str], kind: RowKind, where: str) -> Any:
    """The labels of a multi-hot list, a missing one as its marker; the UserError of its row for all else."""
    bits = _bits(value)
    if value in (None, "", []) or (isinstance(value, list) and {plain(str(one)) for one in value} & missing):
        return value
    if bits is None or len(bits) != len(names):
        allowed = message("{count} times 0 or 1", len(names))
        return UserError("{place}: not a multi-hot list", where, given=excerpt(value), allowed=allowed)
    return _chosen([name for name, bit in zip(names, bits, strict=True) if bit], kind, where)


def _bits(value: Any, joined: bool = True) -> list[bool] | None:
    """The places of a multi-hot list, also of a text such as 1 0 1 (joined: or 101); None for all else."""
    parts = value if isinstance(value, list) else _BETWEEN.split(str(value).strip())
    if joined and len(parts) == 1 and isinstance(parts[0], str) and parts[0] and {*parts[0]} <= {*"01"}:
        parts = [*parts[0]]
    bits: list[bool] = []
    for one in parts:
        bit = None if isinstance(one, list | dict) else _BITS.get(str(one).strip().lower())
        if bit is None:
            return None
        bits.append(bit)
    return bits


def _kind(value: Any) -> str:
    return "flag" if flag(value) is not None else "missing" if str(value).strip() in MARKERS else "other"


def hint_of(records: Records, others: Collection[str | None] = ()) -> str | None:
    """The option that makes a label of each column of 0 and 1, where there are several (`others`: certainly)."""
    kinds = {name: {_kind(row.get(name)) for _, row in records.rows} for name in records.names if name}
    names = [name for name, kind in kinds.items() if name in others or kind in ({"flag"}, {"flag", "missing"})]
    if len(names) < 2:
        return None
    fields = ",".join(f'"{name}"' if "," in name else name for name in names)
    return advise("{option} makes a label of each of these columns of 0 and 1", option("label_columns", fields))
