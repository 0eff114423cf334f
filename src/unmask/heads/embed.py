"""Head of vectors of texts, and its losses.

To add a loss: its settings in `tasks/embed.py`, and what it takes of a batch in `EmbedHead.loss`.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.learner.batch import Batch
from unmask.learner.head import Head
from unmask.learner.loss import Loss
from unmask.model.config import EncoderConfig
from unmask.model.pooler import AttentionPooling, pool
from unmask.tasks.embed import WINDOW, Cosine, EmbedTask, Unsupervised
from unmask.tasks.task import Task


class EmbedHead(Head):
    """One vector for each text, of length 1 if `normalize_embeddings`, trained so that cosines say how alike texts are.
    -> (sequences, hidden_size) float32

    [CLS] and [SEP] count as tokens, as in sentence-transformers. Only attention has something to learn.
    """

    output = "embeddings"
    shared_settings = ("pooling",)

    def __init__(self, task: EmbedTask, encoder: EncoderConfig) -> None:
        super().__init__(task)
        self.settings, self.scores = task.settings, task.scores
        self.uses_in_batch_negatives = not isinstance(task.settings.loss, Cosine)
        self.keeps_rows_together = not isinstance(task.settings.loss, Unsupervised)
        self.reads_first = task.settings.pooling == "cls"
        self.copies = 1 if self.keeps_rows_together else 2
        attention = task.settings.pooling == "attention"
        self.attention = AttentionPooling(encoder.hidden_size) if attention else None

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        return None, []

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        if self.settings.pooling == "attention":
            assert self.attention is not None
            vectors = self.attention(hidden, batch.output_layout)
        else:
            vectors = pool(hidden, batch.output_layout, self.settings.pooling)
        vectors = vectors.float()
        return F.normalize(vectors, dim=-1) if self.settings.normalize_embeddings else vectors

    def prepare(self, batch: Batch) -> Batch:
        """Count examples, by their first rows (of windows one); without labels each row is there twice."""
        return dataclasses.replace(batch, target_positions={self.name: group_texts(batch)[0]})

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        vectors, objective = F.normalize(merge_windows(outputs.float(), batch), dim=-1), self.settings.loss
        first, second, third = (places.to(vectors.device, non_blocking=True) for places in group_texts(batch))
        known = batch.targets[self.name]
        if isinstance(objective, Cosine):
            assert self.scores is not None, "the task knows the bounds of the scores"
            lowest, highest = self.scores
            targets = (known[first] - lowest) * (1 / (highest - lowest))
            total = ((vectors[first] * vectors[second]).sum(-1) - targets).square().sum()
        else:
            others = torch.cat([second, third]) if self.training else second
            heat = objective.temperature
            total = contrastive_loss(vectors[first], vectors[others], known[first], known[others], heat)
        return self.term(total, len(first))

    def saved_modules(self) -> dict[str, nn.Module]:
        return {} if self.attention is None else {"pooling": self.attention}


def group_texts(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the places of the first texts of all examples, of the second ones in the same order, and of those third
    ones that there are, each (some,) int64 on the CPU, of several windows of a text of one. Where sequences are there
    twice, the copy is the second text.
    """
    if batch.copies > 1:
        places = torch.arange(batch.num_sequences)
        return places[::2], places[1::2], places[:0]
    order, new_text = _by_text(batch)
    order = order[new_text]
    owner, epoch = batch.owner.numpy()[order], batch.epoch.numpy()[order]
    starts = np.flatnonzero((np.diff(owner, prepend=-1) != 0) | (np.diff(epoch, prepend=-1) != 0))
    texts = np.diff(starts, append=len(order))
    found = order[starts], order[starts + 1], order[starts[texts > 2] + 2]
    first, second, third = (torch.from_numpy(places) for places in found)
    return first, second, third


def merge_windows(vectors: Tensor, batch: Batch) -> Tensor:
    """Give each window the mean of the vectors of all windows of its text, weighted by their tokens, as prediction has
    it. (sequences, hidden_size)"""
    if batch.copies > 1 or WINDOW not in batch.targets:
        return vectors
    order, new_text = _by_text(batch)
    text = torch.empty(len(order), dtype=torch.int64)
    text[torch.from_numpy(order)] = torch.from_numpy(new_text.cumsum() - 1)
    text = text.to(vectors.device)
    weighted = vectors * batch.lengths.to(vectors)[:, None]  # to a mean but for a factor, which no cosine sees
    return vectors.new_zeros(int(new_text.sum()), vectors.shape[1]).index_add(0, text, weighted)[text]


def _by_text(batch: Batch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Sort the sequences by epoch, then by owner, then as they were encoded; and say with which a text begins."""
    keys = [x.numpy() for x in (batch.example, batch.owner, batch.epoch)]
    if WINDOW not in batch.targets:
        return np.lexsort(keys), np.ones(len(batch.example), bool)
    windows = batch.targets[WINDOW].cpu().numpy()
    order = np.lexsort([windows, *keys])
    return order, windows[order] == 0


def contrastive_loss(
    anchors: Tensor, others: Tensor, of_anchors: Tensor, of_others: Tensor, temperature: float
) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, eq. 4, with cosines over a temperature: Gao et al. 2021, eq. 1, 5), summed.

    anchors (n, size), others (m, size), m >= n, all of length 1: other i belongs to anchor i, all else are its
    negatives. of_anchors (n,), of_others (m,): numbers that are the same for equal texts. No negative of an anchor is
    a text equal to its own, to the one that belongs to it, or to one that belongs to an equal anchor.
    """
    count = len(anchors)
    equal = (of_anchors == of_anchors[:, None]).float()
    right = (of_others == of_others[:count, None]).float()
    alike = (equal @ right > 0) | (of_others == of_anchors[:, None])  # right for an equal anchor, or equal to it
    alike.fill_diagonal_(False)
    with torch.autocast(anchors.device.type, enabled=False):  # over a temperature, bfloat16's steps are large
        logits = (anchors @ others.T / temperature).masked_fill(alike, float("-inf"))
    targets = torch.arange(count, device=logits.device)
    return F.cross_entropy(logits, targets, reduction="sum")
