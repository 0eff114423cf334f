"""The masked-LM head against the formula, and its tie to the embeddings."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from unmask.model import mlm_head as vocabulary
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead, _SummedCrossEntropy, positions_per_chunk


def test_logits_are_the_formula(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    head = MLMHead(tiny)
    torch.nn.init.normal_(head.bias)
    hidden = torch.randn(5, 16)
    inner = hidden @ head.dense.weight.T + head.dense.bias
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    centred = inner - inner.mean(-1, keepdim=True)
    normal = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    wanted = normal @ encoder.embeddings.token.weight.T + head.bias
    torch.testing.assert_close(head(hidden, encoder), wanted, atol=1e-4, rtol=1e-4)


def test_loss_is_the_sum_of_minus_log_probabilities(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder, head = make_encoder(tiny), MLMHead(tiny)
    hidden, targets = torch.randn(4, 16), torch.tensor([5, 6, 7, 95])
    logits = head(hidden, encoder).double()
    wanted = sum(-(logits[row, target] - logits[row].exp().sum().log()).item() for row, target in enumerate(targets))
    assert head.loss(hidden, targets, encoder).item() == pytest.approx(wanted, rel=1e-5)


def test_the_embeddings_learn_through_the_head(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder, head = make_encoder(tiny), MLMHead(tiny)
    head.loss(torch.randn(2, 16), torch.tensor([5, 9]), encoder).backward()
    assert encoder.embeddings.token.weight.grad is not None
    assert encoder.embeddings.token.weight.grad.abs().sum() > 0
    assert not any("token" in name for name, _ in head.named_parameters())


@given(counts=st.lists(st.integers(0, 10**7), min_size=96, max_size=96))
def test_the_head_can_begin_with_frequencies(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, counts: list[int]
) -> None:
    """With nothing to go by, it then says how frequent each piece is; half a time more, so that none is impossible."""
    encoder, head = make_encoder(tiny), MLMHead(tiny)
    head.init_from_counts(torch.tensor(counts))
    with torch.no_grad():
        found = head(torch.zeros(2, 16), encoder).double().softmax(-1)
    wanted = torch.tensor([count + 0.5 for count in counts], dtype=torch.float64)
    torch.testing.assert_close(found[1], wanted / wanted.sum(), rtol=1e-4, atol=0)
    assert head.bias.requires_grad and abs(float(head.bias.detach().mean())) < 1e-4


def test_without_it_every_piece_is_as_likely(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    logits = MLMHead(tiny)(torch.zeros(1, 16), make_encoder(tiny))
    assert not logits.any()


def case(places: int, dtype: torch.dtype, pieces: int = 13, width: int = 4) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(places)
    shapes = ((places, width), (pieces, width), (pieces,))
    leaves = [torch.randn(s, generator=draw, dtype=dtype).mul_(2).requires_grad_() for s in shapes]
    return *leaves, torch.randint(0, pieces, (places,), generator=draw)


@pytest.mark.parametrize("places", [0, 1, 3, 6, 7])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_sum_and_its_gradients_are_those_of_the_plain_formula(places: int, chunk: int) -> None:
    hidden, table, bias, targets = case(places, torch.float64)
    (plain := 0.3 * F.cross_entropy(F.linear(hidden, table, bias), targets, reduction="sum")).backward()
    wanted = [plain, *(leaf.grad for leaf in (hidden, table, bias))]
    for leaf in (hidden, table, bias):
        leaf.grad = None
    (found := 0.3 * _SummedCrossEntropy.apply(hidden, table, bias, targets, chunk)).backward()
    for ours, theirs in zip([found, *(leaf.grad for leaf in (hidden, table, bias))], wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_gradients_are_those_of_finite_differences() -> None:
    hidden, table, bias, targets = case(5, torch.float64)
    assert torch.autograd.gradcheck(
        lambda *leaves: _SummedCrossEntropy.apply(*leaves, targets, 2), (hidden, table, bias)
    )


def test_logits_far_apart_stay_finite() -> None:
    hidden, table, bias, targets = case(6, torch.float32)
    with torch.no_grad():
        hidden *= 1e4
    found = _SummedCrossEntropy.apply(hidden, table, bias, targets, 4)
    found.backward()
    wanted = F.cross_entropy(F.linear(hidden.double(), table.double(), bias.double()), targets, reduction="sum")
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=0)
    assert all(leaf.grad.isfinite().all() for leaf in (hidden, table, bias))


def test_tied_embeddings_get_both_gradients(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of what is read and those of what is predicted, whether by the head or by the plain formula."""
    encoder, head = make_encoder(tiny).double(), MLMHead(tiny).double()
    monkeypatch.setattr(vocabulary, "positions_per_chunk", lambda table: 2)
    ids, targets = torch.tensor([5, 6, 5, 7, 9]), torch.tensor([9, 5, 80, 6, 5])
    table, found = encoder.embeddings.token.weight, []
    for loss in (
        lambda read: head.loss(read, targets, encoder),
        lambda read: F.cross_entropy(head(read, encoder), targets, reduction="sum"),
    ):
        total = loss(encoder.embeddings.token(ids))
        found.append((total, *torch.autograd.grad(total, [table, *head.parameters()])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_products_in_bfloat16_sums_in_float32() -> None:
    hidden, table, bias, targets = case(300, torch.float32, pieces=50, width=16)
    exact = F.cross_entropy(F.linear(hidden.double(), table.double(), bias.double()), targets, reduction="sum")
    wanted = torch.autograd.grad(exact, (hidden, table, bias))
    with torch.autocast("cpu", torch.bfloat16):
        found = _SummedCrossEntropy.apply(hidden, table, bias, targets, 64)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(exact.item(), rel=2e-3)
    for ours, theirs in zip(torch.autograd.grad(found, (hidden, table, bias)), wanted, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_three_products_and_never_all_logits(
    make_encoder: Callable[..., Encoder], tiny: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, head = make_encoder(tiny), MLMHead(tiny)
    monkeypatch.setattr(vocabulary, "CPU_CHUNK_BYTES", 4 * 4 * tiny.vocab_size)
    assert positions_per_chunk(encoder.embeddings.token.weight) == 4
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.shape[-1:] == (tiny.vocab_size,) and made.ndim == 2:
                largest = max(largest, made.shape[0])
            return made

    hidden, targets = torch.randn(21, 16), torch.randint(0, tiny.vocab_size, (21,))
    with FlopCounterMode(display=False) as counter, Largest():
        head.loss(hidden.requires_grad_(), targets, encoder).backward()
    dense = 3 * 2 * 21 * 16 * 16
    assert counter.get_total_flops() == 3 * 2 * 21 * 16 * tiny.vocab_size + dense
    assert largest == 16  # rows: the table, transposed; logits are 4 at a time
