"""Hiding: some pieces of the training texts are replaced by [MASK], other ones in each epoch."""

import dataclasses
from dataclasses import dataclass

import torch

from unmask.data.batch import SPECIAL, Batch
from unmask.data.hashing import uniform

HIDDEN = 31  # what a hash is for


@dataclass(frozen=True)
class Hiding:
    """Word dropout (Iyyer et al. 2015, section 3.2): a text is not learnt by heart from the words that happen to be
    in it, and a network that was pretrained on masked text knows how to read with gaps."""

    share: float
    mask_id: int

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """A copy with about `share` of the pieces hidden, chosen by a hash of (seed, example, epoch, place)."""
        lengths = torch.tensor(batch.spans.lengths)
        example, epoch = (x.repeat_interleave(lengths).numpy() for x in (batch.example, batch.epoch))
        drawn = torch.from_numpy(uniform(seed, HIDDEN, example, epoch, batch.spans.positions.numpy()))
        hidden = (drawn < self.share) & (batch.flags & SPECIAL == 0)
        return dataclasses.replace(batch, ids=torch.where(hidden, self.mask_id, batch.ids))
