"""The order in which examples are read. Its whole state is one integer: how many were read.

A step takes the next examples of an endless numbering; number g is place g mod N of the permutation of epoch
g div N. Ranks take whole examples; packing changes the layout only.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unmask.data.batch import SPECIAL, Batch, Row, by_length, pack
from unmask.data.hashing import hashed, permuted, uniform
from unmask.data.ramp import Ramp
from unmask.data.shards import Flags, Ids, Shards, ranges
from unmask.errors import UserError
from unmask.text.tokenizer import SENTENCE_START, WORD_START

Numbers = Sequence[tuple[int, int]]  # (example, epoch)

ORDER, HELDOUT, PAIRS = 1, 2, 3  # what a hash is for: one stream of randomness each


class Examples(Protocol):
    """Anything with numbered sequences: chunks of a corpus, rows of a table."""

    def __len__(self) -> int: ...

    def rows(self, numbers: Numbers, progress: float) -> list[Row]:
        """The sequences of examples: one of each, or several shorter ones where the length grows over the run."""
        ...

    @property
    def mean_tokens(self) -> float: ...


class CorpusExamples:
    """Chunks of the documents of a corpus, at most `length` tokens with [CLS] and [SEP].

    A document of n tokens is cut into ceil(n / room) chunks of nearly equal length, so that no short rest is
    left over. With `pairs`, a chunk is two segments A and B: its own halves, or for every second example the
    B of another document (next-sentence prediction: Devlin et al. 2019, section 3.1). With a `ramp` of the
    length, a chunk that is longer than it allows is read as several sequences, so that a step keeps its tokens.
    """

    def __init__(
        self,
        shards: Shards,
        length: int,
        seed: int,
        heldout: float,
        part: str = "train",
        pairs: bool = False,
        ramp: Ramp | None = None,
    ) -> None:
        self.shards, self.seed, self.pairs, self.ramp = shards, seed, pairs, ramp
        self.frame = shards.tokenizer.two if pairs else shards.tokenizer.one
        (self.cls,), (self.sep,) = shards.tokenizer.one.runs
        self.room = length - self.frame.size
        documents = split_documents(shards.documents, heldout, part)
        if not len(documents):
            raise UserError(
                "the corpus has too few documents to hold some out",
                given=f"{shards.documents} documents, data.heldout={heldout}",
                hint="separate documents by blank lines, or build with --split line",
            )
        lengths = shards.document_lengths[documents]
        self.documents = documents
        self.chunks = -(-lengths // self.room)
        self.ends = self.chunks.cumsum()
        self.corpus_tokens = int(lengths.sum())

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def mean_tokens(self) -> float:
        return self.corpus_tokens / len(self) + self.frame.size

    def place(self, number: int) -> tuple[int, int, int]:
        """(document, start, stop) of an example, in tokens."""
        (document,), (start,), (stop,) = self._places(np.array([number]))
        return int(document), int(start), int(stop)

    def rows(self, numbers: Numbers, progress: float = 1.0) -> list[Row]:
        if self.pairs:
            return [self._pair(number, epoch) for number, epoch in numbers]
        names, epochs = np.array(numbers, dtype=np.int64).reshape(-1, 2).T
        documents, starts, stops = self._places(names)
        room = self.room if self.ramp is None else max(8, round(self.room * self.ramp.factor(progress)))
        parts = -(-(stops - starts) // room)
        of, part = np.repeat(np.arange(len(names)), parts), ranges(np.zeros_like(parts), parts)
        begin, end = (starts[of] + n * (stops - starts)[of] // parts[of] for n in (part, part + 1))
        ids, flags = self.shards.take(documents[of], begin, end)
        # each part has a name of its own, so that masks differ: example, example + N, ...
        return self._framed(ids, flags, end - begin, names[of] + part * len(self), epochs[of])

    def _framed(self, ids: Ids, flags: Flags, sizes: Ids, names: Ids, epochs: Ids) -> list[Row]:
        """Rows with [CLS] and [SEP], from the tokens of all of them one after another."""
        bounds = np.concatenate([[0], (sizes + 2).cumsum()])
        inner = ranges(bounds[:-1] + 1, sizes)
        whole, marks = np.full(bounds[-1], self.cls), np.full(bounds[-1], SPECIAL, dtype=np.uint8)
        whole[inner], marks[inner], whole[bounds[1:] - 1] = ids, flags, self.sep
        segments = np.zeros_like(whole)
        return [
            Row(whole[a:b], segments[a:b], marks[a:b], name, epoch, name)
            for (a, b), name, epoch in zip(
                pairwise(bounds.tolist()), names.tolist(), epochs.tolist(), strict=True
            )
        ]

    def _places(self, numbers: Ids) -> tuple[Ids, Ids, Ids]:
        """Documents, starts and stops (in tokens) of examples."""
        at = np.searchsorted(self.ends, numbers, side="right")
        documents, chunks = self.documents[at], self.chunks[at]
        chunk = numbers - self.ends[at] + chunks
        tokens = self.shards.document_lengths[documents]
        return documents, chunk * tokens // chunks, (chunk + 1) * tokens // chunks

    def row(self, number: int, epoch: int) -> Row:
        """An example at full length, as one sequence."""
        return self.rows([(number, epoch)])[0]

    def _pair(self, number: int, epoch: int) -> Row:
        ids, flags = self.shards.slice(*self.place(number))
        cut = _middle(flags)
        first, second = (ids[:cut], flags[:cut]), (ids[cut:], flags[cut:])
        is_next = bool(uniform(self.seed, PAIRS, number, epoch)[0] < 0.5) and len(second[0]) > 0
        is_next = is_next or len(self) == 1  # there is nobody else
        if not is_next:
            second = self._stranger(number, epoch, room=self.room - cut)
        label = np.array([0 if is_next else 1])  # 0: B follows A, as in BERT's published checkpoints
        return self._assemble([first, second], number, epoch, {"next_sentence": label})

    def _stranger(
        self, number: int, epoch: int, room: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """The second half of a chunk of another document (of any other chunk, if there is but one document)."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        own = range(int(self.ends[at] - self.chunks[at]), int(self.ends[at]))  # chunks of the same document
        if len(own) == len(self):
            own = range(number, number + 1)
        other = int(hashed(self.seed, PAIRS, number, epoch, 1)[0] % np.uint64(len(self) - len(own)))
        other += len(own) if other >= own.start else 0
        ids, flags = self.shards.slice(*self.place(other))
        cut = _middle(flags) if len(ids) > 1 else 0
        return ids[cut : cut + room], flags[cut : cut + room]

    def _assemble(
        self,
        segments: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]],
        number: int,
        epoch: int,
        targets: Mapping[str, npt.NDArray[np.generic]],
    ) -> Row:
        runs, run_kinds = self.frame.runs, self.frame.run_segments
        ids = [np.array(runs[0], dtype=np.int64)]
        flags = [np.full(len(runs[0]), SPECIAL, dtype=np.uint8)]
        kinds = [np.array(run_kinds[0], dtype=np.int64)]
        for place, (part, part_flags) in enumerate(segments, 1):
            ids += [part, np.array(runs[place], dtype=np.int64)]
            flags += [part_flags, np.full(len(runs[place]), SPECIAL, dtype=np.uint8)]
            kinds.append(np.full(len(part), self.frame.text_segments[place - 1]))
            kinds.append(np.array(run_kinds[place], dtype=np.int64))
        return Row(
            np.concatenate(ids), np.concatenate(kinds), np.concatenate(flags), number, epoch, number, targets
        )


class TableExamples:
    """Rows that are in memory: the sequences of labelled examples."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.encoded = rows

    def __len__(self) -> int:
        return len(self.encoded)

    def rows(self, numbers: Numbers, progress: float = 1.0) -> list[Row]:
        return [
            dataclasses.replace(self.encoded[number], example=number, epoch=epoch)
            for number, epoch in numbers
        ]

    @property
    def mean_tokens(self) -> float:
        return sum(len(row.ids) for row in self.encoded) / len(self.encoded)


class OwnedExamples:
    """Rows that are in memory, where those of one owner are one example: a step takes them together, in order.

    `Row.example` is then the number of the row, so that it tells the rows of an owner apart.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.encoded = rows
        owners = np.array([row.owner for row in rows])
        self.starts = np.flatnonzero(np.diff(owners, prepend=-1))
        self.stops = np.append(self.starts[1:], len(rows))

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, numbers: Numbers, progress: float = 1.0) -> list[Row]:
        return [
            dataclasses.replace(self.encoded[place], example=place, epoch=epoch)
            for number, epoch in numbers
            for place in range(int(self.starts[number]), int(self.stops[number]))
        ]

    @property
    def mean_tokens(self) -> float:
        return sum(len(row.ids) for row in self.encoded) / len(self)


def _middle(flags: npt.NDArray[np.uint8]) -> int:
    """Where to cut a chunk in two: the sentence start nearest to the middle, or else the word start."""
    for kind in (SENTENCE_START, WORD_START):
        places = np.flatnonzero(flags[1:] & kind) + 1
        if len(places):
            return int(places[np.abs(places - len(flags) / 2).argmin()])
    return max(1, len(flags) // 2)


def split_documents(documents: int, heldout: float, part: str) -> npt.NDArray[np.int64]:
    """The numbers of the documents to train on, or of those held out (at least one of several)."""
    order = np.argsort(hashed(HELDOUT, np.arange(documents)), kind="stable")
    kept = 0 if heldout == 0 else min(documents - 1, max(1, round(heldout * documents)))
    return np.sort(order[:kept] if part == "heldout" else order[kept:])


class Batches:
    """Which examples each step takes, as packed batches. `steps_per_epoch * per_step` examples make an epoch.

    per_step: examples in a step, in all ranks together, when the `ramp` (if any) is at its end;
    parts: micro-batches per step, for accumulation; rank, world: this process among several.
    Raises UserError where some rank would have too few examples.
    """

    def __init__(
        self,
        examples: Examples,
        per_step: int,
        seed: int,
        parts: int = 1,
        rank: int = 0,
        world: int = 1,
        ramp: Ramp | None = None,
    ) -> None:
        self.examples, self.seed = examples, seed
        self.per_step, self.ramp = per_step, ramp
        self.parts, self.rank, self.world = parts, rank, world
        if world > 1 and self.size(0.0) < world * parts:
            raise UserError(
                "a step has too few sequences for so many processes",
                given=f"{self.size(0.0)} sequences in {world} processes times {parts} micro-batches",
                hint="larger steps, fewer processes or a smaller train.accumulate",
            )

    def size(self, progress: float) -> int:
        """How many examples a step takes, at this share of the run."""
        return (
            self.per_step if self.ramp is None else max(1, round(self.per_step * self.ramp.factor(progress)))
        )

    @property
    def steps_per_epoch(self) -> float:
        return len(self.examples) / self.mean_size

    @property
    def tokens_per_step(self) -> float:
        return self.mean_size * self.examples.mean_tokens

    @property
    def mean_size(self) -> float:
        """Examples in a step, on average over a run."""
        return self.per_step * (1.0 if self.ramp is None else self.ramp.mean)

    def numbers(self, start: int, count: int) -> list[tuple[int, int]]:
        """(example, epoch) of each sequence that this rank takes of the `count` ones after the first `start`."""
        every = np.arange(start, start + count)[self.rank :: self.world]
        epochs, places = np.divmod(every, len(self.examples))
        result: list[tuple[int, int]] = []
        for epoch in np.unique(epochs):
            chosen = permuted(places[epochs == epoch], len(self.examples), self.seed, ORDER, int(epoch))
            result += [(int(number), int(epoch)) for number in chosen]
        return result

    def take(self, start: int, progress: float = 0.0) -> list[Batch]:
        """The micro-batches of the step that begins after `start` examples. Examples are dealt out by length, so
        that parts are of equal size; rows that one owner needs together stay so."""
        rows = self.examples.rows(self.numbers(start, self.size(progress)), progress)
        rows.sort(key=lambda row: (-len(row.ids), row.epoch, row.example))
        groups = [[row] for row in rows]
        if isinstance(self.examples, OwnedExamples):
            owned: dict[tuple[int, int], list[Row]] = {}
            for row in rows:
                owned.setdefault((row.epoch, row.owner), []).append(row)
            groups = list(owned.values())
        dealt = [[row for group in groups[part :: self.parts] for row in group] for part in range(self.parts)]
        return [pack(part, progress) for part in dealt if part]


def in_order(examples: Examples, tokens: int, limit: int) -> Iterator[Batch]:
    """Examples once each, for evaluation: packed by length, `tokens` tokens at a time, about `limit` in all.

    Where not all fit, they are taken evenly over the whole.
    """
    wanted = min(len(examples), max(1, int(limit / examples.mean_tokens)))
    numbers = np.linspace(0, len(examples) - 1, wanted).round()
    rows = examples.rows([(int(number), 0) for number in numbers], 1.0)
    for group in by_length(rows, tokens):
        yield pack([rows[index] for index in group])
