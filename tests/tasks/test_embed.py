"""Vectors of texts: losses against formulas written out, batches that keep texts together, what is refused."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from errors import refused
from reading import examples_of
from task_helpers import learner_of, rows_of
from unmask import bundle
from unmask.console import SILENT
from unmask.data.rows.example import Example
from unmask.data.sequences import RowSequences
from unmask.engine.export import export
from unmask.heads.embed import contrastive_loss, group_texts
from unmask.learner.batch import pack
from unmask.learner.batches import Batches
from unmask.learner.regularise import Regularisation
from unmask.learner.task_learner import TaskLearner
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.runtime.predictor import load
from unmask.tasks.embed import AnyEmbedLoss, Contrastive, Cosine, Embed, EmbedTask, Unsupervised
from unmask.tasks.task import outputs_of
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

PAIR = Example("river stone", "winter", None, "1", 1, "pairs.csv")


def pairs_of(*texts: tuple[str, ...], scores: list[float] | None = None) -> list[Example]:
    return [
        dataclasses.replace(
            PAIR,
            text=text[0],
            pair=text[1] if len(text) > 1 else None,
            negative=text[2] if len(text) > 2 else None,
            target=None if scores is None else scores[number],
        )
        for number, text in enumerate(texts)
    ]


@pytest.fixture
def learnt(
    tokenizer: Tokenizer, tiny: EncoderConfig, make_encoder: Callable[..., Encoder]
) -> Callable[..., tuple[EmbedTask, TaskLearner, Any]]:
    """A task for these examples, its learner without dropout, and the batch of a step that takes all of them."""

    def make(examples: list[Example], loss: AnyEmbedLoss, **settings: Any) -> tuple[EmbedTask, TaskLearner, Any]:
        task = EmbedTask.build(Embed(loss=loss, **settings), tokenizer, examples)
        rows = rows_of(task, examples)
        encoder = make_encoder(dataclasses.replace(tiny, dropout=0.0))
        learner = learner_of(task, encoder, rows)
        found = RowSequences(rows, learner.head.keeps_rows_together)
        (batch,) = Batches(found, len(found), 0).step(0, copies=learner.copies)
        return task, learner.train(), learner.prepare(batch, 0)

    return make


def vectors_of(task: EmbedTask, learner: TaskLearner, texts: list[str]) -> dict[str, np.ndarray]:
    """Each text by itself, of length 1."""
    rows = rows_of(task, pairs_of(*[(text,) for text in texts]))
    was_training = learner.training
    learner.eval()
    with torch.no_grad():
        found = [learner.outputs(pack([row]))[0].numpy() for row in rows]
    learner.train(was_training)
    return {text: v / np.linalg.norm(v) for text, v in zip(texts, found, strict=True)}


TEXTS = [
    ("river stone", "harbour", "lantern"),
    ("winter captain", "letter garden window"),
    ("river stone", "market"),  # the same first text as above
    ("thunder", "harbour"),  # the same second text
    ("village", "winding road", "harbour"),  # and as a negative
    ("harbour", "silver"),
]


def test_contrastive_as_written_out(learnt: Callable[..., Any]) -> None:
    """InfoNCE by loops over texts: no negative is equal to what is right."""
    task, learner, batch = learnt(pairs_of(*TEXTS), Contrastive(temperature=0.3))
    known = vectors_of(task, learner, sorted({text for row in TEXTS for text in row}))

    def one(text: str, right: str, others: list[str]) -> float:
        scores = [float(known[text] @ known[other]) / 0.3 for other in [right, *others]]
        return math.log(sum(map(math.exp, scores))) - scores[0]

    wanted = 0.0
    for text, right, *_ in TEXTS:
        mine = {b for a, b, *_ in TEXTS if a == text}
        seconds = [b for _, b, *_ in TEXTS if b not in mine and b not in (right, text)]
        thirds = [row[2] for row in TEXTS if len(row) > 2 and row[2] not in mine and row[2] != text]
        wanted += one(text, right, seconds + thirds)
    part = learner(batch).terms["embed"]
    assert part.sum.item() == pytest.approx(wanted, rel=1e-4) and part.count == len(TEXTS)
    assert batch.target_counts == {"embed": len(TEXTS)}


def test_cosine_as_written_out(learnt: Callable[..., Any]) -> None:
    scores = [0.0, 2.5, 5.0, 4.0, 1.0, 3.0]
    examples = pairs_of(*[text[:2] for text in TEXTS], scores=scores)
    task, learner, batch = learnt(examples, Cosine(), normalize_embeddings=False)
    known = vectors_of(task, learner, sorted({text for row in TEXTS for text in row[:2]}))
    total = sum((float(known[a] @ known[b]) - s / 5) ** 2 for (a, b, *_), s in zip(TEXTS, scores, strict=True))
    assert learner(batch).terms["embed"].sum.item() == pytest.approx(total, rel=1e-4)
    assert not learner.uses_in_batch_negatives and task.schema()["scores"] == [0.0, 5.0]


def test_unsupervised_reads_each_text_twice(learnt: Callable[..., Any]) -> None:
    """Without dropout each text finds itself, and equal texts are not told apart; with it there is something to do."""
    examples = pairs_of(("river",), ("stone bridge",), ("river",), ("winter",))
    task, learner, batch = learnt(examples, Unsupervised(temperature=0.5))
    assert batch.num_sequences == 8 and batch.target_counts == {"embed": 4} and batch.copies == 2
    known = vectors_of(task, learner, ["river", "stone bridge", "winter"])
    total = 0.0
    for text in ("river", "stone bridge", "river", "winter"):
        others = [other for other in ("river", "stone bridge", "river", "winter") if other != text]
        scores = [float(known[text] @ known[other]) / 0.5 for other in (text, *others)]
        total += math.log(sum(map(math.exp, scores))) - scores[0]
    assert learner(batch).terms["embed"].sum.item() == pytest.approx(total, rel=1e-4)
    first, second, third = group_texts(batch)
    assert torch.equal(batch.example[first], batch.example[second]) and not len(third)
    noisy = Encoder(dataclasses.replace(learner.encoder.config, dropout=0.3))
    other = learner_of(task, noisy, rows_of(task, examples)).train()
    torch.manual_seed(0)
    vectors = other.outputs(batch)
    assert not torch.allclose(vectors[first], vectors[second])


def test_contrast_has_the_gradient_of_its_formula() -> None:
    """Of n anchors and n others without equal texts it is cross-entropy with the diagonal."""
    torch.manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(5, 4), dim=-1).requires_grad_() for _ in range(2))
    numbers = torch.arange(10)
    loss = contrastive_loss(a, b, numbers[:5], numbers[5:], 0.1)
    wanted = -torch.log_softmax(a @ b.T / 0.1, -1).diagonal().sum()
    assert torch.allclose(loss, wanted)
    assert torch.allclose(torch.autograd.grad(loss, a)[0], torch.autograd.grad(wanted, a)[0], atol=1e-5)
    same = contrastive_loss(a, b, torch.zeros(5, dtype=torch.int64), numbers[5:], 0.1)
    assert same.item() == 0  # one text five times: nothing is its negative


def test_texts_of_an_example_are_found_wherever_they_lie(learnt: Callable[..., Any]) -> None:
    """The longest sequences stand first in a batch; the same example may be there in two epochs."""
    task, _, _ = learnt(pairs_of(*TEXTS), Contrastive())
    rows = rows_of(task, pairs_of(*TEXTS))
    found = RowSequences(rows, together=True)
    assert len(found) == len(TEXTS) and found.mean_tokens == sum(len(r.input_ids) for r in rows) / len(TEXTS)
    (batch,) = Batches(found, 9, 1).step(0)
    first, second, third = group_texts(batch)
    assert (
        len(first) == len(second) == 9
        and len(set(zip(batch.owner[first].tolist(), batch.epoch[first].tolist(), strict=True))) == 9
    )
    assert torch.equal(batch.owner[first], batch.owner[second])
    starts = np.cumsum([0, *(len(text) for text in TEXTS)])
    assert batch.example[first].tolist() == starts[batch.owner[first].numpy()].tolist()
    assert torch.equal(batch.example[second], batch.example[first] + 1)
    assert sorted(set(batch.owner[third].tolist())) == [0, 4]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_texts_of_an_example_stay_in_one_micro_batch(learnt: Callable[..., Any], parts: int) -> None:
    task, _, _ = learnt(pairs_of(*TEXTS), Contrastive())
    found = RowSequences(rows_of(task, pairs_of(*TEXTS)), together=True)
    seen: list[int] = []
    for rank in range(2):
        for batch in Batches(found, 6, 0, parts, rank, 2).step(0):
            owners = set(batch.owner.tolist())
            assert batch.num_sequences == sum(len(TEXTS[owner]) for owner in owners)
            seen += owners
    assert sorted(seen) == list(range(6))


def test_a_cosine_loss_may_be_cut_and_learns_the_same(learnt: Callable[..., Any]) -> None:
    examples = pairs_of(*[text[:2] for text in TEXTS], scores=[0.0, 2.5, 5.0, 4.0, 1.0, 3.0])
    task, learner, whole = learnt(examples, Cosine())
    micro = Batches(RowSequences(rows_of(task, examples), together=True), 6, 0, 3).step(0)
    total = sum(learner(learner.prepare(batch, 0)).terms["embed"].sum.item() for batch in micro)
    assert total == pytest.approx(learner(whole).terms["embed"].sum.item(), rel=1e-4)


def test_the_examples_of_a_step_are_compared_so_that_it_is_not_cut(
    pretrained: Path, pairs: Path, numbers: Path, tmp_path: Path
) -> None:
    settings = ["task.max_length=16", "train.budget=1 step", "train.gradient_accumulation_steps=2"]
    with refused(settings[-1], "train.gradient_accumulation_steps=1"):
        finetune(None, settings, model=pretrained, task="embed", train=pairs, output=tmp_path / "a", progress=SILENT)
    run = finetune(
        None,
        [*settings, "task.loss=cosine"],
        model=pretrained,
        task="embed",
        train=numbers,
        output=tmp_path / "b",
        progress=SILENT,
    )
    assert run.steps == 1
    with refused("regularisation.rdrop", "task embed"):
        finetune(
            None,
            ["regularisation.rdrop=1"],
            model=pretrained,
            task="embed",
            train=pairs,
            output=tmp_path / "c",
            progress=SILENT,
        )


def test_adversarial_training_goes_with_it(learnt: Callable[..., Any]) -> None:
    task, plain, _ = learnt(pairs_of(*TEXTS), Contrastive())
    learner = TaskLearner(plain.encoder, plain.head, Regularisation(fgm=1.0)).train()
    (batch,) = Batches(RowSequences(rows_of(task, pairs_of(*TEXTS)), together=True), 6, 0).step(0)
    batch = learner.prepare(batch, 0)
    assert batch.target_counts == {"embed": 6, "adversarial": 6}
    plain = learner(batch)
    plain.share(batch.target_counts).backward()
    raised = learner(dataclasses.replace(batch, backward_pass=1)).terms["adversarial"]
    assert raised.sum.item() > plain.terms["embed"].sum.item()


def test_learning_brings_what_belongs_together_near(pretrained: Path, pairs: Path, tmp_path: Path) -> None:
    settings = [
        "task.max_length=16",
        "train.budget=60 steps",
        "train.optimizer.lr=0.01",
        "train.evaluations=1",
    ]
    run = finetune(
        None,
        settings,
        model=pretrained,
        task="embed",
        train=pairs,
        dev=pairs,
        output=tmp_path / "run",
        progress=SILENT,
    )
    before = load(pretrained)
    assert run.metric == "embed.mrr" and run.best_score[0] == "MRR" and run.dev["embed.mrr"] > 0.5
    with refused(before.manifest.folder, "unmask finetune"):
        before("river")


def test_what_cannot_be_learnt_is_said(tokenizer: Tokenizer) -> None:
    scored, plain = (pairs_of(("river", "stone"), ("a", "b"), scores=scores) for scores in ([1.0, 1.0], None))
    single = pairs_of(("river",), ("stone",))
    for examples, loss, names in (
        (single, Contrastive(), ("pairs.csv, line 1", "--pair-column")),
        (single, Cosine(), ("pairs.csv, line 1", "--pair-column")),
        (plain, Cosine(), ("pairs.csv", "task.loss=cosine", "--label-column")),
        (scored, Cosine(), ("pairs.csv", "2 rows", "score 1")),
        (scored, Contrastive(), ("pairs.csv", "task.loss=contrastive", "task.loss=cosine")),
        ([scored[0], plain[0]], Cosine(), ("pairs.csv, line 1", "no score")),
    ):
        with refused(*names):
            EmbedTask.build(Embed(loss=loss), tokenizer, examples)
    assert EmbedTask.build(Embed(loss=Unsupervised()), tokenizer, single).metric == "mrr"


@pytest.mark.parametrize(
    ("content", "scores", "negatives"),
    [
        ("text_a,text_b\nriver,stone\n", [None], [None]),
        ("anchor,positive,negative\nriver,stone,winter\na,b,\n", [None, None], ["winter", None]),
        ("sentence1,sentence2,score\nriver,stone,3.5\n", [3.5], [None]),
        ("text_a,text_b,label\nriver,stone,0\n", [0.0], [None]),
        ("text_a,text_b,label\nriver,stone,same\n", [None], [None]),
    ],
)
def test_rows_are_read(tmp_path: Path, content: str, scores: list[float | None], negatives: list[str | None]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content, encoding="utf-8")
    found = examples_of(path, "pairs")
    assert [e.number for e in found] == scores and [e.negative for e in found] == negatives
    assert all(e.label is None and e.without_targets.negative is None for e in found)


def test_a_column_of_scores_that_was_asked_for_holds_numbers(tmp_path: Path) -> None:

    path = tmp_path / "rows.jsonl"
    rows = [{"text_a": "a", "text_b": "b", "how": how} for how in (3, "near", 4.5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with refused(f"{path}, line 2", "'how'", "near"):
        examples_of(path, "pairs", label_column="how")
    found = examples_of(path, "pairs", label_column="how", on_error="skip")
    assert [e.number for e in found] == [3, 4.5]


def test_the_metric_is_that_of_the_dev_rows(pretrained: Path, pairs: Path, numbers: Path, tmp_path: Path) -> None:
    """Learnt from texts alone or pairs, chosen by scores: and kept in the model."""
    settings = ["task.max_length=16", "train.budget=2 steps"]
    for name, train in (("unsupervised", numbers), ("contrastive", pairs)):
        run = finetune(
            None,
            [*settings, f"task.loss={name}"],
            model=pretrained,
            task="embed",
            train=train,
            dev=numbers,
            output=tmp_path / name,
            progress=SILENT,
        )
        assert run.metric == "embed.spearman" and run.predictor().task.metric == "spearman"
    predictor = run.predictor()
    assert list(predictor.evaluate(pairs).figures) == ["mrr", "ndcg_10", "recall_1", "recall_10"]
    assert list(predictor.evaluate(numbers).figures) == ["spearman", "pearson"]


def test_long_texts_are_cut_and_counted(tokenizer: Tokenizer) -> None:
    task = EmbedTask(Embed(max_length=8), tokenizer)
    rows, notes = task.encode(pairs_of(("river " * 30, "stone"), ("winter", "harbour " * 30)))
    assert notes.truncated == 2 and max(len(row.input_ids) for row in rows) == 8
    assert [row.owner for row in rows] == [0, 0, 1, 1]


@pytest.mark.parametrize("normalize", [True, False])
def test_windows_of_a_long_text_are_one_vector(learnt: Callable[..., Any], normalize: bool) -> None:
    """The mean of the vectors of the windows, weighted by their tokens; in prediction and in the loss."""
    examples = pairs_of(("river stone " * 9, "winter"), ("harbour", "the captain of the lantern " * 3 + "winter"))
    given = {"max_length": 9, "stride": 5, "long_texts": "windows", "normalize_embeddings": normalize}
    task, learner, batch = learnt(examples, Contrastive(temperature=0.5), **given)
    rows, notes = task.encode(examples)
    assert notes.truncated == 0 and max(map(len, rows)) == 9 and len(rows) > 6
    learner.eval()
    with torch.no_grad():
        values = [learner.outputs(pack([row]))[0].numpy() for row in rows]
    expected = []
    for place in range(4):
        own = [n for n, row in enumerate(rows) if row.example == place]
        vector = sum(len(rows[n]) * values[n] for n in own) / sum(len(rows[n]) for n in own)
        expected.append(vector / np.linalg.norm(vector) if normalize else vector)
    made = task.decode(outputs_of(examples, rows, values), {})
    np.testing.assert_allclose(np.concatenate(made), expected, atol=1e-6)

    units = [vector / np.linalg.norm(vector) for vector in expected]
    scores = np.array([[units[a] @ units[b] / 0.5 for b in (1, 3)] for a in (0, 2)])
    total = -np.log(np.exp(scores).diagonal() / np.exp(scores).sum(1)).sum()
    assert batch.target_counts == {"embed": 2}
    assert learner(batch).terms["embed"].sum.item() == pytest.approx(total, rel=1e-4)


def test_windows_are_learnt_and_predicted(pretrained: Path, numbers: Path, tmp_path: Path) -> None:
    fast = ["task.max_length=8", "task.long_texts=windows", "train.budget=2 steps"]
    for loss in ("unsupervised", "cosine"):
        out = tmp_path / loss
        settings = [*fast, f"task.loss={loss}"]
        run = finetune(None, settings, model=pretrained, task="embed", train=numbers, output=out, progress=SILENT)
    predictor = load(run.model)
    text = "river stone harbour winter captain letter garden window"
    vector, beginning = predictor.encode([text, " ".join(text.split()[:6])])
    assert np.linalg.norm(vector) == pytest.approx(1) and not np.allclose(vector, beginning, atol=1e-3)
    together = predictor.encode([text, "river", text * 5, ""])
    np.testing.assert_allclose(together[0], vector, atol=1e-5)
    export(run.model, "onnx", tmp_path / "exported")
    np.testing.assert_allclose(load(tmp_path / "exported").encode([text, "river", text * 5, ""]), together, atol=1e-5)


def test_vectors_are_those_of_the_formula(pretrained: Path, pairs: Path, tmp_path: Path) -> None:
    """The mean over all tokens, [CLS] and [SEP] among them, of length 1: by torch from the hidden states."""
    run = finetune(
        None,
        ["task.max_length=16", "train.budget=1 step"],
        model=pretrained,
        task="embed",
        train=pairs,
        output=tmp_path / "run",
        progress=SILENT,
    )
    model = load(run.model)
    for text in ("river stone", "winter " * 40):
        encoded = model.tokenizer.encode(text, max_length=16)
        ids = torch.tensor([encoded.input_ids])
        from unmask.model.layout import SequenceLayout

        spans = SequenceLayout.padded(torch.ones_like(ids, dtype=torch.bool))
        with torch.no_grad():
            hidden = model.engine.encoder(ids, spans, torch.zeros_like(ids))
        mean = hidden[0].mean(0).numpy()
        vector = model(text)
        assert vector.dtype == np.float32 and vector.shape == (16,)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert model("river", "stone") == pytest.approx(float(model("river") @ model("stone")), abs=1e-6)


def test_written_as_a_folder_of_sentence_transformers_and_read_again(
    pretrained: Path, pairs: Path, tmp_path: Path
) -> None:
    """Every bundle holds the files; exported, without ours, it gives the same vectors."""
    from unmask.bundle import export

    for pooling in ("mean", "cls", "max", "attention"):
        run = finetune(
            None,
            [
                "task.max_length=16",
                "train.budget=1 step",
                f"task.pooling={pooling}",
                "task.normalize_embeddings=false",
            ],
            model=pretrained,
            task="embed",
            train=pairs,
            output=tmp_path / pooling,
            progress=SILENT,
        )
        opened = bundle.read(run.model)
        out = tmp_path / f"{pooling}-exported"
        if pooling == "attention":
            assert not (run.model / "modules.json").exists()
            with refused(run.model, "pooling attention"):
                export(opened, out, sentences=True)
            continue
        assert (run.model / "modules.json").is_file()
        assert export(opened, out, sentences=True) == "BertModel"
        assert not (out / "unmask.json").exists()
        said = json.loads((out / "1_Pooling" / "config.json").read_text())
        assert said.pop("word_embedding_dimension") == 16
        assert [name.split("_")[2] for name, on in said.items() if on] == [pooling]
        again = load(out)
        task = bundle.read(out).task
        assert task is not None and (task["pooling"], task["max_length"]) == (pooling, 16)
        assert task["normalize_embeddings"] is False
        assert np.array_equal(again("river stone"), load(run.model)("river stone"))
        kinds = [part["type"].rpartition(".")[2] for part in json.loads((out / "modules.json").read_text())]
        assert kinds == ["Transformer", "Pooling"]
    with refused(pretrained, "sentence-transformers"):
        export(bundle.read(pretrained), tmp_path / "no", sentences=True)


def test_pairs_of_one_first_text_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    from unmask.data.rows.split import split

    path = tmp_path / "rows.csv"
    rows = [f"text {number % 8},answer {number}" for number in range(40)]
    path.write_text("\n".join(["question,answer", *rows]) + "\n", encoding="utf-8")
    train, dev = split(examples_of(path, "pairs"), 0.25)
    assert dev and not {e.text for e in train} & {e.text for e in dev}
