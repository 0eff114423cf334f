"""Every backend against the formula in float64 numpy, on every layout."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.attention import BACKENDS, GROUP_STEP, Spans, attend

F64 = npt.NDArray[np.float64]


def formula(
    query: F64, key: F64, value: F64, window: int | None = None, causal: bool = False
) -> npt.NDArray[np.float64]:
    """softmax(Q K^T / sqrt(d)) V of one sequence, place by place. (length, heads, head width)"""
    length, heads, width = query.shape
    result = np.zeros_like(value)
    for head in range(heads):
        for i in range(length):
            seen = [
                j
                for j in range(length)
                if (window is None or abs(i - j) <= window) and (not causal or j <= i)
            ]
            scores = np.array([query[i, head] @ key[j, head] / np.sqrt(width) for j in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            result[i, head] = sum(w * value[j, head] for w, j in zip(weights, seen, strict=True))
    return result


def inputs(lengths: list[int], heads: int = 2, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(sum(lengths), heads, width, generator=draw, dtype=torch.float64) for _ in range(3)
    )


def padded(packed: torch.Tensor, lengths: list[int], filler: float = 0.0) -> torch.Tensor:
    result = packed.new_full((len(lengths), max(lengths), *packed.shape[1:]), filler)
    for row, part in enumerate(packed.split(lengths)):
        result[row, : len(part)] = part
    return result


def mask_of(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


some_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)
windows = st.one_of(st.none(), st.integers(0, 12))


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@given(lengths=some_lengths, window=windows, causal=st.booleans(), seed=st.integers(0, 99))
def test_packed_is_the_formula(
    backend: str, lengths: list[int], window: int | None, causal: bool, seed: int
) -> None:
    q, k, v = inputs(lengths, seed=seed)
    mixed = attend(q, k, v, Spans.packed(lengths), window=window, causal=causal, backend=backend)  # type: ignore[arg-type]
    parts = [x.split(lengths) for x in (q, k, v)]
    for row, got in enumerate(mixed.split(lengths)):
        wanted = formula(*(part[row].numpy() for part in parts), window, causal)
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-10)


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@given(lengths=some_lengths, window=windows, causal=st.booleans())
def test_padded_is_the_formula_whatever_stands_in_the_padding(
    backend: str, lengths: list[int], window: int | None, causal: bool
) -> None:
    q, k, v = inputs(lengths)
    rectangles = [padded(x, lengths, filler=7.0) for x in (q, k, v)]
    spans = Spans.padded(mask_of(lengths))
    mixed = attend(*rectangles, spans, window=window, causal=causal, backend=backend)  # type: ignore[arg-type,misc]
    assert torch.isfinite(mixed).all()
    parts = [x.split(lengths) for x in (q, k, v)]
    for row, length in enumerate(lengths):
        wanted = formula(*(part[row].numpy() for part in parts), window, causal)
        np.testing.assert_allclose(mixed[row, :length].numpy(), wanted, atol=1e-10)


@given(lengths=some_lengths, window=windows, causal=st.booleans())
def test_gradients_agree_over_backends_and_layouts(
    lengths: list[int], window: int | None, causal: bool
) -> None:
    found = []
    for backend in BACKENDS:
        for spans in (Spans.packed(lengths), Spans.padded(mask_of(lengths))):
            leaves = [x.requires_grad_() for x in inputs(lengths)]
            given = leaves if spans.is_packed else [padded(x, lengths) for x in leaves]
            mixed = attend(*given, spans, window=window, causal=causal, backend=backend)  # type: ignore[arg-type,misc]
            if not spans.is_packed:
                mixed = mixed[mask_of(lengths)]
            (mixed * torch.linspace(-1, 1, mixed.numel(), dtype=mixed.dtype).view_as(mixed)).sum().backward()
            found.append([x.grad for x in leaves])
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)


def test_reference_gradient_is_that_of_finite_differences() -> None:
    leaves = [x.requires_grad_() for x in inputs([3, 5])]
    spans = Spans.packed([3, 5])
    assert torch.autograd.gradcheck(lambda *x: attend(*x, spans, window=1, backend="reference"), leaves)


def test_nothing_leaks_between_neighbours_of_one_group() -> None:
    lengths = [5, 7, 7, 3]  # one group: padded together inside
    q, k, v = inputs(lengths)
    spans = Spans.packed(lengths)
    assert len(spans.groups) == 1
    before = attend(q, k, v, spans).split(lengths)
    place = slice(5, 12)
    k[place] += 3
    v[place] -= 2
    after = attend(q, k, v, spans).split(lengths)
    assert not torch.equal(before[1], after[1])
    assert all(torch.equal(before[row], after[row]) for row in (0, 2, 3))


def test_dropout_keeps_the_expectation_and_drops_weights() -> None:
    torch.manual_seed(0)
    q, k, _ = inputs([8])
    ones = torch.ones_like(q)
    for backend in BACKENDS:
        drawn = torch.stack(
            [attend(q, k, ones, Spans.packed([8]), dropout=0.3, backend=backend) for _ in range(600)]  # type: ignore[arg-type]
        )
        assert drawn.mean().item() == pytest.approx(1.0, abs=0.03)
        assert drawn.std().item() > 0.05


@given(lengths=some_lengths)
def test_spans_know_positions_and_first_places(lengths: list[int]) -> None:
    spans = Spans.packed(lengths)
    assert spans.positions.tolist() == [place for length in lengths for place in range(length)]
    assert spans.first.tolist() == [sum(lengths[:row]) for row in range(len(lengths))]
    assert spans.longest == max(lengths)
    grid = Spans.padded(mask_of(lengths))
    assert grid.longest == max(lengths) and not grid.is_packed
    assert grid.first.tolist() == [row * max(lengths) for row in range(len(lengths))]
    assert all(row == list(range(max(lengths))) for row in grid.positions.tolist())


@given(lengths=some_lengths)
def test_groups_cover_all_places_once_and_waste_little(lengths: list[int]) -> None:
    spans = Spans.packed(lengths)
    assert [g.start for g in spans.groups] == [0, *(g.stop for g in spans.groups[:-1])]
    assert spans.groups[-1].stop == sum(lengths)
    assert sum(g.count for g in spans.groups) == len(lengths)
    for group in spans.groups:
        assert group.count * group.longest - (group.stop - group.start) < group.count * GROUP_STEP
        if group.index is not None and group.mask is not None:
            assert group.index[group.mask].tolist() == list(range(group.start, group.stop))


def test_an_empty_sequence_has_no_place() -> None:
    for lengths in ([], [3, 0]):
        with pytest.raises(AssertionError):
            Spans.packed(lengths)


def test_moving_spans_keeps_everything() -> None:
    spans = Spans.packed([4, 3, 40])
    moved = spans.to("cpu")
    assert moved.lengths == spans.lengths and torch.equal(moved.positions, spans.positions)
    assert [dataclasses.astuple(g)[:4] for g in moved.groups] == [
        dataclasses.astuple(g)[:4] for g in spans.groups
    ]
