"""R-Drop and FGM: against formulas, finite differences, and what they are without dropout."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from task_helpers import learner_of, rows_of
from unmask.config import changed, from_mapping
from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import Example, Span, Spans
from unmask.learner.batch import Batch, pack
from unmask.learner.regularise import Regularisation, fgm_perturbation, symmetric_kl
from unmask.learner.task_learner import TaskLearner
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.classify import Classify, ClassifyTask
from unmask.tasks.tag import Tag, TagTask
from unmask.text.tokenizer import Tokenizer
from unmask.train.steps.device import Precision
from unmask.train.steps.loop import _accumulate, _global_counts
from unmask.train.steps.parallel import World
from unmask.train.steps.speed import flops_per_token

TEXTS = [(n, f"river {'stone ' * n}") for n in (5, 3, 3, 1)]
ROWS = {
    "classify": [Example(text, None, "abc"[n % 3], str(n), n, "f") for n, text in TEXTS],
    "tag": [Example(text, None, Spans((Span(0, 5, "PLACE"),)), str(n), n, "f") for n, text in TEXTS],
}
KINDS = {
    "classify": ("classify", {}),
    "classify, mean": ("classify", {"pooling": "mean"}),
    "tag": ("tag", {}),
    "tag, crf, lstm": ("tag", {"decoder": "crf", "lstm_hidden_size": 5}),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
Make = Callable[..., tuple[TaskLearner, list[EncodedRow]]]


@pytest.fixture
def make(tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> Make:
    """A learner of a kind that is learning, in double precision, and rows for it."""

    def made(kind: str, dropout: float = 0.0, **regularise: float) -> tuple[TaskLearner, list[EncodedRow]]:
        name, settings = KINDS[kind]
        cls, task_cls = (Classify, ClassifyTask) if name == "classify" else (Tag, TagTask)
        task = task_cls.build(  # type: ignore[attr-defined]
            from_mapping(cls, {**settings, "max_length": 32, "classifier_dropout": dropout}, "x"), tokenizer, ROWS[name]
        )
        rows = rows_of(task, ROWS[name])
        learner = learner_of(task, make_encoder(changed(tiny, dropout=dropout)), rows, Regularisation(**regularise))
        for parameter in learner.head.parameters():
            torch.nn.init.normal_(parameter)
        return learner.double().train(), rows

    return made


def prepared(learner: TaskLearner, rows: list[EncodedRow]) -> Batch:
    return learner.prepare(pack(rows, copies=learner.copies), 0)


def learnt(learner: TaskLearner, micro: list[Batch]) -> tuple[list[float], list[torch.Tensor]]:
    """(the loss and the mean of each part, the gradients) of a step over these micro-batches."""
    learner.zero_grad()
    counts, _, _ = _global_counts(World("cpu"), micro, 0.0)
    told = _accumulate(learner, micro, counts, World("cpu"), Precision()).tolist()
    return told, [p.grad.clone() for p in learner.parameters() if p.grad is not None]


def test_the_divergence_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4, dtype=torch.float64)
    p, q = (np.exp(x.numpy()) / np.exp(x.numpy()).sum(-1, keepdims=True) for x in (first, second))
    wanted = ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2
    assert symmetric_kl(first, second).item() == pytest.approx(wanted, rel=1e-5)
    assert symmetric_kl(first, first).item() == 0


@EVERY_KIND
def test_without_dropout_both_copies_say_the_same(make: Make, kind: str) -> None:
    """The term is then exactly nought, and the rest is the loss without it."""
    plain, rows = make(kind)
    learner, _ = make(kind, rdrop=3.0)
    (loss, *means), gradients = learnt(learner, [prepared(learner, rows)])
    (wanted, _), others = learnt(plain, [prepared(plain, rows)])
    assert means[1] == 0.0 and (loss, means[0]) == pytest.approx((wanted, wanted), rel=1e-6)
    for mine, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@EVERY_KIND
def test_the_loss_under_dropout_is_the_mean_of_two_passes_and_their_divergence(make: Make, kind: str) -> None:
    learner, rows = make(kind, dropout=0.3, rdrop=0.7)
    batch = prepared(learner, rows)
    torch.manual_seed(5)
    loss = learner(batch)
    (name, task), (_, apart) = loss.terms.items()
    torch.manual_seed(5)
    with torch.no_grad():
        outputs = learner.outputs(batch)
    units = learner.head.rows_per_sequence(batch).tolist()
    parts = outputs.split(units)
    divergence = symmetric_kl(torch.cat(parts[0::2]), torch.cat(parts[1::2])).item()
    assert divergence > 0.01 and apart.sum.item() == pytest.approx(divergence)
    assert (apart.count, apart.weight) == (task.count // 2, 0.7)
    assert batch.target_counts == {name: task.count, "rdrop": apart.count}
    share = task.sum.item() / task.count + 0.7 * divergence / apart.count
    assert loss.share(batch.target_counts).item() == pytest.approx(share)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0.01, 10))
def test_a_change_has_its_length_and_the_direction_of_the_slope(lengths: list[int], length: float) -> None:
    torch.manual_seed(0)
    slope = torch.randn(sum(lengths), 4, dtype=torch.float64) * 1e-9
    embedded = torch.randn(sum(lengths), 4, dtype=torch.float64)
    change = fgm_perturbation(slope, embedded, SequenceLayout.packed(lengths), length)
    for mine, theirs, at in zip(*(x.split(lengths) for x in (change, slope, embedded)), strict=True):
        size = at.square().mean().sqrt()
        assert mine.norm().item() == pytest.approx(length * size.item())
        torch.testing.assert_close(mine, length * size * theirs / theirs.norm())
    larger = fgm_perturbation(slope, 7 * embedded, SequenceLayout.packed(lengths), length)
    torch.testing.assert_close(larger, 7 * change)  # the size of embeddings does not matter


def test_where_the_slope_is_nought_nothing_is_changed() -> None:
    slope = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    change = fgm_perturbation(slope, torch.ones(2, 2), SequenceLayout.packed([1, 1]), 2.0)
    assert change.tolist() == [[pytest.approx(1.2), pytest.approx(1.6)], [0, 0]]


@EVERY_KIND
@pytest.mark.parametrize("frozen", [False, True])
def test_the_second_pass_sees_the_embeddings_changed_against_it(make: Make, kind: str, frozen: bool) -> None:
    """Both passes computed anew, with the gradient that torch gives; also where embeddings do not learn."""
    learner, rows = make(kind, fgm=0.4)
    batch = prepared(learner, rows)
    token, seen = learner.encoder.embeddings.token, []
    token.weight.requires_grad_(not frozen)
    hook = token.register_forward_hook(lambda _, __, embedded: seen.append(embedded.detach()))
    (loss, plain, worse), gradients = learnt(learner, [batch])
    hook.remove()
    assert len(seen) == 2 and loss == pytest.approx(plain + worse)

    def at(embedded: torch.Tensor) -> torch.Tensor:
        hook = token.register_forward_hook(lambda *_: embedded)
        with_it = learner.head.loss(learner.outputs(batch), batch)
        hook.remove()
        ((_, part),) = with_it.terms.items()
        return part.sum / part.count

    start = token(batch.input_ids).detach().requires_grad_()
    first = at(start)
    (slope,) = torch.autograd.grad(first, start)
    lengths = list(batch.layout.lengths)
    change = torch.cat(
        [
            0.4 * at.square().mean().sqrt() * part / part.norm()
            for part, at in zip(slope.split(lengths), start.detach().split(lengths), strict=True)
        ]
    )
    second = at(start.detach() + change)
    assert (plain, worse) == pytest.approx((first.item(), second.item()))
    assert worse > plain
    learner.zero_grad()
    at(token(batch.input_ids)).backward()
    at(token(batch.input_ids) + change).backward()
    wanted = [p.grad for p in learner.parameters() if p.grad is not None]
    for mine, theirs in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
    assert learner.embedding_gradient is None  # nothing is held on to


@pytest.mark.parametrize("kind", ["classify", "tag, crf, lstm"])
def test_micro_batches_of_any_number_give_the_same_gradients(make: Make, kind: str) -> None:
    learner, rows = make(kind, fgm=0.4, rdrop=2.0)
    whole = learnt(learner, [prepared(learner, rows)])
    cut = learnt(learner, [prepared(learner, part) for part in (rows[:1], rows[1:])])
    assert cut[0] == pytest.approx(whole[0])
    for mine, theirs in zip(cut[1], whole[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@EVERY_KIND
def test_in_evaluation_nothing_is_added(make: Make, kind: str) -> None:
    plain, rows = make(kind, dropout=0.3)
    learner, _ = make(kind, dropout=0.3, rdrop=2.0, fgm=1.0)
    batch = pack(rows)
    with torch.no_grad():
        (wanted,), (found,) = (list(x.eval()(batch).terms.values()) for x in (plain, learner))
    assert found.sum.item() == wanted.sum.item() and found.count == wanted.count


@EVERY_KIND
def test_what_is_computed_more_is_told(make: Make, kind: str) -> None:
    """FLOPs for a token of the data, which is counted once however often it is read."""
    plain, rows = make(kind)
    once = flops_per_token(plain, [prepared(plain, rows)])
    for regularise, times in (({"rdrop": 1.0}, 2), ({"fgm": 1.0}, 2), ({"rdrop": 1.0, "fgm": 1.0}, 4)):
        learner, _ = make(kind, **regularise)
        batch = prepared(learner, rows)
        assert batch.num_tokens == pack(rows).num_tokens
        assert flops_per_token(learner, [batch]) == pytest.approx(times * once)
