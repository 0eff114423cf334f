"""Batch: the one value that flows through training, prediction and evaluation; packed, without padding."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask.model.attention import Spans

IGNORED = -100  # a target that is not scored, as torch's cross-entropy has it

SPECIAL = 4  # flag of [CLS] and [SEP], which are never masked; the other flags are the tokenizer's


@dataclass(frozen=True)
class Row:
    """One sequence before batching: what the network reads, and where it comes from.

    ids, segments (tokens,) int64; flags (tokens,) uint8; targets: name -> (n,) array (per token or per sequence).
    """

    ids: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]
    example: int
    epoch: int = 0
    owner: int = 0
    targets: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Sequences one after another, longest first.

    ids, segments, flags: (tokens,); example, epoch, owner: (sequences,) int64, `owner` the user's example that
    the sequence belongs to; targets: name -> (tokens,) or (sequences,), IGNORED where not scored;
    counts: name -> how many places are scored; progress: share of the run, 0 to 1.
    """

    ids: Tensor
    segments: Tensor
    flags: Tensor
    spans: Spans
    example: Tensor
    epoch: Tensor
    owner: Tensor
    targets: Mapping[str, Tensor]
    counts: Mapping[str, int]
    progress: float = 0.0

    @property
    def tokens(self) -> int:
        return self.ids.numel()

    @property
    def sequences(self) -> int:
        return self.example.numel()

    def with_targets(self, name: str, targets: Tensor, ids: Tensor | None = None) -> "Batch":
        """A copy with one more kind of target, counted; with other ids where an objective hides some."""
        return dataclasses.replace(
            self,
            ids=self.ids if ids is None else ids,
            targets={**self.targets, name: targets},
            counts={**self.counts, name: int((targets != IGNORED).sum())},
        )

    def to(self, device: torch.device | str) -> "Batch":
        if str(device) == "cpu":
            return self
        return dataclasses.replace(
            self,
            ids=self.ids.to(device, non_blocking=True),
            segments=self.segments.to(device, non_blocking=True),
            spans=self.spans.to(device),
            targets={name: target.to(device, non_blocking=True) for name, target in self.targets.items()},
        )


def pack(rows: Sequence[Row], progress: float = 0.0) -> Batch:
    """Put rows one after another, longest first (attention is cheapest so); equal lengths keep their order."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].ids))
    rows = [rows[i] for i in order]
    targets = {name: _joined([row.targets[name] for row in rows]) for name in rows[0].targets}
    return Batch(
        ids=_joined([row.ids for row in rows]),
        segments=_joined([row.segments for row in rows]),
        flags=_joined([row.flags for row in rows]),
        spans=Spans.packed([len(row.ids) for row in rows]),
        example=torch.tensor([row.example for row in rows]),
        epoch=torch.tensor([row.epoch for row in rows]),
        owner=torch.tensor([row.owner for row in rows]),
        targets=targets,
        counts={name: int((target != IGNORED).sum()) for name, target in targets.items()},
        progress=progress,
    )


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def by_length(rows: Sequence[Row], tokens: int) -> Iterator[list[int]]:
    """The indices of `rows`, longest first, in groups of at most `tokens` tokens (at least one row each)."""
    group: list[int] = []
    held = 0
    for index in sorted(range(len(rows)), key=lambda i: -len(rows[i].ids)):
        if group and held + len(rows[index].ids) > tokens:
            yield group
            group, held = [], 0
        group.append(index)
        held += len(rows[index].ids)
    if group:
        yield group
