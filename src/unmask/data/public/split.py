"""Splitting public data that comes without a split, with all that resembles on one side.

Texts are compared by their letters and digits alone, texts that share a long run of them word for word (a quotation, a
form letter) are one group, and a group is never divided.
"""

import hashlib
import html
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Literal

from unmask.data.rows.split import connected

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
    pairs: dict[int, list[Hashable]] = defaultdict(list)
    for pair in together:
        for number in pair:
            pairs[number].append(pair)
    runs = ((key[start : start + run] for start in range(max(1, len(key) - run + 1))) for key in keys)
    found = connected(chain(of_text, pairs[number]) for number, of_text in enumerate(runs))
    first_of = {number: group[0] for group in found for number in group}
    return [first_of[number] for number in range(len(keys))]


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
