"""Masking of tokens while fine-tuning: other ones in each epoch."""

import dataclasses
from dataclasses import dataclass

import torch

from unmask.data.encoded import SPECIAL_TOKEN
from unmask.data.hashing import hash_uniform
from unmask.learner.batch import Batch

MASKING = 31  # what a hash is for


@dataclass(frozen=True)
class TokenMasking:
    """Word dropout (Iyyer et al. 2015, section 3.2): a text is not learnt by heart from the words that happen to be
    in it, and a network that was pretrained on masked text knows how to read with gaps."""

    mask_prob: float
    mask_token_id: int

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Mask about `mask_prob` of the tokens of a copy, chosen by a hash of (seed, example, epoch, position)."""
        lengths = torch.tensor(batch.layout.lengths)
        example, epoch = (x.repeat_interleave(lengths).numpy() for x in (batch.example, batch.epoch))
        drawn = torch.from_numpy(hash_uniform(seed, MASKING, example, epoch, batch.layout.position_ids.numpy()))
        hidden = (drawn < self.mask_prob) & (batch.flags & SPECIAL_TOKEN == 0)
        return dataclasses.replace(batch, input_ids=torch.where(hidden, self.mask_token_id, batch.input_ids))
