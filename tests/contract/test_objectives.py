"""What every objective in `AnyObjective` keeps to, so that the loop, the bundle and recipes can rely on it."""

import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from unmask.config import dump, from_mapping
from unmask.data.corpus.shards import Shards
from unmask.data.encoded import IGNORE_INDEX
from unmask.data.sequences import CorpusSequences
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.objectives import AnyObjective

SETTINGS = typing.get_args(typing.get_args(AnyObjective)[0])

every = pytest.mark.parametrize("settings", [cls() for cls in SETTINGS], ids=lambda s: s.name)


@pytest.fixture
def batch(corpus: Shards) -> Batch:
    (made,) = Batches(CorpusSequences(corpus, 48, 0, 0.0, pairs=True), 8, 0).step(0)
    return made


@every
def test_settings_have_a_name_and_are_read_back(settings: Any) -> None:
    assert settings.name == typing.get_type_hints(type(settings))["name"].__args__[0]
    assert from_mapping(type(settings), dump(settings), "x") == settings


@every
def test_preparing_is_pure_and_counts_its_targets(settings: Any, batch: Batch, tiny: EncoderConfig) -> None:
    objective = settings.build(tiny, 4, range(5, tiny.vocab_size))
    ids = batch.input_ids.clone()
    one, two = objective.prepare(batch, 3), objective.prepare(batch, 3)
    assert torch.equal(batch.input_ids, ids), "the batch given is left as it was"
    assert torch.equal(one.input_ids, two.input_ids)
    assert torch.equal(one.targets[settings.name], two.targets[settings.name])
    scored = one.targets[settings.name] != IGNORE_INDEX
    assert one.target_counts[settings.name] == int(scored.sum()) > 0
    assert one.layout is batch.layout and torch.equal(one.example, batch.example)


@every
def test_the_loss_is_a_sum_over_what_is_counted(
    settings: Any, batch: Batch, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    encoder, objective = make_encoder(tiny), settings.build(tiny, 4, range(5, tiny.vocab_size)).train()
    prepared = objective.prepare(batch, 0)
    part = objective(encoder, encoder(prepared.input_ids, prepared.layout, prepared.token_type_ids), prepared)
    assert part.count == prepared.target_counts[settings.name] and part.weight == settings.weight
    assert part.sum.ndim == 0 and part.sum.item() > 0 and part.correct is None
    part.sum.backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    part = objective.eval()(encoder, encoder(prepared.input_ids, prepared.layout, prepared.token_type_ids), prepared)
    assert 0 <= int(part.correct) <= part.count


@every
def test_what_is_published_has_a_place_in_the_public_layout(settings: Any, tiny: EncoderConfig) -> None:
    objective = settings.build(tiny, 4, range(5, tiny.vocab_size))
    published = objective.saved_modules()
    ours = {name for name, _ in FAMILIES["bert"].parameter_names((), 1, public=False)}
    assert published
    for prefix, module in published.items():
        assert isinstance(module, nn.Module)
        assert {f"{prefix}.{name}" for name in module.state_dict()} <= ours
    inside = {id(p) for module in published.values() for p in module.parameters()}
    assert inside == {id(p) for p in objective.parameters()}, "everything that learns is published"
