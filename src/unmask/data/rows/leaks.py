"""What in labelled data would bias a result: texts that stand in two splits, and texts with more than one label.

Two texts are the same if they are after NFKC, in lower case and with white space collapsed; of pairs, both texts.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from unmask.data.rows.example import Answers, Example, Labels, Spans
from unmask.data.textfiles import shorten
from unmask.messages import join, message

SHOWN = 3  # first places of a finding

Key = tuple[str, str | None]


def normalize_text(text: str) -> str:
    """The form in which texts are compared."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def key_of(example: Example) -> Key:
    return normalize_text(example.text), None if example.pair is None else normalize_text(example.pair)


@dataclass(frozen=True)
class Finding:
    """Some rows with something in common.

    text: a sentence that says what. numbers: their places among the examples looked at. first: of the first few the
    place of each, and that of the row which it goes with, if there is one.
    """

    text: str = ""
    numbers: tuple[int, ...] = ()
    first: tuple[tuple[str, ...], ...] = ()

    @property
    def rows(self) -> int:
        return len(self.numbers)

    @property
    def places(self) -> str:
        """The first place, and that of the row which it goes with."""
        return join(self.first[0], " and ")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for programs."""
        return {"rows": self.rows, "first": [list(places) for places in self.first]}


Row = tuple[int, tuple[str, ...]]  # its number, and its place with that of the row which it goes with


def _finding(examples: Sequence[Example], text: str, rows: Sequence[Row], numbers: Sequence[int] = ()) -> Finding:
    """numbers: of all rows, where these are more than those with places."""
    numbers = numbers or [number for number, _ in rows]
    source = examples[0].source if examples else ""
    sentence = message("{file}: {count:,} {finding}", source, len(numbers), message(text))
    return Finding(sentence, tuple(numbers), tuple(places for _, places in rows[:SHOWN]))


def leaks(train: Sequence[Example], heldout: Sequence[Example]) -> Finding:
    """The held-out rows whose text stands in train, too, each with the first row of train that has it."""
    first = {key_of(example): example for example in reversed(train)}
    rows = [(n, (one.location, first[key].location)) for n, one in enumerate(heldout) if (key := key_of(one)) in first]
    source = train[0].source if train else ""
    return _finding(heldout, message("of {rows:,} rows also occur in {other}", len(heldout), source), rows)


def duplicates(examples: Sequence[Example]) -> Finding:
    """The rows whose text an earlier row has, each with the first of those."""
    return _repeated(examples, "rows repeat the text of an earlier one", list(map(key_of, examples)))


def same_ids(examples: Sequence[Example]) -> Finding:
    """The rows whose id an earlier row has, each with the first of those."""
    return _repeated(examples, "rows repeat the id of an earlier one", [example.id for example in examples])


def _repeated(examples: Sequence[Example], text: str, keys: Sequence[Hashable]) -> Finding:
    first: dict[Hashable, int] = {}
    rows = [
        (number, (examples[number].location, examples[earlier].location))
        for number, key in enumerate(keys)
        if (earlier := first.setdefault(key, number)) < number
    ]
    return _finding(examples, text, rows)


def unknown_labels(examples: Sequence[Example], labels: Collection[str]) -> Finding:
    """The rows with a label that is not among those of training rows."""
    rows = [
        (number, (message("{place}: {label}", example.location, shorten(min(new))),))
        for number, example in enumerate(examples)
        if (new := example.labels - set(labels))
    ]
    return _finding(examples, "rows have a label that no training row has", rows)


def one_label(examples: Sequence[Example]) -> Finding:
    """All rows, which have the same label."""
    text = "rows, all with the same label: nothing to learn"
    return _finding(examples, text, [(number, (one.location,)) for number, one in enumerate(examples)])


def no_targets(examples: Sequence[Example]) -> Finding:
    """All rows, of which none has a label or an answer."""
    text = "rows, none with a label" if examples[0].answers is None else "questions, none with an answer"
    return _finding(examples, text, [(number, (one.location,)) for number, one in enumerate(examples)])


def contradictions(examples: Sequence[Example]) -> Finding:
    """All rows of the texts that do not always have the same label (or the same spans).

    The places are those of a row with another label than the first row of its text, and of that.
    """
    by_key: dict[Key, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        if not isinstance(example.target, Answers | None):
            by_key[key_of(example)].append(number)
    numbers: list[int] = []
    first: list[Row] = []
    for same in by_key.values():
        other = next((n for n in same if examples[n].target != examples[same[0]].target), None)
        if other is not None:
            numbers += same
            first.append((other, (_labelled(examples[other]), _labelled(examples[same[0]]))))
    return _finding(examples, _contradiction(examples), sorted(first), sorted(numbers))


def _contradiction(examples: Sequence[Example]) -> str:
    """What rows of one text differ in."""
    target = examples[0].target if examples else None
    if isinstance(target, Spans):
        return "rows have a text that also occurs with other tags or spans"
    if isinstance(target, float):
        return "rows have a text that also occurs with another number"
    return "rows have a text that also occurs with another label"


def _labelled(example: Example) -> str:
    target = example.target
    if isinstance(target, Labels):
        target = ", ".join(target) or "-"
    if not isinstance(target, str | float):
        return example.location
    return message("{place}: {label}", example.location, shorten(str(target)))


def without_rows(examples: Sequence[Example], numbers: Collection[int]) -> list[Example]:
    """The others."""
    left = set(numbers)
    return [example for number, example in enumerate(examples) if number not in left]
