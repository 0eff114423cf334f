"""Pooling of packed sequences against one sequence at a time; attention against a softmax written out."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.config import EncoderConfig
from unmask.model.layout import SequenceLayout, sequence_ids
from unmask.model.pooler import AttentionPooling, Pooler, pool

LENGTHS = [5, 3, 3, 1]
ALONE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cls": lambda rows: rows[0],
    "mean": lambda rows: rows.mean(0),
    "max": lambda rows: rows.max(0).values,
}


def hidden_of(lengths: list[int], width: int = 6, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(sum(lengths), width, dtype=torch.float64)


def attended(pooling: AttentionPooling, rows: torch.Tensor) -> torch.Tensor:
    return (rows @ pooling.query.weight[0]).softmax(0) @ rows


@given(st.lists(st.integers(1, 6), min_size=1, max_size=7))
def test_each_sequence_is_pooled_as_if_it_were_alone(lengths: list[int]) -> None:
    hidden, spans = hidden_of(lengths), SequenceLayout.packed(lengths)
    attention = AttentionPooling(6).double()
    torch.nn.init.normal_(attention.query.weight)
    assert sequence_ids(spans).tolist() == [n for n, length in enumerate(lengths) for _ in range(length)]
    parts = hidden.split(lengths)
    for pooling, alone in ALONE.items():
        wanted = torch.stack([alone(rows) for rows in parts])
        torch.testing.assert_close(pool(hidden, spans, pooling), wanted)  # type: ignore[arg-type]
    torch.testing.assert_close(
        attention(hidden, spans),
        torch.stack([attended(attention, rows) for rows in parts]),
        rtol=1e-6,
        atol=1e-6,
    )


def test_attention_with_equal_scores_is_the_mean_and_so_it_begins() -> None:
    hidden, spans = hidden_of(LENGTHS), SequenceLayout.packed(LENGTHS)
    attention = AttentionPooling(6).double()
    torch.testing.assert_close(attention(hidden, spans), pool(hidden, spans, "mean"), rtol=1e-6, atol=1e-6)
    attention(hidden, spans)[0, 0].backward()
    assert attention.query.weight.grad is not None and attention.query.weight.grad.abs().max() > 0


def test_scores_of_any_size_make_weights() -> None:
    hidden, spans = 1000 * hidden_of(LENGTHS), SequenceLayout.packed(LENGTHS)
    attention = AttentionPooling(6).double()
    torch.nn.init.ones_(attention.query.weight)
    pooled = attention(hidden, spans)
    wanted = torch.stack([rows[rows.sum(1).argmax()] for rows in hidden.split(LENGTHS)])
    torch.testing.assert_close(pooled, wanted)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "attention"])
def test_gradients_reach_the_tokens_that_are_read(pooling: str) -> None:
    config = EncoderConfig(hidden_size=6, num_attention_heads=2)
    pooler = Pooler(config, pooling).double()  # type: ignore[arg-type]
    hidden, spans = hidden_of(LENGTHS).requires_grad_(), SequenceLayout.packed(LENGTHS)
    torch.autograd.gradcheck(lambda x: pooler(x, spans), [hidden], atol=1e-4, rtol=1e-3)
    pooler(hidden, spans)[0].sum().backward()
    assert hidden.grad is not None
    read = (hidden.grad.abs().sum(1) > 0).tolist()
    assert read[5:] == [False] * 7 and read[0] | (pooling == "max")
    assert pooler.reads_first is (sum(read) == 1)
