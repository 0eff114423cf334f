"""Figures of vectors of pairs of texts: cosines, and whether each first text finds its second one.

Retrieval: each first text of the file ranks all second texts of the file by cosine. Those that stand beside it in any
row are relevant; one that is equal to it, and is not, is passed over. Of equal cosines irrelevant texts come first, so
that vectors which are all the same find nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.metrics.figures import Floats

OF_RANKS = ("mrr", "ndcg_10", "recall_1", "recall_10")
CUT = 10  # places of a ranking that nDCG looks at
BLOCK = 512  # texts whose cosines with all second texts are held at a time

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Similarity:
    """How alike two vectors are, the higher the more: their cosine (0 for a vector of zeros) or product (dot), or their
    distance with a minus (euclidean, manhattan), by the names of sentence-transformers."""

    name: str = "cosine"

    def of_pairs(self, first: Vectors, second: Vectors) -> Floats:
        """(rows, width) twice -> (rows,)"""
        a, b = self.prepared(first.astype(np.float64)), self.prepared(second.astype(np.float64))
        if self.name in ("euclidean", "manhattan"):
            return np.asarray(-np.linalg.norm(a - b, ord=2 if self.name == "euclidean" else 1, axis=-1))
        return np.asarray((a * b).sum(-1))

    def of_all(self, queries: NDArray[Any], documents: NDArray[Any]) -> NDArray[Any]:
        """Prepared vectors (n, width), (m, width) -> (n, m)"""
        if self.name in ("euclidean", "manhattan"):
            return np.stack([self.of_pairs(query[None], documents) for query in queries])
        return np.asarray(queries @ documents.T)

    def prepared(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Vectors of the length 1 for cosines; otherwise as they are."""
        return _unit(vectors) if self.name == "cosine" else vectors


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1))


@dataclass(frozen=True)
class Pool:
    """The second texts of a file, each once, and which of them belong to each row.

    texts: the numbers of the rows that they are first in; relevant: of each row, their places in `texts`; own: of each
    row the place of a text that is equal to its first text and not relevant, or -1.
    """

    texts: list[int]
    relevant: list[list[int]]
    own: list[int]

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> "Pool":
        places: dict[str, int] = {}
        texts: list[int] = []
        beside: dict[str, set[int]] = {}
        for row, (first, second) in enumerate(pairs):
            if second not in places:
                places[second] = len(places)
                texts.append(row)
            beside.setdefault(first, set()).add(places[second])
        relevant = [sorted(beside[first]) for first, _ in pairs]
        own = [places.get(first, -1) for first, _ in pairs]
        return cls(texts, relevant, [-1 if it in its else it for it, its in zip(own, relevant, strict=True)])


def ranked(
    pool: Pool, first: Vectors, second: Vectors, similarity: Similarity | None = None
) -> tuple[list[list[int]], list[int]]:
    """Rank the pool for each row: the ranks, from 1, of all that is relevant, ascending; and of each row the row whose
    second text comes first. first, second: (rows, width), the vectors of both texts of each row; similarity: by which
    is ranked, the cosine if none."""
    similarity = similarity or Similarity()
    queries, documents = similarity.prepared(first), similarity.prepared(second[pool.texts])
    ranks, best = [], []
    for start in range(0, len(queries), BLOCK):
        for row, scores in enumerate(similarity.of_all(queries[start : start + BLOCK], documents), start):
            if pool.own[row] >= 0:
                scores[pool.own[row]] = -np.inf
            relevant = pool.relevant[row]
            wrong = scores.copy()
            wrong[relevant] = -np.inf
            above = [int((wrong >= score).sum()) for score in -np.sort(-scores[relevant])]
            ranks.append([1 + number + more for number, more in enumerate(above)])
            place = int(wrong.argmax()) if above[0] else relevant[int(scores[relevant].argmax())]
            best.append(pool.texts[place])
    return ranks, best


def retrieval_scores(name: str, ranks: Sequence[Sequence[int]]) -> Floats:
    """(rows,): a figure of OF_RANKS of each row. ranks: of all that is relevant, from 1, ascending.

    mrr: 1 / the first rank (Voorhees 1999). recall_k: the share of what is relevant among the first k. ndcg_10: the
    sum of 1 / log2(1 + rank) over ranks up to 10, divided by the highest that it can be (Järvelin and Kekäläinen 2002).
    """
    if name == "mrr":
        return np.array([1 / row[0] for row in ranks])
    if name == "ndcg_10":
        best = np.cumsum([1 / math.log2(1 + rank) for rank in range(1, CUT + 1)])
        gains = [sum(1 / math.log2(1 + rank) for rank in row if rank <= CUT) for row in ranks]
        return np.array([gain / best[min(len(row), CUT) - 1] for gain, row in zip(gains, ranks, strict=True)])
    most = int(name.removeprefix("recall_"))
    return np.array([sum(rank <= most for rank in row) / len(row) for row in ranks])
