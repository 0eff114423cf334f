"""Any number of labels for a text: the loss, thresholds, scores against scikit-learn, what is written."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from unmask.data.batch import pack
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import Classify, LabelsTask, restore
from unmask.tasks.classifyhead import LabelsLearner
from unmask.tasks.manylabels import best_threshold
from unmask.tasks.texts import Ranking
from unmask.text.tokenizer import Tokenizer

LABELS = ["a", "b", "c"]


def examples(*sets: str) -> list[Example]:
    """A row for each text such as "ac", its labels."""
    return [
        Example(str(n), "winter " * (n + 1), None, None, n + 2, "rows.csv", label_set=tuple(one))
        for n, one in enumerate(sets)
    ]


@pytest.fixture
def task(tokenizer: Tokenizer) -> LabelsTask:
    return LabelsTask(Classify(target="labels", max_length=32, classifier_dropout=0.0), tokenizer, LABELS)


def test_labels_are_those_of_the_training_rows(tokenizer: Tokenizer) -> None:
    settings = Classify(target="labels")
    assert LabelsTask.build(settings, tokenizer, examples("ca", "", "b")).labels == LABELS
    with pytest.raises(UserError, match="nothing to learn"):
        LabelsTask.build(settings, tokenizer, examples("", ""))
    with pytest.raises(UserError, match="nothing to tell apart"):
        LabelsTask.build(settings, tokenizer, examples("ab", "ab"))


def test_the_loss_is_binary_cross_entropy_of_each_label(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, task: LabelsTask
) -> None:
    encoder, head = make_encoder(tiny), task.head(tiny)
    torch.nn.init.normal_(head.classifier.weight)
    given = examples("ac", "", "b", "abc")
    rows = task.encode(given)
    batch = pack(rows)
    part = LabelsLearner(encoder, head).train()(batch).terms["classify"]
    total = 0.0
    for row, example in zip(rows, given, strict=True):
        alone = pack([row])
        logits = head(encoder(alone.input_ids, alone.layout, alone.token_type_ids), alone)[0].tolist()
        for label, logit in zip(LABELS, logits, strict=True):
            share = 1 / (1 + np.exp(-logit))
            total -= np.log(share if label in (example.label_set or ()) else 1 - share)
    assert part.sum.item() == pytest.approx(total, rel=1e-4)
    assert part.count == 12 == batch.target_counts["classify"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=1, max_size=12))
def test_no_threshold_is_better(rows: list[tuple[bool, int]]) -> None:
    """Against every threshold there is; of the best ones the nearest to 0.5 that does not touch a row."""
    positive, share = np.array([row[0] for row in rows]), np.array([row[1] / 12 for row in rows])

    def f1(threshold: float) -> float:
        return float(oracle.f1_score(positive, share >= threshold, zero_division=0.0))

    found = best_threshold(positive, share)
    if not positive.any():
        assert found == 0.5
        return
    every = [f1(threshold) for threshold in [*(n / 24 for n in range(25)), 0.5]]
    assert f1(found) == pytest.approx(max(every))
    if f1(0.5) == pytest.approx(max(every)):
        assert found == 0.5
    assert 0 <= found <= 1


def test_thresholds_are_found_kept_and_used(
    tokenizer: Tokenizer, tiny: EncoderConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    task = LabelsTask(Classify(target="labels", tune_thresholds=True), tokenizer, LABELS)
    given = examples("a", "a", "b", "")
    shares = np.array([[0.3, 0.1, 0.0], [0.4, 0.2, 0.0], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6]], dtype=np.float32)
    assert task.needs_calibration and task.thresholds.tolist() == [0.5] * 3
    task.calibrate(given, task.encode(given), list(shares))
    assert task.thresholds.tolist() == pytest.approx([0.25, 0.5, 0.5])
    assert "thresholds of 3 labels found on 4 dev rows" in capsys.readouterr().err
    again = restore(task.schema(), tokenizer)
    assert isinstance(again, LabelsTask) and again.thresholds.tolist() == task.thresholds.tolist()
    predictions = again.decode(again.head(tiny), given, again.encode(given), list(shares))
    assert again.comparable(given, predictions) == [["a"], ["a"], ["b"], ["c"]]
    assert [label.label for label in again.top_prediction(predictions[3])] == ["c"]


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), min_size=2, max_size=20))
def test_scores_equal_those_of_scikit_learn(tokenizer: Tokenizer, rows: list[tuple[set[str], set[str]]]) -> None:
    task = LabelsTask(Classify(target="labels"), tokenizer, LABELS)
    given = examples(*("".join(sorted(true)) for true, _ in rows))
    shares = np.array([[0.9 if label in said else 0.1 for label in LABELS] for _, said in rows])
    scores = task.score(given, [Ranking(LABELS, one) for one in shares])
    truth = np.array([[label in true for label in LABELS] for true, _ in rows])
    said = shares > 0.5
    occur = (truth | said).any(0)  # a label that occurs in neither has no F1 here, and 0 there
    each = oracle.f1_score(truth, said, average=None, zero_division=0.0)
    wanted = {
        "micro_f1": oracle.f1_score(truth, said, average="micro", zero_division=0.0),
        "macro_f1": each[occur].mean() if occur.any() else 0.0,
        "subset_accuracy": oracle.accuracy_score(truth, said),
    }
    assert {name: interval.value for name, interval in scores.figures.items()} == pytest.approx(wanted)
    assert [row["f1"] for row in scores.per_label] == pytest.approx(each.tolist())
    assert (scores.given, scores.true) == pytest.approx((said.sum(1).mean(), truth.sum(1).mean()))


def test_a_learner_is_judged_by_the_same_figures(task: LabelsTask, tiny: EncoderConfig) -> None:
    given = examples("ac", "b", "")
    shares = np.array([[0.9, 0.6, 0.4], [0.2, 0.7, 0.1], [0.1, 0.1, 0.5]], dtype=np.float32)
    figures = task.dev_metrics(task.head(tiny), given, task.encode(given), list(shares))
    right = [0.9, 0.4, 0.4, 0.8, 0.7, 0.9, 0.9, 0.9, 0.5]
    assert figures == pytest.approx({"classify.loss": -np.log(right).mean(), "classify.micro_f1": 4 / 7}, rel=1e-5)


def test_a_label_that_is_not_known_is_missed(task: LabelsTask, tiny: EncoderConfig) -> None:
    given = examples("az")
    rows = task.encode([example.keep_labels(task.labels) for example in given])
    figures = task.dev_metrics(task.head(tiny), given, rows, [np.array([0.9, 0.1, 0.1], dtype=np.float32)])
    assert figures["classify.micro_f1"] == pytest.approx(2 / 3)
    scores = task.score(given, [Ranking(LABELS, np.array([0.9, 0.1, 0.1]))])
    assert scores.figures["micro_f1"].value == pytest.approx(2 / 3)
    assert [(row["label"], row["n"], row["threshold"]) for row in scores.per_label][-1] == ("z", 1, None)


def test_who_sees_no_text(task: LabelsTask) -> None:
    assert task.constant_baseline(examples("a", "ab", "abc", "")) == ["a", "b"]
    assert task.constant_baseline(examples("a", "b", "c", "b", "")) == ["b"]


def test_what_is_written(task: LabelsTask) -> None:
    (example,) = examples("a")
    ranking = Ranking(LABELS, np.array([0.625, 0.25, 0.75]))
    assert task.to_record(example, ranking, False) == {
        "id": "0",
        "line": 2,
        "labels": ["c", "a"],
        "scores": {"c": 0.75, "a": 0.625},
    }
    assert task.to_record(example, ranking, True)["scores"] == {"c": 0.75, "a": 0.625, "b": 0.25}
    assert task.to_rows(example, ranking, True) == [["0", 2, "c|a", 0.625, 0.25, 0.75]]
    assert task.columns(True) == ["id", "line", "labels", "a", "b", "c"]
    assert task.sample(example, ranking)["predicted"] == ["a", "c"]


def test_a_ranking_is_a_list_that_is_made_when_it_is_looked_at() -> None:
    for shares in itertools.permutations([0.1, 0.3, 0.6]):
        ranking = Ranking(LABELS, np.array(shares))
        plain = sorted(zip(shares, LABELS, strict=True), reverse=True)
        assert [(label.score, label.label) for label in ranking] == plain and len(ranking) == 3
        assert [ranking[n] for n in range(3)] == list(ranking) == ranking[:] == list(ranking[0:3])
        assert ranking[-1] == ranking[2] and ranking == list(ranking) and repr(ranking) == repr(list(ranking))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target": "labels", "metric": "pearson"}, "micro_f1, macro_f1, subset_accuracy, auc"),
        ({"target": "labels", "class_weights": "balanced"}, "class_weights is for target label"),
        ({"target": "number", "label_smoothing": 0.1}, "label_smoothing is for target label"),
        ({"target": "labels", "head": "adaptive"}, "head adaptive is for target label"),
        ({"cutoffs": [1]}, "cutoffs are for head adaptive"),
        ({"tune_thresholds": True}, "tune_thresholds is for target labels"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Classify(**settings)  # type: ignore[arg-type]
