"""What stands in place of a label where there is none, and which such values a column holds.

The option `missing_labels` names them; else they are detected from all values of a column.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from unmask.advice import advise, option, to_change
from unmask.config import changed
from unmask.data.rows.columns import Records
from unmask.data.rows.example import RowKind
from unmask.data.rows.options import ReadOptions
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError
from unmask.messages import message

NOTHING = frozenset(  # as pandas and spreadsheets write a missing value, and a formula that failed
    [*"nan NaN NAN -nan -NaN <NA> NaT NULL #N/A #NA #NULL! #VALUE! #REF! #NAME? #DIV/0! #NUM!".split(), "#N/A N/A"]
)
DASHES = frozenset(("-", "--", "\u2013", "\u2014"))  # "-": SNLI, where annotators did not agree
NEGATIVE = frozenset(("-1", "-100"))  # as `datasets` writes that there is none, and losses ignore it
MARKERS = NOTHING | DASHES | NEGATIVE
DOUBTFUL = frozenset("none null na n/a unknown ? unlabeled unlabelled missing undefined 未标注 未知 无 空".split())
KEEPS = "{option} keeps these values as labels"
_INTEGER = re.compile(r"(-?\d+)(?:\.0+)?")


def for_labels(options: ReadOptions, labels: Collection[str]) -> ReadOptions:
    """The options to read rows with for a model of these labels: a marker that is none of them is missing."""
    if options.missing_labels is not None or not labels:
        return options
    return changed(options, missing_labels=",".join(sorted(MARKERS - set(map(plain, labels)))))


def without_missing(
    records: Records, written: Callable[[Row], Collection[str]], kind: RowKind | None, log: ReadLog
) -> Records:
    """The records without the rows of which a label is missing, which are counted in a note.

    written: the different labels of a row, `plain`, "" for an empty cell. kind: None for records that have no other
    cells than 0 and 1. Raises UserError where it cannot be told whether a value is a label, and where no row is left.
    """
    labels = [written(row) for row in records.rows]
    counts = Counter(label for some in labels for label in some)
    missing = (_missing(records, counts - Counter({"": counts[""]}), kind) | {""}) & counts.keys()
    keep = kind in ("label", "labels", "tags")  # whether any text may be a label
    kept = missing - {""} and (keep or (kind is not None and missing <= NEGATIVE))
    doubtful = {label: count for label, count in counts.items() if _is_doubtful(label)}
    if "+1" not in counts and any(_INTEGER.fullmatch(label) is None for label in counts.keys() - missing):
        doubtful |= {label: counts[label] for label in sorted(counts.keys() & NEGATIVE - missing)}
    if keep and records.options.missing_labels is None and doubtful:
        text = "{source}: {labels} are read as labels, though they may stand for no label"
        away = option("missing_labels", ",".join([*doubtful, *sorted(missing - {""})]))
        log.note(to_change(text, records.source, _counted(doubtful), by=[away]))
    if not missing or (kind == "pairs" and counts.keys() == {""}):
        return records
    rows = [row for row, some in zip(records.rows, labels, strict=True) if missing.isdisjoint(some)]
    gone = _counted({label: counts[label] for label in sorted(missing)})
    if not rows:
        what = message("{source}: no row has a label", records.source)
        raise UserError(what, given=gone, hint=advise(KEEPS, option("missing_labels", "")) if kept else None)
    text = "{source}: {count:,} rows skipped, because their label is missing: {values}"
    by = [option("missing_labels", "")] if kept else []
    log.note(to_change(text, records.source, len(records.rows) - len(rows), gone, by=by))
    return replace(records, rows=rows)


def are_numbers(labels: Iterable[str]) -> bool:
    """Whether there are labels, and all are whole numbers."""
    distinct = set(labels)
    return bool(distinct) and all(label.isdecimal() for label in distinct)


def markers(options: ReadOptions) -> frozenset[str]:
    """The values that stand for no label where labels are 0 and 1."""
    named = options.missing_labels
    return MARKERS if named is None else frozenset(plain(one.strip()) for one in named.split(",") if one.strip())


def plain(label: str) -> str:
    """A whole number without a point: so pandas writes a column with gaps."""
    number = _INTEGER.fullmatch(label) if label.startswith("-") else None
    return str(int(number[1])) if number else label


def _is_doubtful(label: str) -> bool:
    return label.lower() in DOUBTFUL and label not in NOTHING


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{label!r} ({count:,})" for label, count in counts.items())


def _missing(records: Records, counts: Counter[str], kind: RowKind | None) -> set[str]:
    """Which of these values stand for no label. Raises UserError where that cannot be told."""
    if kind is None or records.options.missing_labels is not None:
        return set(markers(records.options))
    dashes = set() if "+" in counts else set(DASHES)
    missing = dashes | NOTHING
    if kind in ("number", "pairs"):
        missing |= {label for label in counts if _is_doubtful(label)}  # these are no numbers
    others = counts.keys() - missing - NEGATIVE
    if kind == "label" and len(others) == 1 and (dash := min(counts.keys() & dashes, default=None)) is not None:
        raise _in_doubt(records, dash, counts)
    numbers = [int(number[1]) for label in others if (number := _INTEGER.fullmatch(label))]
    if not others:
        missing |= NEGATIVE  # so data sets hide the labels of their test rows
    if kind != "number" and numbers and len(numbers) == len(others) and min(numbers) >= 0:
        if "-1" in counts and (kind == "pairs" or (kind == "label" and max(numbers) <= 1)):
            raise _in_doubt(records, "-1", counts)
        missing |= NEGATIVE
    return missing | ({"-100"} if kind == "tags" else set())


def _in_doubt(records: Records, value: str, counts: Counter[str]) -> UserError:
    return UserError(
        "{source}: {value!r} may be a label, or stand for no label",
        records.source,
        value,
        given=_counted(dict(sorted(counts.items()))),
        hint=[
            advise("{option} leaves such rows out", option("missing_labels", value)),
            advise(KEEPS, option("missing_labels", "")),
        ],
    )
