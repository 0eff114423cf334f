"""What the column of the label holds: one label, any number of labels, or a number; and what follows from it."""

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from unmask import console
from unmask.data.textfiles import Faults, OnError
from unmask.errors import UserError

if TYPE_CHECKING:
    from unmask.data.rows.tables import Example

LabelKind = Literal["label", "labels", "number"]
TargetValue = str | tuple[str, ...] | float

SEPARATORS = "|;,"  # between several labels in one field; of equally frequent ones the first
BINS = 10  # of numbers, in a split: rows of about equal numbers are one stratum
BIN_ROWS = 5  # at least, in each


def detect_separator(cells: Sequence[Any], source: str) -> str | None:
    """What stands between the labels in most of these cells, which is said; None where nothing does, as where some are
    lists: a text is then one label."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if not texts or any(isinstance(cell, list) for cell in cells):
        return None
    counts = {separator: sum(separator in text for text in texts) for separator in SEPARATORS}
    best = max(counts, key=lambda separator: counts[separator])
    if counts[best]:
        console.note(f"{source}: labels are separated by {best!r} (to change: --label-separator)")
        return best
    console.note(
        f"{source}: no field of labels holds any of {' '.join(SEPARATORS)}, so each is one label (--label-separator)"
    )
    return None


def with_target(example: "Example", value: Any, kind: LabelKind, separator: str | None, column: str) -> "Example":
    """The example with what a value of the column of the label stands for; as it is where that is missing.

    Raises UserError, naming the place, for a value of another kind.
    """
    where = example.location
    if kind == "labels":
        return replace(example, label_set=_labels(value, separator, where, column))
    if isinstance(value, list) and len(value) <= 1:  # so annotation tools write one choice, or none
        value = value[0] if value else None
    if kind == "number":
        return replace(example, number=_number(value, where, column))
    return replace(example, label=_label(value, where, column))


def _label(value: Any, where: str, column: str) -> str | None:
    """A label as text: as written in CSV, `true`, `1` or `0.5` from JSON; None where it is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, list | dict):
        single = isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
        raise UserError(
            f"{where}: {column!r} is not one label",
            given=_excerpt(json.dumps(value, ensure_ascii=False)),
            allowed="a text or number",
            if_a_row_may_have_several_labels="--task multilabel" if single else None,
            for_spans="--task tag" if isinstance(value, list) and not single else None,
        )
    return json.dumps(value)


def _labels(value: Any, separator: str | None, where: str, column: str) -> tuple[str, ...] | None:
    """Labels of a list, or of a text with a separator, sorted, each once; an empty one is no labels at all."""
    if value is None:
        return None
    if isinstance(value, str):
        parts: list[Any] = value.split(separator) if separator else [value]
    else:
        parts = value if isinstance(value, list) else [value]
    return tuple(sorted({label for part in parts if (label := _label(part, where, column)) is not None}))


def _number(value: Any, where: str, column: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool | list | dict) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        raise UserError(
            f"{where}: {column!r} is not a number",
            given=_excerpt(shown),
            allowed="a number with a point, such as 3.5 or -2e-3",
        )
    return number


def with_similarity(examples: Sequence["Example"], column: str | None, on_error: OnError) -> list["Example"]:
    """Examples that were read with labels, with these as numbers.

    column: its name where it was asked for: then what is no number is a UserError, or left out (on_error). Where it
    was guessed and holds anything else, nothing of it is taken, which is said.
    """
    labelled = [example for example in examples if example.label is not None]
    faults, scored = Faults(on_error), []
    for example in examples:
        try:
            number = _number(example.label, example.location, column or "label")
            scored.append(replace(example, label=None, number=number))
        except UserError as error:
            if column is None:
                console.note(
                    f"{example.source}: its labels are no numbers and not used (line {example.line:,}: {example.label})"
                )
                return [replace(one, label=None) for one in examples]
            faults.record(error)
    faults.report()
    if labelled and not scored:
        raise UserError(f"{examples[0].source} holds no row that can be used", given=labelled[0].label)
    return scored


def _excerpt(text: str) -> str:
    return text.strip() if len(text) <= 70 else text[:67].strip() + "..."


def stratify(truths: Sequence[TargetValue | None]) -> list[str]:
    """What a split is to keep the shares of, row by row: the label; of several labels the one that is rarest over
    all rows; of numbers which tenth of them it is in.
    """
    counts = Counter(label for truth in truths if isinstance(truth, tuple) for label in truth)
    numbers = sorted(truth for truth in truths if isinstance(truth, float))
    bins = max(1, min(BINS, len(numbers) // BIN_ROWS))

    def stratum(truth: TargetValue | None) -> str:
        if isinstance(truth, float):
            return f"{bisect_left(numbers, truth) * bins // len(numbers):02}"
        if isinstance(truth, tuple):
            return min(truth, key=lambda label: (counts[label], label), default="")
        return truth or ""

    return [stratum(truth) for truth in truths]


@contextmanager
def of_test_rows() -> Iterator[None]:
    """Where labels of test rows are checked, an error also says how to count unknown ones as wrong."""
    try:
        yield
    except UserError as error:
        error.facts["to leave such lines out"] = "--unknown-labels skip"
        error.facts["to count them as wrong"] = "--unknown-labels wrong"
        raise


def report_unknown(examples: Mapping[str, int], owner: str) -> None:
    """Says how often labels occur that `of` does not know, and that no prediction of them can be right."""
    if examples:
        listed = ", ".join(f"{label} ({examples[label]:,})" for label in sorted(examples))
        console.note(f"counted as wrong, because {owner} does not know these labels: {listed}")
