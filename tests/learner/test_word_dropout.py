"""Hiding pieces while fine-tuning: how many, which, and that nothing else of a batch changes."""

import numpy as np
import pytest
import torch

from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.learner.batch import Batch, pack
from unmask.learner.regularise import drop_words

MASK = 4


def batch_of(rows: int = 200, length: int = 50, epoch: int = 0) -> Batch:
    flags = np.zeros(length, dtype=np.uint8)
    flags[[0, -1]] = SPECIAL_TOKEN
    ids = np.arange(5, 5 + length)
    segments = np.zeros(length, dtype=np.int64)
    return pack([EncodedRow(ids, segments, flags, k, epoch, k, {"label": np.array([k % 2])}) for k in range(rows)])


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_so_many_ordinary_pieces_are_hidden(share: float) -> None:
    before = batch_of()
    after = drop_words(before, 0, share, MASK)
    ordinary = before.flags & SPECIAL_TOKEN == 0
    hidden = after == MASK
    assert not hidden[~ordinary].any()
    assert torch.equal(after[~hidden], before.input_ids[~hidden])
    count = int(ordinary.sum())
    assert abs(int(hidden.sum()) - share * count) < 5 * (count * share * (1 - share)) ** 0.5


def test_other_ones_in_each_epoch_the_same_for_the_same_seed() -> None:
    first, again, seed, epoch = (
        drop_words(batch_of(epoch=e), s, 0.3, MASK) for e, s in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, seed) and not torch.equal(first, epoch)


def test_what_is_hidden_does_not_depend_on_the_rest_of_the_batch() -> None:
    many, few = (drop_words(batch_of(rows), 0, 0.3, MASK) for rows in (20, 3))
    assert torch.equal(many[: len(few)], few)
