"""RMSNorm against its formula, torch's module and finite differences."""

import pytest
import torch
from torch import nn

from unmask.model import norms
from unmask.model.norms import RMSNorm


@pytest.mark.parametrize("shape", [(5, 8), (3, 7, 8), (2, 3, 4, 8)])
def test_it_is_torchs_module_forwards_and_backwards(shape: tuple[int, ...]) -> None:
    found = []
    for kind in (RMSNorm, nn.RMSNorm):
        torch.manual_seed(0)
        norm = kind(8, eps=0.1).double()
        nn.init.normal_(norm.weight)
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        y = norm(x)
        (y * torch.randn_like(y)).sum().backward()
        found.append((y.detach(), x.grad, norm.weight.grad))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-12, rtol=0)


def test_the_size_of_the_result_is_that_of_the_weights() -> None:
    norm = RMSNorm(3, eps=1e-12)
    x = torch.tensor([[3.0, 0.0, 4.0]])
    wanted = x / (25 / 3) ** 0.5
    torch.testing.assert_close(norm(x), wanted)
    norm.weight.data = torch.tensor([1.0, 5.0, 2.0])
    torch.testing.assert_close(norm(x), wanted * torch.tensor([1.0, 5.0, 2.0]))


def test_gradients_are_those_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(3)
    x, weight = (
        torch.randn(*shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in ((4, 5), (5,))
    )
    assert torch.autograd.gradcheck(lambda x, w: norms._RMS.apply(x, w, 0.01), (x, weight))  # type: ignore[no-untyped-call]


def test_other_types_of_numbers_take_torchs_way() -> None:
    norm = RMSNorm(16, eps=1e-6)
    x = torch.randn(3, 16).bfloat16()
    torch.testing.assert_close(norm(x).float(), norm(x.float()), atol=2e-2, rtol=0)
