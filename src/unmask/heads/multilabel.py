"""Head of multi-label classification."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.heads.pooled import PooledHead
from unmask.learner.batch import Batch
from unmask.learner.loss import Loss
from unmask.learner.regularise import symmetric_kl
from unmask.model.config import EncoderConfig
from unmask.tasks.multilabel import MultilabelTask


class MultilabelHead(PooledHead):
    """One linear layer above the pooler, trained by binary cross-entropy of each label by itself, the mean over labels
    and rows. -> logits (sequences, labels)"""

    def __init__(self, task: MultilabelTask, encoder: EncoderConfig) -> None:
        super().__init__(task, encoder, len(task.labels))

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        targets = batch.targets[self.name].view_as(outputs)
        total = F.binary_cross_entropy_with_logits(outputs.float(), targets, reduction="sum")
        return self.term(total, targets.numel())

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """Of each label by itself: predicted or not."""
        return symmetric_kl(*(torch.stack([x, torch.zeros_like(x)], -1) for x in (first, second)))
