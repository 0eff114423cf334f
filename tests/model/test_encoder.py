"""The encoder against torch's own layers, and one layout against another."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from errors import refused
from unmask.config import changed, from_mapping
from unmask.learner.batch import Batch
from unmask.model import attention
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Block, Context, Encoder, FeedForward
from unmask.model.layout import SequenceLayout

VARIANTS = {
    "house": {},
    "bert": {"position_embedding_type": "learned", "hidden_act": "gelu_tanh"},
    "pre-norm": {"norm": "pre", "hidden_act": "silu"},
    "bare": {"bias": False, "type_vocab_size": 0, "hidden_act": "relu", "intermediate_size": 24},
    "modern": {
        "norm": "pre",
        "position_embedding_type": "rotary",
        "gated": True,
        "bias": False,
        "attention_pattern": "GL",
        "window": 5,
        "local_rope_theta": 100.0,
    },
    "rotary": {"position_embedding_type": "rotary"},
    "normalised": {"qk_norm": True, "position_embedding_type": "rotary"},
}

some_values = st.fixed_dictionaries(
    {
        "position_embedding_type": st.sampled_from(["sinusoidal", "learned", "rotary"]),
        "norm": st.sampled_from(["post", "pre"]),
        "gated": st.booleans(),
        "hidden_act": st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"]),
        "bias": st.booleans(),
        "type_vocab_size": st.sampled_from([0, 2]),
    }
).flatmap(
    lambda values: st.one_of(
        st.just(values),
        st.fixed_dictionaries(
            {
                "attention_pattern": st.sampled_from(["L", "GL", "LG"]),
                "window": st.integers(1, 9),
                "local_rope_theta": st.sampled_from([None, 50.0]),
            }
        ).map(lambda more: {**values, **more}),
    )
)


def torchs_layer(block: Block, config: EncoderConfig) -> nn.TransformerEncoderLayer:
    """torch's layer with the weights of our block. It implements gelu and relu."""
    layer = nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.resolved_intermediate_size,
        dropout=0.0,
        activation=config.hidden_act,
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
    layer.load_state_dict({f"{a}{n}": t for a, module in pairs.items() for n, t in module.state_dict().items()})
    return layer.train()  # in eval() torch takes a fused path; the plain one is the oracle


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_block_is_torchs_encoder_layer(make_encoder: Callable[..., Encoder], norm: str, activation: str) -> None:
    config = EncoderConfig(
        num_hidden_layers=1,
        hidden_size=16,
        num_attention_heads=4,
        vocab_size=20,
        norm=norm,
        hidden_act=activation,
    )  # type: ignore[arg-type]
    block = make_encoder(config).blocks[0].double()
    layer = torchs_layer(block, config).double()  # type: ignore[arg-type]
    hidden = torch.randn(3, 9, 16, dtype=torch.float64)
    lengths = torch.tensor([9, 4, 7])
    mask = torch.arange(9) < lengths.unsqueeze(1)
    wanted = layer(hidden, src_key_padding_mask=~mask)
    torch.testing.assert_close(
        block(hidden, Context(SequenceLayout.padded(mask)))[mask], wanted[mask], atol=1e-10, rtol=0
    )


def test_embeddings_are_the_normalised_sum(make_encoder: Callable[..., Encoder]) -> None:
    config = EncoderConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=2, vocab_size=20, max_position_embeddings=16
    )
    embeddings = make_encoder(config).embeddings
    ids, segments = torch.tensor([[3, 7, 7]]), torch.tensor([[0, 0, 1]])
    got = embeddings(ids, SequenceLayout.padded(torch.ones(1, 3, dtype=torch.bool)).position_ids, segments)
    for place in range(3):
        position = [0.03 * f(place / 10000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
        summed = (
            embeddings.token.weight[ids[0, place]]
            + torch.tensor(position)
            + embeddings.segment.weight[segments[0, place]]  # type: ignore[union-attr]
        )
        wanted = (summed - summed.mean()) / summed.var(correction=0).add(1e-12).sqrt()
        wanted = wanted * embeddings.norm.weight + embeddings.norm.bias  # type: ignore[union-attr]
        torch.testing.assert_close(got[0, place], wanted, atol=1e-5, rtol=0)


@pytest.fixture(params=[32, 2])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small blocks, local layers compute block by block at lengths of tests, too."""
    monkeypatch.setattr(attention, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@given(
    values=some_values,
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=5),
    seed=st.integers(0, 9),
)
def test_packed_padded_and_one_by_one_agree(
    make_encoder: Callable[..., Encoder],
    make_batch: Callable[..., Batch],
    values: dict[str, Any],
    lengths: list[int],
    seed: int,
) -> None:
    """For every combination of values."""
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=40,
        **values,
    )
    encoder, batch = make_encoder(config).double(), make_batch(lengths, seed=seed)
    sizes = list(batch.layout.lengths)
    packed = encoder(batch.input_ids, batch.layout, batch.token_type_ids).split(sizes)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)
    ids, segments = (
        torch.full(mask.shape, 95),
        torch.ones(mask.shape, dtype=torch.int64),
    )  # garbage in the padding
    ids[mask], segments[mask] = batch.input_ids, batch.token_type_ids
    if not config.type_vocab_size:
        segments = None  # type: ignore[assignment]
    padded = encoder(ids, SequenceLayout.padded(mask), segments)
    for row, (one, kinds) in enumerate(
        zip(batch.input_ids.split(sizes), batch.token_type_ids.split(sizes), strict=True)
    ):
        alone = encoder(one[None], SequenceLayout.padded(torch.ones(1, len(one), dtype=torch.bool)), kinds[None])[0]
        torch.testing.assert_close(packed[row], alone, atol=1e-9, rtol=0)
        torch.testing.assert_close(padded[row, : len(one)], alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sequence_does_not_feel_its_neighbours(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], variant: str
) -> None:
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=40,
        **VARIANTS[variant],
    )
    encoder, batch = make_encoder(config), make_batch([30, 21, 20, 18, 4])
    sizes = list(batch.layout.lengths)
    before = encoder(batch.input_ids, batch.layout, batch.token_type_ids).split(sizes)
    ids = batch.input_ids.clone()
    ids[30 + 5] = (ids[30 + 5] + 1) % 90 + 5  # the second sequence
    after = encoder(ids, batch.layout, batch.token_type_ids).split(sizes)
    for row in range(5):
        difference = (before[row] - after[row]).abs().max().item()
        assert difference > 1e-3 if row == 1 else difference < 1e-6, row


def test_every_place_sees_every_other_one(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    ids = torch.arange(5, 15)
    spans = SequenceLayout.packed([10])
    before = encoder(ids, spans)
    for place in (0, 9):
        other = ids.clone()
        other[place] = 40
        changes = (encoder(other, spans) - before).abs().amax(-1)
        assert (changes > 1e-4).all()


def test_order_matters(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    forward = encoder(torch.tensor([2, 10, 20, 3]), SequenceLayout.packed([4]))
    swapped = encoder(torch.tensor([2, 20, 10, 3]), SequenceLayout.packed([4]))
    assert (forward[0] - swapped[0]).abs().max() > 1e-5


def test_parameters_are_counted_as_by_hand() -> None:
    config = EncoderConfig(
        vocab_size=100,
        num_hidden_layers=3,
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=10,
    )
    block = (8 * 24 + 24) + (8 * 8 + 8) + 2 * 16 + (8 * 20 + 20) + (20 * 8 + 8)
    assert Encoder(config).num_parameters == 100 * 8 + 2 * 8 + 16 + 3 * block
    learned = Encoder(changed(config, position_embedding_type="learned"))
    assert learned.num_parameters == 100 * 8 + 2 * 8 + 16 + 3 * block + 10 * 8
    gated = block + (8 * 20 + 20)
    assert Encoder(changed(config, gated=True)).num_parameters == 100 * 8 + 2 * 8 + 16 + 3 * gated
    modern = changed(config, norm_bias=False, position_embedding_type="rotary")
    assert Encoder(modern).num_parameters == 100 * 8 + 2 * 8 + 8 + 3 * (block - 2 * 8)


def test_initial_weights_are_normal_and_biases_zero() -> None:
    torch.manual_seed(1)
    encoder = Encoder(
        EncoderConfig(
            vocab_size=2000,
            num_hidden_layers=2,
            hidden_size=64,
            num_attention_heads=2,
            initializer_range=0.05,
        )
    )
    assert encoder.embeddings.token.weight.std().item() == pytest.approx(0.05, rel=0.02)
    for block in encoder.blocks:
        assert block.attention.qkv.weight.std().item() == pytest.approx(0.05, rel=0.05)  # type: ignore[union-attr]
        assert not block.attention.qkv.bias.any()  # type: ignore[union-attr]
        assert (block.attention_norm.weight == 1).all()  # type: ignore[union-attr]
    for values in ({}, VARIANTS["modern"]):
        config = EncoderConfig(
            num_hidden_layers=8,
            hidden_size=64,
            num_attention_heads=2,
            vocab_size=50,
            **{**values, "norm": "pre"},
        )
        pre: Any = Encoder(config).blocks[0]
        for part in (pre.attention, pre.feed_forward):
            assert part.output.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)
        assert pre.feed_forward.inner.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_dropout_acts_in_training_only(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(changed(tiny, dropout=0.2))
    ids, spans = torch.arange(5, 15), SequenceLayout.packed([10])
    assert torch.equal(encoder(ids, spans), encoder(ids, spans))
    encoder.train()
    assert not torch.equal(encoder(ids, spans), encoder(ids, spans))


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with refused("hidden_size 30", "num_attention_heads 4", kind=ValueError):
        EncoderConfig(hidden_size=30, num_attention_heads=4)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"attention_pattern": "GLX", "window": 4}, ["attention_pattern 'GLX'"]),
        ({"attention_pattern": ""}, ["attention_pattern ''"]),
        ({"attention_pattern": "GL"}, ["attention_pattern GL", "window"]),
        ({"window": 4}, ["window", "GLL"]),
        ({"local_rope_theta": 100.0, "position_embedding_type": "rotary"}, ["local_rope_theta", "GLL"]),
        ({"position_embedding_type": "rotary", "hidden_size": 30, "num_attention_heads": 2}, ["rotary", "15"]),
        ({"attention_pattern": "L", "window": 0}, ["window", "at least 1"]),
        ({"rope_theta": 1.0}, ["rope_theta", "above 1"]),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: dict[str, Any], names: list[str]) -> None:
    with refused("the test", *names):
        from_mapping(EncoderConfig, values, where="the test")


# the feed-forward


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_a_gated_feed_forward_is_the_formula(activation: str) -> None:
    """Shazeer 2020, section 2: (activation(x G) * (x U)) V."""
    torch.manual_seed(0)
    config = EncoderConfig(hidden_size=6, num_attention_heads=2, intermediate_size=5, gated=True, hidden_act=activation)  # type: ignore[arg-type]
    layer, x = FeedForward(config).double(), torch.randn(4, 6, dtype=torch.float64)
    gate, up = (x @ w.T + b for w, b in zip(layer.inner.weight.chunk(2), layer.inner.bias.chunk(2), strict=True))
    if activation == "gelu":
        active = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    else:
        active = gate / (1 + torch.exp(-gate))
    wanted = (active * up) @ layer.output.weight.T + layer.output.bias
    torch.testing.assert_close(layer(x), wanted, atol=1e-12, rtol=0)


def test_a_gated_feed_forward_has_as_many_parameters_by_default() -> None:
    widths = {
        width: EncoderConfig(hidden_size=width, gated=True).resolved_intermediate_size for width in (128, 256, 768)
    }
    assert widths == {128: 344, 256: 704, 768: 2048}
    for width, inner in widths.items():
        assert 3 * width * inner == pytest.approx(2 * width * 4 * width, rel=0.04)
    assert EncoderConfig(hidden_size=96, gated=True, intermediate_size=100).resolved_intermediate_size == 100


# local layers


def test_local_layers_see_the_window_and_global_ones_everything(make_encoder: Callable[..., Encoder]) -> None:
    """Which places of each block's result change with the token at place 20: the pattern is repeated."""
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=3,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=48,
        attention_pattern="LLG",
        window=3,
    )
    encoder = make_encoder(config)
    states: list[list[torch.Tensor]] = []
    for ids in (torch.full((48,), 9), torch.full((48,), 9).index_fill(0, torch.tensor([20]), 50)):
        states.append([])
        hooks = [block.register_forward_hook(lambda *given: states[-1].append(given[2])) for block in encoder.blocks]
        encoder(ids, SequenceLayout.packed([48]))
        for hook in hooks:
            hook.remove()
    changes = [((a - b).abs().amax(-1) > 1e-7).nonzero().flatten().tolist() for a, b in zip(*states, strict=True)]
    assert changes == [list(range(17, 24)), list(range(14, 27)), list(range(48))]
    longer = EncoderConfig(num_hidden_layers=7, attention_pattern="GLL", window=3)
    assert "".join("GL"[longer.is_local(layer)] for layer in range(7)) == "GLLGLLG"


def test_local_layers_have_their_own_wavelengths(make_encoder: Callable[..., Encoder]) -> None:
    values = {
        "vocab_size": 96,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "max_position_embeddings": 48,
        "position_embedding_type": "rotary",
        "window": 60,
    }
    ids, spans = torch.arange(5, 45), SequenceLayout.packed([40])

    def states(**more: Any) -> torch.Tensor:
        return make_encoder(EncoderConfig(**values, num_hidden_layers=1, **more))(ids, spans)  # type: ignore[arg-type, no-any-return]

    local = states(attention_pattern="L", rope_theta=500.0, local_rope_theta=20.0)
    torch.testing.assert_close(local, states(attention_pattern="L", rope_theta=20.0))
    assert (local - states(attention_pattern="L", rope_theta=500.0)).abs().max() > 1e-3


def test_rotary_states_depend_on_distances_only(make_encoder: Callable[..., Encoder]) -> None:
    """The same text further on in the sequence has the same states, unlike with a table of positions."""
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=99,
        position_embedding_type="rotary",
    )
    encoder, spans = make_encoder(config), SequenceLayout.packed([9])
    later = dataclasses.replace(spans, position_ids=spans.position_ids + 90)
    ids = torch.arange(5, 14)
    torch.testing.assert_close(encoder(ids, later), encoder(ids, spans), atol=1e-5, rtol=0)
    table = make_encoder(changed(config, position_embedding_type="learned"))
    assert (table(ids, later) - table(ids, spans)).abs().max() > 1e-2


# from outside


@pytest.mark.parametrize("variant", VARIANTS)
def test_recomputing_gives_the_same_gradients(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], variant: str
) -> None:
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=3,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=40,
        dropout=0.2,
        **VARIANTS[variant],
    )
    encoder, batch = make_encoder(config).train(), make_batch([40, 31, 31, 9])
    passes = []
    encoder.blocks[1].register_forward_pre_hook(lambda *_: passes.append(1))
    found = []
    for encoder.gradient_checkpointing in (False, True):
        torch.manual_seed(5)
        encoder.zero_grad()
        encoder.activation_norms = []
        loss = encoder(batch.input_ids, batch.layout, batch.token_type_ids).square().sum()
        loss.backward()
        found.append((loss.detach(), *(p.grad for p in encoder.parameters())))
        assert len(encoder.activation_norms) == 4  # each block once
    assert len(passes) == 3  # the second time again, for the gradients
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))  # type: ignore[arg-type]
    with torch.no_grad():
        encoder(batch.input_ids, batch.layout, batch.token_type_ids)
    encoder.eval()(batch.input_ids, batch.layout, batch.token_type_ids).sum().backward()
    assert len(passes) == 5


def test_what_is_watched_is_the_size_of_the_hidden_states(make_encoder: Callable[..., Encoder]) -> None:
    config = EncoderConfig(vocab_size=96, num_hidden_layers=2, hidden_size=16, num_attention_heads=2, norm="pre")
    encoder, ids, spans = make_encoder(config), torch.arange(5, 15), SequenceLayout.packed([10])
    before = encoder(ids, spans)
    encoder.activation_norms = []
    assert torch.equal(encoder(ids, spans), before)
    wanted = [encoder.embeddings(ids, spans.position_ids, None)]
    for block in encoder.blocks:
        wanted.append(block(wanted[-1], Context(spans)))
    assert [x.item() for x in encoder.activation_norms] == [
        pytest.approx(state.square().mean().sqrt().item()) for state in wanted
    ]
    assert not any(x.requires_grad for x in encoder.activation_norms)


@given(some_values, st.lists(st.integers(1, 70), min_size=1, max_size=5), st.data())
def test_places_that_are_asked_for_have_the_states_that_they_have_among_all(
    values: dict[str, Any], lengths: list[int], data: st.DataObject
) -> None:
    """In value and gradient, whichever places are asked for, in float64."""
    torch.manual_seed(0)
    config = from_mapping(
        EncoderConfig,
        {
            "vocab_size": 32,
            "num_hidden_layers": 2,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "max_position_embeddings": 70,
            **values,
        },
        "test",
    )
    encoder = Encoder(config).double()
    lengths = sorted(lengths, reverse=True)
    ids, spans = torch.randint(32, (sum(lengths),)), SequenceLayout.packed(lengths)
    some = data.draw(st.lists(st.integers(0, sum(lengths) - 1), unique=True))
    asked = spans.gather(torch.tensor(some, dtype=torch.int64))
    wanted = sorted({*some, *spans.first_tokens.tolist()})
    assert asked.token_indices is not None and asked.token_indices.tolist() == wanted
    assert asked.position_ids.tolist() == spans.position_ids[wanted].tolist()
    assert [wanted[row] for row in asked.first_tokens.tolist()] == spans.first_tokens.tolist()
    for these in (asked, spans.gather_first()):
        gradients = []
        for states in (encoder(ids, spans)[these.token_indices], encoder(ids, spans, None, these)):
            encoder.zero_grad()
            (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
            gradients.append((states, [p.grad for p in encoder.parameters() if p.grad is not None]))
        (whole, by_whole), (narrow, by_narrow) = gradients
        torch.testing.assert_close(narrow, whole)
        torch.testing.assert_close(by_narrow, by_whole)


def test_the_last_block_computes_nothing_that_is_not_asked_for(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    encoder = make_encoder(tiny)
    seen: list[int] = []
    encoder.blocks[-1].feed_forward.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))  # type: ignore[union-attr]
    spans = SequenceLayout.packed([9, 4])
    ids = torch.zeros(13, dtype=torch.int64)
    encoder(ids, spans)
    encoder(ids, spans, None, spans.gather(torch.tensor([3, 11])))
    encoder(ids, spans, None, spans.gather_first())
    assert seen == [13, 4, 2]
