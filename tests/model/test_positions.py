"""The sinusoidal table against the published formula, one number at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.positions import sinusoidal


@given(length=st.integers(1, 40), half=st.integers(1, 20))
def test_each_entry_is_the_formula_of_vaswani_et_al(length: int, half: int) -> None:
    width = 2 * half
    table = sinusoidal(length, width)
    assert table.shape == (length, width) and table.dtype == torch.float32
    for place in range(length):
        for i in range(half):
            angle = place / 10000 ** (2 * i / width)
            assert table[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-7)


def test_known_values() -> None:
    table = sinusoidal(3, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[1].tolist() == pytest.approx([0.84147098, 0.54030231, 0.00999983, 0.99995], abs=1e-7)
    assert table[2].tolist() == pytest.approx([0.90929743, -0.41614684, 0.01999867, 0.99980001], abs=1e-7)


def test_far_places_keep_their_digits() -> None:
    table = sinusoidal(100_001, 2)
    assert table[100_000, 0].item() == pytest.approx(math.sin(100_000), abs=1e-7)


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(AssertionError):
        sinusoidal(4, 3)
