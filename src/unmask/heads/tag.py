"""Head of sequence labelling: emissions at the words of a batch, alone or under a CRF."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.heads.crf import CRF
from unmask.learner.batch import Batch
from unmask.learner.head import Head, init_linear
from unmask.learner.loss import Loss
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.pooler import HeadTransform
from unmask.model.recurrent import BiLSTM
from unmask.tasks.labelled_spans import EDGE
from unmask.tasks.tag import TagTask
from unmask.tasks.task import Task

BUCKETS = 1 << 15  # of pairs of tokens; two that share one share their scores
PRIOR = 2.0  # a pair seen so often is believed by half


class TagHead(Head):
    """Dropout and one linear layer at the first token of each word, trained by the likelihood of the tags: each by
    itself, or (CRF) as a sequence. -> logits (words, tags)

    Between the encoder and that layer an LSTM over all tokens, beside it a model of pairs of tokens, as the settings
    say.
    """

    shared_settings = ("scheme",)

    def __init__(self, task: TagTask, encoder: EncoderConfig) -> None:
        super().__init__(task)
        self.settings = chosen = task.settings
        self.tags, size = len(task.outputs), chosen.lstm_hidden_size
        self.lstm = BiLSTM(encoder.hidden_size, size) if size else None
        before = FAMILIES[encoder.family].head.use_before_tagging and not size
        self.transform = HeadTransform(encoder) if before else None
        self.dropout = nn.Dropout(chosen.classifier_dropout)
        self.classifier = nn.Linear(2 * size or encoder.hidden_size, self.tags)
        self.crf = CRF(task.tags) if chosen.decoder == "crf" else None
        self.wide = TokenPairs(self.tags, chosen.wide_dropout) if chosen.wide else None
        init_linear(self.classifier, encoder)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        # without what is beside BERT's own head, which nobody else knows, the rest would be read as the whole model
        assert isinstance(task, TagTask)
        chosen = task.settings
        alone = chosen.decoder == "softmax" and not (chosen.wide or chosen.lstm_hidden_size)
        return "BertForTokenClassification" if alone else None, task.outputs

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        if self.lstm is not None:
            hidden = self.lstm(hidden, batch.layout)
        chosen = hidden.flatten(0, -2).index_select(0, batch.positions)
        if self.transform is not None:
            chosen = self.transform(chosen)
        logits: Tensor = self.classifier(self.dropout(chosen))
        return logits if self.wide is None else logits + self.wide(batch.input_ids.flatten(), batch.positions)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """The summed negative log-likelihood (nats) of the tags of words."""
        targets = batch.targets[self.name].flatten()[batch.positions]
        if self.crf is None:
            smoothing = self.settings.label_smoothing if self.training else 0.0
            total = F.cross_entropy(outputs.float(), targets, label_smoothing=smoothing, reduction="sum")
            return self.term(total, len(targets))
        first = batch.layout.first_tokens.cpu()
        flags = batch.flags.flatten()
        edges = torch.stack([flags[first], flags[first + batch.lengths - 1]], 1) & EDGE > 0
        sizes, edges = batch.position_counts.to(outputs.device), edges.to(outputs.device)
        inside = torch.arange(int(sizes.max()), device=sizes.device) < sizes.unsqueeze(1)
        scores = outputs.new_zeros(*inside.shape, outputs.shape[1]).masked_scatter(inside.unsqueeze(2), outputs)
        tags = targets.new_zeros(inside.shape).masked_scatter(inside, targets)
        total = self.crf(scores, tags, sizes, edges[:, 0], edges[:, 1]).sum()
        return self.term(total, len(targets))

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return batch.position_counts

    @torch.no_grad()
    def init_from_counts(self, task: Task[Any], rows: Sequence[EncodedRow]) -> None:
        """Start from how frequent tags are in these rows: in the transitions, or without a CRF in the biases.

        Otherwise the first thing that is learnt is that nearly all tags are O, by gradients that are alike at
        every position and leave a small network with the same hidden state everywhere (Lin et al. 2017, section 3.3).
        """
        paths: dict[int, list[int]] = {}
        for row in rows:
            paths.setdefault(row.owner, []).extend(row.targets[self.name][row.positions].tolist())
        if self.wide is not None:
            self.wide.init_from_counts(self.name, rows)
        if self.crf is not None:
            self.crf.init_from_counts(list(paths.values()))
            return
        counts = np.bincount([tag for path in paths.values() for tag in path], minlength=self.tags) + 1.0
        self.classifier.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    @property
    def lr_factors(self) -> Mapping[str, float]:
        present = ["classifier.", *(f"{name}." for name in ("wide", "lstm") if getattr(self, name) is not None)]
        crf = {} if self.crf is None else {"crf.": self.settings.crf_lr_factor}
        return {**dict.fromkeys(present, self.settings.head_lr_factor), **crf}

    def decoding_parameters(self) -> dict[str, npt.NDArray[Any]]:
        return {} if self.crf is None else dict(self.crf.decoding_parameters())

    def saved_modules(self) -> dict[str, nn.Module]:
        parts = {"classifier": self.classifier, "crf": self.crf, "wide": self.wide, "lstm": self.lstm}
        before = {} if self.transform is None else self.transform.saved_modules()
        return {**before, **{name: part for name, part in parts.items() if part is not None}}


class TokenPairs(nn.Module):
    """A linear model over pairs of neighbouring tokens, which remembers what a network has to see more often.

    The wide part of wide and deep learning (Cheng et al. 2016, arXiv 1606.07792, section 3.1). Each word has two
    features, its first token with the token before and with the token after, hashed into BUCKETS rows of scores.

    dropout: share of the features that are left out in training, drawn anew each time. What the pairs have seen in
    these very rows they know, so that beside all of them the network would have nothing left to learn.
    """

    def __init__(self, tags: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.scores = nn.Embedding(BUCKETS, tags)
        nn.init.zeros_(self.scores.weight)

    @staticmethod
    def buckets(input_ids: Tensor, positions: Tensor) -> Tensor:
        """input_ids (tokens,) int64, positions (words,) of first tokens, inside [CLS] and [SEP] -> (words, 2) int64."""
        token = input_ids[positions]
        before = (input_ids[positions - 1] * 2654435761 + token * 40503) * 2
        after = (token * 2654435761 + input_ids[positions + 1] * 40503) * 2 + 1
        mixed = torch.stack([before, after], 1)
        return (mixed ^ (mixed >> 17)) % BUCKETS

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.buckets(input_ids, positions))
        if self.training and self.dropout:
            shown = torch.rand(scores.shape[:2], device=scores.device) >= self.dropout
            scores = scores * shown.unsqueeze(2)  # not scaled up: what is seen has its full weight always
        return scores.sum(1)

    @torch.no_grad()
    def init_from_counts(self, name: str, rows: Sequence[EncodedRow]) -> None:
        """Start from half of ln p(tag | pair) / p(tag) for each pair, shrunk towards 0 for pairs seen rarely.

        name: of the targets."""
        counts = torch.zeros(self.scores.weight.shape)
        for row in rows:
            positions = torch.from_numpy(row.positions)
            tags = torch.from_numpy(row.targets[name][row.positions])
            buckets = self.buckets(torch.from_numpy(row.input_ids), positions)
            counts.index_put_((buckets, tags.unsqueeze(1).expand_as(buckets)), torch.ones(1), accumulate=True)
        share = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        expected = counts.sum(1, keepdim=True) + PRIOR
        self.scores.weight.copy_(((counts + PRIOR * share) / (expected * share)).log() / 2)
