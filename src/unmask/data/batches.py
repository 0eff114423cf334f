"""The order in which examples are read: a pure function of (seed, step). Its whole state is one integer.

Step k takes the examples k * B to (k + 1) * B of an endless numbering; number g is place g mod N of the
permutation of epoch g div N. Ranks take whole examples; packing changes the layout only.
"""

import dataclasses
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from unmask.data.batch import SPECIAL, Batch, Row, by_length, pack
from unmask.data.hashing import hashed, permuted, uniform
from unmask.data.shards import Shards
from unmask.errors import UserError
from unmask.text.tokenizer import SENTENCE_START, WORD_START

ORDER, HELDOUT, PAIRS = 1, 2, 3  # what a hash is for: one stream of randomness each


class Examples(Protocol):
    """Anything with numbered sequences: chunks of a corpus, rows of a table."""

    def __len__(self) -> int: ...

    def row(self, number: int, epoch: int) -> Row: ...

    @property
    def mean_tokens(self) -> float: ...


class CorpusExamples:
    """Chunks of the documents of a corpus, at most `length` tokens with [CLS] and [SEP].

    A document of n tokens is cut into ceil(n / room) chunks of nearly equal length, so that no short rest is
    left over. With `pairs`, a chunk is two segments A and B: its own halves, or for every second example the
    B of another document (next-sentence prediction: Devlin et al. 2019, section 3.1).
    """

    def __init__(
        self, shards: Shards, length: int, seed: int, heldout: float, part: str = "train", pairs: bool = False
    ) -> None:
        self.shards, self.seed, self.pairs = shards, seed, pairs
        self.room = length - (3 if pairs else 2)
        documents = split_documents(shards.documents, heldout, part)
        if not len(documents):
            raise UserError(
                "the corpus has too few documents to hold some out",
                given=f"{shards.documents} documents, data.heldout={heldout}",
                to_do="separate documents by blank lines, or build with --split line",
            )
        lengths = shards.document_lengths[documents]
        self.documents = documents
        self.chunks = -(-lengths // self.room)
        self.ends = self.chunks.cumsum()
        self.corpus_tokens = int(lengths.sum())
        special = self.shards.tokenizer
        self.cls, self.sep = special.cls_id, special.sep_id

    def __len__(self) -> int:
        return int(self.ends[-1])

    @property
    def mean_tokens(self) -> float:
        return self.corpus_tokens / len(self) + (3 if self.pairs else 2)

    def place(self, number: int) -> tuple[int, int, int]:
        """(document, start, stop) of an example, in tokens."""
        at = int(np.searchsorted(self.ends, number, side="right"))
        document, chunks = int(self.documents[at]), int(self.chunks[at])
        chunk = number - int(self.ends[at]) + chunks
        tokens = int(self.shards.document_lengths[document])
        return document, chunk * tokens // chunks, (chunk + 1) * tokens // chunks

    def row(self, number: int, epoch: int) -> Row:
        ids, flags = self.shards.slice(*self.place(number))
        if not self.pairs:
            return self._assemble([(ids, flags)], number, epoch, {})
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
        targets: dict[str, npt.NDArray[np.generic]],
    ) -> Row:
        ids = [np.array([self.cls])]
        flags = [np.array([SPECIAL], dtype=np.uint8)]
        kinds = [np.zeros(1, dtype=np.int64)]
        for kind, (part, part_flags) in enumerate(segments):
            ids += [part, np.array([self.sep])]
            flags += [part_flags, np.array([SPECIAL], dtype=np.uint8)]
            kinds.append(np.full(len(part) + 1, kind))
        return Row(
            np.concatenate(ids), np.concatenate(kinds), np.concatenate(flags), number, epoch, number, targets
        )


class TableExamples:
    """Rows that are in memory: the sequences of labelled examples."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, number: int, epoch: int) -> Row:
        return dataclasses.replace(self.rows[number], example=number, epoch=epoch)

    @property
    def mean_tokens(self) -> float:
        return sum(len(row.ids) for row in self.rows) / len(self.rows)


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
    """Which examples each step takes, as packed batches. `steps * per_step` examples make an epoch or a part.

    parts: micro-batches per step, for accumulation; rank, world: this process among several.
    """

    def __init__(
        self, examples: Examples, per_step: int, seed: int, parts: int = 1, rank: int = 0, world: int = 1
    ) -> None:
        self.examples, self.seed = examples, seed
        self.per_step = per_step
        self.parts, self.rank, self.world = parts, rank, world

    @property
    def steps_per_epoch(self) -> float:
        return len(self.examples) / self.per_step

    def numbers(self, step: int) -> list[tuple[int, int]]:
        """(example, epoch) of each sequence that this rank takes in step `step`, from 0."""
        every = np.arange(step * self.per_step, (step + 1) * self.per_step)[self.rank :: self.world]
        epochs, places = np.divmod(every, len(self.examples))
        result: list[tuple[int, int]] = []
        for epoch in np.unique(epochs):
            chosen = permuted(places[epochs == epoch], len(self.examples), self.seed, ORDER, int(epoch))
            result += [(int(number), int(epoch)) for number in chosen]
        return result

    def step(self, step: int, progress: float = 0.0) -> list[Batch]:
        """The micro-batches of a step. Examples are dealt out by length, so that parts are of equal size."""
        rows = [self.examples.row(number, epoch) for number, epoch in self.numbers(step)]
        rows.sort(key=lambda row: (-len(row.ids), row.epoch, row.example))
        return [
            pack(rows[part :: self.parts], progress) for part in range(self.parts) if rows[part :: self.parts]
        ]


def in_order(examples: Examples, tokens: int, limit: int) -> Iterator[Batch]:
    """Examples once each, for evaluation: packed by length, `tokens` tokens at a time, about `limit` in all.

    Where not all fit, they are taken evenly over the whole.
    """
    wanted = min(len(examples), max(1, int(limit / examples.mean_tokens)))
    rows = [examples.row(int(number), 0) for number in np.linspace(0, len(examples) - 1, wanted).round()]
    for group in by_length(rows, tokens):
        yield pack([rows[index] for index in group])


def prefetched(make: Callable[[int], list[Batch]], start: int, ahead: int = 2) -> Generator[list[Batch]]:
    """make(start), make(start + 1), ... prepared ahead in a thread. Errors come out where they are awaited."""
    ready: queue.Queue[list[Batch] | BaseException] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def offer(item: list[Batch] | BaseException) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def fill() -> None:
        step = start
        try:
            # each thread has this setting for itself: with more, torch would keep a second pool of threads busy
            # here, with which training on both of two cores took more than twice as long
            torch.set_num_threads(1)
            while not stopped.is_set():
                offer(make(step))
                step += 1
        except BaseException as error:  # handed over to the thread that waits
            offer(error)

    torch.get_num_threads()  # a thread that torch has not yet been asked in would take over what `fill` sets
    thread = threading.Thread(target=fill, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
