"""Batch: sequences as tensors, as learners and heads take them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask.data.encoded import IGNORE_INDEX, EncodedRow, longest_first
from unmask.model.attention import SequenceLayout
from unmask.runtime.backend import arrays_of

EMPTY = torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Batch:
    """Sequences one after another, longest first; or padded (heads and encoder take both, learners the former).

    input_ids, token_type_ids, flags: (tokens,) or (batch, length); example, epoch, owner: (sequences,) int64, `owner`
    the user's example that the sequence belongs to; targets: name -> (tokens,) or (sequences,), IGNORE_INDEX where
    there is none; target_positions: name -> (count,) int64, where there is one; progress: share of the run, 0 to 1.
    positions (n,) int64: the tokens of all whose outputs a task reads, position_counts (sequences,) int64, on the CPU:
    how many they are of each sequence. query_positions: the tokens whose hidden states the head reads; None: all.
    copies: how often each sequence is in the batch, one copy beside the other; backward_pass: how many passes of the
    learner it has seen.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    layout: SequenceLayout
    example: Tensor
    epoch: Tensor
    owner: Tensor
    flags: Tensor = EMPTY
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    target_positions: Mapping[str, Tensor] = field(default_factory=dict)
    positions: Tensor = EMPTY
    position_counts: Tensor = EMPTY
    progress: float = 0.0
    query_positions: SequenceLayout | None = None
    copies: int = 1
    backward_pass: int = 0

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], **fields: Any) -> "Batch":
        """Make a batch of the arrays of `runtime.Backend.run`, and of other fields that it has."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        lengths = tensors.pop("lengths").tolist()
        numbers = torch.arange(len(lengths))
        origin = {"example": numbers, "epoch": numbers, "owner": numbers}
        return cls(layout=SequenceLayout.packed(lengths), **{**origin, **tensors, **fields})

    @property
    def lengths(self) -> Tensor:
        """(sequences,) int64, on the CPU: the tokens of each sequence."""
        mask = self.layout.attention_mask
        return torch.tensor(self.layout.lengths) if mask is None else mask.sum(1).cpu()

    def token_keys(self) -> list[npt.NDArray[np.int64]]:
        """The example, epoch and position of each token, by which numbers are drawn for it: (tokens,) each."""
        lengths = torch.tensor(self.layout.lengths)
        per_token = [x.repeat_interleave(lengths).numpy() for x in (self.example, self.epoch)]
        return [*per_token, self.layout.position_ids.numpy()]

    @property
    def output_layout(self) -> SequenceLayout:
        """The sequences that the hidden states belong to which the encoder gives for this batch."""
        return self.query_positions or self.layout

    def with_queries(self, name: str) -> "Batch":
        """Return a copy for which the encoder gives hidden states of first tokens and of those with a target alone.

        The targets `name` and their positions are then counted in these.
        """
        queries = self.layout.gather(self.target_positions[name])
        return self.with_targets(name, self.targets[name][queries.token_indices], query_positions=queries)

    def with_targets(self, name: str, targets: Tensor, **changes: Any) -> "Batch":
        """Return a copy with one more kind of target, or others of this kind. changes: of other fields."""
        return dataclasses.replace(
            self,
            targets={**self.targets, name: targets},
            target_positions={**self.target_positions, name: scored_positions(targets)},
            **changes,
        )

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


def pack(rows: Sequence[EncodedRow], progress: float = 0.0, copies: int = 1) -> Batch:
    """Put rows one after another, longest first (attention is cheapest so); equal lengths keep their order.

    copies: how often each row is put there.
    """
    rows = [rows[index] for index in longest_first(rows) for _ in range(copies)]
    common = [name for name in rows[0].targets if all(name in row.targets for row in rows)]
    targets = {name: torch.from_numpy(np.concatenate([row.targets[name] for row in rows])) for name in common}
    return Batch.from_arrays(
        arrays_of(rows),
        flags=torch.from_numpy(np.concatenate([row.flags for row in rows])),
        example=torch.tensor([row.example for row in rows]),
        epoch=torch.tensor([row.epoch for row in rows]),
        owner=torch.tensor([row.owner for row in rows]),
        targets=targets,
        target_positions={name: scored_positions(target) for name, target in targets.items()},
        progress=progress,
        copies=copies,
    )


def scored_positions(targets: Tensor) -> Tensor:
    """Return where there are targets, in their flattened order. Found on the CPU: a GPU would have to be waited for."""
    return (targets.flatten() != IGNORE_INDEX).nonzero().squeeze(1)
