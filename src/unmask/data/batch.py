"""Batch: the one value that flows through training, prediction and evaluation; packed, without padding."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask.model.attention import SequenceLayout

IGNORE_INDEX = -100  # a target that is not scored, as torch's cross-entropy has it

SPECIAL_TOKEN = 4  # flag of [CLS] and [SEP], which are never masked; the other flags are the tokenizer's


@dataclass(frozen=True)
class EncodedRow:
    """One sequence before batching: what the network reads, and where it comes from.

    ids, segments (tokens,) int64; flags (tokens,) uint8; targets: name -> (n,) array (per token or per sequence).
    """

    input_ids: npt.NDArray[np.int64]
    token_type_ids: npt.NDArray[np.int64]
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

    input_ids: Tensor
    token_type_ids: Tensor
    flags: Tensor
    layout: SequenceLayout
    example: Tensor
    epoch: Tensor
    owner: Tensor
    targets: Mapping[str, Tensor]
    target_positions: Mapping[str, Tensor]
    progress: float = 0.0
    query_positions: SequenceLayout | None = None
    copies: int = 1
    backward_pass: int = 0

    @property
    def output_layout(self) -> SequenceLayout:
        """Which sequences the hidden states belong to that the encoder gives for this batch."""
        return self.query_positions or self.layout

    def with_queries(self, name: str) -> "Batch":
        """A copy for which the encoder gives hidden states of first places and of those where `name` is scored alone.

        The targets `name` and the places where they are scored are then counted in these.
        """
        asked = self.layout.gather(self.target_positions[name])
        assert asked.token_indices is not None
        targets = self.targets[name][asked.token_indices]
        return dataclasses.replace(
            self,
            targets={**self.targets, name: targets},
            target_positions={**self.target_positions, name: scored_positions(targets)},
            query_positions=asked,
        )

    def repeat_twice(self) -> "Batch":
        """Each sequence twice, one copy beside the other: longest first, as before."""
        assert self.query_positions is None, "places that are asked for are chosen at last"
        spans = SequenceLayout.packed([length for length in self.layout.lengths for _ in range(2)])
        sequences = torch.arange(self.num_sequences).repeat_interleave(2)
        begins = self.layout.first_tokens[sequences].repeat_interleave(torch.tensor(spans.lengths))
        places = begins + spans.position_ids

        def twice(x: Tensor) -> Tensor:
            return x[places if len(x) == len(self.input_ids) else sequences]

        targets = {name: twice(target) for name, target in self.targets.items()}
        return dataclasses.replace(
            self,
            input_ids=twice(self.input_ids),
            token_type_ids=twice(self.token_type_ids),
            flags=twice(self.flags),
            layout=spans,
            example=twice(self.example),
            epoch=twice(self.epoch),
            owner=twice(self.owner),
            targets=targets,
            target_positions={name: scored_positions(target) for name, target in targets.items()},
            copies=2 * self.copies,
        )

    def with_target_positions(self, name: str, positions: Tensor) -> "Batch":
        """A copy for a loss with one more term, which is scored at these places."""
        return dataclasses.replace(self, target_positions={**self.target_positions, name: positions})

    @property
    def num_tokens(self) -> int:
        """Of the data: copies are not counted."""
        return self.input_ids.numel() // self.copies

    @property
    def target_counts(self) -> dict[str, int]:
        """How many places are scored, by the name of their targets."""
        return {name: places.numel() for name, places in self.target_positions.items()}

    @property
    def num_sequences(self) -> int:
        return self.example.numel()

    def with_targets(self, name: str, targets: Tensor, input_ids: Tensor | None = None) -> "Batch":
        """A copy with one more kind of target; with other ids where an objective hides some."""
        return dataclasses.replace(
            self,
            input_ids=self.input_ids if input_ids is None else input_ids,
            targets={**self.targets, name: targets},
            target_positions={**self.target_positions, name: scored_positions(targets)},
        )

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory, from which a GPU reads while it computes."""
        return self._map_tensors(Tensor.pin_memory)

    def to(self, device: torch.device | str) -> "Batch":
        """A copy of what the network reads on another device."""
        if torch.device(device).type == "cpu":
            return self
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def _map_tensors(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return dataclasses.replace(
            self,
            input_ids=function(self.input_ids),
            token_type_ids=function(self.token_type_ids),
            layout=self.layout.map_tensors(function),
            query_positions=None if self.query_positions is None else self.query_positions.map_tensors(function),
            targets={name: function(target) for name, target in self.targets.items()},
            target_positions={name: function(places) for name, places in self.target_positions.items()},
        )


def pack(rows: Sequence[EncodedRow], progress: float = 0.0) -> Batch:
    """Put rows one after another, longest first (attention is cheapest so); equal lengths keep their order."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].input_ids))
    rows = [rows[i] for i in order]
    targets = {name: _concatenate([row.targets[name] for row in rows]) for name in rows[0].targets}
    return Batch(
        input_ids=_concatenate([row.input_ids for row in rows]),
        token_type_ids=_concatenate([row.token_type_ids for row in rows]),
        flags=_concatenate([row.flags for row in rows]),
        layout=SequenceLayout.packed([len(row.input_ids) for row in rows]),
        example=torch.tensor([row.example for row in rows]),
        epoch=torch.tensor([row.epoch for row in rows]),
        owner=torch.tensor([row.owner for row in rows]),
        targets=targets,
        target_positions={name: scored_positions(target) for name, target in targets.items()},
        progress=progress,
    )


def _concatenate(parts: Sequence[npt.NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def scored_positions(targets: Tensor) -> Tensor:
    """Where targets are scored, in their flattened order. Found on the CPU: a GPU would have to be waited for."""
    return (targets.flatten() != IGNORE_INDEX).nonzero().squeeze(1)


def groups_by_length(rows: Sequence[EncodedRow], tokens: int) -> Iterator[list[int]]:
    """The indices of `rows`, longest first, in groups of at most `tokens` tokens (at least one row each)."""
    group: list[int] = []
    held = 0
    for index in sorted(range(len(rows)), key=lambda i: -len(rows[i].input_ids)):
        if group and held + len(rows[index].input_ids) > tokens:
            yield group
            group, held = [], 0
        group.append(index)
        held += len(rows[index].input_ids)
    if group:
        yield group
