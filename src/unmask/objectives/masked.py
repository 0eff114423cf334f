"""Masked language modelling: hide some tokens, predict them from both sides (Devlin et al. 2019, section 3.1)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from unmask.config import config, setting
from unmask.data.encoded import IGNORE_INDEX, SPECIAL_TOKEN
from unmask.data.hashing import hash_uniform
from unmask.learner.batch import Batch
from unmask.learner.loss import LossTerm
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.schedules import interpolate
from unmask.text.tokenizer import WORD_START

CHOICE, FATE, REPLACEMENT = 11, 12, 13  # one stream of randomness each


@config
class Masked:
    """Settings of masked language modelling. Masks are drawn anew in each epoch (dynamic masking, RoBERTa)."""

    name: Literal["masked"] = "masked"
    weight: float = setting(default=1.0, gt=0, description="factor of this loss in the sum")
    mask_prob: float = setting(default=0.15, gt=0, lt=1, description="share of tokens to predict")
    final_mask_prob: float | None = setting(
        default=None,
        gt=0,
        lt=1,
        description="mask_prob at the end of the run, reached linearly (arXiv 2305.15096)",
    )
    unit: Literal["token", "word"] = setting(default="token", description="mask single tokens, or whole words")
    mask_replace_prob: float = setting(default=0.8, ge=0, le=1, description="share of selected tokens set to [MASK]")
    random_replace_prob: float = setting(
        default=0.1, ge=0, le=1, description="share of selected tokens set to a random token"
    )

    def __post_init__(self) -> None:
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError("mask_replace_prob + random_replace_prob must not be above 1")

    def build(self, encoder: EncoderConfig, mask_token_id: int, text_token_ids: ArrayLike) -> "MaskedObjective":
        return MaskedObjective(self, encoder, mask_token_id, text_token_ids)


class MaskedObjective(nn.Module):
    """mask_token_id: of [MASK]; text_token_ids: ids that a random token is drawn from."""

    def __init__(self, settings: Masked, encoder: EncoderConfig, mask_token_id: int, text_token_ids: ArrayLike) -> None:
        super().__init__()
        self.settings, self.mask_token_id = settings, mask_token_id
        self.text_token_ids = np.asarray(text_token_ids)
        self.head = MLMHead(encoder)

    def prepare(self, batch: Batch, seed: int, settings: Masked | None = None) -> Batch:
        """Choose positions by a hash of (seed, example, epoch, position); mask 80 %, replace 10 %, leave 10 %.

        By word, all tokens of a word share the draw of its first token; what becomes of them is drawn one by one.
        settings: others than the objective's own, for a fixed evaluation mask.
        """
        settings = settings or self.settings
        example, epoch, position = batch.token_keys()
        flags, ids = batch.flags.numpy(), batch.input_ids.numpy()
        drawn = position
        if settings.unit == "word":
            # the last position at or before each one where a word, a special token or a sequence starts
            starts = (flags & (WORD_START | SPECIAL_TOKEN) > 0) | (position == 0)
            drawn = position[np.maximum.accumulate(np.where(starts, np.arange(len(position)), 0))]
        chance = hash_uniform(seed, CHOICE, example, epoch, drawn)
        mask_prob = interpolate(settings.mask_prob, settings.final_mask_prob or settings.mask_prob, batch.progress)
        chosen = (chance < mask_prob) & (flags & SPECIAL_TOKEN == 0)
        fate = hash_uniform(seed, FATE, example, epoch, position)
        random = hash_uniform(seed, REPLACEMENT, example, epoch, position) * len(self.text_token_ids)
        masked = fate < settings.mask_replace_prob
        replaced = ~masked & (fate < settings.mask_replace_prob + settings.random_replace_prob)
        hidden = np.where(masked, self.mask_token_id, ids)
        hidden = np.where(replaced, self.text_token_ids[random.astype(np.int64)], hidden)
        return batch.with_targets(
            "masked",
            torch.from_numpy(np.where(chosen, ids, IGNORE_INDEX)),
            input_ids=torch.from_numpy(np.where(chosen, hidden, ids)),
        )

    def forward(self, encoder: Encoder, hidden: Tensor, batch: Batch) -> LossTerm:
        """hidden (tokens, width). Gathers the scored places first: the vocabulary is not computed elsewhere."""
        scored = batch.target_positions["masked"]
        chosen, wanted = hidden.index_select(0, scored), batch.targets["masked"].index_select(0, scored)
        if self.training:
            total, correct = self.head.loss(chosen, wanted, encoder), None
        else:
            logits = self.head(chosen, encoder)
            total = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            correct = (logits.argmax(-1) == wanted).sum()
        return LossTerm(total, batch.target_counts["masked"], self.settings.weight, correct)

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"masked": self.head}
