"""Scores against scikit-learn and against brute force; intervals against simulation.

Of entities: against the definition read by hand, and recorded outputs of the official scorer.
"""

import random
import warnings
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from unmask import metrics
from unmask.metrics import Interval, SentenceCounts

Rows = NDArray[np.int64]


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    labels = draw(st.integers(1, 7))
    rows = draw(st.lists(st.tuples(st.integers(0, labels - 1), st.integers(0, labels - 1)), min_size=1))
    return labels, [row[0] for row in rows], [row[1] for row in rows]


def simulated(rows: int, labels: int, right: float, seed: int) -> tuple[Rows, Rows]:
    """Skewed labels of which a model gets a share of about `right`."""
    generator = np.random.default_rng(seed)
    truth = np.minimum(generator.geometric(0.4, rows), labels) - 1
    said = np.where(generator.random(rows) < right, truth, generator.integers(0, labels, rows))
    return truth, said


@given(scored_rows())
def test_scores_equal_those_of_scikit_learn(rows: tuple[int, list[int], list[int]]) -> None:
    _, truth, said = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels that are never predicted
        assert metrics.accuracy(truth, said) == pytest.approx(oracle.accuracy_score(truth, said))
        assert metrics.macro_f1(truth, said) == pytest.approx(oracle.f1_score(truth, said, average="macro"))
        assert metrics.micro_f1(truth, said) == pytest.approx(oracle.f1_score(truth, said, average="micro"))
        assert metrics.matthews(truth, said) == pytest.approx(oracle.matthews_corrcoef(truth, said))


@given(scored_rows())
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_confusion_and_label_scores_equal_those_of_scikit_learn(
    rows: tuple[int, list[int], list[int]],
) -> None:
    labels, truth, said = rows
    every = list(range(labels))
    assert np.array_equal(metrics.confusion(truth, said, labels), oracle.confusion_matrix(truth, said, labels=every))
    expected = oracle.precision_recall_fscore_support(truth, said, labels=every, zero_division=0)
    found = metrics.per_label(truth, said, labels)
    for index, score in enumerate(found):
        assert (score.precision, score.recall, score.f1) == pytest.approx([row[index] for row in expected[:3]])
        assert score.n == expected[3][index]


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
@pytest.mark.parametrize("labels", [2, 9])
def test_bootstrap_agrees_with_drawing_rows_one_by_one(metric: metrics.Metric, labels: int) -> None:
    truth, said = simulated(300, labels, 0.8, seed=3)
    found = metrics.bootstrap(metric, truth, said, labels, samples=4000, seed=1)
    generator = np.random.default_rng(2)
    draws = (generator.integers(0, 300, 300) for _ in range(1500))
    slow = [metric(truth[draw], said[draw]) for draw in draws]
    assert found.value == metric(truth, said)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.macro_f1], ids=lambda metric: metric.name)
def test_paired_difference_agrees_with_drawing_rows_one_by_one(metric: metrics.Metric) -> None:
    truth, a = simulated(400, 5, 0.85, seed=5)
    b = np.where(np.random.default_rng(6).random(400) < 0.8, a, simulated(400, 5, 0.5, seed=7)[1])
    found = metrics.paired_difference(metric, truth, a, b, samples=4000)
    generator = np.random.default_rng(8)
    draws = (generator.integers(0, 400, 400) for _ in range(1500))
    slow = [metric(truth[draw], a[draw]) - metric(truth[draw], b[draw]) for draw in draws]
    assert found.value == pytest.approx(metric(truth, a) - metric(truth, b))
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


def test_the_interval_covers_the_true_accuracy_as_often_as_it_says() -> None:
    """Of 400 simulated evaluations, 95 % are to cover; the standard error of that share is 1.1 %."""
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 3, 250)
        said = np.where(generator.random(250) < 0.8, truth, (truth + 1) % 3)
        interval = metrics.bootstrap(metrics.accuracy, truth, said, samples=400, seed=seed)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.915 <= covered / 400 <= 0.985


def test_equal_models_differ_significantly_as_seldom_as_the_level_says() -> None:
    found = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 2, 250)
        a, b = (np.where(generator.random(250) < 0.7, truth, 1 - truth) for _ in range(2))
        found += metrics.paired_difference(metrics.accuracy, truth, a, b, samples=400, seed=seed).excludes_zero
    assert 0.01 <= found / 300 <= 0.10


def test_pairing_narrows_the_interval_of_models_that_err_on_the_same_rows() -> None:
    truth, a = simulated(500, 4, 0.7, seed=11)
    b = a.copy()
    b[:10] = (truth[:10] + 1) % 4
    paired = metrics.paired_difference(metrics.accuracy, truth, a, b)
    alone = metrics.bootstrap(metrics.accuracy, truth, a)
    assert paired.high - paired.low < (alone.high - alone.low) / 2
    assert metrics.paired_difference(metrics.accuracy, truth, a, a) == Interval(0.0, 0.0, 0.0)


def test_a_seed_repeats_and_the_work_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, said = simulated(200, 6, 0.8, seed=1)
    first = metrics.bootstrap(metrics.macro_f1, truth, said, seed=4)
    assert first != metrics.bootstrap(metrics.macro_f1, truth, said, seed=5)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 100)
    assert metrics.bootstrap(metrics.macro_f1, truth, said, seed=4) == first


def test_a_label_in_neither_column_changes_nothing() -> None:
    truth, said = simulated(200, 4, 0.8, seed=1)
    four, nine = (metrics.bootstrap(metrics.macro_f1, truth, said, labels) for labels in (4, 9))
    assert four == nine


@settings(max_examples=30)
@given(scored_rows(), st.sampled_from(list(metrics.METRICS.values())))
def test_the_interval_is_ordered_and_a_wider_level_is_wider(
    rows: tuple[int, list[int], list[int]], metric: metrics.Metric
) -> None:
    labels, truth, said = rows
    narrow, wide = (metrics.bootstrap(metric, truth, said, labels, samples=100, level=level) for level in (0.5, 0.99))
    assert -1 <= wide.low <= narrow.low <= narrow.high <= wide.high <= 1


def test_excludes_zero() -> None:
    assert Interval(0.2, 0.1, 0.3).excludes_zero and Interval(-0.2, -0.3, -0.1).excludes_zero
    assert not Interval(0.2, -0.1, 0.3).excludes_zero and not Interval(0.1, 0.0, 0.3).excludes_zero


@pytest.mark.parametrize(
    ("truth", "said", "labels", "message"),
    [
        ([0, 1], [0], 2, "2 reference rows, but 1 predicted"),
        ([], [], 2, "no rows"),
        ([0, 2], [0, 1], 2, "0 to 1 allowed"),
        ([0, 1], [0, -1], 2, "0 to 1 allowed"),
        (["a"], ["a"], 2, "whole numbers"),
        ([0.5], [0.5], 2, "whole numbers"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(truth: list[int], said: list[int], labels: int, message: str) -> None:
    for scored in (metrics.confusion, metrics.per_label):
        with pytest.raises(ValueError, match=message):
            scored(truth, said, labels)
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap(metrics.accuracy, truth, said, labels)


class Found(NamedTuple):
    start: int
    end: int
    label: str


# Gold and predicted tags of sentences, and what the official scorers say of them: conlleval.pl, version of
# 2004-01-26, which knows B and I only; and seqeval 1.2.2, which does the same with E and S.
BIO = """B-LOC O O O O I-PER / B-LOC O O B-LOC O I-PER
I-PER O / I-PER I-PER
I-PER / I-PER
O B-LOC B-LOC B-ORG / O B-LOC B-LOC B-ORG
O B-PER O / O B-PER O
I-ORG I-PER I-ORG B-PER / I-ORG B-MISC I-ORG I-PER
O I-ORG I-ORG O / O I-PER I-ORG O
B-LOC I-ORG O I-LOC I-LOC I-ORG O / B-LOC I-ORG I-LOC I-LOC I-LOC I-ORG B-MISC
O I-ORG / B-PER I-ORG
I-LOC I-ORG O B-PER B-PER I-ORG I-ORG / I-LOC I-ORG O B-LOC B-PER I-ORG I-ORG
B-LOC B-ORG I-PER O B-PER / I-MISC B-PER B-LOC O B-PER
I-ORG / B-LOC"""
BIOES = """I-LOC B-PER B-LOC E-LOC / B-PER B-LOC B-LOC E-LOC
I-ORG / I-ORG
I-ORG S-ORG I-ORG O I-PER I-PER B-ORG / I-ORG S-ORG I-ORG E-PER I-PER S-LOC B-ORG
I-PER I-PER / I-PER I-PER
I-LOC / I-LOC
I-ORG B-PER / E-PER B-PER
E-PER O B-PER / E-PER O B-PER
S-LOC I-ORG I-LOC B-LOC E-PER S-LOC I-LOC E-LOC / S-LOC I-ORG I-MISC B-LOC E-PER S-LOC E-LOC E-LOC
B-LOC B-ORG O S-LOC I-LOC / B-LOC B-ORG E-PER S-LOC I-LOC
B-ORG / B-ORG
O I-PER S-LOC E-ORG B-LOC / O I-PER B-PER E-ORG O
S-PER O S-PER S-ORG / S-PER O S-PER S-ORG"""
OFFICIAL = {
    "conlleval": (BIO, (28, 32, 19), (0.7174, 0.5938, 0.6786, 0.6333), None, {
        "LOC": (0.5, 0.7143, 0.5882, 10), "MISC": (0, 0, 0, 3),
        "ORG": (0.8889, 0.7273, 0.8, 9), "PER": (0.6, 0.6, 0.6, 10),
    }),
    "seqeval": (BIOES, (34, 37, 26), (0.7674418604651163, 0.702703, 0.764706, 0.732394), 0.564762, {
        "LOC": (0.666667, 0.615385, 0.64, 12), "MISC": (0, 0, 0, 1),
        "ORG": (1.0, 0.909091, 0.952381, 10), "PER": (0.571429, 0.8, 0.666667, 14),
    }),
}  # fmt: skip


def tagged(text: str) -> tuple[list[list[str]], list[list[str]]]:
    lines = [line.split(" / ") for line in text.splitlines()]
    return [gold.split() for gold, _ in lines], [said.split() for _, said in lines]


def entities(tags: list[str]) -> list[Found]:
    """The chunks of one sentence, read off the definition: every stretch that begins where a chunk does, has
    one label, and holds no other beginning, as long as can be."""

    def begins(place: int) -> bool:
        letter, _, label = tags[place].partition("-")
        before, _, label_before = tags[place - 1].partition("-") if place else ("O", "", "")
        return letter != "O" and (letter in "BS" or before in "OES" or label != label_before)

    found = []
    for start in range(len(tags)):
        if begins(start):
            stops = [i for i in range(start + 1, len(tags)) if tags[i] == "O" or begins(i)]
            found.append(Found(start, min(stops, default=len(tags)), tags[start][2:]))
    return found


@pytest.mark.parametrize("scorer", OFFICIAL)
def test_entities_are_counted_as_the_official_scorers_do(scorer: str) -> None:
    text, (phrases, given_phrases, correct), overall, macro, labels = OFFICIAL[scorer]
    gold, said = tagged(text)
    counts = metrics.entity_counts(list(map(entities, gold)), list(map(entities, said)))
    total = counts.total
    assert (total.actual.sum(), total.given.sum(), total.hits.sum()) == (phrases, given_phrases, correct)
    scores = [counts.score(metric) for metric in (metrics.precision, metrics.recall, metrics.micro_f1)]
    assert [metrics.tag_counts(gold, said).score(metrics.accuracy), *scores] == pytest.approx(overall, abs=5e-5)
    if macro is not None:
        assert counts.score(metrics.macro_f1) == pytest.approx(macro, abs=5e-7)
    assert counts.labels == tuple(labels) == tuple(counts.per_label())
    for (label, score), given_count in zip(counts.per_label().items(), total.given, strict=True):
        assert [score.precision, score.recall, score.f1] == pytest.approx(labels[label][:3], abs=5e-5)
        assert given_count == labels[label][3]


spans_of_sentence = st.sets(st.builds(Found, st.integers(0, 3), st.integers(4, 5), st.sampled_from("abc")), max_size=5)


@given(st.lists(st.tuples(spans_of_sentence, spans_of_sentence), min_size=1, max_size=6))
def test_entity_counts_against_comparing_every_pair(sentences: list[tuple[set[Found], set[Found]]]) -> None:
    counts = metrics.entity_counts([gold for gold, _ in sentences], [said for _, said in sentences])
    for label, score in counts.per_label().items():
        pairs = [(g, s) for gold, said in sentences for g in gold for s in said if g.label == label]
        right = sum(g == s for g, s in pairs)
        actual = sum(g.label == label for gold, _ in sentences for g in gold)
        given_count = sum(s.label == label for _, said in sentences for s in said)
        assert score.n == actual
        assert score.precision == pytest.approx(right / given_count if given_count else 0)
        assert score.recall == pytest.approx(right / actual if actual else 0)
        assert score.f1 == pytest.approx(2 * right / (actual + given_count))


def test_an_entity_given_twice_is_right_once_only() -> None:
    one = Found(0, 2, "x")
    counts = metrics.entity_counts([[one]], [[one, one]])
    assert counts.score(metrics.precision) == 0.5 and counts.score(metrics.recall) == 1


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=6), min_size=1))
def test_tag_counts_equal_those_of_scikit_learn(sentences: list[list[tuple[str, str]]]) -> None:
    gold, said = ([[pair[i] for pair in sentence] for sentence in sentences] for i in (0, 1))
    flat_gold, flat_said = list(chain(*gold)), list(chain(*said))
    if not flat_gold:
        with pytest.raises(ValueError, match="no tokens"):
            metrics.tag_counts(gold, said)
        return
    counts = metrics.tag_counts(gold, said)
    assert counts.labels == tuple(sorted({*flat_gold, *flat_said}))
    expected = oracle.precision_recall_fscore_support(flat_gold, flat_said, labels=list(counts.labels), zero_division=0)
    for row, score in zip(zip(*expected, strict=True), counts.per_label().values(), strict=True):
        assert (score.precision, score.recall, score.f1, score.n) == pytest.approx(row)
    assert metrics.tag_counts(gold, said).score(metrics.accuracy) == pytest.approx(
        oracle.accuracy_score(flat_gold, flat_said)
    )
    assert counts.score(metrics.macro_f1) == pytest.approx(
        oracle.f1_score(flat_gold, flat_said, average="macro", zero_division=0)
    )


def test_a_token_without_a_tag_is_wrong() -> None:
    assert metrics.tag_counts([["a", "a"], ["b"]], [["a", None], ["b"]]).score(metrics.accuracy) == pytest.approx(2 / 3)


def simulated_sentences(seed: int, right: float = 0.7, count: int = 120) -> SentenceCounts:
    """Sentences in which errors come together."""
    draw = random.Random(seed)
    gold, said = [], []
    for number in range(count):
        truth = [Found(i, i + 1, random.Random(100 * number + i).choice("aab")) for i in range(number % 5)]
        hard = draw.random() > right
        gold.append(truth)
        said.append([Found(i, i + 1, "a") if hard else one for i, one in enumerate(truth) if draw.random() < 0.9])
    return metrics.entity_counts(gold, said)


def drawn(counts: SentenceCounts, sentences: Rows) -> SentenceCounts:
    return SentenceCounts(counts.labels, counts.hits[sentences], counts.actual[sentences], counts.given[sentences])


@pytest.mark.parametrize(
    "metric",
    [metrics.micro_f1, metrics.macro_f1, metrics.precision, metrics.recall],
    ids=lambda metric: metric.name,
)
def test_the_bootstrap_over_sentences_agrees_with_drawing_them_one_by_one(metric: metrics.Metric) -> None:
    a, b = simulated_sentences(1), simulated_sentences(2, right=0.4)
    generator = np.random.default_rng(2)
    draws = [generator.integers(0, len(a), len(a)) for _ in range(1500)]
    slow = [drawn(a, draw).score(metric) for draw in draws]
    found = metrics.bootstrap_sentences(metric, a, samples=4000, seed=1)
    assert found.value == a.score(metric)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)
    slow = [drawn(a, draw).score(metric) - drawn(b, draw).score(metric) for draw in draws]
    paired = metrics.paired_difference_sentences(metric, a, b, samples=4000, seed=1)
    assert paired.value == pytest.approx(a.score(metric) - b.score(metric))
    assert (paired.low, paired.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)


def test_sentences_of_one_tag_each_are_rows() -> None:
    """Then both bootstraps are the same draw."""
    truth, said = simulated(300, 4, 0.8, seed=3)
    counts = metrics.tag_counts([[str(tag)] for tag in truth], [[str(tag)] for tag in said])
    rows = metrics.bootstrap(metrics.macro_f1, truth, said, samples=6000)
    sentences = metrics.bootstrap_sentences(metrics.macro_f1, counts, samples=6000)
    assert rows.value == pytest.approx(sentences.value)
    assert (rows.low, rows.high) == pytest.approx((sentences.low, sentences.high), abs=0.004)


def test_a_seed_repeats_for_sentences_and_the_work_at_once_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = simulated_sentences(1)
    first = metrics.bootstrap_sentences(metrics.micro_f1, counts, seed=4)
    assert first != metrics.bootstrap_sentences(metrics.micro_f1, counts, seed=5)
    same = metrics.paired_difference_sentences(metrics.micro_f1, counts, counts)
    assert same == Interval(0.0, 0.0, 0.0)
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", 100)
    assert metrics.bootstrap_sentences(metrics.micro_f1, counts, seed=4) == first


def test_sentences_without_entities_score_zero() -> None:
    counts = metrics.entity_counts([[], []], [[], []])
    assert counts.labels == () and counts.per_label() == {}
    assert metrics.bootstrap_sentences(metrics.micro_f1, counts) == Interval(0.0, 0.0, 0.0)
    assert counts.score(metrics.macro_f1) == 0


def test_sentences_that_cannot_be_scored_are_refused() -> None:
    with pytest.raises(ValueError, match="2 reference sentences, but 1 predicted"):
        metrics.entity_counts([[], []], [[]])
    with pytest.raises(ValueError, match="no sentences"):
        metrics.entity_counts([], [])
    with pytest.raises(ValueError, match="sentence 1: 2 reference tags, but 1 predicted"):
        metrics.tag_counts([["a"], ["a", "b"]], [["a"], ["a"]])
    with pytest.raises(ValueError, match="120 sentences of a, but 3 of b"):
        metrics.paired_difference_sentences(metrics.micro_f1, simulated_sentences(1), simulated_sentences(1, count=3))


# means of a score of each row


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=60), st.integers(0, 9))
def test_the_interval_of_a_mean_is_that_of_resampled_rows(values: list[float], seed: int) -> None:
    found = metrics.bootstrap_mean(values, seed=seed)
    assert found.value == pytest.approx(sum(values) / len(values))
    drawn = np.random.default_rng(seed + 100).choice(values, (4000, len(values))).mean(1)
    step = 1 / len(values) + 1e-9  # one row more or less
    assert found.low == pytest.approx(np.quantile(drawn, 0.025), abs=step)
    assert found.high == pytest.approx(np.quantile(drawn, 0.975), abs=step)
    assert metrics.bootstrap_mean(values, seed=seed) == found
    assert metrics.bootstrap_mean(list(reversed(values)), seed=seed) == found


def test_the_difference_of_means_is_paired() -> None:
    draw = np.random.default_rng(0)
    a = draw.random(400)
    b = a - 0.05 + 0.01 * draw.normal(size=400)
    found = metrics.paired_difference_mean(a, b)
    assert found.value == pytest.approx(float((a - b).mean())) and found.excludes_zero
    assert found.high - found.low < 0.01 < metrics.bootstrap_mean(a).high - metrics.bootstrap_mean(a).low
    with pytest.raises(ValueError, match="400 rows of a, but 399 of b"):
        metrics.paired_difference_mean(a, b[:-1])
    with pytest.raises(ValueError, match="no rows to score"):
        metrics.bootstrap_mean([])
