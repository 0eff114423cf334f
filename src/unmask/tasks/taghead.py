"""What is learnt of sequence labelling: emissions at the units of a batch, alone or under a CRF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.data.batch import Batch, EncodedRow
from unmask.learner import Loss, LossTerm
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.pooler import HeadTransform
from unmask.model.recurrent import BiLSTM
from unmask.tasks.crf import CRF, CRFDecoder, Grammar
from unmask.tasks.spans import Words
from unmask.tasks.task import Head, Logits, TaskLearner

SCORED = 8  # flag of a unit's first piece, in the one row where the unit is predicted
EDGE = 16  # flag of the [CLS] and [SEP] that stand at the ends of a text, not only of a window
BUCKETS = 1 << 15  # of pairs of pieces; two that share one share their scores
PRIOR = 2.0  # a pair seen so often is believed by half
TOKENS_PER_LOSS_BATCH = 256  # rows whose loss is computed at once


@dataclass(frozen=True)
class WordRow(EncodedRow):
    """A window of a text, with the units of the whole text."""

    words: Words | None = None

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(tokens,) bool: the first pieces of the units that are predicted here."""
        return (self.flags & SCORED) > 0

    @property
    def edges(self) -> tuple[bool, bool]:
        """Whether the text begins and ends here."""
        return bool(self.flags[0] & EDGE), bool(self.flags[-1] & EDGE)


def word_row(row: EncodedRow) -> WordRow:
    assert isinstance(row, WordRow)
    return row


class TokenPairs(nn.Module):
    """A linear model over pairs of neighbouring pieces, which remembers what a network has to see more often.

    The wide part of wide and deep learning (Cheng et al. 2016, arXiv 1606.07792, section 3.1). Each unit has two
    features, its first piece with the piece before and with the piece after, hashed into BUCKETS rows of scores.

    hidden: share of the features that are left out in training, drawn anew each time. What the pairs have seen
    in these very rows they know, so that beside all of them the network would have nothing left to learn.
    """

    def __init__(self, tags: int, hidden: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.scores = nn.Embedding(BUCKETS, tags)
        nn.init.zeros_(self.scores.weight)

    @staticmethod
    def buckets(input_ids: Tensor, positions: Tensor) -> Tensor:
        """ids (tokens,) int64, places (units,) of first pieces, between [CLS] and [SEP] -> (units, 2) int64."""
        piece = input_ids[positions]
        before = (input_ids[positions - 1] * 2654435761 + piece * 40503) * 2
        after = (piece * 2654435761 + input_ids[positions + 1] * 40503) * 2 + 1
        mixed = torch.stack([before, after], 1)
        return (mixed ^ (mixed >> 17)) % BUCKETS

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.buckets(input_ids, positions))
        if self.training and self.hidden:
            shown = torch.rand(scores.shape[:2], device=scores.device) >= self.hidden
            scores = scores * shown.unsqueeze(2)  # not scaled up: what is seen has its full weight always
        return scores.sum(1)

    @torch.no_grad()
    def init_from_counts(self, rows: Sequence[EncodedRow]) -> None:
        """Start from half of ln p(tag | pair) / p(tag) for each pair, drawn towards 0 for pairs seen rarely."""
        counts = torch.zeros(self.scores.weight.shape)
        for row in map(word_row, rows):
            places = torch.from_numpy(row.scored.nonzero()[0])
            tags = torch.from_numpy(row.targets["tag"][row.scored])
            found = self.buckets(torch.from_numpy(row.input_ids), places)
            counts.index_put_((found, tags.unsqueeze(1).expand_as(found)), torch.ones(1), accumulate=True)
        share = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        expected = counts.sum(1, keepdim=True) + PRIOR
        self.scores.weight.copy_(((counts + PRIOR * share) / (expected * share)).log() / 2)


class TagHead(Head):
    """Dropout and one linear layer at the units predicted, beside it a model of pairs of pieces if `wide`.

    lstm: the width, in each direction, of an LSTM between the encoder and that layer, over all tokens; 0: none.
    hidden (tokens, width) -> logits (units, tags).
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        grammar: Grammar,
        dropout: float,
        crf: bool,
        wide: bool = False,
        hidden: float = 0.0,
        lstm: int = 0,
    ) -> None:
        super().__init__()
        self.grammar = grammar
        self.lstm = BiLSTM(encoder.hidden_size, lstm) if lstm else None
        everywhere = FAMILIES[encoder.family].head.use_before_tagging and not lstm
        self.transform = HeadTransform(encoder) if everywhere else None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * lstm or encoder.hidden_size, grammar.tags)
        self.crf = CRF(grammar) if crf else None
        self.wide = TokenPairs(grammar.tags, hidden) if wide else None
        nn.init.normal_(self.classifier.weight, std=encoder.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        if self.lstm is not None:
            hidden = self.lstm(hidden, batch.layout)
        places = (batch.flags & SCORED).nonzero().squeeze(1).to(hidden.device)
        chosen = hidden.index_select(0, places)
        if self.transform is not None:
            chosen = self.transform(chosen)
        logits: Tensor = self.classifier(self.dropout(chosen))
        return logits if self.wide is None else logits + self.wide(batch.input_ids, places)

    @torch.no_grad()
    def init_from_counts(self, rows: Sequence[EncodedRow]) -> None:
        """Start from how frequent tags are in these rows: in the transitions, or without a CRF in the biases.

        Otherwise the first thing that is learnt is that nearly all tags are O, by gradients that are alike at
        every place and leave a small network with the same hidden state everywhere (Lin et al. 2017, section 3.3).
        """
        paths: dict[int, list[int]] = {}
        for row in map(word_row, rows):
            paths.setdefault(row.owner, []).extend(row.targets["tag"][row.scored].tolist())
        if self.wide is not None:
            self.wide.init_from_counts(rows)
        if self.crf is not None:
            self.crf.init_from_counts(list(paths.values()))
            return
        counts = np.bincount([tag for path in paths.values() for tag in path], minlength=self.grammar.tags) + 1.0
        self.classifier.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    def saved_modules(self) -> dict[str, nn.Module]:
        parts = {"classifier": self.classifier, "crf": self.crf, "wide": self.wide, "lstm": self.lstm}
        before = {} if self.transform is None else self.transform.saved_modules()
        return {**before, **{name: part for name, part in parts.items() if part is not None}}

    def decoder(self) -> CRFDecoder:
        return CRFDecoder.unconstrained(self.grammar) if self.crf is None else self.crf.decoder()

    def loss(
        self,
        emissions: Tensor,
        targets: Tensor,
        rows_per_sequence: Tensor,
        edges: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        """The summed negative log-likelihood (nats) of tags.

        emissions (units, tags), wanted (units,) int64, of windows one after another with `sizes` (windows,)
        units each; edges (windows, 2) bool: whether the text begins and ends there.
        """
        if self.crf is None:
            return nn.functional.cross_entropy(emissions.float(), targets, label_smoothing=smoothing, reduction="sum")
        inside = torch.arange(
            int(rows_per_sequence.max()), device=rows_per_sequence.device
        ) < rows_per_sequence.unsqueeze(1)
        scores = emissions.new_zeros(*inside.shape, emissions.shape[1]).masked_scatter(inside.unsqueeze(2), emissions)
        tags = targets.new_zeros(inside.shape).masked_scatter(inside, targets)
        return self.crf(scores, tags, rows_per_sequence, edges[:, 0], edges[:, 1]).sum()  # type: ignore[no-any-return]


def mean_loss(head: TagHead, rows: Sequence[EncodedRow], logits: Sequence[Logits]) -> float:
    """The loss of a unit, on average."""
    device = head.classifier.weight.device
    lost, counted = 0.0, 0
    for start in range(0, len(rows), TOKENS_PER_LOSS_BATCH):
        some = [word_row(row) for row in rows[start : start + TOKENS_PER_LOSS_BATCH]]
        emissions = torch.from_numpy(np.concatenate(logits[start : start + TOKENS_PER_LOSS_BATCH]))
        wanted = torch.from_numpy(np.concatenate([row.targets["tag"][row.scored] for row in some]))
        sizes = torch.tensor([int(row.scored.sum()) for row in some])
        edges = torch.tensor([row.edges for row in some])
        with torch.no_grad():
            given = [x.to(device) for x in (emissions, wanted, sizes, edges)]
            lost += float(head.loss(given[0], given[1], given[2], given[3]))
        counted += len(wanted)
    return lost / max(1, counted)


class TagLearner(TaskLearner):
    """Encoder and head, trained by the likelihood of the tags: each by itself, or (CRF) as a sequence."""

    head: TagHead

    def __init__(
        self, encoder: Encoder, head: TagHead, smoothing: float, learning_rate_factors: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.smoothing = smoothing
        self.learning_rate_factors = {prefix: factor for prefix, factor in learning_rate_factors.items() if factor != 1}

    @property
    def lr_factors(self) -> Mapping[str, float]:
        return self.learning_rate_factors

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return targets_per_sequence(batch)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        device = outputs.device
        scored = (batch.flags & SCORED) > 0
        wanted = batch.targets["tag"][scored.to(device)]
        lengths = torch.tensor(batch.layout.lengths)
        last = lengths.cumsum(0) - 1
        edges = torch.stack([batch.flags[last - lengths + 1], batch.flags[last]], 1) & EDGE > 0
        sizes = self.rows_per_sequence(batch)
        smoothing = self.smoothing if self.training else 0.0  # the plain loss: comparable whatever the settings
        total = self.head.loss(outputs, wanted, sizes.to(device), edges.to(device), smoothing)
        return Loss({"tag": LossTerm(total, len(wanted))})


def targets_per_sequence(batch: Batch) -> Tensor:
    """(sequences,) int64: how many units are predicted in each."""
    lengths = torch.tensor(batch.layout.lengths)
    owner = torch.arange(len(lengths)).repeat_interleave(lengths)
    return torch.bincount(owner[(batch.flags & SCORED) > 0], minlength=len(lengths))
