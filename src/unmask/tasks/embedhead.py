"""Vectors of texts: what makes one of the states of the tokens, and the losses that place them.

To add a loss: its settings here, in `AnyEmbedLoss`, and what it takes of a batch in `EmbedLearner.loss`.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.config import by_name, config, setting
from unmask.data.batch import Batch
from unmask.learner import Loss, LossTerm
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.pooler import AttentionPooling, pool
from unmask.tasks.task import Head, TaskLearner

if TYPE_CHECKING:
    from unmask.tasks.embed import Embed

TARGET = "embed"  # the name of what is known of a row


@config
class Contrastive:
    """Each text is to find its own second text among those of the batch (InfoNCE: van den Oord et al. 2018)."""

    name: Literal["contrastive"] = "contrastive"
    temperature: float = setting(
        default=0.05,
        gt=0,
        description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)",
    )
    symmetric: bool = setting(
        default=False, description="second texts are to find the first ones as well; the mean of both losses"
    )


@config
class Cosine:
    """The cosine of two texts is to be their score: the squared error (Reimers and Gurevych 2019, section 3)."""

    name: Literal["cosine"] = "cosine"
    least: Literal[0, -1] = setting(
        default=0, description="cosine that stands for the lowest score; 1 stands for the highest"
    )
    lowest: float | None = setting(
        default=None, description="the lowest score that there can be; that of the training rows if not given"
    )
    highest: float | None = setting(
        default=None,
        description="the highest score that there can be; that of the training rows if not given",
    )


@config
class Unsupervised:
    """Each text is to find itself, read under another dropout mask, among those of the batch (SimCSE).

    Gao et al. 2021, section 3. It takes no labels."""

    name: Literal["unsupervised"] = "unsupervised"
    temperature: float = setting(
        default=0.05,
        gt=0,
        description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)",
    )


AnyEmbedLoss = Annotated[Contrastive | Cosine | Unsupervised, setting(discriminator="name"), by_name()]


class EmbedHead(Head):
    """One vector for each text: hidden (tokens, width) -> (sequences, width) float32, of length 1 if `normalise`.

    [CLS] and [SEP] count as tokens, as in sentence-transformers. Only attention has something to learn.
    """

    def __init__(self, settings: "Embed", encoder: EncoderConfig) -> None:
        super().__init__()
        self.pooling, self.normalize_embeddings = settings.pooling, settings.normalize_embeddings
        self.attention = AttentionPooling(encoder.hidden_size) if settings.pooling == "attention" else None

    def query_positions(self, layout: SequenceLayout) -> SequenceLayout | None:
        return layout.gather_first() if self.pooling == "cls" else None

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        if self.attention is not None:
            vectors = self.attention(hidden, batch.output_layout)
        else:
            vectors = pool(hidden, batch.output_layout, self.pooling)
        vectors = vectors.float()
        return F.normalize(vectors, dim=-1) if self.normalize_embeddings else vectors

    def saved_modules(self) -> dict[str, nn.Module]:
        return {} if self.attention is None else {"pooling": self.attention}


class EmbedLearner(TaskLearner):
    """Encoder and head, trained so that cosines say how alike texts are. scores: the lowest and the highest one."""

    def __init__(
        self,
        encoder: Encoder,
        head: EmbedHead,
        loss: "Contrastive | Cosine | Unsupervised",
        scores: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.objective, self.scores = loss, scores

    @property
    def uses_in_batch_negatives(self) -> bool:
        return not isinstance(self.objective, Cosine)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """What is scored are examples, by their first rows; without labels each row stands there twice."""
        if isinstance(self.objective, Unsupervised):
            batch = batch.repeat_twice()
        first, *_ = group_texts(batch)
        return super().prepare(dataclasses.replace(batch, target_positions={TARGET: first}), seed)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        vectors = F.normalize(outputs.float(), dim=-1)
        first, second, third = (places.to(vectors.device, non_blocking=True) for places in group_texts(batch))
        known = batch.targets[TARGET]
        if isinstance(self.objective, Cosine):
            assert self.scores is not None, "made by `learner`, which knows them"
            wanted = scaled_cosines(known[first], self.scores, self.objective.least)
            total = ((vectors[first] * vectors[second]).sum(-1) - wanted).square().sum()
        else:
            others = torch.cat([second, third])
            total = contrastive_loss(
                vectors[first], vectors[others], known[first], known[others], self.objective.temperature
            )
            if isinstance(self.objective, Contrastive) and self.objective.symmetric:
                back = contrastive_loss(
                    vectors[second], vectors[first], known[second], known[first], self.objective.temperature
                )
                total = (total + back) / 2
        return Loss({TARGET: LossTerm(total, len(first))})


def group_texts(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The places of the first texts of all examples, of the second ones in the same order, and of those third ones
    that there are, each (some,) int64 on the CPU. Where sequences stand twice, the copy is the second text.
    """
    if batch.copies > 1:
        places = torch.arange(batch.num_sequences)
        return places[::2], places[1::2], places[:0]
    example, owner, epoch = (x.numpy() for x in (batch.example, batch.owner, batch.epoch))
    order = np.lexsort((example, owner, epoch))  # by epoch, then by owner, then as they were encoded
    new = (np.diff(owner[order], prepend=-1) != 0) | (np.diff(epoch[order], prepend=-1) != 0)
    starts = np.flatnonzero(new)
    texts = np.diff(starts, append=len(order))
    found = order[starts], order[starts + 1], order[starts[texts > 2] + 2]
    first, second, third = (torch.from_numpy(places) for places in found)
    return first, second, third


def scaled_cosines(scores: Tensor, bounds: tuple[float, float], min_score: float) -> Tensor:
    """The cosines that scores stand for: `least` for the lowest one, 1 for the highest, between them in proportion."""
    lowest, highest = bounds
    return min_score + (scores - lowest) * ((1 - min_score) / (highest - lowest))


def contrastive_loss(
    anchors: Tensor, others: Tensor, of_anchors: Tensor, of_others: Tensor, temperature: float
) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, eq. 4, with cosines over a temperature: Gao et al. 2021, eq. 1, 5), summed.

    anchors (n, width), others (m, width), m >= n, all of length 1: other i belongs to anchor i, all else are its
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
    wanted = torch.arange(count, device=logits.device)
    return F.cross_entropy(logits, wanted, reduction="sum")
