"""Choosing the part of a corpus worth training on: a share of all documents alike, or balanced over sources.

Whether a document is kept depends on (seed, its source, its place in it) only, so that the choice is the same
in any order, and a smaller share is a part of a larger one.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, TypeVar

from unmask.errors import UserError, did_you_mean

By = Literal["uniform", "source"]


class Numbered(Protocol):
    """A document that knows where it came from."""

    @property
    def source(self) -> str: ...

    @property
    def number(self) -> int: ...


D = TypeVar("D", bound=Numbered)


def parse_share(share: str | float) -> float:
    """A share of a whole, above 0 and at most 1, from "20%", "0.2" or 0.2."""
    text = str(share).strip()
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        suggestion = f"{text}%" if 1 < value <= 100 and not text.endswith("%") else None
        raise UserError(
            f"{text!r} is not a share",
            allowed="more than 0 % and at most 100 %, for example 20% or 0.2",
            hint=did_you_mean(suggestion),
        )
    return value


def sample_documents(
    documents: Iterable[D],
    share: str | float,
    *,
    by: By = "uniform",
    seed: int = 0,
    counts: Mapping[str, int] | None = None,
) -> Iterator[D]:
    """The documents chosen, in the order given; about `share` of them.

    by="uniform" keeps each document with probability `share`. by="source" spreads as many documents evenly
    over the sources (`shares`): small sources are kept whole, large ones cut to one level. It needs the
    number of documents of each source beforehand: `counts` (from `count_by_source`, a first pass over the
    same sources), or documents that can be gone through twice, such as a list.

    Raises UserError for a share outside (0, 1] and for by="source" with documents that can be read only once.
    """
    value = parse_share(share)
    if by not in ("uniform", "source"):
        raise UserError(f"documents cannot be kept by {by!r}", allowed="uniform, source")
    if by == "uniform":
        return (document for document in documents if _number(seed, document) < value)
    if counts is None:
        if iter(documents) is documents:
            raise UserError(
                "keeping documents by source needs the sources twice: once to count, once to choose",
                given="documents that can be read only once, such as standard input",
                hint="write them to a file first, or keep them by uniform",
            )
        counts = count_by_source(documents)
    of_source = shares(counts, value)
    return (document for document in documents if _number(seed, document) < of_source[document.source])


def count_by_source(documents: Iterable[Numbered]) -> dict[str, int]:
    """How many documents each source has."""
    counts: dict[str, int] = {}
    for document in documents:
        counts[document.source] = counts.get(document.source, 0) + 1
    return counts


def shares(counts: Mapping[str, int], share: float) -> dict[str, float]:
    """The share to keep of each source, so that min(count, level) over the sources adds up to share * total.

    The level is found as water fills a vessel: sources in order of size, each taking an equal part of what is
    left to give, or all that it has.
    """
    left = share * sum(counts.values())
    result = {}
    for waiting, source in zip(range(len(counts), 0, -1), sorted(counts, key=lambda s: counts[s]), strict=True):
        taken = min(counts[source], left / waiting)
        result[source] = taken / counts[source] if counts[source] else 0.0
        left -= taken
    return result


def _number(seed: int, document: Numbered) -> float:
    """A number in [0, 1) that looks random but is fixed by the seed and the document's place."""
    key = f"{seed}\0{document.source}\0{document.number}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()[:7], "big") / 2**56
