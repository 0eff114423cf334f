"""Batch: the one value that flows through training, prediction and evaluation; packed, without padding."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    scored: name -> (count,) int64, the scored places; counts: name -> how many; progress: share of the run, 0 to 1.
    asked: the places whose hidden states are read; None: all.
    copies: how often each sequence stands here; turn: how many passes of the learner this batch has seen.
    """

    ids: Tensor
    segments: Tensor
    flags: Tensor
    spans: Spans
    example: Tensor
    epoch: Tensor
    owner: Tensor
    targets: Mapping[str, Tensor]
    scored: Mapping[str, Tensor]
    progress: float = 0.0
    asked: Spans | None = None
    copies: int = 1
    turn: int = 0

    @property
    def layout(self) -> Spans:
        """Which sequences the hidden states belong to that the encoder gives for this batch."""
        return self.asked or self.spans

    def asking(self, name: str) -> "Batch":
        """A copy for which the encoder gives hidden states of first places and of those where `name` is scored alone.

        The targets `name` and the places where they are scored are then counted in these.
        """
        asked = self.spans.only(self.scored[name])
        assert asked.places is not None
        targets = self.targets[name][asked.places]
        return dataclasses.replace(
            self,
            targets={**self.targets, name: targets},
            scored={**self.scored, name: scored_places(targets)},
            asked=asked,
        )

    def doubled(self) -> "Batch":
        """Each sequence twice, one copy beside the other: longest first, as before."""
        assert self.asked is None, "places that are asked for are chosen at last"
        spans = Spans.packed([length for length in self.spans.lengths for _ in range(2)])
        sequences = torch.arange(self.sequences).repeat_interleave(2)
        begins = self.spans.first[sequences].repeat_interleave(torch.tensor(spans.lengths))
        places = begins + spans.positions

        def twice(x: Tensor) -> Tensor:
            return x[places if len(x) == len(self.ids) else sequences]

        targets = {name: twice(target) for name, target in self.targets.items()}
        return dataclasses.replace(
            self,
            ids=twice(self.ids),
            segments=twice(self.segments),
            flags=twice(self.flags),
            spans=spans,
            example=twice(self.example),
            epoch=twice(self.epoch),
            owner=twice(self.owner),
            targets=targets,
            scored={name: scored_places(target) for name, target in targets.items()},
            copies=2 * self.copies,
        )

    def counting(self, name: str, places: Tensor) -> "Batch":
        """A copy for a loss with one more term, which is scored at these places."""
        return dataclasses.replace(self, scored={**self.scored, name: places})

    @property
    def tokens(self) -> int:
        """Of the data: copies are not counted."""
        return self.ids.numel() // self.copies

    @property
    def counts(self) -> dict[str, int]:
        """How many places are scored, by the name of their targets."""
        return {name: places.numel() for name, places in self.scored.items()}

    @property
    def sequences(self) -> int:
        return self.example.numel()

    def with_targets(self, name: str, targets: Tensor, ids: Tensor | None = None) -> "Batch":
        """A copy with one more kind of target; with other ids where an objective hides some."""
        return dataclasses.replace(
            self,
            ids=self.ids if ids is None else ids,
            targets={**self.targets, name: targets},
            scored={**self.scored, name: scored_places(targets)},
        )

    def pinned(self) -> "Batch":
        """A copy in page-locked memory, from which a GPU reads while it computes."""
        return self._moved(Tensor.pin_memory)

    def to(self, device: torch.device | str) -> "Batch":
        """A copy of what the network reads on another device."""
        if torch.device(device).type == "cpu":
            return self
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def _moved(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        return dataclasses.replace(
            self,
            ids=move(self.ids),
            segments=move(self.segments),
            spans=self.spans.moved(move),
            asked=None if self.asked is None else self.asked.moved(move),
            targets={name: move(target) for name, target in self.targets.items()},
            scored={name: move(places) for name, places in self.scored.items()},
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
        scored={name: scored_places(target) for name, target in targets.items()},
        progress=progress,
    )


def _joined(parts: Sequence[npt.NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def scored_places(targets: Tensor) -> Tensor:
    """Where targets are scored, in their flattened order. Found on the CPU: a GPU would have to be waited for."""
    return (targets.flatten() != IGNORED).nonzero().squeeze(1)


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
