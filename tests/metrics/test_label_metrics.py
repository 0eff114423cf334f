"""Counts of labels against scikit-learn and against brute force; intervals against simulation.

Of entities: against the definition read by hand, and recorded outputs of the official scorer.
"""

import random
import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle

from unmask.metrics import Interval, figures, values
from unmask.metrics.figures import bootstrap, difference
from unmask.metrics.label_metrics import (
    OF_COUNTS,
    Counted,
    confusion,
    confusions,
    counted_items,
    counted_pairs,
    paired_spans,
    tags_of,
)

Rows = NDArray[np.int64]
OF_LABELS = ("accuracy", "macro_f1", "micro_f1", "matthews")


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


def pairs(truth: Sequence[int] | Rows, said: Sequence[int] | Rows, labels: int | None = None) -> Counted:
    """Rows with one label each, which are numbers here."""
    names = [str(n) for n in range(labels or 1 + max(*truth, *said))]
    return counted_pairs([str(n) for n in truth], [str(n) for n in said], names)


def value(name: str, counted: Counted) -> float:
    return counted.statistics([name]).values()[name]


def interval(name: str, counted: Counted, **options: Any) -> Interval:
    return bootstrap(counted.statistics([name]), **options)[name]


def paired(name: str, a: Counted, b: Counted, **options: Any) -> Interval:
    return bootstrap(difference(a.statistics([name]), b.statistics([name])), **options)[name]


@given(scored_rows())
def test_scores_equal_those_of_scikit_learn(rows: tuple[int, list[int], list[int]]) -> None:
    _, truth, said = rows
    found = pairs(truth, said).statistics(OF_LABELS).values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels that are never predicted
        expected = {
            "accuracy": oracle.accuracy_score(truth, said),
            "macro_f1": oracle.f1_score(truth, said, average="macro"),
            "micro_f1": oracle.f1_score(truth, said, average="micro"),
            "matthews": oracle.matthews_corrcoef(truth, said),
        }
    assert found == pytest.approx(expected)


@given(scored_rows())
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_confusion_and_label_scores_equal_those_of_scikit_learn(
    rows: tuple[int, list[int], list[int]],
) -> None:
    labels, truth, said = rows
    every = list(range(labels))
    counted = pairs(truth, said, labels)
    assert confusion(counted) == oracle.confusion_matrix(truth, said, labels=every).tolist()
    expected = oracle.precision_recall_fscore_support(truth, said, labels=every, zero_division=0)
    for index, row in enumerate(counted.per_label(0)):
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx([column[index] for column in expected[:3]])
        assert row["support"] == expected[3][index] and row["f1_low"] <= row["f1"] <= row["f1_high"]


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("labels", [2, 9])
def test_bootstrap_agrees_with_drawing_rows_one_by_one(name: str, labels: int) -> None:
    truth, said = simulated(300, labels, 0.8, seed=3)
    found = interval(name, pairs(truth, said, labels), samples=4000, seed=1)
    generator = np.random.default_rng(2)
    draws = (generator.integers(0, 300, 300) for _ in range(1500))
    slow = [value(name, pairs(truth[draw], said[draw])) for draw in draws]
    assert found.value == value(name, pairs(truth, said))
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_paired_difference_agrees_with_drawing_rows_one_by_one(name: str) -> None:
    truth, a = simulated(400, 5, 0.85, seed=5)
    b = np.where(np.random.default_rng(6).random(400) < 0.8, a, simulated(400, 5, 0.5, seed=7)[1])
    found = paired(name, pairs(truth, a), pairs(truth, b), samples=4000)
    generator = np.random.default_rng(8)

    def gain(draw: Any) -> float:
        return value(name, pairs(truth[draw], a[draw])) - value(name, pairs(truth[draw], b[draw]))

    slow = [gain(generator.integers(0, 400, 400)) for _ in range(1500)]
    assert found.value == pytest.approx(gain(slice(None)))
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


def test_the_interval_of_the_f1_of_a_label_is_that_of_resampled_rows() -> None:
    truth, said = simulated(300, 4, 0.7, seed=9)
    found = pairs(truth, said).per_label(1)
    generator = np.random.default_rng(2)
    draws = [generator.integers(0, 300, 300) for _ in range(1500)]
    for label, row in enumerate(found):
        slow = [oracle.f1_score(truth[draw] == label, said[draw] == label) for draw in draws]
        assert [row["f1_low"], row["f1_high"]] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.025)


def test_the_interval_covers_the_true_accuracy_as_often_as_it_says() -> None:
    """Of 400 simulated evaluations, 95 % are to cover; the standard error of that share is 1.1 %."""
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 3, 250)
        said = np.where(generator.random(250) < 0.8, truth, (truth + 1) % 3)
        found = interval("accuracy", pairs(truth, said), samples=400, seed=seed)
        covered += found.low <= 0.8 <= found.high
    assert 0.915 <= covered / 400 <= 0.985


def test_equal_models_differ_significantly_as_seldom_as_the_level_says() -> None:
    found = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        truth = generator.integers(0, 2, 250)
        a, b = (pairs(truth, np.where(generator.random(250) < 0.7, truth, 1 - truth)) for _ in range(2))
        difference = paired("accuracy", a, b, samples=400, seed=seed)
        found += difference.low > 0 or difference.high < 0
    assert 0.01 <= found / 300 <= 0.10


def test_pairing_narrows_the_interval_of_models_that_err_on_the_same_rows() -> None:
    truth, said = simulated(500, 4, 0.7, seed=11)
    other = said.copy()
    other[:10] = (truth[:10] + 1) % 4
    a, b = pairs(truth, said), pairs(truth, other)
    together, alone = paired("accuracy", a, b), interval("accuracy", a)
    assert together.high - together.low < (alone.high - alone.low) / 2
    assert paired("accuracy", a, a) == Interval(0.0, 0.0, 0.0)


def test_a_seed_repeats_and_the_work_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = pairs(*simulated(200, 6, 0.8, seed=1))
    first = interval("macro_f1", counted, seed=4)
    assert first != interval("macro_f1", counted, seed=5)
    monkeypatch.setattr(figures, "NUMBERS_AT_ONCE", 100)
    assert interval("macro_f1", counted, seed=4) == first


def test_figures_beside_one_another_have_the_intervals_that_they_have_alone() -> None:
    counted = pairs(*simulated(200, 6, 0.8, seed=1))
    together = bootstrap(counted.statistics(OF_LABELS))
    assert together == {name: interval(name, counted) for name in OF_LABELS}


def test_a_label_on_neither_side_changes_nothing() -> None:
    truth, said = simulated(200, 4, 0.8, seed=1)
    four, nine = (interval("macro_f1", pairs(truth, said, labels)) for labels in (4, 9))
    assert four == nine


@settings(max_examples=30)
@given(scored_rows(), st.sampled_from(OF_LABELS))
def test_the_interval_is_ordered(rows: tuple[int, list[int], list[int]], name: str) -> None:
    labels, truth, said = rows
    counted = pairs(truth, said, labels)
    found = interval(name, counted, samples=100)
    assert -1 <= found.low <= found.high <= 1


@pytest.mark.parametrize(("truth", "said"), [(["a", "b"], ["a"]), ([], [])])
def test_rows_that_cannot_be_scored_are_refused(truth: list[str], said: list[str]) -> None:
    with pytest.raises(ValueError):
        counted_pairs(truth, said, ["a", "b"])
    with pytest.raises(ValueError):
        counted_items([[(one,)] for one in truth], [[(one,)] for one in said])


def test_labels_that_are_not_named_are_refused() -> None:
    with pytest.raises(KeyError):
        counted_pairs(["a", "c"], ["a", "b"], ["a", "b"])


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


Found = tuple[int, int, str]


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
            found.append((start, min(stops, default=len(tags)), tags[start][2:]))
    return found


@pytest.mark.parametrize("scorer", OFFICIAL)
def test_entities_are_counted_as_the_official_scorers_do(scorer: str) -> None:
    text, (phrases, given_phrases, correct), overall, macro, labels = OFFICIAL[scorer]
    gold, said = tagged(text)
    counted = counted_items(list(map(entities, gold)), list(map(entities, said)))
    total = counted.counts(np.ones((1, len(counted.rows))), counted.rows)
    assert (total.true.sum(), total.predicted.sum(), total.correct.sum()) == (phrases, given_phrases, correct)
    scores = [value(name, counted) for name in ("precision", "recall", "entity_f1")]
    tags = value("accuracy", counted_items(tags_of(gold), tags_of(said)))
    assert [tags, *scores] == pytest.approx(overall, abs=5e-5)
    if macro is not None:
        assert value("macro_f1", counted) == pytest.approx(macro, abs=5e-7)
    assert counted.labels == tuple(labels)
    for row, given_count in zip(counted.per_label(0), total.predicted[0], strict=True):
        expected = labels[row["label"]]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(expected[:3], abs=5e-5)
        assert given_count == expected[3]


spans_of_sentence = st.sets(st.tuples(st.integers(0, 3), st.integers(4, 5), st.sampled_from("abc")), max_size=5)


@given(st.lists(st.tuples(spans_of_sentence, spans_of_sentence), min_size=1, max_size=6))
def test_entities_against_comparing_every_pair(sentences: list[tuple[set[Found], set[Found]]]) -> None:
    counted = counted_items([gold for gold, _ in sentences], [said for _, said in sentences])
    for row in counted.per_label(0):
        label = row["label"]
        same = [(g, s) for gold, said in sentences for g in gold for s in said if g[2] == label]
        right = sum(g == s for g, s in same)
        actual = sum(one[2] == label for gold, _ in sentences for one in gold)
        given_count = sum(one[2] == label for _, said in sentences for one in said)
        assert row["support"] == actual
        assert row["precision"] == pytest.approx(right / given_count if given_count else 0)
        assert row["recall"] == pytest.approx(right / actual if actual else 0)
        assert row["f1"] == pytest.approx(2 * right / (actual + given_count))


def test_an_entity_predicted_twice_is_correct_once_only() -> None:
    one = (0, 2, "x")
    counted = counted_items([[one]], [[one, one]])
    assert value("precision", counted) == 0.5 and value("recall", counted) == 1


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=6), min_size=1))
def test_counts_of_tags_equal_those_of_scikit_learn(sentences: list[list[tuple[str, str]]]) -> None:
    gold, said = ([[pair[i] for pair in sentence] for sentence in sentences] for i in (0, 1))
    flat_gold, flat_said = list(chain(*gold)), list(chain(*said))
    counted = counted_items(tags_of(gold), tags_of(said))
    if not flat_gold:
        return
    assert counted.labels == tuple(sorted({*flat_gold, *flat_said}))
    expected = oracle.precision_recall_fscore_support(
        flat_gold, flat_said, labels=list(counted.labels), zero_division=0
    )
    for row, found in zip(zip(*expected, strict=True), counted.per_label(0), strict=True):
        assert [found[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(row)
    assert value("accuracy", counted) == pytest.approx(oracle.accuracy_score(flat_gold, flat_said))
    assert value("macro_f1", counted) == pytest.approx(
        oracle.f1_score(flat_gold, flat_said, average="macro", zero_division=0)
    )


def test_a_token_without_a_tag_is_wrong() -> None:
    counted = counted_items(tags_of([["a", "a"], ["b"]]), tags_of([["a", None], ["b"]]))
    assert value("accuracy", counted) == pytest.approx(2 / 3)


def simulated_sentences(seed: int, right: float = 0.7, count: int = 120) -> Counted:
    """Sentences in which errors come together."""
    draw = random.Random(seed)
    gold, said = [], []
    for number in range(count):
        truth = [(i, i + 1, random.Random(100 * number + i).choice("aab")) for i in range(number % 5)]
        hard = draw.random() > right
        gold.append(truth)
        said.append([(i, i + 1, "a") if hard else one for i, one in enumerate(truth) if draw.random() < 0.9])
    return counted_items(gold, said)


def drawn(counted: Counted, sentences: Rows) -> Counted:
    return Counted(counted.labels, counted.rows[sentences], counted.counts)


@pytest.mark.parametrize("name", ["entity_f1", "macro_f1", "precision", "recall"])
def test_the_bootstrap_over_sentences_agrees_with_drawing_them_one_by_one(name: str) -> None:
    a, b = simulated_sentences(1), simulated_sentences(2, right=0.4)
    generator = np.random.default_rng(2)
    draws = [generator.integers(0, 120, 120) for _ in range(1500)]
    slow = [value(name, drawn(a, draw)) for draw in draws]
    found = interval(name, a, samples=4000, seed=1)
    assert found.value == value(name, a)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)
    slow = [value(name, drawn(a, draw)) - value(name, drawn(b, draw)) for draw in draws]
    both = paired(name, a, b, samples=4000, seed=1)
    assert both.value == pytest.approx(value(name, a) - value(name, b))
    assert (both.low, both.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)


def test_sentences_of_one_tag_each_are_rows() -> None:
    """Then both bootstraps are the same draw."""
    truth, said = simulated(300, 4, 0.8, seed=3)
    tags = counted_items(*(tags_of([[str(tag)] for tag in side]) for side in (truth, said)))
    rows = interval("macro_f1", pairs(truth, said), samples=6000)
    sentences = interval("macro_f1", tags, samples=6000)
    assert rows.value == pytest.approx(sentences.value)
    assert (rows.low, rows.high) == pytest.approx((sentences.low, sentences.high), abs=0.004)


def test_sentences_without_entities_score_zero() -> None:
    counted = counted_items([[], []], [[], []])
    assert counted.labels == () and counted.per_label(0) == []
    assert interval("entity_f1", counted) == Interval(0.0, 0.0, 0.0) and value("macro_f1", counted) == 0


def test_a_whole_row_is_right_if_all_its_labels_are() -> None:
    found = values("labels", [["a", "b"], [], ["b"]], [["a"], [], ["b"]], ["a", "b", "c"], "subset_accuracy")
    assert found == {"subset_accuracy": 2 / 3}


def test_confusions_are_the_most_frequent_wrong_pairs() -> None:
    found = confusions([("a", "b")] * 3 + [("a", "a")] + [("b", None), (None, "a")] * 2)
    assert found == [
        {"true": "a", "predicted": "b", "count": 3, "share": 0.75},
        {"true": None, "predicted": "a", "count": 2, "share": None},
        {"true": "b", "predicted": None, "count": 2, "share": 1.0},
    ]
    assert confusions((str(n), "x") for n in range(50))[-1]["true"] == "26"


def test_spans_of_equal_bounds_are_paired_by_their_labels() -> None:
    truth = [(0, 9, "ORG"), (0, 4, "PER"), (0, 4, "LOC"), (5, 9, "LOC")]
    said = [[0, 9, "ORG"], [0, 4, "LOC"], [0, 4, "ORG"], [0, 4, "TIME"]]
    assert sorted(paired_spans(truth, said), key=str) == [
        ("LOC", "LOC"), ("LOC", None), ("ORG", "ORG"), ("PER", "ORG"), (None, "TIME"),
    ]  # fmt: skip


def test_every_figure_of_counts_is_tried() -> None:
    assert set(OF_COUNTS) == {*OF_LABELS, "entity_f1", "precision", "recall"}
