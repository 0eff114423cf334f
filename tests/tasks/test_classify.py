"""Classification: rows, weights, the loss against a formula, labels and scores."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unmask.data.batch import SPECIAL_TOKEN, pack
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import Classify, ClassifyTask
from unmask.tasks.classify import ClassifyLearner, Label
from unmask.tasks.task import head_outputs
from unmask.text.tokenizer import Tokenizer


def examples(*labels: str | None, pair: str | None = None) -> list[Example]:
    return [Example(str(n), f"river stone {n}", pair, label, n + 2, "rows.csv") for n, label in enumerate(labels)]


def test_rows_are_encodings_with_their_label(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(max_length=16), tokenizer, ["a", "b"])
    rows = task.encode(examples("b", "a", None))
    for row, number in zip(rows, range(3), strict=True):
        wanted = tokenizer.encode(f"river stone {number}", max_length=16)
        assert row.input_ids.tolist() == wanted.input_ids and row.token_type_ids.tolist() == wanted.token_type_ids
        assert (row.flags == SPECIAL_TOKEN).tolist() == wanted.special_tokens_mask
        assert row.owner == number
    assert [row.targets["classify"].tolist() for row in rows[:2]] == [[1], [0]]
    assert rows[2].targets == {} and task.truncated == 0


def test_pairs_become_two_segments(tokenizer: Tokenizer) -> None:
    (row,) = ClassifyTask(Classify(max_length=64), tokenizer, ["a", "b"]).encode(examples("a", pair="lantern"))
    wanted = tokenizer.encode("river stone 0", "lantern")
    assert row.input_ids.tolist() == wanted.input_ids and row.token_type_ids.tolist() == wanted.token_type_ids
    assert row.token_type_ids.max() == 1


def test_long_texts_are_cut_and_counted(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(max_length=8), tokenizer, ["a", "b"])
    long = Example("0", "river stone bridge " * 9, None, "a", 2, "rows.csv")
    rows = task.encode([long, *examples("a")[:0]])
    assert len(rows[0].input_ids) == 8 and task.truncated == 1


def test_label_sets() -> None:
    assert ClassifyTask.labels_of(examples("b", "a", "b", None)) == ["a", "b"]
    with pytest.raises(UserError, match=r"rows\.csv: classification needs at least two labels") as caught:
        ClassifyTask.labels_of(examples("a", "a"))
    assert "2 rows, all labelled 'a'" in str(caught.value)
    with pytest.raises(UserError, match="at least two labels"):
        ClassifyTask.labels_of(examples(None, None))


def test_a_label_that_is_new_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="granite"):
        ClassifyTask(Classify(), tokenizer, ["a", "b"]).encode(examples("a", "granite"))


def test_balanced_weights_give_each_class_the_same_sum(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(class_weights="balanced"), tokenizer, ["a", "b", "c"])
    weights = task.label_weights(examples(*"aaaaaabbbc"))
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert [6, 3, 1] @ weights.numpy() == pytest.approx(10)
    assert ClassifyTask(Classify(), tokenizer, ["a", "b"]).label_weights(examples("a", "b")) is None


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([0.5, 1.0, 3.0], 0.0), ([0.5, 1.0, 3.0], 0.2)])
def test_the_loss_is_the_formula(
    make_encoder: Callable[..., Encoder],
    tokenizer: Tokenizer,
    tiny: EncoderConfig,
    pooling: str,
    weights: list[float] | None,
    smoothing: float,
) -> None:
    """Cross-entropy with a target of (1 - s) on the label and s / K on all, each class by its weight."""
    settings = Classify(pooling=pooling, label_smoothing=smoothing, classifier_dropout=0.0, max_length=32)  # type: ignore[arg-type]
    task, encoder = ClassifyTask(settings, tokenizer, ["a", "b", "c"]), make_encoder(tiny)
    head = task.head(tiny)
    torch.nn.init.normal_(head.classifier.weight)
    learner = ClassifyLearner(encoder, head, settings, None if weights is None else torch.tensor(weights))
    rows = task.encode([Example("0", "winter " * n, None, "abc"[n % 3], n, "f") for n in (1, 2, 3, 4)])
    batch = pack(rows)
    logits, labels = [], []
    for row in rows:
        alone = pack([row])
        hidden = encoder(alone.input_ids, alone.layout, alone.token_type_ids)
        pooled = hidden[0] if pooling == "cls" else hidden.mean(0)
        pooled = torch.tanh(head.pooler.transform.dense(pooled))
        logits.append(head.classifier(pooled).detach().double().numpy())
        labels.append(int(row.targets["classify"][0]))
    shown = np.stack(logits)
    log = shown - np.log(np.exp(shown).sum(-1, keepdims=True))
    each = np.ones(3) if weights is None else np.array(weights)
    wanted = sum(
        -(1 - smoothing) * each[y] * row[y] - smoothing / 3 * (each * row).sum()
        for y, row in zip(labels, log, strict=True)
    )
    part = learner.train()(batch).terms["classify"]
    assert part.sum.item() == pytest.approx(wanted, rel=1e-4) and part.count == 4 and part.correct is None
    part = learner.eval()(batch).terms["classify"]  # in evaluation the plain loss, to compare
    plain = -sum(row[y] for y, row in zip(labels, log, strict=True))
    assert part.sum.item() == pytest.approx(plain, rel=1e-4)
    assert part.correct == sum(int(row.argmax() == y) for y, row in zip(labels, log, strict=True))


def said(*names: str) -> list[list[Label]]:
    return [[Label(name, 0.9), Label("ab".replace(name, ""), 0.1)] for name in names]


def test_labels_come_back_by_probability(tokenizer: Tokenizer, tiny: EncoderConfig) -> None:
    task = ClassifyTask(Classify(), tokenizer, ["a", "b", "c"])
    evidence = [np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32))]
    given = examples(None)
    (labels,) = task.decode(task.head(tiny), given, task.encode(given), evidence)
    assert [(label.label, round(label.score, 6)) for label in labels] == [("b", 0.5), ("c", 0.3), ("a", 0.2)]
    assert repr(labels[0]) == "Label(name='b', score=0.50)" and task.top_prediction(labels) == labels[0]


def test_scores_are_counted_by_hand(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(), tokenizer, ["a", "b"])
    evaluation = task.score(examples("a", "b", "b", "b", "a"), said("a", "a", "b", "b", "b"))
    assert evaluation.rows == 5 and evaluation.accuracy.value == pytest.approx(3 / 5)
    assert evaluation.confusion == [[1, 1], [1, 2]]
    assert evaluation.macro_f1.value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert evaluation.accuracy.low <= 0.6 <= evaluation.accuracy.high
    assert evaluation.figures == {"accuracy": evaluation.accuracy, "macro_f1": evaluation.macro_f1}
    assert [(row["label"], row["predicted"]) for row in evaluation.confused] == [("a", "b"), ("b", "a")]


def test_a_learner_is_judged_by_plain_loss_and_accuracy(tokenizer: Tokenizer, tiny: EncoderConfig) -> None:
    task = ClassifyTask(Classify(), tokenizer, ["a", "b"])
    given = examples("a", "b")
    shares = np.array([[0.5, 0.5], [0.75, 0.25]], dtype=np.float32)
    figures = task.dev_metrics(task.head(tiny), given, task.encode(given), list(np.log(shares)))
    assert figures == pytest.approx({"classify.loss": -(np.log(0.5) + np.log(0.25)) / 2, "classify.accuracy": 0.5})


def many(count: int) -> list[Example]:
    """Labels l0, l1, ... of which the later ones are more frequent."""
    return [Example(str(n), f"river {n}", None, f"l{n}", n, "rows.csv") for n in range(count) for _ in range(1 + n)]


def test_labels_of_an_adaptive_head_stand_by_frequency(tokenizer: Tokenizer) -> None:
    settings = Classify(head="adaptive")
    task = ClassifyTask.build(settings, tokenizer, many(6))
    assert task.labels == ["l5", "l4", "l3", "l2", "l1", "l0"]
    assert ClassifyTask.build(Classify(), tokenizer, many(6)).labels == sorted(task.labels)
    assert ClassifyTask(settings, tokenizer, list(map(str, range(2000)))).cutoffs() == [100, 500]
    assert ClassifyTask(settings, tokenizer, ["a", "b"]).cutoffs() == [1]


@pytest.mark.parametrize("cutoffs", [[], [0], [6], [3, 2], [2, 2]])
def test_cutoffs_that_do_not_fit(tokenizer: Tokenizer, cutoffs: list[int]) -> None:
    with pytest.raises(UserError, match=r"task\.cutoffs cannot be used") as caught:
        ClassifyTask.build(Classify(head="adaptive", cutoffs=cutoffs), tokenizer, many(6))
    assert "there are 6 labels" in str(caught.value)


def test_clusters_need_width(tokenizer: Tokenizer, tiny: EncoderConfig) -> None:
    """Each cluster has a quarter of the width of the one before it (Grave et al. 2017, section 4.1)."""
    task = ClassifyTask(Classify(head="adaptive", cutoffs=[1, 2, 3]), tokenizer, list("abcdef"))
    with pytest.raises(UserError, match=r"too many clusters for a width of 16") as caught:
        task.head(tiny)
    assert "at most 2 cutoffs" in str(caught.value)


def test_an_adaptive_head_learns_what_it_predicts(
    make_encoder: Callable[..., Encoder], tokenizer: Tokenizer, tiny: EncoderConfig
) -> None:
    """The training loss is that of the probabilities of prediction, which sum to one over all clusters."""
    settings = Classify(head="adaptive", cutoffs=[2, 5], classifier_dropout=0.0, max_length=32)
    given = many(8)
    task = ClassifyTask.build(settings, tokenizer, given)
    rows = task.encode(given)
    torch.manual_seed(0)
    learner = task.learner(make_encoder(tiny), given, rows)
    batch = pack(rows)
    evidence = task.logits(head_outputs(learner.eval().encoder, learner.head, batch).detach(), batch)
    assert np.exp(evidence).sum(1) == pytest.approx(1, abs=1e-5)
    order = batch.owner.tolist()
    wanted = [task.label_ids[given[number].label or ""] for number in order]
    total = -sum(float(logs[number]) for logs, number in zip(evidence, wanted, strict=True))
    part = learner.train()(batch).terms["classify"]
    assert part.sum.item() == pytest.approx(total, rel=1e-4) and part.count == len(given)
    part.sum.backward()
    assert all(one.grad is not None for one in learner.head.adaptive.parameters())


@pytest.mark.parametrize("metric", ["matthews", "macro_f1", "auc"])
def test_the_metric_chooses_what_is_watched(tokenizer: Tokenizer, tiny: EncoderConfig, metric: str) -> None:
    task = ClassifyTask(Classify(metric=metric), tokenizer, ["a", "b"])  # type: ignore[arg-type]
    given = examples("a", "b", "b", "a")
    shares = np.array([[0.5, 0.5], [0.25, 0.75], [0.7, 0.3], [0.9, 0.1]], dtype=np.float32)
    figures = task.dev_metrics(task.head(tiny), given, task.encode(given), list(np.log(shares)))
    wanted = {"matthews": 2 / 12**0.5, "macro_f1": (4 / 5 + 2 / 3) / 2, "auc": 3 / 4}[metric]
    assert task.metric_key == f"classify.{metric}" and figures[task.metric_key] == pytest.approx(wanted)
    found = task.score(given, task.decode(task.head(tiny), given, task.encode(given), list(np.log(shares))))
    assert list(found.figures) == list(dict.fromkeys([metric, "accuracy", "macro_f1"]))
    assert found.figures[metric].value == pytest.approx(wanted)


def test_pairs_of_very_many_labels_are_not_counted_one_by_one(tokenizer: Tokenizer) -> None:
    labels = [f"l{n:03}" for n in range(101)]
    task = ClassifyTask(Classify(), tokenizer, labels)
    given = [Example(str(n), "x", None, label, n, "f") for n, label in enumerate(labels)]
    found = task.score(given, [[Label(labels[0], 1.0)] for _ in given])
    assert found.confusion is None and len(found.confused) == 100 and found.accuracy.value == 1 / 101
