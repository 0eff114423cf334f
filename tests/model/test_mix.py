"""The states of all layers, and their mix against one layer alone and against the sum written out."""

from collections.abc import Callable

import pytest
import torch

from unmask.config import changed
from unmask.data.batch import Batch
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.mix import LayerMix


def states_of(encoder: Encoder, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
    states: list[torch.Tensor] = []
    return encoder(batch.input_ids, batch.layout, batch.token_type_ids, states=states), states


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_state_is_what_an_encoder_of_so_many_layers_returns(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], tiny: EncoderConfig, norm: str
) -> None:
    encoder, batch = make_encoder(changed(tiny, layers=3, norm=norm)), make_batch([7, 5, 2])
    with torch.no_grad():
        hidden, states = states_of(encoder, batch)
        assert len(states) == 4 and torch.equal(hidden, states[3])
        assert torch.equal(hidden, encoder(batch.input_ids, batch.layout, batch.token_type_ids))
        for layers in (1, 2):
            shorter = make_encoder(changed(tiny, layers=layers, norm=norm))
            shorter.load_state_dict({n: t for n, t in encoder.state_dict().items() if n in shorter.state_dict()})
            torch.testing.assert_close(shorter(batch.input_ids, batch.layout, batch.token_type_ids), states[layers])


def test_one_hot_weights_give_that_layer_and_others_the_sum(
    make_encoder: Callable[..., Encoder], make_batch: Callable[..., Batch], tiny: EncoderConfig
) -> None:
    _, states = states_of(make_encoder(tiny), make_batch([7, 5]))
    mix = LayerMix(tiny)
    for layer, state in enumerate(states):
        with torch.no_grad():
            mix.weights.fill_(-100).index_fill_(0, torch.tensor(layer), 0.0)
        torch.testing.assert_close(mix(states), state)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.1, 0.7, -0.4]))
        mix.scale.fill_(1.5)
    shares = torch.tensor([0.1, 0.7, -0.4]).exp()
    wanted = 1.5 * sum(share * state for share, state in zip(shares / shares.sum(), states, strict=True))
    torch.testing.assert_close(mix(states), wanted)


def test_it_begins_with_all_layers_alike(tiny: EncoderConfig) -> None:
    states = [torch.full((2, 16), float(n)) for n in range(3)]
    assert torch.equal(LayerMix(tiny)(states), torch.ones(2, 16))
