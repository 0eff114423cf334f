"""Hashes, uniform numbers and permutations: pure functions with the statistics that they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unmask.data.hashing import hash_integers, hash_uniform, mix_bits, permute


def test_values_are_those_of_the_first_release() -> None:
    """Another function would read other data after a resume, and mask it otherwise."""
    assert int(hash_integers(1, 2, 3)[0]) == 0x3B67CDF5D5849116
    assert [int(x) for x in hash_integers(7, np.arange(3))] == [
        0x195142DB2E90DD1C,
        0xD635E4841EE5867B,
        0xA52768BAECCF027E,
    ]
    assert permute(np.arange(10), 10, 0, 1, 0).tolist() == [8, 0, 6, 7, 1, 4, 9, 2, 5, 3]
    assert hash_uniform(11, 5, 1, 0)[0] == 0.7876706751090281


def test_the_finaliser_is_splitmix64() -> None:
    """The first three outputs of the reference generator for seed 0."""
    states = [0x9E3779B97F4A7C15 * k % 2**64 for k in (1, 2, 3)]
    with np.errstate(over="ignore"):
        found = [int(x) for x in mix_bits(np.array(states, dtype=np.uint64))]
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(parts=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), data=st.data())
def test_arrays_give_what_single_numbers_give(parts: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(parts) - 1))
    column = np.array([parts[at], 5, -1])
    spread = [column if place == at else part for place, part in enumerate(parts)]
    for row, number in enumerate(column):
        single = [int(number) if place == at else part for place, part in enumerate(parts)]
        assert hash_integers(*spread)[row] == hash_integers(*single)[0]


def test_order_and_number_of_parts_matter() -> None:
    found = {int(hash_integers(*parts)[0]) for parts in ((1, 2), (2, 1), (1, 2, 0), (0, 1, 2), (1,), (12,), (3,))}
    assert len(found) == 7


@pytest.mark.parametrize("stream", [(0,), (1,), (11, 3), (12, 3)])
def test_uniform_is_uniform(stream: tuple[int, ...]) -> None:
    drawn = hash_uniform(*stream, np.arange(200_000))
    assert drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    low_bits = (drawn * 2**53).astype(np.int64) % 256
    assert stats.chisquare(np.bincount(low_bits, minlength=256)).pvalue > 1e-3


def test_streams_and_neighbours_are_independent() -> None:
    places = np.arange(100_000)
    first, second = hash_uniform(11, 4, places), hash_uniform(12, 4, places)
    shifted = hash_uniform(11, 4, places + 1)
    for other in (second, shifted, hash_uniform(11, 5, places)):
        cells = np.histogram2d(first, other, bins=16)[0].ravel()
        assert stats.chisquare(cells).pvalue > 1e-3


@given(size=st.integers(1, 5000), key=st.integers(0, 2**40), epoch=st.integers(0, 50))
def test_permuted_is_a_bijection(size: int, key: int, epoch: int) -> None:
    places = permute(np.arange(size), size, key, epoch)
    assert np.array_equal(np.sort(places), np.arange(size))


@given(size=st.integers(1, 10**12), data=st.data())
def test_any_part_of_a_permutation_can_be_had_alone(size: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=8))
    whole = permute(np.array(places), size, 3)
    assert ((whole >= 0) & (whole < size)).all()
    assert whole.tolist() == [int(permute(np.array([place]), size, 3)[0]) for place in places]
    assert len(set(whole.tolist())) == len(set(places))


def test_each_place_goes_everywhere_equally_often() -> None:
    images = [int(permute(np.array([17]), 40, key)[0]) for key in range(1600)]
    assert stats.chisquare(np.bincount(images, minlength=40)).pvalue > 1e-4


def test_a_permutation_leaves_no_trace_of_the_order() -> None:
    order = permute(np.arange(100_000), 100_000, 5)
    cells = np.histogram2d(order[:-1], order[1:], bins=16)[0].ravel()
    assert stats.chisquare(cells).pvalue > 1e-4
    assert abs(stats.spearmanr(order, np.arange(len(order))).statistic) < 0.015
