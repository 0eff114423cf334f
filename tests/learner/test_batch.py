"""Rows put one after another, and groups of rows by length."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.encoded import IGNORE_INDEX, EncodedRow, groups_by_length
from unmask.learner.batch import pack


def row(number: int, length: int, label: int = 0) -> EncodedRow:
    ids = np.arange(length) + 100 * number
    targets = {"label": np.array([label]), "tokens": np.where(ids % 2, ids, IGNORE_INDEX)}
    flags = np.full(length, number % 4, dtype=np.uint8)
    return EncodedRow(ids, ids % 2, flags, number, epoch=number % 3, owner=number * 2, targets=targets)


lengths = st.lists(st.integers(1, 30), min_size=1, max_size=12)


@given(lengths)
def test_packing_loses_and_mixes_nothing(sizes: list[int]) -> None:
    rows = [row(number, size, label=number) for number, size in enumerate(sizes)]
    batch = pack(rows, progress=0.25)
    assert batch.num_tokens == sum(sizes) and batch.num_sequences == len(sizes) and batch.progress == 0.25
    assert list(batch.layout.lengths) == sorted(sizes, reverse=True)
    assert sorted(batch.example.tolist()) == list(range(len(sizes)))
    assert batch.owner.tolist() == [2 * number for number in batch.example.tolist()]
    assert batch.epoch.tolist() == [number % 3 for number in batch.example.tolist()]
    assert batch.targets["label"].tolist() == batch.example.tolist()
    assert batch.target_counts == {
        "label": len(sizes),
        "tokens": sum(int((r.input_ids % 2).sum()) for r in rows),
    }
    at = 0
    for number, size in zip(batch.example.tolist(), batch.layout.lengths, strict=True):
        part = slice(at, at + size)
        assert batch.input_ids[part].tolist() == rows[number].input_ids.tolist()
        assert batch.token_type_ids[part].tolist() == rows[number].token_type_ids.tolist()
        assert batch.flags[part].tolist() == rows[number].flags.tolist()
        assert batch.targets["tokens"][part].tolist() == rows[number].targets["tokens"].tolist()
        at += size


def test_copies_stand_side_by_side() -> None:
    rows = [row(number, size, label=number) for number, size in enumerate([7, 4, 4, 2])]
    batch, double = pack(rows), pack(rows, copies=2)
    assert double.layout.lengths == (7, 7, 4, 4, 4, 4, 2, 2) and (double.copies, double.num_tokens) == (2, 17)
    for one, two in (
        (getattr(batch, name), getattr(double, name)) for name in ("input_ids", "token_type_ids", "flags")
    ):
        parts = one.split(list(batch.layout.lengths))
        assert torch.equal(two, torch.cat([part for part in parts for _ in range(2)]))
    assert double.targets["label"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] == double.example.tolist()
    assert double.target_counts == {name: 2 * count for name, count in batch.target_counts.items()}


def test_equal_lengths_keep_their_order() -> None:
    assert pack([row(n, 5) for n in range(6)]).example.tolist() == list(range(6))


@given(lengths, st.integers(1, 60), st.integers(0, 20) | st.none())
def test_groups_hold_each_row_once_and_keep_to_the_limits(sizes: list[int], limit: int, padding: int | None) -> None:
    rows = [row(number, size) for number, size in enumerate(sizes)]
    groups = list(groups_by_length(rows, limit, padding))
    assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
    in_order = [sizes[index] for group in groups for index in group]
    assert in_order == sorted(sizes, reverse=True)
    for group in groups:
        own = [sizes[index] for index in group]
        assert len(group) == 1 or sum(own) <= limit
        assert padding is None or max(own) * len(own) - sum(own) <= padding


def test_new_targets_are_counted_and_the_old_batch_stays() -> None:
    batch = pack([row(1, 4)])
    targets = batch.input_ids.clone()
    targets[:3] = IGNORE_INDEX
    more = batch.with_targets("masked", targets, input_ids=batch.input_ids + 1)
    assert more.target_counts["masked"] == 1 and "masked" not in batch.target_counts
    assert more.input_ids.tolist() == [i + 1 for i in batch.input_ids.tolist()]
    assert more.target_counts["label"] == batch.target_counts["label"]
    assert batch.to("cpu") is batch
