"""Choosing the part of a corpus worth training on: a share of all documents alike, or balanced over sources.

Whether a document is kept depends on (seed, its source, its place in it) only, so that the choice is the same
in any order, and a smaller share is a part of a larger one.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from unmask.data.corpus.documents import Document
from unmask.errors import UserError


def parse_share(share: str) -> float:
    """A share of a whole, above 0 and at most 1, from "20%" or "0.2"."""
    text = share.strip()
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UserError(f"{text!r} is not a share", allowed="more than 0 % and at most 100 %, for example 20% or 0.2")
    return value


def sample_documents(
    documents: Iterable[Document],
    share: float,
    *,
    by: str = "uniform",
    seed: int = 0,
    counts: Mapping[str, int] | None = None,
) -> Iterator[Document]:
    """The documents chosen, in the order given; about `share` of them.

    by="uniform" keeps each document with probability `share`. by="source" spreads as many documents evenly
    over the sources: small sources are kept whole, large ones cut to one level. It needs the number of
    documents of each source: `counts`, from a first pass. Raises UserError without them, and for another `by`.
    """
    if by not in ("uniform", "source"):
        raise UserError(f"documents cannot be sampled by {by!r}", allowed="uniform, source")
    if by == "source" and counts is None:
        raise UserError(
            "sampling by source reads the documents twice: to count, then to sample",
            given="documents that can be read only once, such as standard input",
            hint="write them to a file first, or sample by uniform",
        )
    of_source = shares(counts or {}, share) if by == "source" else {}
    return (document for document in documents if _number(seed, document) < of_source.get(document.source, share))


def shares(counts: Mapping[str, int], share: float) -> dict[str, float]:
    """The share to keep of each source, so that min(count, level) over the sources adds up to share * total.

    The level is found as water fills a vessel: sources in order of size, each taking an equal part of what is
    left to give, or all that it has.
    """
    left = share * sum(counts.values())
    result = {}
    for waiting, source in zip(range(len(counts), 0, -1), sorted(counts, key=lambda s: counts[s]), strict=True):
        taken = min(counts[source], left / waiting)
        result[source] = taken / counts[source]
        left -= taken
    return result


def _number(seed: int, document: Document) -> float:
    """A number in [0, 1) that looks random but is fixed by the seed and the document's place."""
    key = f"{seed}\0{document.source}\0{document.number}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()[:7], "big") / 2**56
