"""Splits of rows: a share is held out, stratified by label, with all that resembles on one side."""

import hashlib
import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

from unmask.advice import advise, option
from unmask.data.rows.example import Example, Labels, Target
from unmask.data.rows.leaks import key_of
from unmask.errors import UserError

BINS = 10  # of numbers: rows of about equal numbers are one stratum
BIN_ROWS = 5  # at least, in each


def split(
    examples: Sequence[Example], share: float, seed: int = 0, sample: bool = False
) -> tuple[list[Example], list[Example]]:
    """Hold out `share` (more than 0, less than 1) of the rows: (the rest, the held-out rows), each in the order given.

    Stratified by label (`stratify`). Rows with the same text (`key_of`), or of the same group, stay
    together. Which rows are held out depends on the texts and the seed, not on their order. A label is never held out
    whole, save one that always stands beside another in its group; in a `sample` of rows it may be. Raises UserError
    where there are too few rows.
    """
    of_row = stratify([example.target for example in examples])
    parts: dict[str, list[list[int]]] = defaultdict(list)
    for bundle in group_rows(examples):
        labels = Counter(of_row[index] for index in bundle)
        parts[min(labels, key=lambda label: (-labels[label], label))].append(bundle)
    if sample:
        rare = [label for label, some in parts.items() if len(some) == 1]
        parts[""] += [bundle for label in rare if label for bundle in parts.pop(label)]
    held: set[int] = set()
    carried = 0.0  # rows that rounding left out so far: small stratify together get their share
    for label in sorted(parts):
        ordered = sorted(parts[label], key=lambda bundle: min(_hash(examples[i], seed) for i in bundle))
        target, taken = share * sum(map(len, ordered)) + carried, 0
        for bundle in ordered[:-1]:
            if taken + len(bundle) / 2 <= target:
                held.update(bundle)
                taken += len(bundle)
        carried = target - taken
    if not held:
        hint: list[str | None] = ["provide more rows, or a separate file to evaluate on"]
        if len(parts) == len(examples) > 2:
            hint = [
                advise("each has a label of its own: check {option}", option("label_column")),
                advise("{option} predicts numbers", option("task", "regress")),
            ]
        raise UserError(
            f"{len(examples):,} rows are too few to hold out {share:.0%} of them",
            given=f"{len(set(map(key_of, examples))):,} different texts; equal ones stay together",
            hint=hint,
        )
    rest = [example for index, example in enumerate(examples) if index not in held]
    return rest, [example for index, example in enumerate(examples) if index in held]


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


def group_rows(examples: Sequence[Example]) -> list[list[int]]:
    """Places of rows that must stay together: of one text (and pair), of one group, and chains of both."""
    groups = [[] if example.group is None else [("group", example.group)] for example in examples]
    return connected([("text", *key_of(example)), *group] for example, group in zip(examples, groups, strict=True))


def connected(keys: Iterable[Iterable[Hashable]]) -> list[list[int]]:
    """The numbers of items in groups, by the keys of each: items with a key in common, and chains of these."""
    parents: list[int] = []
    first: dict[Hashable, int] = {}

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for number, of_item in enumerate(keys):
        parents.append(number)
        for key in of_item:
            parents[root(number)] = root(first.setdefault(key, number))
    found: dict[int, list[int]] = defaultdict(list)
    for number in range(len(parents)):
        found[root(number)].append(number)
    return list(found.values())


def _hash(example: Example, seed: int) -> bytes:
    return hashlib.sha256(json.dumps([seed, example.text, example.pair]).encode()).digest()
