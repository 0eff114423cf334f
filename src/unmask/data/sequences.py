"""Numbered sequences to learn from: chunks of a corpus, encoded rows. Numpy only."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from unmask.data.corpus.shards import Flags, Ids, Shards, ranges
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.hashing import hash_integers, hash_uniform
from unmask.errors import UserError
from unmask.schedules import Ramp
from unmask.text.tokenizer import SENTENCE_START, WORD_START

Indices = Sequence[tuple[int, int]]  # (example, epoch)

HELDOUT, PAIRS = 2, 3  # what a hash is for: one stream of randomness each


class CorpusSequences:
    """Chunks of the documents of a corpus, at most `length` tokens with [CLS] and [SEP].

    A document of n tokens is cut into ceil(n / room) chunks of nearly equal length, so that no short rest is
    left over. With `pairs`, a chunk is two segments A and B: its own halves, or for every second example the
    B of another document (next-sentence prediction: Devlin et al. 2019, section 3.1). With a `max_length_ramp`,
    a chunk that is longer than it allows is read as several sequences, so that a step keeps its tokens.
    """

    def __init__(
        self,
        shards: Shards,
        max_length: int,
        seed: int,
        heldout_share: float,
        part: str = "train",
        pairs: bool = False,
        max_length_ramp: Ramp | None = None,
    ) -> None:
        self.shards, self.seed, self.pairs, self.max_length_ramp = shards, seed, pairs, max_length_ramp
        self.template = shards.tokenizer.pair_template if pairs else shards.tokenizer.single_template
        (self.cls,), (self.sep,) = shards.tokenizer.single_template.runs
        self.max_text_tokens = max_length - self.template.size
        documents = split_documents(shards.documents, heldout_share, part)
        if not len(documents):
            raise UserError(
                "the corpus has too few documents to hold some out",
                given=f"{shards.documents} documents, data.heldout_share={heldout_share}",
                hint=["separate documents by blank lines", "unmask corpus build FILES --split line"],
            )
        lengths = shards.document_lengths[documents]
        self.documents = documents
        self.chunks = -(-lengths // self.max_text_tokens)
        self.chunk_ends = self.chunks.cumsum()
        self.corpus_tokens = int(lengths.sum())

    def __len__(self) -> int:
        return int(self.chunk_ends[-1])

    @property
    def mean_tokens(self) -> float:
        return self.corpus_tokens / len(self) + self.template.size

    def location(self, number: int) -> tuple[int, int, int]:
        """(document, start, stop) of an example, in tokens."""
        (document,), (start,), (stop,) = self._locations(np.array([number]))
        return int(document), int(start), int(stop)

    def rows(self, numbers: Indices, progress: float = 1.0) -> list[EncodedRow]:
        """The sequences of examples, at this share of the run: one of each, or several shorter ones."""
        if self.pairs:
            return [self._pair(number, epoch) for number, epoch in numbers]
        names, epochs = np.array(numbers, dtype=np.int64).reshape(-1, 2).T
        documents, starts, stops = self._locations(names)
        share = 1.0 if self.max_length_ramp is None else self.max_length_ramp.factor(progress)
        parts = -(-(stops - starts) // max(8, round(self.max_text_tokens * share)))
        of, part = np.repeat(np.arange(len(names)), parts), ranges(np.zeros_like(parts), parts)
        begin, end = (starts[of] + n * (stops - starts)[of] // parts[of] for n in (part, part + 1))
        ids, flags = self.shards.read_many(documents[of], begin, end)
        # each part has a name of its own, so that masks differ: example, example + N, ...
        return self._framed(ids, flags, end - begin, names[of] + part * len(self), epochs[of])

    def _framed(self, input_ids: Ids, flags: Flags, sizes: Ids, names: Ids, epochs: Ids) -> list[EncodedRow]:
        """Rows with [CLS] and [SEP], from the tokens of all of them one after another."""
        bounds = np.concatenate([[0], (sizes + 2).cumsum()])
        inner = ranges(bounds[:-1] + 1, sizes)
        whole, marks = np.full(bounds[-1], self.cls), np.full(bounds[-1], SPECIAL_TOKEN, dtype=np.uint8)
        whole[inner], marks[inner], whole[bounds[1:] - 1] = input_ids, flags, self.sep
        segments = np.zeros_like(whole)
        return [
            EncodedRow(whole[a:b], segments[a:b], marks[a:b], name, epoch, name)
            for (a, b), name, epoch in zip(pairwise(bounds.tolist()), names.tolist(), epochs.tolist(), strict=True)
        ]

    def _locations(self, numbers: Ids) -> tuple[Ids, Ids, Ids]:
        """Documents, starts and stops (in tokens) of examples."""
        at = np.searchsorted(self.chunk_ends, numbers, side="right")
        documents, chunks = self.documents[at], self.chunks[at]
        chunk = numbers - self.chunk_ends[at] + chunks
        tokens = self.shards.document_lengths[documents]
        return documents, chunk * tokens // chunks, (chunk + 1) * tokens // chunks

    def _pair(self, number: int, epoch: int) -> EncodedRow:
        ids, flags = self.shards.read(*self.location(number))
        cut = _split_point(flags)
        first, second = (ids[:cut], flags[:cut]), (ids[cut:], flags[cut:])
        is_next = bool(hash_uniform(self.seed, PAIRS, number, epoch)[0] < 0.5) and len(second[0]) > 0
        is_next = is_next or len(self) == 1  # there is nobody else
        if not is_next:
            second = self._random_second(number, epoch, max_tokens=self.max_text_tokens - cut)
        template = self.template
        special = [
            (np.array(run, np.int64), np.full(len(run), SPECIAL_TOKEN, np.uint8), np.array(kinds, np.int64))
            for run, kinds in zip(template.runs, template.run_token_type_ids, strict=True)
        ]
        texts = [
            (*text, np.full(len(text[0]), kind))
            for text, kind in zip((first, second), template.text_token_type_ids, strict=True)
        ]
        parts = [special[0], texts[0], special[1], texts[1], special[2]]
        input_ids, marks, token_type_ids = map(np.concatenate, zip(*parts, strict=True))
        label = np.array([0 if is_next else 1])  # 0: B follows A, as in BERT's published checkpoints
        return EncodedRow(input_ids, token_type_ids, marks, number, epoch, number, {"next_sentence": label})

    def _random_second(self, number: int, epoch: int, max_tokens: int) -> tuple[Ids, Flags]:
        """The second half of a chunk of another document (of any other chunk, if there is but one document)."""
        at = int(np.searchsorted(self.chunk_ends, number, side="right"))
        own = range(int(self.chunk_ends[at] - self.chunks[at]), int(self.chunk_ends[at]))  # chunks of the same document
        if len(own) == len(self):
            own = range(number, number + 1)
        other = int(hash_integers(self.seed, PAIRS, number, epoch, 1)[0] % np.uint64(len(self) - len(own)))
        other += len(own) if other >= own.start else 0
        ids, flags = self.shards.read(*self.location(other))
        cut = _split_point(flags) if len(ids) > 1 else 0
        return ids[cut : cut + max_tokens], flags[cut : cut + max_tokens]


class RowSequences:
    """Encoded rows in memory. An example is one row; or, `together`, all rows of an owner, which a step takes together,
    in order. `EncodedRow.example` is the number of the row, so that it tells the rows of an owner apart."""

    def __init__(self, rows: Sequence[EncodedRow], together: bool = False) -> None:
        self.encoded_rows, self.together = rows, together
        names = np.array([row.owner for row in rows]) if together else np.arange(len(rows))
        self.starts = np.flatnonzero(np.diff(names, prepend=-1))
        self.stops = np.append(self.starts[1:], len(rows))

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, numbers: Indices, progress: float = 1.0) -> list[EncodedRow]:
        return [
            dataclasses.replace(self.encoded_rows[place], example=place, epoch=epoch)
            for number, epoch in numbers
            for place in range(int(self.starts[number]), int(self.stops[number]))
        ]

    @property
    def mean_tokens(self) -> float:
        return sum(len(row) for row in self.encoded_rows) / len(self)


SequenceSource = CorpusSequences | RowSequences


def _split_point(flags: npt.NDArray[np.uint8]) -> int:
    """Where to cut a chunk in two: the sentence start nearest to the middle, or else the word start."""
    for kind in (SENTENCE_START, WORD_START):
        places = np.flatnonzero(flags[1:] & kind) + 1
        if len(places):
            return int(places[np.abs(places - len(flags) / 2).argmin()])
    return max(1, len(flags) // 2)


def split_documents(documents: int, heldout_share: float, part: str) -> npt.NDArray[np.int64]:
    """The numbers of the documents to train on, or of those held out (at least one of several)."""
    order = np.argsort(hash_integers(HELDOUT, np.arange(documents)), kind="stable")
    kept = 0 if heldout_share == 0 else min(documents - 1, max(1, round(heldout_share * documents)))
    return np.sort(order[:kept] if part == "heldout" else order[kept:])
