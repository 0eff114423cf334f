"""Head of question answering: where in question and context the answer starts, and where it ends."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.learner.batch import Batch
from unmask.learner.head import Head, init_linear
from unmask.learner.loss import Loss
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.pooler import HeadTransform
from unmask.tasks.answer import AnswerTask
from unmask.tasks.task import Task


class AnswerHead(Head):
    """BERT's (Devlin et al. 2019, section 4.2): one linear layer, trained by cross-entropy over the tokens of each
    sequence, of the start and of the end. -> logits (tokens, 2), of packed sequences; (batch, length, 2) of padded
    ones"""

    def __init__(self, task: AnswerTask, encoder: EncoderConfig) -> None:
        super().__init__(task)
        before = FAMILIES[encoder.family].head.use_before_tagging
        self.transform = HeadTransform(encoder) if before else None
        self.qa_outputs = init_linear(nn.Linear(encoder.hidden_size, 2), encoder)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        return "BertForQuestionAnswering", ["start", "end"]

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.qa_outputs(hidden if self.transform is None else self.transform(hidden))  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        targets = batch.targets[self.name]
        total = F.cross_entropy(pad_logits(outputs.float(), batch), targets, reduction="sum")
        return self.term(total, targets.numel())

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return batch.lengths

    def saved_modules(self) -> dict[str, nn.Module]:
        before = {} if self.transform is None else self.transform.saved_modules()
        return {**before, "qa_outputs": self.qa_outputs}


def pad_logits(logits: Tensor, batch: Batch) -> Tensor:
    """(tokens, 2) of packed or (batch, length, 2) of padded sequences -> (batch, length, 2), -inf at padding."""
    mask = batch.layout.attention_mask
    if mask is not None:
        return logits.masked_fill(~mask.unsqueeze(2), float("-inf"))
    sizes = batch.lengths.to(logits.device)
    inside = torch.arange(batch.layout.max_seqlen, device=logits.device) < sizes.unsqueeze(1)
    empty = logits.new_full((*inside.shape, 2), float("-inf"))
    return empty.masked_scatter(inside.unsqueeze(2), logits)
