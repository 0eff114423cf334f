"""Any number of labels for a text: the loss, thresholds, scores against scikit-learn, what is written."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from errors import refused
from task_helpers import learner_of, rows_of
from unmask.config import from_mapping
from unmask.data.rows.example import Example, Labels
from unmask.learner.batch import pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.classify import Classify
from unmask.tasks.multilabel import Multilabel, MultilabelTask, best_threshold
from unmask.tasks.regress import Regress
from unmask.tasks.task import outputs_of
from unmask.tasks.text import Ranking
from unmask.text.tokenizer import Tokenizer

LABELS = ["a", "b", "c"]


def examples(*sets: str) -> list[Example]:
    """A row for each text such as "ac", its labels."""
    return [
        Example("winter " * (n + 1), None, Labels(tuple(one)), str(n), n + 2, "rows.csv") for n, one in enumerate(sets)
    ]


@pytest.fixture
def task(tokenizer: Tokenizer) -> MultilabelTask:
    return MultilabelTask(Multilabel(max_length=32, classifier_dropout=0.0), tokenizer, LABELS)


def test_labels_are_those_of_the_training_rows(tokenizer: Tokenizer) -> None:
    settings = Multilabel()
    assert MultilabelTask.build(settings, tokenizer, examples("ca", "", "b")).labels == LABELS
    with refused("rows.csv", "2 rows", "[]", "--label-column"):
        MultilabelTask.build(settings, tokenizer, examples("", ""))
    with refused("rows.csv", "2 rows", ["a", "b"], "--label-column"):
        MultilabelTask.build(settings, tokenizer, examples("ab", "ab"))


def test_the_loss_is_binary_cross_entropy_of_each_label(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, task: MultilabelTask
) -> None:
    given = examples("ac", "", "b", "abc")
    rows = rows_of(task, given)
    learner = learner_of(task, make_encoder(tiny), rows)
    encoder, head = learner.encoder, learner.head
    torch.nn.init.normal_(head.classifier.weight)
    batch = pack(rows)
    part = learner.train()(batch).terms["multilabel"]
    total = 0.0
    for row, example in zip(rows, given, strict=True):
        alone = pack([row])
        logits = head(encoder(alone.input_ids, alone.layout, alone.token_type_ids), alone)[0].tolist()
        for label, logit in zip(LABELS, logits, strict=True):
            share = 1 / (1 + np.exp(-logit))
            total -= np.log(share if label in (example.label_set or ()) else 1 - share)
    assert part.sum.item() == pytest.approx(total, rel=1e-4)
    assert part.count == 12 == batch.target_counts["multilabel"]


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


def logits(shares: list[list[float]]) -> list[np.ndarray]:
    values = np.clip(np.array(shares), 1e-6, None)
    return list(np.log(values / (1 - values)).astype(np.float32))


def test_thresholds_are_calibrated_and_used(tokenizer: Tokenizer) -> None:
    task = MultilabelTask(Multilabel(tune_thresholds=True), tokenizer, LABELS)
    given = examples("a", "a", "b", "z")  # a label that the task does not have is missed
    values = logits([[0.3, 0.1, 0.0], [0.4, 0.2, 0.0], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6]])
    assert task.calibrates == "after training" and MultilabelTask(Multilabel(), tokenizer, LABELS).calibrates == "never"
    rows = rows_of(task, [example.keep_labels(LABELS) for example in given])
    parameters = task.calibrate(outputs_of(given, rows, values))
    assert parameters["thresholds"].tolist() == pytest.approx([0.25, 0.5, 0.5])
    predictions = task.decode(outputs_of(given, rows, values), parameters)
    assert task.comparable(given, predictions) == [["a"], ["a"], ["b"], ["c"]]
    assert [label.label for label in task.top_prediction(predictions[3])] == ["c"]
    assert task.comparable(given, task.decode(outputs_of(given, rows, values), {})) == [[], [], ["b"], ["c"]]
    assert task.reference(given) == [["a"], ["a"], ["b"], ["z"]]


def test_a_ranking_is_a_list_that_is_made_when_it_is_looked_at() -> None:
    for shares in itertools.permutations([0.1, 0.3, 0.6]):
        ranking = Ranking(LABELS, np.array(shares))
        plain = sorted(zip(shares, LABELS, strict=True), reverse=True)
        assert [(label.score, label.label) for label in ranking] == plain and len(ranking) == 3
        assert [ranking[n] for n in range(3)] == list(ranking) == ranking[:] == list(ranking[0:3])
        assert ranking[-1] == ranking[2] and ranking == list(ranking) and repr(ranking) == repr(list(ranking))


@pytest.mark.parametrize(
    ("cls", "settings", "wrong"),
    [
        (Multilabel, {"metric": "pearson"}, "metric"),
        (Multilabel, {"class_weights": "balanced"}, "class_weights"),
        (Regress, {"label_smoothing": 0.1}, "label_smoothing"),
        (Multilabel, {"head": "adaptive"}, "head"),
        (Classify, {"head": "adaptive", "label_smoothing": 0.1}, "the recipe: label_smoothing"),
        (Classify, {"tune_thresholds": True}, "tune_thresholds"),
    ],
)
def test_settings_that_a_task_does_not_have(cls: type, settings: dict[str, object], wrong: str) -> None:
    with refused(f"the test: {wrong} "):
        from_mapping(cls, settings, "the test")
