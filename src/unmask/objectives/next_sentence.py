"""Sentence-pair objectives: does B follow A? Next-sentence prediction (Devlin et al. 2019, section 3.1)."""

from typing import Literal

import torch
from torch import Tensor, nn

from unmask.config import config, setting
from unmask.learner.batch import Batch
from unmask.learner.head import init_linear
from unmask.learner.loss import LossTerm
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.pooler import Pooler


@config
class NextSentence:
    """Settings of next-sentence prediction. The pairs are formed where the data is read (data/sequences.py)."""

    name: Literal["next_sentence"] = "next_sentence"
    weight: float = setting(default=1.0, gt=0, description="factor of this loss in the sum")

    def build(self, encoder: EncoderConfig, *_: object) -> "NextSentenceObjective":
        return NextSentenceObjective(self, encoder)


class NextSentenceObjective(nn.Module):
    """BERT's: a tanh layer on [CLS], then two classes (0: B follows A, 1: it does not)."""

    def __init__(self, settings: NextSentence, encoder: EncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.pooler = Pooler(encoder)
        self.head = init_linear(nn.Linear(encoder.hidden_size, 2), encoder)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        return batch

    def forward(self, encoder: Encoder, hidden: Tensor, batch: Batch) -> LossTerm:
        logits = self.head(self.pooler(hidden, batch.output_layout))
        wanted = batch.targets["next_sentence"]
        total = nn.functional.cross_entropy(logits, wanted, reduction="sum")
        correct = None if self.training else torch.eq(logits.argmax(-1), wanted).sum()
        return LossTerm(total, batch.target_counts["next_sentence"], self.settings.weight, correct)

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "next_sentence": self.head}
