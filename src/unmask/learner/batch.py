"""Batch: sequences as tensors, as learners and heads take them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask.data.encoded import IGNORE_INDEX, EncodedRow, longest_first
from unmask.model.attention import SequenceLayout

NO_POSITIONS = torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Batch:
    """Sequences one after another, longest first; or padded (heads and encoder take both, learners the former).

    input_ids, token_type_ids, flags: (tokens,) or (batch, length); example, epoch, owner: (sequences,) int64, `owner`
    the user's example that the sequence belongs to; targets: name -> (tokens,) or (sequences,), IGNORE_INDEX where
    there is none; target_positions: name -> (count,) int64, where there is one; progress: share of the run, 0 to 1.
    positions (n,) int64: the tokens of all whose outputs a task reads, position_counts (sequences,) int64, on the CPU:
    how many they are of each sequence. query_positions: the tokens whose hidden states the head reads; None: all.
    copies: how often each sequence is in the batch; backward_pass: how many passes of the learner it has seen.
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
    positions: Tensor
    position_counts: Tensor
    progress: float = 0.0
    query_positions: SequenceLayout | None = None
    copies: int = 1
    backward_pass: int = 0

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Batch":
        """Make a batch without targets of the arrays of `runtime.Backend.run`."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        numbers = torch.arange(len(tensors["lengths"]))
        return cls(
            input_ids=tensors["input_ids"],
            token_type_ids=tensors["token_type_ids"],
            flags=NO_POSITIONS,
            layout=SequenceLayout.packed(tensors["lengths"].tolist()),
            example=numbers,
            epoch=numbers,
            owner=numbers,
            targets={},
            target_positions={},
            positions=tensors.get("positions", NO_POSITIONS),
            position_counts=tensors.get("position_counts", NO_POSITIONS),
        )

    @property
    def lengths(self) -> Tensor:
        """(sequences,) int64, on the CPU: the tokens of each sequence."""
        mask = self.layout.attention_mask
        return torch.tensor(self.layout.lengths) if mask is None else mask.sum(1).cpu()

    @property
    def output_layout(self) -> SequenceLayout:
        """The sequences that the hidden states belong to which the encoder gives for this batch."""
        return self.query_positions or self.layout

    def with_queries(self, name: str) -> "Batch":
        """Return a copy for which the encoder gives hidden states of first tokens and of those with a target alone.

        The targets `name` and their positions are then counted in these.
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
        """Return a copy with each sequence twice, one copy beside the other: longest first, as before."""
        assert self.query_positions is None, "query positions are chosen last"
        layout = SequenceLayout.packed([length for length in self.layout.lengths for _ in range(2)])
        sequences = torch.arange(self.num_sequences).repeat_interleave(2)
        begins = self.layout.first_tokens[sequences].repeat_interleave(torch.tensor(layout.lengths))
        places = begins + layout.position_ids

        def twice(x: Tensor) -> Tensor:
            return x[places if len(x) == len(self.input_ids) else sequences]

        targets = {name: twice(target) for name, target in self.targets.items()}
        counts = self.position_counts
        if len(counts):
            counts = counts.repeat_interleave(2)
            moved = layout.first_tokens - self.layout.first_tokens[sequences]
            parts = torch.split(self.positions, self.position_counts.tolist())
            positions = torch.cat([part for part in parts for _ in range(2)]) + moved.repeat_interleave(counts)
        else:
            positions = self.positions
        return dataclasses.replace(
            self,
            input_ids=twice(self.input_ids),
            token_type_ids=twice(self.token_type_ids),
            flags=twice(self.flags),
            layout=layout,
            example=twice(self.example),
            epoch=twice(self.epoch),
            owner=twice(self.owner),
            targets=targets,
            target_positions={name: scored_positions(target) for name, target in targets.items()},
            positions=positions,
            position_counts=counts,
            copies=2 * self.copies,
        )

    def with_target_positions(self, name: str, positions: Tensor) -> "Batch":
        """Return a copy for a loss with one more term, which has targets at these positions."""
        return dataclasses.replace(self, target_positions={**self.target_positions, name: positions})

    @property
    def num_tokens(self) -> int:
        """The number of tokens of the data: copies are not counted."""
        return self.input_ids.numel() // self.copies

    @property
    def target_counts(self) -> dict[str, int]:
        """The numbers of targets, by their name."""
        return {name: places.numel() for name, places in self.target_positions.items()}

    @property
    def num_sequences(self) -> int:
        return self.example.numel()

    def with_targets(self, name: str, targets: Tensor, input_ids: Tensor | None = None) -> "Batch":
        """Return a copy with one more kind of target; with other input_ids where an objective masks some."""
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
            positions=function(self.positions),
        )


def pack(rows: Sequence[EncodedRow], progress: float = 0.0) -> Batch:
    """Put rows one after another, longest first (attention is cheapest so); equal lengths keep their order."""
    rows = [rows[index] for index in longest_first(rows)]
    common = [name for name in rows[0].targets if all(name in row.targets for row in rows)]
    targets = {name: _concatenate([row.targets[name] for row in rows]) for name in common}
    lengths, positions, counts = [len(row) for row in rows], NO_POSITIONS, NO_POSITIONS
    own = [row.positions for row in rows if row.positions is not None]
    if own:
        begins = np.cumsum(lengths) - lengths
        positions = _concatenate([begin + part for begin, part in zip(begins, own, strict=True)])
        counts = torch.tensor([len(part) for part in own])
    return Batch(
        input_ids=_concatenate([row.input_ids for row in rows]),
        token_type_ids=_concatenate([row.token_type_ids for row in rows]),
        flags=_concatenate([row.flags for row in rows]),
        layout=SequenceLayout.packed(lengths),
        example=torch.tensor([row.example for row in rows]),
        epoch=torch.tensor([row.epoch for row in rows]),
        owner=torch.tensor([row.owner for row in rows]),
        targets=targets,
        target_positions={name: scored_positions(target) for name, target in targets.items()},
        positions=positions,
        position_counts=counts,
        progress=progress,
    )


def _concatenate(parts: Sequence[npt.NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def scored_positions(targets: Tensor) -> Tensor:
    """Return where there are targets, in their flattened order. Found on the CPU: a GPU would have to be waited for."""
    return (targets.flatten() != IGNORE_INDEX).nonzero().squeeze(1)
