"""The encoder against torch's own layers, and one layout against another."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unmask.config import changed
from unmask.data.batch import Batch
from unmask.model.attention import Spans
from unmask.model.encoder import Block, Encoder, EncoderConfig

VARIANTS = {
    "house": {},
    "bert": {"positions": "learned", "activation": "gelu_tanh"},
    "pre-norm": {"norm": "pre", "activation": "silu"},
    "bare": {"bias": False, "segments": 0, "activation": "relu", "inner": 24},
}


def torchs_layer(block: Block, config: EncoderConfig) -> nn.TransformerEncoderLayer:
    """torch's layer with the weights of our block. It implements gelu and relu."""
    layer = nn.TransformerEncoderLayer(
        config.width,
        config.heads,
        config.feed_forward,
        dropout=0.0,
        activation=config.activation,
        layer_norm_eps=config.norm_eps,
        batch_first=True,
        norm_first=config.norm == "pre",
        bias=config.bias,
    )
    pairs = {
        "self_attn.in_proj_": block.attention.qkv,
        "self_attn.out_proj.": block.attention.output,
        "linear1.": block.feed_forward.inner,
        "linear2.": block.feed_forward.output,
        "norm1.": block.attention_norm,
        "norm2.": block.feed_forward_norm,
    }
    layer.load_state_dict(
        {f"{a}{n}": t for a, module in pairs.items() for n, t in module.state_dict().items()}
    )
    return layer.train()  # in eval() torch takes a fused path; the plain one is the oracle


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_block_is_torchs_encoder_layer(
    make_encoder: Callable[..., Encoder], norm: str, activation: str
) -> None:
    config = EncoderConfig(layers=1, width=16, heads=4, vocabulary=20, norm=norm, activation=activation)  # type: ignore[arg-type]
    block = make_encoder(config).blocks[0].double()
    layer = torchs_layer(block, config).double()  # type: ignore[arg-type]
    hidden = torch.randn(3, 9, 16, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 7])
    mask = torch.arange(9) < lengths.unsqueeze(1)
    wanted = layer(hidden, src_key_padding_mask=~mask)
    torch.testing.assert_close(block(hidden, Spans.padded(mask))[mask], wanted[mask], atol=1e-10, rtol=0)


def test_embeddings_are_the_normalised_sum(make_encoder: Callable[..., Encoder]) -> None:
    config = EncoderConfig(layers=1, width=8, heads=2, vocabulary=20, length=16, position_scale=0.5)
    embeddings = make_encoder(config).embeddings
    ids, segments = torch.tensor([[3, 7, 7]]), torch.tensor([[0, 0, 1]])
    got = embeddings(ids, Spans.padded(torch.ones(1, 3, dtype=torch.bool)).positions, segments)
    for place in range(3):
        position = [0.5 * f(place / 10000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
        summed = (
            embeddings.token.weight[ids[0, place]]
            + torch.tensor(position)
            + embeddings.segment.weight[segments[0, place]]  # type: ignore[union-attr]
        )
        wanted = (summed - summed.mean()) / summed.var(correction=0).add(1e-12).sqrt()
        wanted = wanted * embeddings.norm.weight + embeddings.norm.bias  # type: ignore[union-attr]
        torch.testing.assert_close(got[0, place], wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@given(lengths=st.lists(st.integers(2, 40), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_packed_padded_and_one_by_one_agree(
    make_encoder: Callable[..., Encoder],
    make_batch: Callable[..., Batch],
    variant: str,
    lengths: list[int],
    seed: int,
) -> None:
    config = EncoderConfig(vocabulary=96, layers=2, width=16, heads=2, length=40, **VARIANTS[variant])
    encoder, batch = make_encoder(config), make_batch(lengths, seed=seed)
    sizes = list(batch.spans.lengths)
    packed = encoder(batch.ids, batch.spans, batch.segments).split(sizes)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)
    ids, segments = (
        torch.full(mask.shape, 95),
        torch.ones(mask.shape, dtype=torch.int64),
    )  # garbage in the padding
    ids[mask], segments[mask] = batch.ids, batch.segments
    if not config.segments:
        segments = None  # type: ignore[assignment]
    padded = encoder(ids, Spans.padded(mask), segments)
    for row, (one, kinds) in enumerate(zip(batch.ids.split(sizes), batch.segments.split(sizes), strict=True)):
        alone = encoder(one[None], Spans.padded(torch.ones(1, len(one), dtype=torch.bool)), kinds[None])[0]
        torch.testing.assert_close(packed[row], alone, atol=2e-5, rtol=0)
        torch.testing.assert_close(padded[row, : len(one)], alone, atol=2e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sequence_does_not_feel_its_neighbours(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], variant: str
) -> None:
    config = EncoderConfig(vocabulary=96, layers=2, width=16, heads=2, length=40, **VARIANTS[variant])
    encoder, batch = make_encoder(config), make_batch([30, 21, 20, 18, 4])
    sizes = list(batch.spans.lengths)
    before = encoder(batch.ids, batch.spans, batch.segments).split(sizes)
    ids = batch.ids.clone()
    ids[30 + 5] = (ids[30 + 5] + 1) % 90 + 5  # the second sequence
    after = encoder(ids, batch.spans, batch.segments).split(sizes)
    for row in range(5):
        difference = (before[row] - after[row]).abs().max().item()
        assert difference > 1e-3 if row == 1 else difference < 1e-6, row


def test_every_place_sees_every_other_one(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    ids = torch.arange(5, 15)
    spans = Spans.packed([10])
    before = encoder(ids, spans)
    for place in (0, 9):
        other = ids.clone()
        other[place] = 40
        changes = (encoder(other, spans) - before).abs().amax(-1)
        assert (changes > 1e-4).all()


def test_order_matters(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    forward = encoder(torch.tensor([2, 10, 20, 3]), Spans.packed([4]))
    swapped = encoder(torch.tensor([2, 20, 10, 3]), Spans.packed([4]))
    assert (forward[0] - swapped[0]).abs().max() > 1e-5


def test_parameters_are_counted_as_by_hand() -> None:
    config = EncoderConfig(vocabulary=100, layers=3, width=8, heads=2, inner=20, length=10)
    block = (8 * 24 + 24) + (8 * 8 + 8) + 2 * 16 + (8 * 20 + 20) + (20 * 8 + 8)
    assert Encoder(config).parameters_count == 100 * 8 + 2 * 8 + 16 + 3 * block
    learned = Encoder(changed(config, positions="learned"))
    assert learned.parameters_count == 100 * 8 + 2 * 8 + 16 + 3 * block + 10 * 8


def test_initial_weights_are_normal_and_biases_zero() -> None:
    torch.manual_seed(1)
    encoder = Encoder(EncoderConfig(vocabulary=2000, layers=2, width=64, heads=2, init_std=0.05))
    assert encoder.embeddings.token.weight.std().item() == pytest.approx(0.05, rel=0.02)
    for block in encoder.blocks:
        assert block.attention.qkv.weight.std().item() == pytest.approx(0.05, rel=0.05)  # type: ignore[union-attr]
        assert not block.attention.qkv.bias.any()  # type: ignore[union-attr]
        assert (block.attention_norm.weight == 1).all()  # type: ignore[union-attr]
    pre = Encoder(EncoderConfig(layers=8, width=64, heads=2, norm="pre", vocabulary=50))
    assert pre.blocks[0].attention.output.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)  # type: ignore[union-attr]


def test_dropout_acts_in_training_only(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(changed(tiny, dropout=0.2))
    ids, spans = torch.arange(5, 15), Spans.packed([10])
    assert torch.equal(encoder(ids, spans), encoder(ids, spans))
    encoder.train()
    assert not torch.equal(encoder(ids, spans), encoder(ids, spans))


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 30 must be a multiple of heads 4"):
        EncoderConfig(width=30, heads=4)
