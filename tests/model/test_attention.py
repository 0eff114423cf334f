"""Every backend against the formula in float64 numpy, on every layout."""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import varlen
from torch.utils._python_dispatch import TorchDispatchMode

from tests.reference_attention import reference
from unmask.model import attention
from unmask.model.attention import attend
from unmask.model.layout import MASK_COST, SequenceLayout, plan_groups

F64 = npt.NDArray[np.float64]


def formula(query: F64, key: F64, value: F64, window: int | None = None) -> npt.NDArray[np.float64]:
    """softmax(Q K^T / sqrt(d)) V of one sequence, place by place. (length, heads, head width)"""
    length, heads, width = query.shape
    result = np.zeros_like(value)
    for head in range(heads):
        for i in range(length):
            seen = [j for j in range(length) if (window is None or abs(i - j) <= window)]
            scores = np.array([query[i, head] @ key[j, head] / np.sqrt(width) for j in seen])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            result[i, head] = sum(w * value[j, head] for w, j in zip(weights, seen, strict=True))
    return result


def inputs(lengths: list[int], heads: int = 2, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(sum(lengths), heads, width, generator=draw, dtype=torch.float64) for _ in range(3))


def padded(packed: torch.Tensor, lengths: list[int], filler: float = 0.0) -> torch.Tensor:
    result = packed.new_full((len(lengths), max(lengths), *packed.shape[1:]), filler)
    for row, part in enumerate(packed.split(lengths)):
        result[row, : len(part)] = part
    return result


def mask_of(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


some_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)
windows = st.one_of(st.none(), st.integers(0, 12))


@pytest.fixture(params=["rectangles", "blocks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How windows are computed; for `blocks` they count as small at lengths of tests."""
    if request.param == "blocks":
        monkeypatch.setattr(attention, "BLOCK", 3)
        monkeypatch.setattr(attention, "BLOCKWISE_FROM", 1)


@given(lengths=some_lengths, window=windows, seed=st.integers(0, 99))
def test_packed_is_the_formula(way: None, lengths: list[int], window: int | None, seed: int) -> None:
    q, k, v = inputs(lengths, seed=seed)
    mixed = attend((q, k, v), SequenceLayout.packed(lengths), window=window)
    parts = [x.split(lengths) for x in (q, k, v)]
    for row, got in enumerate(mixed.split(lengths)):
        wanted = formula(*(part[row].numpy() for part in parts), window)
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-10)


@given(lengths=some_lengths, window=windows)
def test_padded_is_the_formula_whatever_stands_in_the_padding(
    way: None, lengths: list[int], window: int | None
) -> None:
    q, k, v = inputs(lengths)
    rectangles = [padded(x, lengths, filler=7.0) for x in (q, k, v)]
    mixed = attend(tuple(rectangles), SequenceLayout.padded(mask_of(lengths)), window=window)  # type: ignore[arg-type]
    assert torch.isfinite(mixed).all()
    parts = [x.split(lengths) for x in (q, k, v)]
    for row, length in enumerate(lengths):
        wanted = formula(*(part[row].numpy() for part in parts), window)
        np.testing.assert_allclose(mixed[row, :length].numpy(), wanted, atol=1e-10)


def gradients(spans: SequenceLayout, lengths: list[int], window: int | None, seed: int = 0) -> list[torch.Tensor]:
    """What attention gives, and the gradients of a sum over it."""
    leaves = [x.requires_grad_() for x in inputs(lengths, seed=seed)]
    given = leaves if spans.is_packed else [padded(x, lengths, filler=3.0) for x in leaves]
    mixed = attend(tuple(given), spans, window=window)  # type: ignore[arg-type]
    mixed = mixed if spans.is_packed else mixed[mask_of(lengths)]
    (mixed * torch.linspace(-1, 1, mixed.numel(), dtype=mixed.dtype).view_as(mixed)).sum().backward()
    return [mixed.detach(), *(x.grad for x in leaves if x.grad is not None)]


def by_formula(spans: SequenceLayout, lengths: list[int], window: int | None, seed: int = 0) -> list[torch.Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "sdpa", reference)
        patch.setattr(attention, "is_blockwise", lambda length, window: False)
        return gradients(spans, lengths, window, seed)


@given(lengths=some_lengths, window=windows)
def test_gradients_agree_over_layouts(way: None, lengths: list[int], window: int | None) -> None:
    layouts = (SequenceLayout.packed(lengths), SequenceLayout.padded(mask_of(lengths)))
    wanted = by_formula(layouts[1], lengths, window)
    for found in (by_formula(layouts[0], lengths, window), *(gradients(each, lengths, window) for each in layouts)):
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)


def test_reference_gradient_is_that_of_finite_differences(reference_attention: None) -> None:
    leaves = [x.requires_grad_() for x in inputs([3, 5])]
    spans = SequenceLayout.packed([3, 5])
    assert torch.autograd.gradcheck(lambda *x: attend(x, spans, window=1), leaves)


def test_nothing_leaks_between_neighbours_of_one_group() -> None:
    lengths = [5, 7, 7, 3]
    q, k, v = inputs(lengths)
    spans = SequenceLayout.packed(lengths)
    assert len(spans.groups(16)) == 1  # padded together inside
    before = attend((q, k, v), spans).split(lengths)
    place = slice(5, 12)
    k[place] += 3
    v[place] -= 2
    after = attend((q, k, v), spans).split(lengths)
    assert not torch.equal(before[1], after[1])
    assert all(torch.equal(before[row], after[row]) for row in (0, 2, 3))


def test_dropout_keeps_the_expectation_and_drops_weights() -> None:
    torch.manual_seed(0)
    q, k, _ = inputs([8])
    ones = torch.ones_like(q)
    drawn = torch.stack([attend((q, k, ones), SequenceLayout.packed([8]), dropout=0.3) for _ in range(600)])
    assert drawn.mean().item() == pytest.approx(1.0, abs=0.03)
    assert drawn.std().item() > 0.05


@given(lengths=some_lengths)
def test_spans_know_positions_and_first_places(lengths: list[int]) -> None:
    spans = SequenceLayout.packed(lengths)
    assert spans.position_ids.tolist() == [place for length in lengths for place in range(length)]
    assert spans.first_tokens.tolist() == [sum(lengths[:row]) for row in range(len(lengths))]
    assert spans.max_seqlen == max(lengths)
    grid = SequenceLayout.padded(mask_of(lengths))
    assert grid.max_seqlen == max(lengths) and not grid.is_packed
    assert grid.first_tokens.tolist() == [row * max(lengths) for row in range(len(lengths))]
    assert all(row == list(range(max(lengths))) for row in grid.position_ids.tolist())


@given(lengths=some_lengths, call=st.sampled_from([0, 12, 500]))
def test_groups_cover_all_places_once_and_cost_least(lengths: list[int], call: int) -> None:
    groups = plan_groups(lengths, call)
    assert sum(group.count for group in groups) == len(lengths)
    tokens = torch.arange(sum(lengths))
    for group, part in zip(groups, tokens.split([group.tokens for group in groups]), strict=True):
        spread = group.pad(part)
        assert spread.shape == (group.count, group.max_seqlen)
        assert torch.equal(group.unpad(spread), part)
        if group.mask is not None:
            assert torch.equal(spread[group.mask], part)

    def cost(parts: Iterator[list[int]]) -> float:
        return sum(call + len(p) * max(p) * (1 if len(set(p)) == 1 else 1 + MASK_COST) for p in parts if p)

    edges = [0, *itertools.accumulate(group.count for group in groups)]
    found = cost(lengths[a:b] for a, b in itertools.pairwise(edges))
    places = range(1, len(lengths))
    every = (cuts for n in range(len(lengths)) for cuts in itertools.combinations(places, n))
    least = min(cost(lengths[a:b] for a, b in itertools.pairwise([0, *cuts, len(lengths)])) for cuts in every)
    assert found == pytest.approx(least)


def test_equally_long_sequences_are_never_copied() -> None:
    assert [group.source for group in plan_groups([128] * 9 + [64] * 20, call_cost=12)] == [None, None]
    assert len(plan_groups([40, 39, 38], call_cost=0)) == 3 and len(plan_groups([40, 39, 38], call_cost=4096)) == 1


def test_an_empty_sequence_has_no_place() -> None:
    for lengths in ([], [3, 0]):
        with pytest.raises(AssertionError):
            SequenceLayout.packed(lengths)


def test_moving_spans_keeps_everything() -> None:
    spans = SequenceLayout.packed([4, 3, 40])
    q, k, v = inputs([4, 3, 40])
    before = attend((q, k, v), spans, window=2)
    moved = spans.map_tensors(torch.clone)
    assert moved.lengths == spans.lengths and torch.equal(moved.position_ids, spans.position_ids)
    assert moved.cu_seqlens is not None and moved.cu_seqlens.tolist() == [0, 4, 7, 47]
    assert moved.cu_seqlens.dtype == torch.int32 and not moved.cache and spans.cache
    assert torch.equal(attend((q, k, v), moved, window=2), before)


# windows


@pytest.mark.parametrize("window", [1, 31, 40])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_windows_of_long_sequences_are_the_masked_rectangle(window: int, layout: str) -> None:
    """With the block sizes of real use: sequences that end inside a block, long ones beside short ones."""
    lengths = [301, 256, 161, 40, 7]
    assert attention.is_blockwise(lengths[2], window) and not attention.is_blockwise(lengths[3], window)
    spans = SequenceLayout.packed(lengths) if layout == "packed" else SequenceLayout.padded(mask_of(lengths))
    found = gradients(spans, lengths, window, seed=window)
    for mine, theirs in zip(found, by_formula(spans, lengths, window, seed=window), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)


class Largest(TorchDispatchMode):
    """The size in numbers of the largest tensor that any operation makes, backwards included."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, torch.Tensor):
                self.numbers = max(self.numbers, x.untyped_storage().nbytes() // x.element_size())
        return result


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_window_makes_nothing_of_the_size_of_length_squared(layout: str) -> None:
    def largest(length: int) -> int:
        leaves = [x.requires_grad_() for x in inputs([length], heads=1, width=2)]
        spans = SequenceLayout.packed([length]) if layout == "packed" else SequenceLayout.padded(mask_of([length]))
        given = leaves if spans.is_packed else [x.unsqueeze(0) for x in leaves]
        with Largest() as seen:
            attend(tuple(given), spans, window=64).sum().backward()  # type: ignore[arg-type]
        return seen.numbers

    assert largest(8192) <= 8192 * 4 * 64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "is_blockwise", lambda length, window: False)
        assert largest(1024) >= 1024**2  # it would be seen


def test_bands_are_made_once_for_all_layers() -> None:
    q, k, v = inputs([300])
    spans = SequenceLayout.packed([300])
    for _ in range(2):
        attend((q, k, v), spans, window=4)
        attend((q, k, v), spans, window=8)
    bands = [known for known in spans.cache if known[0] == "band"]
    assert len(bands) == 2


# the kernel for packed sequences, which runs on GPUs only: a double computes the same here


def double(calls: list[dict[str, Any]]) -> Callable[..., torch.Tensor]:
    """A stand-in with the documented meaning of torch.nn.attention.varlen.varlen_attn."""

    def kernel(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cu_seq_q: torch.Tensor,
        cu_seq_k: torch.Tensor,
        max_q: int,
        max_k: int,
        window_size: tuple[int, int] = (-1, -1),
    ) -> torch.Tensor:
        calls.append({"window_size": window_size})
        assert cu_seq_q.dtype == torch.int32 and torch.equal(cu_seq_q, cu_seq_k)
        sizes = cu_seq_q.diff().tolist()
        assert max_q == max_k == max(sizes)
        (window, _), result = window_size, []
        for q, k, v in zip(*(x.double().split(sizes) for x in (query, key, value)), strict=True):
            distance = (torch.arange(len(q)) - torch.arange(len(q)).unsqueeze(1)).abs()
            scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
            weights = scores.masked_fill(distance > (math.inf if window < 0 else window), -math.inf).softmax(-1)
            result.append(torch.einsum("hqk,khd->qhd", weights, v))
        return torch.cat(result).to(query.dtype)

    return kernel


@pytest.fixture(params=["windows", "no windows"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of the kernel, as torch 2.13 has it and as an older one."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(varlen, "varlen_attn", double(calls))
    monkeypatch.setattr(attention, "_varlen_has_windows", lambda: request.param == "windows")
    monkeypatch.setattr(attention, "_is_recent_gpu", lambda device: True)
    return calls


@pytest.mark.parametrize("window", [None, 3])
def test_the_kernel_is_used_where_it_can(
    kernel: list[dict[str, Any]], window: int | None, request: pytest.FixtureRequest
) -> None:
    lengths = [30, 20, 20, 3]
    q, k, v = (x.bfloat16() for x in inputs(lengths, width=8))
    spans = SequenceLayout.packed(lengths)
    mixed = attend((q, k, v), spans, window=window)
    old = "no windows" in request.node.name
    assert len(kernel) == (0 if old and window is not None else 1)
    wanted = attend((q.double(), k.double(), v.double()), spans, window=window)
    torch.testing.assert_close(mixed.double(), wanted, atol=2e-2, rtol=0)


def test_sdpa_is_used_where_the_kernel_cannot(kernel: list[dict[str, Any]]) -> None:
    lengths = [6, 5]
    half = [x.half() for x in inputs(lengths, width=8)]
    spans = SequenceLayout.packed(lengths)
    attend(tuple(half), spans, dropout=0.1)
    attend(tuple(x.float() for x in half), spans)  # type: ignore[arg-type]
    attend(tuple(x[..., :4] for x in half), spans)  # type: ignore[arg-type]
    attend(tuple(padded(x, lengths) for x in half), SequenceLayout.padded(mask_of(lengths)))  # type: ignore[arg-type]
    assert not kernel
    attend(tuple(half), spans)
    assert len(kernel) == 1


def test_torch_has_the_kernel_with_the_arguments_that_it_is_given() -> None:
    names = list(inspect.signature(varlen.varlen_attn).parameters)
    assert names[:7] == "query key value cu_seq_q cu_seq_k max_q max_k".split()
    assert isinstance(attention._varlen_has_windows(), bool)
