"""Masks: how many, which, what is put there; and the loss at the masked places."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from errors import refused
from unmask.data.encoded import IGNORE_INDEX, EncodedRow
from unmask.learner.batch import Batch, pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives.masked import Masked, MaskedObjective

MASK, FIRST, VOCABULARY = 4, 5, 96


def objective(**settings: object) -> MaskedObjective:
    config = EncoderConfig(vocab_size=VOCABULARY, num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    return Masked(**settings).build(config, MASK, range(FIRST, VOCABULARY))  # type: ignore[arg-type]


def mask_of(batch: Batch) -> list[bool]:
    return (batch.targets["masked"] != IGNORE_INDEX).tolist()


@pytest.fixture
def large(make_batch: Callable[..., Batch]) -> Batch:
    return make_batch([100] * 300)


def within(count: int, n: int, share: float) -> bool:
    return bool(stats.binomtest(count, n, share).pvalue > 1e-4)


@pytest.mark.parametrize("ratio", [0.15, 0.4])
def test_the_published_shares(large: Batch, ratio: float) -> None:
    """Devlin et al. 2019, section 3.1: 80 % [MASK], 10 % random, 10 % unchanged."""
    hidden = objective(mask_prob=ratio).prepare(large, seed=0)
    chosen = hidden.targets["masked"] != IGNORE_INDEX
    ordinary = large.flags & 4 == 0
    n = int(chosen.sum())
    assert within(n, int(ordinary.sum()), ratio)
    assert hidden.target_counts["masked"] == n
    assert not (chosen & ~ordinary).any()
    assert torch.equal(hidden.targets["masked"][chosen], large.input_ids[chosen])
    assert torch.equal(hidden.input_ids[~chosen], large.input_ids[~chosen])
    before, after = large.input_ids[chosen], hidden.input_ids[chosen]
    spread = VOCABULARY - FIRST
    assert within(int((after == MASK).sum()), n, 0.8)
    assert within(int((after == before).sum()), n, 0.1 + 0.1 / spread)
    other = after[(after != MASK) & (after != before)]
    assert int(other.min()) >= FIRST and int(other.max()) < VOCABULARY
    replaced = np.bincount(other.numpy() - FIRST, minlength=spread)
    assert stats.chisquare(replaced).pvalue > 1e-4


def test_own_shares(large: Batch) -> None:
    every = objective(mask_replace_prob=1.0, random_replace_prob=0.0).prepare(large, 0)
    chosen = every.targets["masked"] != IGNORE_INDEX
    assert (every.input_ids[chosen] == MASK).all()
    none = objective(mask_replace_prob=0.0, random_replace_prob=0.0).prepare(large, 0)
    assert torch.equal(none.input_ids, large.input_ids) and none.target_counts["masked"] > 0
    with refused("mask_replace_prob", "random_replace_prob", kind=ValueError):
        Masked(mask_replace_prob=0.8, random_replace_prob=0.3)


def rows(lengths: list[int], epoch: int = 0) -> list[EncodedRow]:
    draw = np.random.default_rng(0)
    made = []
    for number, length in enumerate(lengths):
        flags = draw.integers(0, 2, length).astype(np.uint8)
        flags[0] = flags[-1] = 4
        ids = draw.integers(FIRST, VOCABULARY, length)
        made.append(EncodedRow(ids, np.zeros(length, dtype=np.int64), flags, example=number, epoch=epoch))
    return made


@pytest.mark.parametrize("unit", ["token", "word"])
def test_a_mask_depends_on_its_own_example_only(unit: str) -> None:
    made = rows([40, 17, 33, 17, 8])
    target = objective(unit=unit)
    together = target.prepare(pack(made), seed=7)
    parts = together.input_ids.split(list(together.layout.lengths))
    for number, ids in zip(together.example.tolist(), parts, strict=True):
        alone = target.prepare(pack([made[number]]), seed=7)
        assert alone.input_ids.tolist() == ids.tolist()
    reversed_ = target.prepare(pack(made[::-1]), seed=7)
    assert sorted(
        map(tuple, (x.tolist() for x in reversed_.input_ids.split(list(reversed_.layout.lengths))))
    ) == sorted(map(tuple, (x.tolist() for x in parts)))


def test_masks_differ_between_epochs_seeds_and_examples() -> None:
    (row,) = rows([60])
    masks = {
        tuple(mask_of(objective(mask_prob=0.5).prepare(pack([dataclasses.replace(row, epoch=e, example=x)]), seed)))
        for e in range(3)
        for x in range(3)
        for seed in range(3)
    }
    assert len(masks) == 27


def test_by_word_all_pieces_of_a_word_go_together(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch([100] * 60)
    hidden = objective(unit="word", mask_prob=0.3).prepare(batch, seed=0)
    chosen = mask_of(hidden)
    words: list[list[bool]] = []
    previous_special = True
    for flag, one in zip(batch.flags.tolist(), chosen, strict=True):
        if flag == 4:
            assert not one
            previous_special = True
        elif flag & 1 or previous_special:
            words.append([one])
            previous_special = False
        else:
            words[-1].append(one)
    # pieces that go on a word from before the chunk are drawn with [CLS]: a word of its own as well
    assert all(len(set(word)) == 1 for word in words)
    assert any(len(word) > 2 and word[0] for word in words)
    assert within(sum(word[0] for word in words), len(words), 0.3)


def test_pieces_of_a_word_have_fates_of_their_own(make_batch: Callable[..., Batch]) -> None:
    hidden = objective(unit="word", mask_prob=0.5, mask_replace_prob=0.5).prepare(make_batch([100] * 20), seed=0)
    chosen = hidden.targets["masked"] != IGNORE_INDEX
    assert within(int((hidden.input_ids[chosen] == MASK).sum()), int(chosen.sum()), 0.5)


def test_the_ratio_moves_in_a_straight_line(large: Batch) -> None:
    falling = objective(mask_prob=0.3, final_mask_prob=0.1)
    ordinary = int((large.flags & 4 == 0).sum())
    for progress, ratio in ((0.0, 0.3), (0.25, 0.25), (0.5, 0.2), (1.0, 0.1)):
        batch = dataclasses.replace(large, progress=progress)
        assert within(falling.prepare(batch, 0).target_counts["masked"], ordinary, ratio)


def test_a_lower_ratio_hides_a_part_of_the_same_places(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch([80] * 10)
    few, many = (mask_of(objective(mask_prob=r).prepare(batch, 0)) for r in (0.1, 0.3))
    assert all(m for f, m in zip(few, many, strict=True) if f)


@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_the_cross_entropy_of_full_logits_at_masked_places(
    make_encoder: Callable[..., Encoder],
    make_batch: Callable[..., Batch],
    tiny: EncoderConfig,
    training: bool,
) -> None:
    encoder = make_encoder(tiny)
    target = Masked(mask_prob=0.3, weight=0.5).build(tiny, MASK, range(FIRST, tiny.vocab_size)).train(training)
    batch = target.prepare(make_batch([30, 12, 20], vocabulary=tiny.vocab_size), seed=0)
    hidden = encoder(batch.input_ids, batch.layout, batch.token_type_ids)
    part = target(encoder, hidden, batch)
    logits = target.head(hidden, encoder).detach().double().numpy()
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    wanted = [(place, t) for place, t in enumerate(batch.targets["masked"].tolist()) if t != IGNORE_INDEX]
    assert part.sum.item() == pytest.approx(-sum(logs[place, t] for place, t in wanted), rel=1e-5)
    assert part.count == len(wanted) and part.weight == 0.5
    if training:
        assert part.correct is None
    else:
        assert part.correct is not None
        assert part.correct.item() == sum(logs[place].argmax() == t for place, t in wanted)


def test_a_batch_with_nothing_masked_has_a_loss_of_nought(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], tiny: EncoderConfig
) -> None:
    encoder, target = make_encoder(tiny), Masked(mask_prob=1e-9).build(tiny, MASK, range(FIRST, tiny.vocab_size))
    batch = target.prepare(make_batch([6], vocabulary=tiny.vocab_size), seed=0)
    part = target(encoder, encoder(batch.input_ids, batch.layout), batch)
    assert part.count == 0 and part.sum.item() == 0
    part.sum.backward()


def test_random_pieces_are_ordinary_ones_wherever_these_stand(large: Batch) -> None:
    """Each of those named is drawn as often as another."""
    config = EncoderConfig(vocab_size=VOCABULARY, num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    settings = Masked(mask_replace_prob=0.0, random_replace_prob=1.0)
    ordinary = np.array([0, 1, 3, 7, 8, 60, 95])
    hidden = settings.build(config, MASK, ordinary).prepare(large, 0)
    drawn = hidden.input_ids[hidden.targets["masked"] != IGNORE_INDEX].numpy()
    assert set(drawn.tolist()) == set(ordinary.tolist())
    assert stats.chisquare(np.bincount(drawn)[ordinary]).pvalue > 1e-4
