"""Formulas of cost against torch's own counters: of FLOPs, and of what is saved for the gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unmask.model.config import EncoderConfig
from unmask.model.cost import activation_numbers, attention_pairs, forward_flops
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead

SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {},
    "gated": {"gated": True, "norm": "pre", "bias": False},
    "rotary": {"position_embedding_type": "rotary"},
    "normalised": {"qk_norm": True, "position_embedding_type": "rotary"},
    "albert": {"embedding_size": 16, "num_hidden_groups": 1},
    "local": {"attention_pattern": "GL", "window": 5},
}


def config_of(name: str, **settings: Any) -> EncoderConfig:
    return EncoderConfig(
        vocab_size=50,
        num_hidden_layers=4,
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=128,
        **SETTINGS[name],
        **settings,
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_a_forward_pass_has_the_flops_that_torch_counts(name: str, reference_attention: None) -> None:
    config, length = config_of(name), 48
    encoder, head = Encoder(config).eval(), MLMHead(config)
    spans = SequenceLayout.packed([length, length])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hidden = encoder(torch.zeros(2 * length, dtype=torch.int64), spans)
    found = forward_flops(config, length)
    outside = 0.0
    if config.window:  # the reference computes what lies outside of the window of two layers, and masks it
        outside = 2 * 4 * config.hidden_size * (length**2 - attention_pairs(length, 5)) / length
    assert sum(found.values()) - found["masked"] == counter.get_total_flops() / (2 * length) - outside
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(hidden[:3], encoder)
    assert found["masked"] == counter.get_total_flops() / 3


@pytest.mark.parametrize("name", ["bert", "gated", "rotary", "normalised"])
def test_about_as_many_numbers_are_kept_as_torch_saves(name: str) -> None:
    config, lengths = config_of(name), [64] * 4
    encoder = Encoder(config).train()
    own = {p.untyped_storage().data_ptr() for p in [*encoder.parameters(), *encoder.buffers()]}
    saved: dict[int, tuple[int, Tensor]] = {}  # with the tensors: a storage that is freed gives its place to others

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        encoder(torch.zeros(sum(lengths), dtype=torch.int64), SequenceLayout.packed(lengths))
    measured = sum(size for size, _ in saved.values()) / 4 / sum(lengths)
    assert activation_numbers(config) == pytest.approx(measured, rel=0.05)
