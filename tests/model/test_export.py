"""The padded path reads tensors only, so that it exports with batch and length left open."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout


class Padded(nn.Module):
    """What is exported: ids, mask and segments in, hidden states out."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
        return self.encoder(ids, SequenceLayout.padded(mask), segments)  # type: ignore[no-any-return]


def arguments(batch: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(batch * 100 + length)
    ids = torch.randint(5, 96, (batch, length), generator=draw)
    lengths = torch.randint(1, length + 1, (batch, 1), generator=draw)
    return ids, torch.arange(length) < lengths, (ids % 2)


VARIANTS = {
    "post": {},
    "pre": {"norm": "pre"},
    "modern": {
        "position_embedding_type": "rotary",
        "gated": True,
        "attention_pattern": "GL",
        "window": 3,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_layers_export_for_any_batch_and_length(make_encoder: Callable[..., Encoder], variant: str) -> None:
    config = EncoderConfig(
        vocab_size=96,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=64,
        **VARIANTS[variant],
    )
    module = Padded(make_encoder(config))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=64)
    shapes = {name: {0: batch, 1: length} for name in ("ids", "mask", "segments")}
    program = torch.export.export(module, arguments(3, 11), dynamic_shapes=shapes).module()
    for size in ((3, 11), (2, 5), (7, 64)):
        given = arguments(*size)
        torch.testing.assert_close(program(*given)[given[1]], module(*given)[given[1]], atol=5e-6, rtol=0)
