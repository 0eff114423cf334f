"""The loop: gradients whatever the micro-batches, clipping, the rate, the clock, and a loss that is no number."""

import copy
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from errors import refused
from unmask.config import changed
from unmask.data.corpus.shards import Shards
from unmask.data.sequences import CorpusSequences
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches
from unmask.learner.loss import Loss, LossTerm
from unmask.model.config import EncoderConfig
from unmask.objectives import Masked, NextSentence
from unmask.schedules import Linear, Ramp
from unmask.train.budget import TrainConfig
from unmask.train.pretrain import PretrainLearner
from unmask.train.steps import loop as steps_module
from unmask.train.steps import optim
from unmask.train.steps.device import Precision
from unmask.train.steps.loop import LoopState, Step, _accumulate, _global_counts, evaluate, train_steps
from unmask.train.steps.parallel import World

MakeLearner = Callable[..., PretrainLearner]


@pytest.fixture
def make_learner(make_encoder: Callable[..., torch.nn.Module], tiny: EncoderConfig) -> MakeLearner:
    def make(**settings: float) -> PretrainLearner:
        config = changed(tiny, **settings)
        encoder = make_encoder(config)
        objectives = [Masked(mask_prob=0.2), NextSentence(weight=0.5)]
        return PretrainLearner(encoder, [o.build(config, 4, range(5, config.vocab_size)) for o in objectives]).train()  # type: ignore[arg-type]

    return make


def batches_of(corpus: Shards, parts: int = 1, per_step: int = 8) -> Batches:
    return Batches(CorpusSequences(corpus, 48, 0, 0.0, pairs=True), per_step, 0, parts)


def gradients(learner: PretrainLearner, batches: Batches) -> tuple[float, dict[str, float], list[torch.Tensor]]:
    learner.zero_grad()
    micro = [learner.prepare(batch, 0) for batch in batches.step(0)]
    counts, _, _ = _global_counts(World("cpu"), micro, 0.0)
    loss, *means = _accumulate(learner, micro, counts, World("cpu"), Precision()).tolist()
    return (
        loss,
        dict(zip(counts, means, strict=True)),
        [p.grad.clone() for p in learner.parameters() if p.grad is not None],
    )


def test_gradients_do_not_depend_on_the_number_of_micro_batches(make_learner: MakeLearner, corpus: Shards) -> None:
    learner = make_learner()
    whole = gradients(learner, batches_of(corpus))
    counts = [learner.prepare(b, 0).target_counts["masked"] for b in batches_of(corpus, 4).step(0)]
    assert len(set(counts)) > 1, "the micro-batches must score different numbers of places"
    for parts in (2, 4, 8):
        cut = gradients(learner, batches_of(corpus, parts))
        assert cut[0] == pytest.approx(whole[0], rel=1e-6)
        assert cut[1] == pytest.approx(whole[1], rel=1e-6)
        for mine, theirs in zip(cut[2], whole[2], strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_the_loss_is_the_weighted_sum_of_means() -> None:
    parts = {"a": LossTerm(torch.tensor(6.0), 3), "b": LossTerm(torch.tensor(8.0), 2, weight=0.5)}
    assert Loss(parts).share({"a": 3, "b": 2}).item() == pytest.approx(6 / 3 + 0.5 * 8 / 2)
    assert Loss(parts).share({"a": 12, "b": 4}).item() == pytest.approx(6 / 12 + 0.5 * 8 / 4)
    assert Loss({"a": LossTerm(torch.tensor(0.0), 0)}).share({"a": 0}).item() == 0


def run(
    learner: PretrainLearner, batches: Batches, settings: TrainConfig, state: LoopState | None = None
) -> list[Step]:
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    return list(train_steps(learner, optimizer, batches, settings, state or LoopState(), seed=0))


def test_what_a_step_tells(make_learner: MakeLearner, corpus: Shards) -> None:
    settings = TrainConfig(
        budget="5 steps",
        optimizer=optim.OptimizerConfig(lr=0.01),
        schedule=Linear(warmup_ratio=0.4, min_lr_ratio=0.1),
    )
    batches, state = batches_of(corpus), LoopState()
    told = run(make_learner(), batches, settings, state)
    assert [s.number for s in told] == [1, 2, 3, 4, 5]
    assert [s.progress for s in told] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [s.lr for s in told] == pytest.approx([0.0025, 0.0075, 0.0085, 0.0055, 0.0025])
    tokens = [sum(b.num_tokens for b in batches.step(8 * k)) for k in range(5)]
    assert [s.tokens for s in told] == tokens
    assert (state.step, state.tokens) == (5, sum(tokens))
    assert state.seconds == told[-1].seconds >= sum(s.step_seconds for s in told) * 0.5 > 0


def test_the_seconds_of_a_step_include_the_optimiser(make_learner: MakeLearner, corpus: Shards) -> None:
    class Slow(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            time.sleep(0.1)

    learner, settings = make_learner(), TrainConfig(budget="2 steps")
    slow = Slow(learner.parameters(), lr=0.0)
    told = list(train_steps(learner, slow, batches_of(corpus), settings, LoopState(), 0))
    assert all(step.step_seconds >= 0.1 for step in told)


def test_long_gradients_are_shortened(make_learner: MakeLearner, corpus: Shards) -> None:
    learner = make_learner()
    before = [p.detach().clone() for p in learner.parameters()]
    settings = TrainConfig(
        budget="1 step",
        max_grad_norm=0.01,
        optimizer=optim.OptimizerConfig(lr=0.5),
        schedule=Linear(warmup_ratio=0, min_lr_ratio=1),
    )
    (told,) = run(learner, batches_of(corpus), settings)
    moved = sum((p.detach() - b).square().sum().item() for p, b in zip(learner.parameters(), before, strict=True))
    assert told.grad_norm > 0.1
    assert moved**0.5 == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_going_on_from_a_state_is_the_same_as_never_having_stopped(make_learner: MakeLearner, corpus: Shards) -> None:
    settings = TrainConfig(budget="6 steps")

    def train(learner: PretrainLearner, optimizer: torch.optim.Optimizer, state: LoopState, until: int) -> None:
        for step in train_steps(learner, optimizer, batches_of(corpus), settings, state, seed=3):
            if step.number == until:
                break

    straight, state = make_learner(), LoopState()
    train(straight, optim.build_optimizer(settings.optimizer, straight), state, 6)
    first, first_state = make_learner(), LoopState()
    first_optimizer = optim.build_optimizer(settings.optimizer, first)
    train(first, first_optimizer, first_state, 3)
    second = make_learner()
    second.load_state_dict(first.state_dict())
    second_optimizer = optim.build_optimizer(settings.optimizer, second)
    second_optimizer.load_state_dict(copy.deepcopy(first_optimizer.state_dict()))
    train(second, second_optimizer, first_state, 6)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert (first_state.step, first_state.tokens) == (state.step, state.tokens)


def spoiling(monkeypatch: pytest.MonkeyPatch, spoilt: set[int], bad: float) -> None:
    """From now on the losses of some passes (numbered from 0) are no finite numbers."""
    calls = iter(range(1000))
    right = PretrainLearner.forward

    def wrong(self: PretrainLearner, batch: object) -> Loss:
        loss = right(self, batch)  # type: ignore[arg-type]
        if next(calls) not in spoilt:
            return loss
        return Loss({n: LossTerm(p.sum * bad, p.count, p.weight) for n, p in loss.terms.items()})

    monkeypatch.setattr(PretrainLearner, "forward", wrong)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_whose_loss_is_no_number_is_left_out_and_reported(
    make_learner: MakeLearner,
    corpus: Shards,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    bad: float,
) -> None:
    learner, state, weights = make_learner(), LoopState(), []
    spoiling(monkeypatch, {2, 4}, bad)
    optimizer = optim.build_optimizer(optim.OptimizerConfig(), learner)
    settings = TrainConfig(budget="6 steps")
    told = []
    for step in train_steps(learner, optimizer, batches_of(corpus), settings, state, 0):
        told.append(step)
        weights.append(copy.deepcopy(learner.state_dict()))
    assert [s.number for s in told if s.skipped] == [3, 5] and len(told) == 6
    assert state.step == 6
    changed_in = [any(not torch.equal(a[n], b[n]) for n in a) for a, b in pairwise(weights)]
    assert changed_in == [True, False, True, False, True]
    assert all(tensor.isfinite().all() for tensor in weights[-1].values())
    said = " ".join(capfd.readouterr().err.split())
    assert "step 3 skipped" in said and "step 5 skipped" in said


def test_too_many_such_steps_stop_the_run_with_the_weights_before(
    make_learner: MakeLearner, corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, state, seen = make_learner(), LoopState(), []
    spoiling(monkeypatch, set(range(2, 1000)), float("nan"))
    optimizer = optim.build_optimizer(optim.OptimizerConfig(), learner)
    settings = TrainConfig(budget="90 steps")
    with refused("step 6", "3 steps", "train.optimizer.lr"):
        for step in train_steps(learner, optimizer, batches_of(corpus), settings, state, 0):
            seen.append(step.number)
            if step.number == 2:
                weights = copy.deepcopy(learner.state_dict())
    assert seen == [1, 2, 3, 4, 5] and state.step == 5
    assert all(torch.equal(weights[name], tensor) for name, tensor in learner.state_dict().items())


def test_the_norms_of_layers_are_those_of_their_gradients_and_states(make_learner: MakeLearner, corpus: Shards) -> None:
    learner = make_learner()
    hidden: list[torch.Tensor] = []
    for layer in (learner.encoder.embeddings, *learner.encoder.blocks):
        layer.register_forward_hook(lambda module, given, out: hidden.append(out.detach()))
    settings = TrainConfig(budget="300 steps", max_grad_norm=1e9)
    loop = train_steps(
        learner, torch.optim.SGD(learner.parameters(), lr=0.0), batches_of(corpus), settings, LoopState(), 0
    )
    first = next(loop)
    assert first.norms is not None
    rms = [float(h.square().mean().sqrt()) for h in hidden]
    assert list(first.norms["activation"]) == pytest.approx(rms)
    layers = [learner.encoder.embeddings, *learner.encoder.blocks]
    norms = [
        torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]).norm().item()
        for layer in layers
    ]
    assert list(first.norms["gradient"]) == pytest.approx(norms, rel=1e-5)
    others = [next(loop).norms for _ in range(9)]
    assert 2 <= sum(norms is not None for norms in others) <= 4


def test_a_growing_batch_reads_on_where_the_step_before_ended(make_learner: MakeLearner, corpus: Shards) -> None:
    examples = CorpusSequences(corpus, 48, 0, 0.0)
    batches = Batches(examples, 8, 0, ramp=Ramp(0.25, 0.5))
    read: list[int] = []
    learner = make_learner()
    right = learner.prepare

    def noting(batch: Batch, seed: int) -> Batch:
        read.extend(batch.example.tolist())
        return right(batch, seed)

    learner.prepare = noting  # type: ignore[method-assign]
    learner.objectives.pop("next_sentence")
    state = LoopState()
    loop = train_steps(
        learner,
        torch.optim.SGD(learner.parameters(), lr=0.0),
        batches,
        TrainConfig(budget="10 steps"),
        state,
        0,
    )
    sizes = []
    for _ in loop:
        sizes.append(state.examples - sum(sizes))
    assert sizes == [batches.step_size(n / 10) for n in range(10)] and sizes[0] == 2 and sizes[5:] == [8] * 5
    expected = [n for n, _ in batches.example_epochs(0, sum(sizes))]
    assert sorted(read[: sum(sizes)]) == sorted(expected)


def test_batches_are_prepared_in_one_thread_that_ends_with_the_loop(
    make_learner: MakeLearner, corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, with one thread of torch whatever the caller computes with; its error ends the loop."""
    learner, seen = make_learner(), []
    right = learner.prepare

    def noting(batch: Batch, seed: int) -> Batch:
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        if len(seen) == 5:
            raise UserError("step five is broken")
        return right(batch, seed)

    monkeypatch.setattr(learner, "prepare", noting)
    told = []
    try:
        torch.set_num_threads(3)
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
        with refused("step five"):
            for step in train_steps(learner, optimizer, batches_of(corpus), TrainConfig(), LoopState(), 0):
                told.append(step.number)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert told == [1, 2, 3]
    assert {count for _, count in seen} == {1} and len({name for name, _ in seen}) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == seen[0][0]]


class Ticking:
    """A clock that goes on by some seconds each time that somebody looks."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 100.0, tick

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now


def test_a_wall_clock_budget_ends_in_time_at_the_floor(
    make_learner: MakeLearner, corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Ticking(0.05)
    monkeypatch.setattr(steps_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    settings = TrainConfig(
        budget="10s",
        optimizer=optim.OptimizerConfig(lr=0.01),
        schedule=Linear(warmup_ratio=0.1, min_lr_ratio=0.1),
    )
    state, told = LoopState(), []
    for step in train_steps(
        make_learner(), torch.optim.SGD([torch.zeros(1)]), batches_of(corpus, per_step=2), settings, state, 0
    ):
        clock.now += 0.1  # whoever listens needs time as well
        told.append(step)
    assert told[-1].progress == 1 and all(step.progress < 1 for step in told[:-1])
    longest = max(b.seconds - a.seconds for a, b in pairwise(told))
    assert 10 <= state.seconds < 10 + 2 * longest
    assert told[-1].lr == pytest.approx(0.001, rel=0.5)
    assert max(step.lr for step in told) == pytest.approx(0.01, rel=0.1)


def test_a_wall_clock_budget_goes_on_where_it_stopped(
    make_learner: MakeLearner, corpus: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Ticking(0.05)
    monkeypatch.setattr(steps_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    settings, state = TrainConfig(budget="10s"), LoopState(step=50, tokens=1000, seconds=8.0)
    told = run(make_learner(), batches_of(corpus, per_step=2), settings, state)
    assert told[0].number == 51 and told[0].progress > 0.8
    assert state.seconds == pytest.approx(10, abs=1)
    assert run(make_learner(), batches_of(corpus), settings, LoopState(step=9, seconds=11.0)) == []


def test_evaluation_is_the_mean_over_all_places_without_dropout(make_learner: MakeLearner, corpus: Shards) -> None:
    learner = make_learner()
    rows = batches_of(corpus, parts=3)
    prepared = [learner.prepare(batch, 0) for batch in rows.step(0)]
    figures = evaluate(learner, prepared)
    assert learner.training
    loss, means = gradients(learner, rows)[:2]
    assert figures["masked.loss"] == pytest.approx(means["masked"], rel=1e-5)
    assert figures["next_sentence.loss"] == pytest.approx(means["next_sentence"], rel=1e-5)
    assert set(figures) == {f"{n}.{f}" for n in ("masked", "next_sentence") for f in ("loss", "accuracy")}
    assert 0 <= figures["next_sentence.accuracy"] <= 1
    assert loss == pytest.approx(means["masked"] + 0.5 * means["next_sentence"], rel=1e-5)
