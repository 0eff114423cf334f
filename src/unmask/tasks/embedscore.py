"""How vectors are judged: by how their cosines go with given scores, or by whether each text finds its second text.

Retrieval: each first text of the file ranks all second texts of the file by cosine. Those that stand beside it in any
row are relevant; one that is equal to it, and is not, is passed over. Of equal cosines irrelevant texts come first, so
that vectors which are all the same find nothing.
"""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.data.rows.tables import Example
from unmask.metrics import Interval, bootstrap_mean
from unmask.rowmetrics import ROW_METRICS, bootstrap_rows
from unmask.tasks.overlap import WORD
from unmask.tasks.task import METRIC_TITLES, ScoreTable

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

CORRELATIONS = ("spearman", "pearson")
RETRIEVAL = ("mrr", "ndcg_10", "recall_1", "recall_10")
CUT = 10  # places of a ranking that nDCG looks at
BLOCK = 512  # texts whose cosines with all second texts are held at a time
BUCKETS = 2048  # numbers that words are hashed into
FARTHEST = 8  # rows shown to people
EXCERPT = 60  # characters of their texts

_ROOM = re.compile(r"\s+")


@dataclass(frozen=True)
class EmbedEvaluation:
    """Correlations of cosines with scores, or figures of retrieval, with 95 % bootstrap intervals over rows; farthest:
    the rows in which the vectors err most."""

    rows: int
    figures: Mapping[str, Interval]
    farthest: list[dict[str, Any]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{METRIC_TITLES[name]} {interval}" for name, interval in self.figures.items())
        return f"EmbedEvaluation({self.rows:,} rows, {shown})"

    def tables(self) -> list[ScoreTable]:
        if "mrr" in self.figures:
            rows: list[tuple[object, ...]] = [(row["line"], row["rank"], row["found"]) for row in self.farthest]
            return [ScoreTable(("found late: line", "rank", "first in its place"), rows)]
        rows = [(row["line"], f"{row['score']:.6g}", f"{row['cosine']:.3f}") for row in self.farthest]
        return [ScoreTable(("farthest from the truth: line", "score", "cosine"), rows)]

    def to_dict(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


def cosines(first: Vectors, second: Vectors) -> Floats:
    """(rows, width) twice -> (rows,); 0 for a vector of zeros."""
    a, b = _unit(first.astype(np.float64)), _unit(second.astype(np.float64))
    return np.asarray((a * b).sum(-1))


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


@dataclass(frozen=True)
class Pool:
    """The second texts of a file, each once, and what of them belongs to each row.

    texts: the places of the rows that they are first in; relevant: of each row, their numbers; own: of each row the
    number of a text that is equal to its first text and not relevant, or -1.
    """

    texts: list[int]
    relevant: list[list[int]]
    own: list[int]


def pool_of(examples: Sequence[Example]) -> Pool:
    numbers: dict[str, int] = {}
    texts: list[int] = []
    beside: dict[str, set[int]] = {}
    for row, example in enumerate(examples):
        second = example.pair or ""
        if second not in numbers:
            numbers[second] = len(numbers)
            texts.append(row)
        beside.setdefault(example.text, set()).add(numbers[second])
    relevant = [sorted(beside[example.text]) for example in examples]
    own = [numbers.get(example.text, -1) for example in examples]
    return Pool(texts, relevant, [-1 if it in its else it for it, its in zip(own, relevant, strict=True)])


@dataclass(frozen=True)
class Ranked:
    """ranks: of each row, from 1, of all that is relevant, ascending; found: the number of the text that is first."""

    ranks: list[list[int]]
    found: list[int]


def ranked(pool: Pool, first: Vectors, second: Vectors) -> Ranked:
    """first, second: (rows, width), the vectors of both texts of each row."""
    queries, documents = _unit(first), _unit(second[pool.texts])
    ranks, found = [], []
    for start in range(0, len(queries), BLOCK):
        for row, scores in enumerate(queries[start : start + BLOCK] @ documents.T, start):
            if pool.own[row] >= 0:
                scores[pool.own[row]] = -np.inf
            right = -np.sort(-scores[pool.relevant[row]])
            wrong = scores.copy()
            wrong[pool.relevant[row]] = -np.inf
            above = [int((wrong >= score).sum()) for score in right]
            ranks.append([1 + number + more for number, more in enumerate(above)])
            best = int(wrong.argmax())
            found.append(best if above[0] else pool.relevant[row][int(scores[pool.relevant[row]].argmax())])
    return Ranked(ranks, found)


def retrieval(name: str, ranks: Sequence[Sequence[int]]) -> Floats:
    """(rows,): a figure of each row. ranks: of all that is relevant, from 1, ascending.

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


def of_scores(examples: Sequence[Example], said: Sequence[float], names: Sequence[str], seed: int) -> EmbedEvaluation:
    """names: of the figures, in order."""
    truth = np.array([example.number for example in examples], dtype=np.float64)
    figures = {name: bootstrap_rows(ROW_METRICS[name], truth, said, seed=seed) for name in names}
    places = [np.argsort(np.argsort(values, kind="stable")) for values in (truth, np.asarray(said))]
    order = np.argsort(-np.abs(places[0] - places[1]), kind="stable")
    farthest = [
        {"line": examples[n].line, "score": float(truth[n]), "cosine": round(float(said[n]), 6)}
        for n in order[:FARTHEST].tolist()
    ]
    return EmbedEvaluation(len(examples), figures, farthest)


def of_retrieval(
    examples: Sequence[Example], pool: Pool, got: Ranked, names: Sequence[str], seed: int
) -> EmbedEvaluation:
    figures = {name: bootstrap_mean(retrieval(name, got.ranks), seed=seed) for name in names}
    order = sorted(range(len(examples)), key=lambda row: -got.ranks[row][0])[:FARTHEST]
    farthest = [
        {
            "line": examples[row].line,
            "rank": got.ranks[row][0],
            "found": excerpt(examples[pool.texts[got.found[row]]].pair or ""),
        }
        for row in order
        if got.ranks[row][0] > 1
    ]
    return EmbedEvaluation(len(examples), figures, farthest)


def excerpt(text: str) -> str:
    text = _ROOM.sub(" ", text)
    return text if len(text) <= EXCERPT else text[: EXCERPT - 3].rstrip() + "..."


def counted(texts: Sequence[str]) -> Vectors:
    """(texts, BUCKETS): vectors without learning, which say what words a text holds; in Chinese each character is
    one. A word counts for log(1 + n / the number of these texts that have it); words share buckets, as their hashes do,
    with signs that let them cancel (Weinberger et al. 2009).
    """
    vectors = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in {found[0] for found in WORD.finditer(text.lower())}:
            hashed = zlib.crc32(word.encode())
            vectors[row, hashed % BUCKETS] += 1 if hashed & (1 << 31) else -1
    frequency = (vectors != 0).sum(0)
    weights: Vectors = np.log1p(len(texts) / np.maximum(frequency, 1)).astype(np.float32)
    return vectors * weights
