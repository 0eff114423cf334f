"""Classification: rows, weights, the loss against a formula, labels and scores."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from errors import refused
from task_helpers import learner_of, rows_of
from unmask.data.encoded import SPECIAL_TOKEN
from unmask.data.rows.example import Example
from unmask.heads.text import ClassifyHead
from unmask.learner.batch import pack
from unmask.learner.task_learner import TaskLearner
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.classify import Classify, ClassifyTask
from unmask.tasks.task import outputs_of
from unmask.text.tokenizer import Tokenizer


def examples(*labels: str | None, pair: str | None = None) -> list[Example]:
    return [Example(f"river stone {n}", pair, label, str(n), n + 2, "rows.csv") for n, label in enumerate(labels)]


def test_rows_are_encodings_with_their_label(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(max_length=16), tokenizer, ["a", "b"])
    rows = rows_of(task, examples("b", "a", None))
    for row, number in zip(rows, range(3), strict=True):
        wanted = tokenizer.encode(f"river stone {number}", max_length=16)
        assert row.input_ids.tolist() == wanted.input_ids and row.token_type_ids.tolist() == wanted.token_type_ids
        assert (row.flags == SPECIAL_TOKEN).tolist() == wanted.special_tokens_mask
        assert row.owner == number
    assert [row.targets["classify"].tolist() for row in rows[:2]] == [[1], [0]]
    assert rows[2].targets == {} and task.encode(examples("b"))[1].truncated == 0


def test_pairs_become_two_segments(tokenizer: Tokenizer) -> None:
    (row,) = rows_of(ClassifyTask(Classify(max_length=64), tokenizer, ["a", "b"]), examples("a", pair="lantern"))
    wanted = tokenizer.encode("river stone 0", "lantern")
    assert row.input_ids.tolist() == wanted.input_ids and row.token_type_ids.tolist() == wanted.token_type_ids
    assert row.token_type_ids.max() == 1


def test_long_texts_are_cut_and_counted(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(max_length=8), tokenizer, ["a", "b"])
    long = Example("river stone bridge " * 9, None, "a", "0", 2, "rows.csv")
    rows, notes = task.encode([long])
    assert len(rows[0].input_ids) == 8 and notes.truncated == 1


def test_label_sets(tokenizer: Tokenizer) -> None:
    assert ClassifyTask.build(Classify(), tokenizer, examples("b", "a", "b", None)).labels == ["a", "b"]
    with refused("rows.csv", "2 rows", "'a'", "--label-column"):
        ClassifyTask.build(Classify(), tokenizer, examples("a", "a"))
    with refused("rows.csv", "no labels", "--label-column"):
        ClassifyTask.build(Classify(), tokenizer, examples(None, None))


def test_a_label_that_is_new_is_refused(tokenizer: Tokenizer) -> None:
    with refused("rows.csv, line 3", "granite"):
        ClassifyTask(Classify(), tokenizer, ["a", "b"]).encode(examples("a", "granite"))


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
    head = ClassifyHead(task, tiny)
    torch.nn.init.normal_(head.classifier.weight)
    head.weights = None if weights is None else torch.tensor(weights)
    learner = TaskLearner(encoder, head)
    rows = rows_of(task, [Example("winter " * n, None, "abc"[n % 3], "0", n, "f") for n in (1, 2, 3, 4)])
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


def test_labels_come_back_by_probability(tokenizer: Tokenizer) -> None:
    task = ClassifyTask(Classify(), tokenizer, ["a", "b", "c"])
    logits = [np.log(np.array([0.2, 0.5, 0.3], dtype=np.float32)) + 7]
    given = examples(None)
    (labels,) = task.decode(outputs_of(given, rows_of(task, given), logits), {})
    assert [(label.label, round(label.score, 6)) for label in labels] == [("b", 0.5), ("c", 0.3), ("a", 0.2)]
    assert task.top_prediction(labels) == labels[0]


def many(count: int) -> list[Example]:
    """Labels l0, l1, ... of which the later ones are more frequent."""
    return [Example(f"river {n}", None, f"l{n}", str(n), n, "rows.csv") for n in range(count) for _ in range(1 + n)]


def test_labels_of_an_adaptive_head_stand_by_frequency(tokenizer: Tokenizer) -> None:
    settings = Classify(head="adaptive")
    task = ClassifyTask.build(settings, tokenizer, many(6))
    assert task.labels == ["l5", "l4", "l3", "l2", "l1", "l0"]
    assert ClassifyTask.build(Classify(), tokenizer, many(6)).labels == sorted(task.labels)


def test_an_adaptive_head_learns_what_it_predicts(
    make_encoder: Callable[..., Encoder], tokenizer: Tokenizer, tiny: EncoderConfig
) -> None:
    """The training loss is that of the probabilities of prediction, which sum to one over all clusters."""
    settings = Classify(head="adaptive", classifier_dropout=0.0, max_length=32)
    given = many(8)
    task = ClassifyTask.build(settings, tokenizer, given)
    rows = rows_of(task, given)
    torch.manual_seed(0)
    learner = learner_of(task, make_encoder(tiny), rows)
    batch = pack(rows)
    evidence = learner.eval().outputs(batch).detach().numpy()
    assert np.exp(evidence).sum(1) == pytest.approx(1, abs=1e-5)
    order = batch.owner.tolist()
    wanted = [task.label_ids[given[number].label or ""] for number in order]
    total = -sum(float(logs[number]) for logs, number in zip(evidence, wanted, strict=True))
    part = learner.train()(batch).terms["classify"]
    assert part.sum.item() == pytest.approx(total, rel=1e-4) and part.count == len(given)
    part.sum.backward()
    assert all(one.grad is not None for one in learner.head.classifier.parameters())


def test_balanced_weights_give_each_class_the_same_sum(tokenizer: Tokenizer, tiny: EncoderConfig) -> None:
    task = ClassifyTask(Classify(class_weights="balanced"), tokenizer, ["a", "b", "c"])
    given = examples(*"aaaaaabbbc")
    head = ClassifyHead(task, tiny)
    head.init_from_counts(task, rows_of(task, given))
    assert head.weights is not None and head.log_priors is not None
    assert head.weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert [6, 3, 1] @ head.weights.numpy() == pytest.approx(10)
    assert head.log_priors.tolist() == pytest.approx(np.log([0.6, 0.3, 0.1]).tolist())
    plain = ClassifyHead(ClassifyTask(Classify(), tokenizer, ["a", "b", "c"]), tiny)
    plain.init_from_counts(task, rows_of(task, given))
    assert plain.weights is None
