"""Hiding pieces while fine-tuning: how many, which, and that nothing else of a batch changes."""

import numpy as np
import pytest
import torch

from unmask.data.batch import SPECIAL, Batch, Row, pack
from unmask.tasks.hiding import Hiding

MASK = 4


def batch_of(rows: int = 200, length: int = 50, epoch: int = 0) -> Batch:
    flags = np.zeros(length, dtype=np.uint8)
    flags[[0, -1]] = SPECIAL
    ids = np.arange(5, 5 + length)
    segments = np.zeros(length, dtype=np.int64)
    return pack([Row(ids, segments, flags, k, epoch, k, {"label": np.array([k % 2])}) for k in range(rows)])


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_so_many_ordinary_pieces_are_hidden(share: float) -> None:
    before = batch_of()
    after = Hiding(share, MASK)(before, seed=0)
    ordinary = before.flags & SPECIAL == 0
    hidden = after.ids == MASK
    assert not hidden[~ordinary].any()
    assert torch.equal(after.ids[~hidden], before.ids[~hidden])
    count = int(ordinary.sum())
    assert abs(int(hidden.sum()) - share * count) < 5 * (count * share * (1 - share)) ** 0.5
    assert after.targets is before.targets and after.spans is before.spans and after.flags is before.flags


def test_other_ones_in_each_epoch_the_same_for_the_same_seed() -> None:
    hide = Hiding(0.3, MASK)
    first, again, seed, epoch = (
        hide(batch_of(epoch=e), seed=s).ids for e, s in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, seed) and not torch.equal(first, epoch)


def test_what_is_hidden_does_not_depend_on_the_rest_of_the_batch() -> None:
    hide = Hiding(0.3, MASK)
    many, few = (hide(batch_of(rows), seed=0) for rows in (20, 3))
    assert torch.equal(many.ids[: few.tokens], few.ids)
