"""Splitting data that comes without a split, with all that resembles on one side; nothing depends on the order.

`split` holds out a share of the rows of somebody's own data, stratified by label; the same texts stay together.

The rest is for public data (data/public/convert.py), where texts are compared by their letters and digits
alone, texts that share a long run of them word for word (a quotation, a form letter) are one group, and a group is
never divided.
"""

import hashlib
import html
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from unmask.data.rows.audit import key_of
from unmask.data.rows.labels import stratify
from unmask.data.rows.tables import Example
from unmask.errors import UserError

Side = Literal["train", "dev", "test"]

DEV_SHARE = TEST_SHARE = 0.1
RUN = 20  # letters and digits in a row that two texts may not share across a split


def normalize_text(text: str) -> str:
    """The letters and digits of a text, of one width (NFKC) and case: what makes two texts the same."""
    folded = unicodedata.normalize("NFKC", html.unescape(text)).casefold()
    return "".join(character for character in folded if character.isalnum())


def groups(keys: Sequence[str], together: Iterable[tuple[int, int]] = (), run: int = RUN) -> list[int]:
    """For each normalised text the number of the first text of its group.

    A group is what equal texts, a shared run of `run` characters and the pairs `together` (numbers of texts)
    connect. Memory is in proportion to the characters.
    """
    parents = list(range(len(keys)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parents[high] = low

    holders: dict[str, int] = {}
    for number, key in enumerate(keys):
        for start in range(max(1, len(key) - run + 1)):
            holder = holders.setdefault(key[start : start + run], number)
            if holder != number:
                join(holder, number)
    for first, second in together:
        join(first, second)
    return [root(number) for number in range(len(keys))]


def assign_side(key: str, seed: int = 0) -> Side:
    """The side of a group, by a hash of the text that names it: 80 % train, 10 % dev, 10 % test."""
    place = share(key, seed)
    if place < TEST_SHARE:
        return "test"
    return "dev" if place < TEST_SHARE + DEV_SHARE else "train"


def share(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(
    examples: Sequence[Example], share: float, seed: int = 0, by_group: bool = True, sample: bool = False
) -> tuple[list[Example], list[Example]]:
    """Hold out `share` (0 to 1) of the rows: (the rest, the held-out rows), each in the order given.

    Stratified by label (`strata`). Rows with the same text (`audit.key_of`), or (`by_group`) of the same group, stay
    together. Which rows are held out depends on the texts and the seed, not on their order. A label is never held out
    whole, save one that always stands beside another in its group; in a `sample` of rows it may be. Raises UserError
    where there are too few rows.
    """
    if not 0 < share < 1:
        raise UserError(f"a share of {share} cannot be held out", allowed="more than 0 and less than 1")
    of_row = stratify([example.target for example in examples])
    parts: dict[str, list[list[int]]] = defaultdict(list)
    for bundle in group_rows(examples, by_group):
        labels = Counter(of_row[index] for index in bundle)
        parts[min(labels, key=lambda label: (-labels[label], label))].append(bundle)
    if sample:
        rare = [label for label, some in parts.items() if len(some) == 1]
        parts[""] += [bundle for label in rare if label for bundle in parts.pop(label)]
    held: set[int] = set()
    carried = 0.0  # rows that rounding left out so far: small strata together get their share
    for label in sorted(parts):
        ordered = sorted(parts[label], key=lambda bundle: min(_hash(examples[i], seed) for i in bundle))
        target, taken = share * sum(map(len, ordered)) + carried, 0
        for bundle in ordered[:-1]:
            if taken + len(bundle) / 2 <= target:
                held.update(bundle)
                taken += len(bundle)
        carried = target - taken
    if len(parts) == len(examples) > 2:
        raise UserError(
            f"each of the {len(examples):,} rows has a label of its own",
            given=f"{of_row[0]!r}, {of_row[1]!r}, ...",
            to_do="check the label column (--label-column)",
            if_these_are_numbers_to_predict="--task regress",
        )
    if not held:
        raise UserError(
            f"{len(examples):,} rows are too few to hold out {share:.0%} of them",
            given=f"{len(set(map(key_of, examples))):,} different texts; equal ones stay together",
            to_do="give more rows, or a file of their own to evaluate on",
        )
    rest = [example for index, example in enumerate(examples) if index not in held]
    return rest, [example for index, example in enumerate(examples) if index in held]


def group_rows(examples: Sequence[Example], by_group: bool = True) -> list[list[int]]:
    """Places of rows that must stay together: of one text (and pair), of one group, and chains of both."""
    parent = list(range(len(examples)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str | None, ...], int] = {}
    for index, example in enumerate(examples):
        keys: list[tuple[str | None, ...]] = [("text", *key_of(example))]
        if by_group and example.group is not None:
            keys.append(("group", example.group))
        for key in keys:
            parent[root(index)] = root(first.setdefault(key, index))
    found: dict[int, list[int]] = defaultdict(list)
    for index in range(len(examples)):
        found[root(index)].append(index)
    return list(found.values())


def _hash(example: Example, seed: int) -> bytes:
    content = json.dumps([seed, example.text, example.pair], ensure_ascii=True)
    return hashlib.sha256(content.encode()).digest()
