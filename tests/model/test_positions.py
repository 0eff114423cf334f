"""Position schemes against the published formulas, one number at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unmask.model import positions as module
from unmask.model.positions import RotaryEmbedding, apply_rotary, sinusoidal_table


@given(length=st.integers(1, 40), half=st.integers(1, 20))
def test_each_entry_is_the_formula_of_vaswani_et_al(length: int, half: int) -> None:
    width = 2 * half
    table = sinusoidal_table(length, width)
    assert table.shape == (length, width) and table.dtype == torch.float32
    for place in range(length):
        for i in range(half):
            angle = place / 10000 ** (2 * i / width)
            assert table[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)


def test_known_values() -> None:
    table = sinusoidal_table(3, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[1].tolist() == pytest.approx([0.84147098, 0.54030231, 0.00999983, 0.99995], abs=1e-7)
    assert table[2].tolist() == pytest.approx([0.90929743, -0.41614684, 0.01999867, 0.99980001], abs=1e-7)


def test_far_places_keep_their_digits() -> None:
    table = sinusoidal_table(100_001, 2)
    assert table[100_000, 0].item() == pytest.approx(math.sin(100_000), abs=1e-7)


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(AssertionError):
        sinusoidal_table(4, 3)


# rotary


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(base=st.sampled_from([10.0, 10_000.0, 160_000.0]), half=st.integers(1, 8), seed=st.integers(0, 9))
def test_turning_is_a_complex_product(base: float, half: int, seed: int) -> None:
    """Su et al. 2021, section 3.4.2: axis i of the first half and of the second are one complex number."""
    positions = torch.tensor([0, 1, 7, 300])
    x = drawn(4, 3, 2 * half, seed=seed)
    pairs = torch.complex(x[..., :half], x[..., half:])
    angles = positions[:, None] * torch.tensor([base ** (-i / half) for i in range(half)], dtype=torch.float64)
    wanted = pairs * torch.exp(1j * angles).unsqueeze(1)
    got = apply_rotary(x, RotaryEmbedding(301, 2 * half, base).double()(positions))
    torch.testing.assert_close(got, torch.cat([wanted.real, wanted.imag], dim=-1), atol=1e-6, rtol=0)


@given(first=st.integers(0, 4000), second=st.integers(0, 4000), shift=st.integers(0, 4000))
def test_scores_depend_on_the_distance_only(first: int, second: int, shift: int) -> None:
    rotary = RotaryEmbedding(8192, 8, 10_000.0).double()
    query, key = drawn(1, 1, 8), drawn(1, 1, 8, seed=1)

    def score(i: int, j: int) -> float:
        turned = [apply_rotary(x, rotary(torch.tensor([at]))) for x, at in ((query, i), (key, j))]
        return (turned[0] * turned[1]).sum().item()

    assert score(first, second) == pytest.approx(score(first + shift, second + shift), abs=1e-5)
    assert score(0, 5) != pytest.approx(score(0, 6), abs=1e-3)


@pytest.mark.parametrize("shape", [(7, 3, 6), (2, 7, 3, 6)])
def test_the_fast_way_is_the_plain_one(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for views of a larger matrix, over the edge of what is turned together; and its gradient."""
    monkeypatch.setattr(module, "ROTARY_CHUNK", 4)
    positions = torch.arange(7).expand(shape[:-2])
    turn = RotaryEmbedding(7, 6, 100.0).double()(positions)
    wide = drawn(*shape[:-1], 18).requires_grad_()
    weights = drawn(*shape, seed=5)
    found = []
    for plain in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda plain=plain: plain)
            turned = apply_rotary(wide.chunk(3, dim=-1)[1], turn)
        (gradient,) = torch.autograd.grad((turned * weights).sum(), wide)
        found.append((turned.detach(), gradient))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-12, rtol=0)


def test_its_gradient_is_that_of_finite_differences() -> None:
    turn = RotaryEmbedding(4, 6, 100.0).double()(torch.arange(4))
    assert torch.autograd.gradcheck(lambda x: apply_rotary(x, turn), drawn(4, 2, 6).requires_grad_())


def test_far_places_are_turned_exactly() -> None:
    cosine, sine = RotaryEmbedding(8192, 4, 10_000.0)(torch.tensor([8191]))
    assert cosine.flatten().tolist() == pytest.approx([math.cos(8191), math.cos(81.91)] * 2, abs=1e-7)
    assert sine.flatten().tolist() == pytest.approx([math.sin(8191), math.sin(81.91)], abs=1e-7)


def test_half_precision_is_turned_in_float32_and_rounded_once() -> None:
    x = drawn(9, 2, 16).bfloat16()
    turn = RotaryEmbedding(9, 16, 10_000.0)(torch.arange(9))
    got = apply_rotary(x, turn)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, apply_rotary(x.float(), turn).bfloat16())
