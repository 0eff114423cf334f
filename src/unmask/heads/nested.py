"""Head of nested spans: Efficient GlobalPointer.

Su et al. 2022 (Global Pointer: Novel Efficient Span-based Approach for Named Entity Recognition, arXiv 2208.03054).
Every span of at most `max_span_length` words has a score for each label; above 0 it is an entity of that label. The
tensors are (words, max_span_length, labels), never a length squared.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.data.encoded import EncodedRow
from unmask.learner.batch import Batch
from unmask.learner.head import Head
from unmask.learner.loss import Loss
from unmask.model.config import EncoderConfig
from unmask.model.positions import RotaryEmbedding, apply_rotary
from unmask.tasks.nested import NestedTask
from unmask.tasks.task import Task

POINTER_SIZE = 64  # of queries and keys, as published
ROPE_THETA = 10_000.0  # of the rotary positions
BLOCK = 16  # queries multiplied together, at least
FORBIDDEN = -1e4  # the score of what is no span of this window: finite, so that no gradient is NaN


class GlobalPointer(nn.Module):
    """words (words, hidden_size), position_ids (words,) int64 in their windows -> scores (words, max_span_length,
    labels).

    scores[i, o, a] is s_a(i, j) of the span from word i to word j = i + o, both in it (Su et al. 2022, section on
    Efficient GlobalPointer):

        q_i, k_i = W_q h_i + b_q, W_k h_i + b_k
        s_a(i, j) = (R_i q_i) . (R_j k_j) / sqrt(d) + w_a . [q_i; k_i; q_j; k_j] + b_a

    R rotates by rotary positions, d = POINTER_SIZE. Whether a span is extracted is the first term, of which label it is
    the second. The paper has no sqrt(d); common implementations have, so that scores begin with a variance near one.
    """

    def __init__(self, encoder: EncoderConfig, labels: int, max_span_length: int) -> None:
        super().__init__()
        self.max_span_length, self.labels = max_span_length, labels
        self.project = nn.Linear(encoder.hidden_size, 2 * POINTER_SIZE)
        self.ends = nn.Linear(2 * POINTER_SIZE, 2 * labels)
        self.rotary = RotaryEmbedding(encoder.max_position_embeddings, POINTER_SIZE, ROPE_THETA)
        for layer in (self.project, self.ends):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, words: Tensor, position_ids: Tensor) -> Tensor:
        both = self.project(words)  # (words, 2 POINTER_SIZE): q and k
        rotated = apply_rotary(both.view(-1, 2, POINTER_SIZE), self.rotary(position_ids))
        first, last = self.ends(both).float().view(-1, 2, self.labels).unbind(1)
        if torch.compiler.is_exporting():  # fewer kinds of operations, and no sizes computed of others
            steps = torch.arange(words.shape[0])[:, None] + torch.arange(self.max_span_length)
            steps = steps.clamp(max=words.shape[0] - 1)
            inner = (rotated[:, :1] * rotated[:, 1][steps]).sum(2)
            last = last[steps]
        else:
            inner = span_products(rotated[:, 0], rotated[:, 1], self.max_span_length).float()
            last = F.pad(last, (0, 0, 0, self.max_span_length - 1)).unfold(0, self.max_span_length, 1).transpose(1, 2)
        scores: Tensor = (inner / POINTER_SIZE**0.5).unsqueeze(2) + first.unsqueeze(1) + last
        return scores


def span_products(queries: Tensor, keys: Tensor, max_span_length: int) -> Tensor:
    """queries, keys (words, size) -> (words, max_span_length): query i times key i + o; 0 beyond the last key.

    Blocks of queries meet the keys that any of them reaches: matrix products of about twice what is needed.
    """
    words, size = queries.shape
    block = max(max_span_length, BLOCK)
    blocks = -(-words // block)
    tail = blocks * block - words
    queries = F.pad(queries, (0, 0, 0, tail)).view(blocks, block, size)
    keys = F.pad(keys, (0, 0, 0, tail + max_span_length - 1)).unfold(0, block + max_span_length - 1, block)
    square = queries @ keys  # (blocks, block, block + max_span_length - 1)
    steps = torch.arange(block, device=square.device)[:, None]
    steps = steps + torch.arange(max_span_length, device=square.device)
    return square.gather(2, steps.expand(blocks, -1, -1)).flatten(0, 1)[:words]


class NestedHead(Head):
    """Dropout and a `GlobalPointer` over the words of a batch, trained by the multi-label cross-entropy of spans: a
    window counts once, labels on average. -> scores (words, max_span_length, labels)"""

    def __init__(self, task: NestedTask, encoder: EncoderConfig) -> None:
        super().__init__(task)
        self.head_lr_factor = task.settings.head_lr_factor
        self.dropout = nn.Dropout(task.settings.classifier_dropout)
        self.pointer = GlobalPointer(encoder, len(task.labels), task.max_span_length)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        words = hidden.flatten(0, -2).index_select(0, batch.positions)
        return self.pointer(self.dropout(words), word_numbers(batch).to(hidden.device))  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        return self.term(span_losses(outputs, batch, self.name).mean(1).sum(), batch.num_sequences)

    def prepare(self, batch: Batch) -> Batch:
        """Count the windows of a step, not its spans."""
        counted = {self.name: batch.target_positions[self.name]}
        return dataclasses.replace(batch, target_positions=counted)

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return batch.position_counts

    @torch.no_grad()
    def init_from_counts(self, task: Task[Any], rows: Sequence[EncodedRow]) -> None:
        """Start from how rare spans are: the one score for all spans of a label at which the loss is least.

        With n spans a window, and one of the label in a share p of the windows, the loss is log(1 + n e^b) +
        p log(1 + e^-b), least where n x^2 + n (1 - p) x = p for x = e^b. Otherwise what is learnt first is that nearly
        nothing is an entity (Lin et al. 2017, section 3.3).
        """
        pointer = self.pointer
        holding = np.ones(pointer.labels)
        spans = 0
        for row in rows:
            present = np.unique(np.asarray(row.targets["spans"], dtype=np.int64) % pointer.labels)
            holding[present] += 1
            spans += int(row.targets["most"].sum()) - int(row.targets["least"].sum())
        share = holding / (len(rows) + 2)
        each = share * len(rows) / max(1, spans)  # p / n
        begin = 2 * each / (1 - share + np.sqrt((1 - share) ** 2 + 4 * each))
        pointer.ends.bias[: pointer.labels] = torch.from_numpy(np.log(begin)).to(pointer.ends.bias)

    @property
    def lr_factors(self) -> Mapping[str, float]:
        return {"pointer.": self.head_lr_factor}

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"pointer": self.pointer}


def word_numbers(batch: Batch) -> Tensor:
    """Number the words of each window from 0: (words,) int64."""
    if batch.layout.is_packed:
        counts = batch.position_counts
        return torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    owner = batch.positions // batch.layout.max_seqlen  # no counts: the graph that is exported reads positions alone
    counts = torch.zeros_like(batch.layout.first_tokens).index_add(0, owner, torch.ones_like(owner))
    return torch.arange(owner.shape[0], device=owner.device) - (counts.cumsum(0) - counts)[owner]


def span_losses(scores: Tensor, batch: Batch, name: str) -> Tensor:
    """Compute the loss (nats) of each window and label, (windows, labels): the multi-label cross-entropy of Su et al.
    2022.

    log(1 + sum of e^-s over the entities) + log(1 + sum of e^s over all other spans): it asks that every entity
    scores above 0, and everything else below. scores (words, max_span_length, labels), of a batch with labels, of which
    a window answers for some (`NestedTask`). name: of the targets.
    """
    steps = torch.arange(scores.shape[1], device=scores.device)
    least, most = (batch.targets[key].unsqueeze(1) for key in ("least", "most"))
    scores = scores.masked_fill(~((steps >= least) & (steps < most)).unsqueeze(2), FORBIDDEN)
    sizes = batch.position_counts
    windows, labels = len(sizes), scores.shape[2]
    begin = (sizes.cumsum(0) - sizes).to(scores.device)
    held = batch.targets[name]
    number = torch.arange(windows, device=scores.device)
    owner = number.repeat_interleave(held, output_size=len(batch.targets["spans"]))
    places = batch.targets["spans"] + begin[owner] * scores.shape[1] * labels
    flat = scores.float().flatten()
    entities = -flat[places]
    others = flat.index_fill(0, places, FORBIDDEN).view(scores.shape).logsumexp(1)  # (words, labels)
    word_owner = number.repeat_interleave(sizes.to(scores.device), output_size=len(scores))
    every = torch.arange(labels, device=scores.device)
    return (
        _log_one_plus(entities, owner * labels + places % labels, windows * labels)
        + _log_one_plus(others.flatten(), (word_owner[:, None] * labels + every).flatten(), windows * labels)
    ).view(windows, labels)


def _log_one_plus(logs: Tensor, groups: Tensor, count: int) -> Tensor:
    """log(1 + sum of the exponentials in each group): logs (n,), groups (n,) int64 -> (count,)."""
    most = logs.new_zeros(count).scatter_reduce(0, groups, logs.detach(), "amax")
    sums = (-most).exp().scatter_add(0, groups, (logs - most[groups]).exp())
    return sums.log() + most
