"""Ranks and figures of retrieval, by brute force and by scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.metrics import retrieval
from unmask.metrics.retrieval import OF_RANKS, Pool, Similarity, ranked, retrieval_scores


def written_out(pairs: list[tuple[str, str]], vectors: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Each figure of each row, straight from its definition; vectors of equal cosines do not occur."""
    documents = list(dict.fromkeys(b for _, b in pairs))
    figures: dict[str, list[float]] = {name: [] for name in OF_RANKS}
    for text, _ in pairs:
        relevant = {b for a, b in pairs if a == text}
        candidates = [d for d in documents if d in relevant or d != text]
        a = vectors[text]
        order = sorted(
            candidates,
            key=lambda d: -float(a @ vectors[d] / np.linalg.norm(a) / np.linalg.norm(vectors[d])),
        )
        hits = [document in relevant for document in order]
        figures["mrr"].append(1 / (1 + hits.index(True)))
        for most in (1, 10):
            figures[f"recall_{most}"].append(sum(hits[:most]) / len(relevant))
        gain = sum(hit / math.log2(2 + place) for place, hit in enumerate(hits[:10]))
        ideal = sum(1 / math.log2(2 + place) for place in range(min(10, len(relevant))))
        figures["ndcg_10"].append(gain / ideal)
    return figures


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(5, 30)), min_size=1, max_size=40), st.integers(0, 1000))
def test_as_written_out(numbers: list[tuple[int, int]], seed: int) -> None:
    """With texts that stand on both sides, and in several rows."""
    pairs = [(f"t{a}", f"t{b}") for a, b in numbers]
    draw = np.random.default_rng(seed)
    vectors = {f"t{n}": draw.normal(size=8).astype(np.float32) for n in range(31)}
    first, second = (np.stack([vectors[pair[side]] for pair in pairs]) for side in (0, 1))
    pool = Pool.of(pairs)
    ranks, best = ranked(pool, first, second)
    for name, wanted in written_out(pairs, vectors).items():
        assert retrieval_scores(name, ranks) == pytest.approx(wanted, abs=1e-9), name
    for row, own in enumerate(ranks):
        assert (own[0] == 1) is (pairs[best[row]][1] in {b for a, b in pairs if a == pairs[row][0]})


def test_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(3)
    pairs = [(f"q{draw.integers(12)}", f"d{number}") for number in range(50)]
    first = {text: draw.normal(size=6).astype(np.float32) for text in dict(pairs)}
    second = draw.normal(size=(50, 6)).astype(np.float32)
    rows = np.stack([first[a] for a, _ in pairs])
    ranks = ranked(Pool.of(pairs), rows, second)[0]
    relevance = np.array([[float(a == other) for other, _ in pairs] for a, _ in pairs])
    scores = np.stack([Similarity().of_pairs(np.repeat(row[None], 50, 0), second) for row in rows])
    for number in range(50):
        ndcg = metrics.ndcg_score(relevance[number : number + 1], scores[number : number + 1], k=10)
        assert retrieval_scores("ndcg_10", [ranks[number]])[0] == pytest.approx(ndcg)
    alone = np.eye(50)  # of one relevant text each, the mean precision is the reciprocal rank
    single = ranked(Pool.of([(f"q{n}", f"d{n}") for n in range(50)]), rows, second)[0]
    precision = metrics.label_ranking_average_precision_score(alone, scores)
    assert retrieval_scores("mrr", single).mean() == pytest.approx(precision)


def test_vectors_that_are_all_the_same_find_nothing() -> None:
    pool = Pool.of([(f"a{n}", f"b{n}") for n in range(20)])
    ranks = ranked(pool, np.ones((20, 3), np.float32), np.ones((20, 3), np.float32))[0]
    assert ranks == [[20]] * 20
    zeros = np.zeros((20, 3), np.float32)
    assert ranked(pool, zeros, zeros)[0] == [[20]] * 20


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    first, second = (draw.normal(size=(30, 5)).astype(np.float32) for _ in range(2))
    pool = Pool.of([(f"a{n % 20}", f"b{n}") for n in range(30)])
    whole = ranked(pool, first, second)
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    assert ranked(pool, first, second) == whole
