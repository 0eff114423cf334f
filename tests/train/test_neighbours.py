"""Heads that begin by looking at the neighbours: attention weights written out, and what is left alone."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from errors import refused
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Context, Encoder
from unmask.model.layout import SequenceLayout
from unmask.train.init import InitConfig, init_neighbour_heads, neighbour_axes


def configured(width: int, heads: int, **settings: Any) -> EncoderConfig:
    values = {"vocab_size": 200, "num_hidden_layers": 3, "max_position_embeddings": 64, **settings}
    return EncoderConfig(hidden_size=width, num_attention_heads=heads, **values)


def neighbourly(config: EncoderConfig, layers: int = 2) -> Encoder:
    encoder = Encoder(config)
    if layers:
        init_neighbour_heads(encoder, layers)
    return encoder


def attention_weights(encoder: Encoder, ids: torch.Tensor, layers: int) -> list[torch.Tensor]:
    """Of the first blocks, (batch, heads, length, length), written out from query and key."""
    spans = SequenceLayout.padded(torch.ones_like(ids, dtype=torch.bool))
    hidden = encoder.embeddings(ids, spans.position_ids, None)
    found = []
    for block in encoder.blocks[:layers]:
        attention: Any = block.attention
        inner = block.attention_norm(hidden) if block.pre_norm else hidden  # type: ignore[operator]
        query, key, _ = attention.qkv(inner).unflatten(-1, (3, attention.num_attention_heads, -1)).unbind(2)
        scores = torch.einsum("bihx,bjhx->bhij", query, key) / query.shape[-1] ** 0.5
        found.append(scores.softmax(-1))
        hidden = block(hidden, Context(spans))
    return found


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(
    ("width", "heads"), [(24, 4), (32, 2), (48, 1), (64, 4), (90, 5), (128, 2), (256, 8), (384, 6)]
)
def test_heads_begin_by_looking_at_the_token_before_and_after(width: int, heads: int, norm: str) -> None:
    torch.manual_seed(width)
    encoder = neighbourly(configured(width, heads, norm=norm)).eval()
    ids = torch.randint(5, 200, (4, 40))
    with torch.no_grad():
        found = attention_weights(encoder, ids, layers=2)
    every = torch.cat([weights.mean(0) for weights in found])  # heads of one block after those of the other
    for number, weights in enumerate(every):
        average = {
            offset: float(weights.diagonal(offset).mean())  # from each place to that so much further on
            for offset in range(-30, 31)
        }
        wanted = (-1, 1)[number % 2]
        assert max(average, key=lambda offset: average[offset]) == wanted, (number, average)
        assert average[wanted] > 2.5 / 40, "well above the same for all"


def test_axes_of_the_positions_begin_at_nought_in_tokens_and_segments() -> None:
    config = configured(64, 4)
    encoder = neighbourly(config)
    axes = neighbour_axes(config)
    assert 0 < len(axes) <= 16 and len(set(axes)) == len(axes) and max(axes) < 64
    others = [axis for axis in range(64) if axis not in axes]
    for embedding in (encoder.embeddings.token, encoder.embeddings.segment):
        assert embedding is not None
        assert not embedding.weight[:, axes].any() and embedding.weight[:, others].all()
    assert neighbourly(configured(64, 4, type_vocab_size=0)).embeddings.segment is None


def test_all_that_is_not_for_neighbours_begins_as_without_them() -> None:
    encoders = []
    for layers in (0, 2):
        torch.manual_seed(3)
        encoders.append(neighbourly(configured(64, 4), layers).state_dict())
    plain, looking = encoders
    axes = neighbour_axes(configured(64, 4))
    others = [axis for axis in range(64) if axis not in axes]
    changing = {
        "embeddings.token.weight",
        "embeddings.segment.weight",
        *(f"blocks.{number}.attention.qkv.weight" for number in range(2)),
        *(f"blocks.0.{part}.output.weight" for part in ("attention", "feed_forward")),
    }
    assert {name for name in plain if not torch.equal(plain[name], looking[name])} == changing
    for name in ("embeddings.token.weight", "embeddings.segment.weight"):
        assert torch.equal(plain[name][:, others], looking[name][:, others])
    for number in range(2):  # the values stay, and the directions of query and key that do not find places
        before, after = (one[f"blocks.{number}.attention.qkv.weight"].view(3, 4, 16, 64) for one in encoders)
        assert torch.equal(before[2], after[2])
        torch.testing.assert_close(after[:2, :, len(axes) :], 0.3 * before[:2, :, len(axes) :])
    for part in ("attention", "feed_forward"):  # what the first block adds leaves the positions alone
        before, after = (one[f"blocks.0.{part}.output.weight"] for one in encoders)
        assert torch.equal(before[others], after[others]) and not after[axes].any()


@given(
    heads=st.integers(1, 8),
    size=st.integers(2, 20),
    layers=st.integers(1, 3),
    segments=st.sampled_from([0, 2]),
)
def test_any_sizes_can_look_at_neighbours(heads: int, size: int, layers: int, segments: int) -> None:
    width = heads * size
    assume(width % 2 == 0)
    config = configured(width, heads, vocab_size=10, type_vocab_size=segments)
    axes = neighbour_axes(config)
    assert len(set(axes)) == len(axes) <= size and max(axes) < width
    assert all(parameter.isfinite().all() for parameter in neighbourly(config, layers).parameters())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"position_embedding_type": "learned"}, "model.position_embedding_type=learned"),
        ({"num_hidden_layers": 1}, "model.num_hidden_layers=1"),
        ({"num_attention_heads": 32}, "model.num_attention_heads=32, model.hidden_size=32"),
    ],
)
def test_where_neighbours_cannot_be_looked_at_it_is_refused(settings: dict[str, Any], told: str) -> None:
    model = EncoderConfig(
        **{"vocab_size": 20, "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, **settings}
    )
    with refused("init.neighbour_layers=2", told):
        InitConfig(neighbour_layers=2).check(model)
    InitConfig().check(model)
