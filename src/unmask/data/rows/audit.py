"""What in labelled data would bias a result: texts that stand in two splits, and texts with more than one label.

Two texts are the same if they are after NFKC, in lower case and with white space collapsed; of pairs, both texts.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.data.rows.tables import Example

SHOWN = 3  # first places of a finding

Key = tuple[str, str | None]


def normalize_text(text: str) -> str:
    """The form in which texts are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def key_of(example: Example) -> Key:
    return normalize_text(example.text), None if example.pair is None else normalize_text(example.pair)


def target_key(example: Example) -> Any:
    """What is true of an example, in a form that can be compared; None where nothing is said."""
    return example.target if example.spans is None else example.spans


@dataclass(frozen=True)
class Finding:
    """Some rows. numbers: their places among the examples looked at; first: of the first few the place of each and
    that of the row which it goes with, if there is one."""

    numbers: tuple[int, ...] = ()
    first: tuple[tuple[str, ...], ...] = ()

    @property
    def rows(self) -> int:
        return len(self.numbers)

    @property
    def describe(self) -> str:
        """The first two places."""
        return " and ".join(self.first[0])

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"rows": self.rows, "first": [list(places) for places in self.first]}


def find_problems(rows: Sequence[tuple[int, tuple[str, ...]]]) -> Finding:
    """Of (number of a row, its place and that of the row which it goes with)."""
    return Finding(tuple(number for number, _ in rows), tuple(places for _, places in rows[:SHOWN]))


def leaks(train: Sequence[Example], heldout: Sequence[Example]) -> Finding:
    """The held-out rows whose text stands in train, too, each with the first row of train that has it."""
    places: dict[Key, str] = {}
    for example in train:
        places.setdefault(key_of(example), example.location)
    pairs = []
    for number, example in enumerate(heldout):
        if (other := places.get(key_of(example))) is not None:
            pairs.append((number, (example.location, other)))
    return find_problems(pairs)


def duplicates(examples: Sequence[Example]) -> Finding:
    """The rows whose text an earlier row has, each with the first of those."""
    return _repeated(examples, key_of)


def same_ids(examples: Sequence[Example]) -> Finding:
    """The rows whose id an earlier row has, each with the first of those."""
    return _repeated(examples, lambda example: example.id)


def _repeated(examples: Sequence[Example], named: Callable[[Example], Hashable]) -> Finding:
    places: dict[Hashable, str] = {}
    rows = []
    for number, example in enumerate(examples):
        name = named(example)
        if name in places:
            rows.append((number, (example.location, places[name])))
        else:
            places[name] = example.location
    return find_problems(rows)


def contradictions(examples: Sequence[Example]) -> Finding:
    """All rows of the texts that do not always have the same label (or the same spans).

    The places shown are those of a row with another label than the first row of its text, and of that.
    """
    by_key: dict[Key, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        if target_key(example) is not None:
            by_key[key_of(example)].append(number)
    numbers: list[int] = []
    first: list[tuple[int, tuple[str, ...]]] = []
    for rows in by_key.values():
        other = next((n for n in rows if target_key(examples[n]) != target_key(examples[rows[0]])), None)
        if other is not None:
            numbers += rows
            first.append((other, (_labelled(examples[other]), _labelled(examples[rows[0]]))))
    first.sort()
    return Finding(tuple(sorted(numbers)), tuple(places for _, places in first[:SHOWN]))


def _labelled(example: Example) -> str:
    if example.spans is not None:
        return example.location
    truth = example.target
    return f"{example.location}: {', '.join(truth) or '-' if isinstance(truth, tuple) else truth}"


def without_rows(examples: Sequence[Example], numbers: Collection[int]) -> list[Example]:
    """The others."""
    left = set(numbers)
    return [example for number, example in enumerate(examples) if number not in left]
