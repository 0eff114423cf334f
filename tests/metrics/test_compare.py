"""Comparisons on the same rows, against enumeration, direct resampling and a binomial test by hand."""

import itertools
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.metrics import Contestant, compare, correct, values
from unmask.metrics.compare import mcnemar

LABELS = ["a", "b", "c"]
SENTENCES = [["D", "N", "V"], ["N"], ["D", "N", "N", "V"], ["V", "N"], ["D", "D"]]
SAID = [["D", "N", "N"], ["N"], ["D", "V", "N", "V"], ["V", "V"], ["D", None]]
OTHER = [["N", "N", "N"], ["N"], ["N", "N", "N", "N"], ["N", "N"], ["N", "N"]]


def of(kind: str, reference: list, several: list[Contestant], labels: list[str] | None = None, **options) -> dict:  # type: ignore[no-untyped-def]
    """The comparison as plain values; spans and ranks are rows of the kinds `tags` and `vectors`."""
    options.setdefault("metric", {"spans": "entity_f1", "ranks": "mrr"}.get(kind))
    kind = {"spans": "tags", "cosines": "vectors", "ranks": "vectors"}.get(kind, kind)
    return compare(kind, reference, several, labels or (), **options).to_dict()


def contestants(first: list, second: list) -> list[Contestant]:
    return [Contestant("first", "pretrained", first), Contestant("second", "scratch", second)]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=14))
def test_mcnemar_is_the_binomial_test_over_all_ways_to_share_out_the_odd_rows(
    rows: list[tuple[bool, bool]],
) -> None:
    odd = [a for a, b in rows if a != b]
    seen = min(sum(odd), len(odd) - sum(odd))
    ways = list(itertools.product((0, 1), repeat=len(odd)))
    as_far = sum(min(sum(way), len(odd) - sum(way)) <= seen for way in ways) / len(ways)
    assert mcnemar([a for a, _ in rows], [b for _, b in rows]) == pytest.approx(as_far)


def test_mcnemar_of_many_rows_neither_overflows_nor_leaves_the_range() -> None:
    a = np.array([True] * 60_000 + [False] * 59_000)
    assert mcnemar(a, ~a) == pytest.approx(math.erfc(1000 / math.sqrt(2 * 119_000)), rel=0.02)
    assert mcnemar([True], [True]) == 1.0
    with pytest.raises(ValueError):
        mcnemar([True], [True, False])


def test_rows_with_one_label_have_all_that_the_page_shows() -> None:
    reference = ["a", "a", "b", "c", "b", "a"]
    found = of("label", reference, contestants(["a", "b", "b", "c", "b", "a"], ["a"] * 6), LABELS)
    assert (found["metric"], found["unit"], found["rows"]) == ("accuracy", "row", 6)
    assert found["models"][0]["accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["differences"][0]["mcnemar"] == pytest.approx(mcnemar([1, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 1]))
    row = found["per_label"][0]
    assert (row["label"], row["precision"], row["recall"], row["support"]) == (
        "a",
        1.0,
        pytest.approx(2 / 3),
        3,
    )
    assert row["f1_low"] <= row["f1"] <= row["f1_high"]
    json.dumps(found)


def test_tags_are_compared_token_by_token() -> None:
    found = of("tags", SENTENCES, contestants(SAID, OTHER))
    pairs = [p for s, q in zip(SENTENCES, SAID, strict=True) for p in zip(s, q, strict=True)]
    assert (found["rows"], found["tokens"], found["unit"]) == (5, 12, "sentence")
    assert found["models"][0]["accuracy"]["value"] == pytest.approx(sum(a == b for a, b in pairs) / 12)
    assert found["labels"] == ["D", "N", "V"]
    wrong = {(row["true"], row["predicted"]): row["count"] for row in found["confusions"]}
    assert wrong == {pair: pairs.count(pair) for pair in pairs if pair[0] != pair[1]}
    for row in found["per_label"]:
        label = row["label"]
        right = sum(a == b == label for a, b in pairs)
        assert row["recall"] == pytest.approx(right / sum(a == label for a, _ in pairs))
        assert row["precision"] == pytest.approx(right / sum(b == label for _, b in pairs))
    json.dumps(found)


def test_the_interval_of_a_difference_is_that_of_resampled_sentences() -> None:
    """Against drawing sentences one by one."""
    draw = np.random.default_rng(1)
    reference = [list(draw.choice(LABELS, size=draw.integers(1, 9))) for _ in range(80)]
    first = [[x if draw.random() < 0.8 else "a" for x in one] for one in reference]
    second = [[x if draw.random() < 0.7 else "b" for x in one] for one in reference]
    found = of("tags", reference, contestants(first, second))["differences"][0]["accuracy"]
    right = np.array(
        [
            [sum(map(str.__eq__, one, said)) for one, said in zip(reference, all_said, strict=True)]
            for all_said in (first, second)
        ]
    )
    tokens = np.array([len(one) for one in reference])
    drawn = draw.integers(0, 80, size=(4000, 80))
    scores = (right[0][drawn].sum(1) - right[1][drawn].sum(1)) / tokens[drawn].sum(1)
    assert found["value"] == pytest.approx((right[0] - right[1]).sum() / tokens.sum())
    assert [found["low"], found["high"]] == pytest.approx(list(np.quantile(scores, [0.025, 0.975])), abs=0.008)


def test_spans_count_with_their_bounds_and_their_label() -> None:
    reference = [[(0, 4, "PER"), (9, 14, "LOC")], [(3, 8, "LOC")], []]
    said = [[[0, 4, "PER"], [9, 14, "PER"]], [], [[0, 2, "LOC"]]]
    found = of("spans", reference, contestants(said, [[], [], []]))
    assert (found["metric"], found["rows"], found["entities"]) == ("entity_f1", 3, 3)
    first, second = found["models"]
    assert first["entity_f1"]["value"] == pytest.approx(2 * 1 / (3 + 3))
    assert first["precision"]["value"] == first["recall"]["value"] == pytest.approx(1 / 3)
    assert second["entity_f1"]["value"] == 0
    assert {(row["true"], row["predicted"], row["share"]) for row in found["confusions"]} == {
        ("LOC", "PER", 0.5),
        ("LOC", None, 0.5),
        (None, "LOC", None),
    }
    json.dumps(found)


def test_spans_may_nest_and_share_their_bounds() -> None:
    reference = [[(0, 9, "ORG"), (0, 4, "PER"), (0, 4, "LOC"), (5, 9, "LOC")]]
    said = [[[0, 9, "ORG"], [0, 4, "LOC"], [0, 4, "ORG"], [0, 4, "TIME"]]]
    found = of("spans", reference, contestants(said, [[]]))
    assert found["entities"] == 4 and found["models"][0]["entity_f1"]["value"] == pytest.approx(2 * 2 / 8)
    assert {(row["true"], row["predicted"]) for row in found["confusions"]} == {
        ("PER", "ORG"),
        (None, "TIME"),
        ("LOC", None),
    }


def test_sentences_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError):
        of("tags", [["a", "b", "c"]], [Contestant("x", "other", [["a"]])])
    with pytest.raises(ValueError):
        of("spans", [[]], [Contestant("x", "other", [[], []])])


def test_the_metric_of_rows_with_one_label_is_chosen() -> None:
    reference = ["a", "a", "b", "b", "z"]  # z is a label that the models do not know
    shares = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5]]
    ours = Contestant("first", "pretrained", ["a", "a", "a", "b", "a"], shares)
    found = of("label", reference, [ours, Contestant("second", "majority", ["a"] * 5)], ["a", "b"], metric="auc")
    first, second = found["models"]
    assert found["metric"] == "auc" and list(first)[2:] == ["auc", "accuracy", "macro_f1"]
    assert first["auc"]["value"] == 3 / 4 and second["auc"]["value"] == 0.5  # without probabilities: all tied
    assert found["differences"][0]["auc"]["value"] == 1 / 4
    found = of("label", reference[:4], contestants(["a", "a", "a", "b"], ["a"] * 4), ["a", "b"], metric="matthews")
    assert found["models"][0]["matthews"]["value"] == pytest.approx(2 / 12**0.5)


def test_of_very_many_labels_the_confusions_are_listed() -> None:
    labels = [f"l{n:03}" for n in range(101)]
    found = of("label", [*labels, "l001"], contestants(["l000"] * 102, ["l001"] * 102), labels)
    assert "confusion" not in found
    assert found["confusions"][0] == {"true": "l001", "predicted": "l000", "count": 2, "share": 1.0}


def test_rows_with_several_labels() -> None:
    reference = [["a", "b"], [], ["b"], ["z"]]
    said, other = [["a"], [], ["b"], []], [["b"]] * 4
    found = of("labels", reference, contestants(said, other), ["a", "b"])
    assert (found["kind"], found["metric"], found["labels"]) == ("labels", "micro_f1", ["a", "b", "z"])
    values = {key: found["models"][0][key]["value"] for key in ("micro_f1", "macro_f1", "subset_accuracy")}
    assert values == pytest.approx({"micro_f1": 2 * 2 / (4 + 2), "macro_f1": (1 + 2 / 3) / 3, "subset_accuracy": 0.5})
    assert found["models"][1]["micro_f1"]["value"] == pytest.approx(2 * 2 / (4 + 4))
    difference = found["differences"][0]["subset_accuracy"]
    assert difference["value"] == pytest.approx(0.5 - 0.25) and difference["low"] <= 0.25 <= difference["high"]
    assert [row["label"] for row in found["per_label"]] == ["a", "b", "z"]
    auc = of("labels", reference[:3], contestants(said[:3], other[:3]), ["a", "b"], metric="auc")
    assert auc["models"][0]["auc"]["value"] == pytest.approx((1 + 3 / 4) / 2)
    json.dumps([found, auc])


def test_rows_with_numbers() -> None:
    reference = [1.0, 2.0, 3.0, 4.0]
    found = of("number", reference, contestants([1.5, 2.0, 3.5, 4.0], [2.5] * 4), metric="rmse")
    assert list(found["models"][0])[2:] == ["rmse", "pearson", "spearman", "mae"]
    assert found["models"][0]["mae"]["value"] == 0.25 and found["models"][1]["pearson"]["value"] == 0
    assert found["differences"][0]["mae"]["value"] == 0.25 - 1.0
    assert found["numbers"] == [[1.0, 1.5], [2.0, 2.0], [3.0, 3.5], [4.0, 4.0]]
    many = of("number", list(range(2500)), [Contestant("one", "other", list(range(2500)))])
    assert len(many["numbers"]) == 834 and many["numbers"][1] == [3, 3]


def test_vectors_with_scores_and_with_ranks() -> None:
    draw = np.random.default_rng(1)
    scores, cosines = [float(n % 6) for n in range(40)], draw.random(40).tolist()
    found = of("cosines", scores, contestants(cosines, [0.5] * 40))
    assert found["metric"] == "spearman" and "numbers" not in found
    assert found["models"][1]["pearson"]["value"] == 0
    worst = found["largest_errors"][0]
    assert (worst["true"], worst["predicted"]) == (scores[worst["row"]], cosines[worst["row"]])
    found = of("ranks", [1, 2, 1], contestants([[1], [2, 4], [12]], [[1], [1, 2], [1]]), metric="recall_1")
    assert list(found["models"][0])[2:] == ["recall_1", "mrr", "ndcg_10", "recall_10"]
    assert found["models"][0]["mrr"]["value"] == pytest.approx((1 + 1 / 2 + 1 / 12) / 3)
    assert found["largest_errors"] == [{"row": 2, "rank": 12}, {"row": 1, "rank": 2}]


def test_answers_and_their_parts() -> None:
    reference = [{"answers": ["a river"], "language": "en"}, {"answers": [], "language": "en"}]
    found = of("answers", reference, contestants(["river", "stone"], ["", ""]))
    assert (found["unit"], found["models"][0]["answer_f1"]["value"]) == ("question", 0.5)
    assert found["differences"][0]["exact_match"]["value"] == 0
    assert [part["rows"] for part in found["parts"]] == [1, 1]


def test_scores_of_one_model_are_those_of_a_comparison() -> None:
    reference, first, second = ["a", "b", "b"], ["a", "b", "a"], ["a"] * 3
    together = compare("label", reference, contestants(first, second), LABELS, seed=2)
    alone = compare("label", reference, contestants(first, second)[:1], LABELS, seed=2)
    assert alone.scores == together.scores and alone.differences == []
    plain = alone.scores.to_dict()
    assert list(plain)[:5] == ["kind", "metric", "unit", "rows", "labels"]
    assert plain["accuracy"] == alone.models[0]["accuracy"] == asdict(alone.scores["accuracy"])
    assert "parts" not in plain and "accuracy 66.7 [" in repr(alone.scores)


@pytest.mark.parametrize(
    ("kind", "metric", "reference", "predicted", "figures", "right"),
    [
        ("label", "accuracy", ["a", "b"], ["a", "a"], {"accuracy": 0.5}, [True, False]),
        ("label", "auc", ["a", "b"], ["a", "a"], {"auc": 0.5}, [True, False]),
        ("labels", "subset_accuracy", [["a"], []], [["a"], ["b"]], {"subset_accuracy": 0.5}, [True, False]),
        ("number", "mae", [1.0, 2.0], [1.0, 4.0], {"mae": 1.0}, [True, False]),
        ("tags", "accuracy", [["x", "y"]], [["x", None]], {"accuracy": 0.5}, [False]),
        ("tags", "entity_f1", [[[0, 1, "x"]]], [[[0, 1, "x"]]], {"entity_f1": 1.0}, [True]),
        ("vectors", "mrr", [1, 1], [[1], [4]], {"mrr": 0.625}, [True, False]),
        ("vectors", "pearson", [1.0, 2.0], [0.1, 0.2], {"pearson": 1.0}, [False, False]),
        (
            "answers",
            "answer_f1",
            [{"answers": ["the river"], "language": "en"}],
            ["River!"],
            {"answer_f1": 1.0, "exact_match": 1.0},
            [True],
        ),
    ],
)
def test_values_while_training_and_which_rows_are_right(
    kind: str, metric: str, reference: list, predicted: list, figures: dict[str, float], right: list[bool]
) -> None:
    found = values(kind, reference, predicted, ["a", "b"], metric)
    assert found == pytest.approx(figures) and list(found) == list(figures)
    assert correct(kind, metric, reference, predicted) == right
    assert compare(kind, reference, [Contestant("", "", predicted)], ["a", "b"], metric).scores[metric].value == (
        pytest.approx(found[metric])
    )


def test_a_figure_of_other_rows_is_refused() -> None:
    with pytest.raises(ValueError):
        compare("label", ["a"], [Contestant("", "", ["a"])], ["a"], "pearson")
    with pytest.raises(ValueError):
        values("colour", ["a"], ["a"], metric="accuracy")
