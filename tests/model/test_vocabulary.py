"""The masked-LM head against the formula, and its tie to the embeddings."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.vocabulary import VocabularyHead


def test_logits_are_the_formula(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    head = VocabularyHead(tiny)
    torch.nn.init.normal_(head.bias)
    hidden = torch.randn(5, 16)
    inner = hidden @ head.dense.weight.T + head.dense.bias
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    centred = inner - inner.mean(-1, keepdim=True)
    normal = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    wanted = normal @ encoder.embeddings.token.weight.T + head.bias
    torch.testing.assert_close(head(hidden, encoder), wanted, atol=1e-4, rtol=1e-4)


def test_loss_is_the_sum_of_minus_log_probabilities(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    encoder, head = make_encoder(tiny), VocabularyHead(tiny)
    hidden, targets = torch.randn(4, 16), torch.tensor([5, 6, 7, 95])
    logits = head(hidden, encoder).double()
    wanted = sum(
        -(logits[row, target] - logits[row].exp().sum().log()).item() for row, target in enumerate(targets)
    )
    assert head.loss(hidden, targets, encoder).item() == pytest.approx(wanted, rel=1e-5)


def test_the_embeddings_learn_through_the_head(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    encoder, head = make_encoder(tiny), VocabularyHead(tiny)
    head.loss(torch.randn(2, 16), torch.tensor([5, 9]), encoder).backward()
    assert encoder.embeddings.token.weight.grad is not None
    assert encoder.embeddings.token.weight.grad.abs().sum() > 0
    assert not any("token" in name for name, _ in head.named_parameters())


@given(counts=st.lists(st.integers(0, 10**7), min_size=96, max_size=96))
def test_the_head_can_begin_with_frequencies(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, counts: list[int]
) -> None:
    """With nothing to go by, it then says how frequent each piece is; half a time more, so that none is impossible."""
    encoder, head = make_encoder(tiny), VocabularyHead(tiny)
    head.begin_with(torch.tensor(counts))
    with torch.no_grad():
        found = head(torch.zeros(2, 16), encoder).double().softmax(-1)
    wanted = torch.tensor([count + 0.5 for count in counts], dtype=torch.float64)
    torch.testing.assert_close(found[1], wanted / wanted.sum(), rtol=1e-4, atol=0)
    assert head.bias.requires_grad and abs(float(head.bias.detach().mean())) < 1e-4


def test_without_it_every_piece_is_as_likely(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    logits = VocabularyHead(tiny)(torch.zeros(1, 16), make_encoder(tiny))
    assert not logits.any()
