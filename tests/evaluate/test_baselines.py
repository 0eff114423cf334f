"""Baselines on made-up rows whose right answer is known: TF-IDF, frequent tags, words in common."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.evaluate import baselines
from unmask.metrics.retrieval import Similarity

TOPICS = {
    "sport": "match goal team referee",
    "money": "bank share profit merger",
    "food": "bread soup salt oven",
}


def made_up(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts of common words in which one word in six tells the topic."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(list(TOPICS), rows).tolist()
    texts = []
    for label in labels:
        common = generator.choice([f"w{number}" for number in range(40)], 10).tolist()
        texts.append(" ".join([*common, *generator.choice(TOPICS[label].split(), 2).tolist()]))
    return texts, labels


@pytest.mark.parametrize("analyzer", ["word", "char"])
@pytest.mark.parametrize("rows", [300, baselines.COMMON_ROWS])
def test_tfidf_learns_what_can_be_learnt(analyzer: str, rows: int) -> None:
    texts, labels = made_up(rows, 1)
    test_texts, test_labels = made_up(200, 2)
    found = baselines.tfidf(texts, labels, test_texts, analyzer=analyzer)
    right = np.mean([a == b for a, b in zip(found, test_labels, strict=True)])
    assert right > 0.95


def test_tfidf_repeats_with_its_seed() -> None:
    texts, labels = made_up(120, 1)
    noisy = labels[60:] + labels[:60]  # nothing to learn: small differences would show
    first, again = (baselines.tfidf(texts, noisy, texts[:50], seed=3) for _ in range(2))
    assert first == again


def test_tfidf_reads_text_without_spaces_by_characters() -> None:
    texts = ["今天股票上涨", "球队赢得比赛", "银行股票下跌", "球队输掉比赛"] * 5
    labels = ["财经", "体育"] * 10
    assert baselines.tfidf(texts, labels, ["股票", "比赛"], analyzer="char") == ["财经", "体育"]


def test_tfidf_chooses_without_the_test_rows() -> None:
    texts, labels = made_up(200, 1)
    few, many = (baselines.tfidf(texts, labels, made_up(rows, 2)[0]) for rows in (1, 100))
    assert few == many[:1]


def test_tfidf_of_few_rows_one_label_or_no_test_rows() -> None:
    assert baselines.tfidf(["good film", "bad film"], ["yes", "no"], ["a good one", "a bad one"]) == ["yes", "no"]
    assert baselines.tfidf(["a b", "c d"], ["x", "x"], ["e", "f"]) == ["x", "x"]
    assert baselines.tfidf(["a b", "c d"], ["x", "y"], []) == []


def test_texts_without_words_are_refused() -> None:
    with refused("TF-IDF"):
        baselines.tfidf(["", " "], ["x", "y"], ["a"])


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with refused("unmask[eval]"):
        baselines.tfidf(["a", "b"], ["x", "y"], ["a"])


def test_each_word_gets_its_most_frequent_tag() -> None:
    train = [
        (["the", "run", "ends"], ["DET", "NOUN", "VERB"]),
        (["they", "run"], ["PRON", "VERB"]),
        (["the", "run"], ["DET", "NOUN"]),
        (["Ann", "the"], ["NAME", "DET"]),
        (["Bob"], ["NAME"]),
    ]
    # words seen once: ends VERB, they PRON, Ann and Bob NAME; so NAME is the guess for a word never seen
    found = baselines.most_frequent_tags(train, [["the", "run", "Eve"], [], ["they"]])
    assert found == [["DET", "NOUN", "NAME"], [], ["PRON"]]


def test_equally_frequent_tags_go_by_name_and_no_rare_word_is_needed() -> None:
    train = [(["a", "a"], ["Y", "X"])]
    assert baselines.most_frequent_tags(train, [["a", "b"]]) == [["X", "X"]]


@given(st.text(alphabet="ab c.?!。中文，\n", max_size=40), st.text(alphabet="ab 中。", max_size=8))
def test_the_nearest_span_is_one_of_the_context(context: str, question: str) -> None:
    start, end = baselines.nearest_span(question, context)
    words = baselines.WORD.findall(context)
    assert (0 <= start < end <= len(context)) if words else (start, end) == (0, 0)
    assert len(baselines.WORD.findall(context[start:end])) <= baselines.LONGEST


def test_the_nearest_span_is_near_the_words_of_the_question() -> None:
    context = "A lantern. The stone of the bridge is old granite. Winter."
    start, end = baselines.nearest_span("what is the stone of the bridge", context)
    assert context[start:end] == "old granite"


def test_words_in_common_bring_texts_together() -> None:
    texts = ["The river, winter!", "the RIVER winter", "a stone bridge", "江河水", "水很深", "一座桥"]
    vectors = baselines.word_vectors(texts)
    near = Similarity().of_pairs(vectors[:, None].repeat(6, 1), vectors[None].repeat(6, 0))
    assert near[0, 1] == pytest.approx(1) and near[3, 4] > 0.1
    assert abs(near[0, 2]) < 1e-6 and abs(near[3, 5]) < 1e-6
    assert np.array_equal(baselines.word_vectors([""]), np.zeros((1, baselines.BUCKETS)))
