"""What is learnt where spans are scored, nested ones too: Efficient GlobalPointer.

Su et al. 2022 (Global Pointer: Novel Efficient Span-based Approach for Named Entity Recognition, arXiv 2208.03054).
Every span of at most `reach` units has a score for each type; above 0 it is an entity of that type. The tensors are
(units, reach, types), never a length squared.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.data.batch import Batch, EncodedRow
from unmask.errors import UserError
from unmask.learner import Loss, LossTerm
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.positions import RotaryEmbedding, apply_rotary
from unmask.tasks.taghead import SCORED, WordRow, targets_per_sequence
from unmask.tasks.task import Head, Logits, TaskLearner

POINTER_SIZE = 64  # of queries and keys, as published
ROPE_THETA = 10_000.0  # of the rotary positions
BLOCK = 16  # queries multiplied together, at least
MAX_CELLS = 4  # spans found of each unit, on average: far more than there are, unless a network has learnt nothing yet
FORBIDDEN = -1e4  # the score of what is no span of this window: finite, so that no gradient is NaN


@dataclasses.dataclass(frozen=True)
class SpanRow(WordRow):
    """A window of a text, in which the units from `first` on are read.

    targets: least, most (units,) int64: what the window answers for (`windows.Share`). With labels also tag (1,):
    how many spans it holds, and spans (tag,) int64: where each stands in the scores of the window, flattened.
    """

    first: int = 0


class GlobalPointer(nn.Module):
    """units (units, width), positions (units,) int64 in their windows -> scores (units, reach, types).

    scores[i, o, a] is s_a(i, j) of the span from unit i to unit j = i + o, both in it (Su et al. 2022, section on
    Efficient GlobalPointer):

        q_i, k_i = W_q h_i + b_q, W_k h_i + b_k
        s_a(i, j) = (R_i q_i) . (R_j k_j) / sqrt(d) + w_a . [q_i; k_i; q_j; k_j] + b_a

    R turns by rotary positions, d = WIDTH. What is extracted is asked once, of which type it is by the second term.
    The paper has no sqrt(d); common implementations have, so that scores begin with a variance near one.
    """

    def __init__(self, encoder: EncoderConfig, types: int, max_span_length: int) -> None:
        super().__init__()
        self.max_span_length, self.types = max_span_length, types
        self.project = nn.Linear(encoder.hidden_size, 2 * POINTER_SIZE)
        self.ends = nn.Linear(2 * POINTER_SIZE, 2 * types)
        self.rotary = RotaryEmbedding(encoder.max_position_embeddings, POINTER_SIZE, ROPE_THETA)
        for layer in (self.project, self.ends):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, words: Tensor, position_ids: Tensor) -> Tensor:
        both = self.project(words)  # (units, 2 WIDTH): q and k
        turned = apply_rotary(both.view(-1, 2, POINTER_SIZE), self.rotary(position_ids))
        inner = span_products(turned[:, 0], turned[:, 1], self.max_span_length).float() / POINTER_SIZE**0.5
        first, last = self.ends(both).float().view(-1, 2, self.types).unbind(1)
        last = F.pad(last, (0, 0, 0, self.max_span_length - 1)).unfold(
            0, self.max_span_length, 1
        )  # (units, types, reach)
        scores: Tensor = inner.unsqueeze(2) + first.unsqueeze(1) + last.transpose(1, 2)
        return scores


def span_products(queries: Tensor, keys: Tensor, max_span_length: int) -> Tensor:
    """queries, keys (units, width) -> (units, reach): query i times key i + o; 0 beyond the last key.

    Blocks of queries meet the keys that any of them reaches: matrix products of about twice what is asked for.
    """
    units, width = queries.shape
    block = max(max_span_length, BLOCK)
    blocks = -(-units // block)
    tail = blocks * block - units
    queries = F.pad(queries, (0, 0, 0, tail)).view(blocks, block, width)
    keys = F.pad(keys, (0, 0, 0, tail + max_span_length - 1)).unfold(0, block + max_span_length - 1, block)
    square = queries @ keys  # (blocks, block, block + reach - 1)
    steps = torch.arange(block, device=square.device)[:, None] + torch.arange(max_span_length, device=square.device)
    return square.gather(2, steps.expand(blocks, -1, -1)).flatten(0, 1)[:units]


class SpanHead(Head):
    """Dropout and a `Pointer` over the units of a batch: hidden (tokens, width) -> scores (units, reach, types).

    NEVER is the score of what a window does not answer for.
    """

    def __init__(self, encoder: EncoderConfig, types: int, max_span_length: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.pointer = GlobalPointer(encoder, types, max_span_length)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        places = (batch.flags & SCORED).nonzero().squeeze(1).to(hidden.device)
        sizes = targets_per_sequence(batch)
        positions = torch.arange(len(places)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        scores = self.pointer(self.dropout(hidden.index_select(0, places)), positions.to(hidden.device))
        steps = torch.arange(self.pointer.max_span_length, device=scores.device)
        least, most = (batch.targets[name].unsqueeze(1) for name in ("least", "most"))
        answered = (steps >= least) & (steps < most)
        return scores.masked_fill(~answered.unsqueeze(2), FORBIDDEN)  # type: ignore[no-any-return]

    @torch.no_grad()
    def init_from_counts(self, rows: Sequence[EncodedRow]) -> None:
        """Start from how rare spans are: the one score for all spans of a type at which the loss is least.

        With n spans a window, and one of the type in a share p of the windows, the loss is log(1 + n e^b) +
        p log(1 + e^-b), least where n x^2 + n (1 - p) x = p for x = e^b. Otherwise what is learnt first is that nearly
        nothing is an entity (Lin et al. 2017, section 3.3).
        """
        pointer = self.pointer
        holding = np.ones(pointer.types)
        spans = 0
        for row in rows:
            found = np.unique(np.asarray(row.targets["spans"], dtype=np.int64) % pointer.types)
            holding[found] += 1
            spans += int(row.targets["most"].sum()) - int(row.targets["least"].sum())
        share = holding / (len(rows) + 2)
        each = share * len(rows) / max(1, spans)  # p / n
        begin = 2 * each / (1 - share + np.sqrt((1 - share) ** 2 + 4 * each))
        pointer.ends.bias[: pointer.types] = torch.from_numpy(np.log(begin)).to(pointer.ends.bias)

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"pointer": self.pointer}


def span_losses(scores: Tensor, batch: Batch) -> Tensor:
    """The loss (nats) of each window and type, (windows, types): the multi-label cross-entropy of Su et al. 2022.

    log(1 + sum of e^-s over the entities) + log(1 + sum of e^s over all other spans): it asks that every entity
    scores above 0, and everything else below. scores (units, reach, types), of a batch with labels.
    """
    sizes = targets_per_sequence(batch)
    windows, types = len(sizes), scores.shape[2]
    begin = (sizes.cumsum(0) - sizes).to(scores.device)
    held = batch.targets["tag"]
    number = torch.arange(windows, device=scores.device)
    owner = number.repeat_interleave(held, output_size=len(batch.targets["spans"]))
    places = batch.targets["spans"] + begin[owner] * scores.shape[1] * types
    flat = scores.float().flatten()
    entities = -flat[places]
    others = flat.index_fill(0, places, FORBIDDEN).view(scores.shape).logsumexp(1)  # (units, types)
    unit_owner = number.repeat_interleave(sizes.to(scores.device), output_size=len(scores))
    every = torch.arange(types, device=scores.device)
    return (
        _log_one_plus(entities, owner * types + places % types, windows * types)
        + _log_one_plus(others.flatten(), (unit_owner[:, None] * types + every).flatten(), windows * types)
    ).view(windows, types)


def _log_one_plus(logs: Tensor, groups: Tensor, count: int) -> Tensor:
    """log(1 + sum of the exponentials in each group): logs (n,), groups (n,) int64 -> (count,)."""
    most = logs.new_zeros(count).scatter_reduce(0, groups, logs.detach(), "amax")
    sums = (-most).exp().scatter_add(0, groups, (logs - most[groups]).exp())
    return sums.log() + most


def positive_spans(scores: Tensor, batch: Batch) -> list[Logits]:
    """What is said of each window: (1 + spans found, 4) float32.

    The first line holds the window's loss, on average over the types (NaN without labels); each other one a span
    that scores above 0: its first unit, how many units follow in it, its type, its score. There are at most MOST
    times as many as units, the best.
    """
    lost = torch.full((batch.num_sequences,), torch.nan)
    if "spans" in batch.targets:
        lost = span_losses(scores, batch).mean(1).cpu()
    places = (scores > 0).nonzero()
    values = scores[tuple(places.T)].float()
    lines = torch.cat([places.float(), values.unsqueeze(1)], 1).cpu().numpy()
    sizes = targets_per_sequence(batch).numpy()
    begin = np.cumsum(sizes) - sizes
    cuts = np.searchsorted(lines[:, 0], begin)  # nonzero gives them in order
    parts = np.split(lines, cuts[1:])
    result = []
    for loss, part, offset, size in zip(lost.tolist(), parts, begin.tolist(), sizes.tolist(), strict=True):
        if len(part) > MAX_CELLS * size:
            part = part[np.sort(np.argsort(-part[:, 3], kind="stable")[: MAX_CELLS * size])]
        part[:, 0] -= offset
        result.append(np.concatenate([np.array([[loss, 0, 0, 0]], dtype=np.float32), part]))
    return result


class SpanLearner(TaskLearner):
    """Encoder and head, trained by the multi-label cross-entropy of spans: a window counts once, types on average."""

    head: SpanHead

    def __init__(self, encoder: Encoder, head: SpanHead, learning_rate_factors: Mapping[str, float]) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.learning_rate_factors = {prefix: factor for prefix, factor in learning_rate_factors.items() if factor != 1}

    @property
    def lr_factors(self) -> Mapping[str, float]:
        return self.learning_rate_factors

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """What is counted of a step is its windows."""
        if self.regulariser is not None and self.regulariser.settings.rdrop:
            raise UserError("R-Drop is not for decoder spans", allowed="task.decoder=softmax or task.decoder=crf")
        return super().prepare(
            dataclasses.replace(batch, target_positions={"tag": batch.target_positions["tag"]}), seed
        )

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return targets_per_sequence(batch)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        total = span_losses(outputs, batch).mean(1).sum()
        return Loss({"tag": LossTerm(total, batch.num_sequences)})
