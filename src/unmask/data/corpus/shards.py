"""A corpus as token ids on disk: memory-mapped shards with a checksummed manifest (layout: shardfiles.py)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from unmask import files
from unmask.console import SILENT, Progress
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shardfiles import (
    ARRAYS,
    COUNTS,
    MANIFEST,
    SENTENCE_START,
    WORD_START,
    array_file,
    files_of,
    find_problem,
    load,
    read_manifest,
)
from unmask.data.corpus.shardwriter import SHARD_TOKENS, write
from unmask.text.lexicon import Words
from unmask.text.tokenizer import Tokenizer

__all__ = ["SENTENCE_START", "WORD_START", "Shards", "build"]

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


class _Arrays(NamedTuple):
    """One shard, mapped into memory."""

    tokens: npt.NDArray[Any]  # (tokens,)
    flags: Flags  # (tokens,)
    documents: npt.NDArray[np.int64]  # (documents, 3)
    ends: npt.NDArray[np.int64]  # (documents + 1,) where each document begins, then where the last ends


class Shards:
    """A built corpus, read through memory maps: cheap to open, safe to read from several threads."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.documents: int = manifest["documents"]
        self.tokens: int = manifest["tokens"]
        self.vocab_size: int = manifest["vocab_size"]
        self.sources: list[str] = [source["name"] for source in manifest["sources"]]
        self._starts = np.cumsum([0, *(shard["documents"] for shard in manifest["shards"])])
        self._opened: dict[int, _Arrays] = {}

    @classmethod
    def open(cls, folder: Path | str, check: bool = False) -> Self:
        """Open a corpus folder after looking at its manifest and the size of each file.

        `check` also verifies the checksum of every file, which reads them all. Raises UserError for a folder
        that is no finished corpus, and for a file that is absent, cut short or (with `check`) damaged.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        for entry in files_of(manifest):
            wrong = find_problem(folder, entry, check)
            if wrong is not None:
                raise wrong
        return cls(folder, manifest)

    def __repr__(self) -> str:
        return (
            f"Shards({str(self.folder)!r}: {self.documents:,} documents, {self.tokens:,} tokens, "
            f"{self.vocab_size:,} pieces, {len(self.sources):,} sources)"
        )

    def __len__(self) -> int:
        return self.documents

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_pretrained(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Of the manifest, and thereby of everything that it lists."""
        return files.sha256(self.folder / MANIFEST)

    @cached_property
    def token_counts(self) -> Ids:
        """How often each token occurs. (vocabulary,) int64"""
        return load(self.folder / COUNTS)

    @cached_property
    def document_lengths(self) -> Ids:
        """Tokens in each document. (documents,) int64"""
        return np.concatenate([self._shard(number).documents[:, 0] for number in range(len(self._starts) - 1)])

    def unigram_entropy(self) -> float:
        """-sum p ln p over the vocabulary, in nats per token: the loss of always guessing by frequency."""
        share = self.token_counts[self.token_counts > 0] / self.tokens
        return float(-(share * np.log(share)).sum())

    def read(self, document: int, start: int, stop: int) -> tuple[Ids, Flags]:
        """Tokens start to stop of a document: ids int64 and flags uint8, both (stop - start,).

        Raises IndexError for a document or places that are not there.
        """
        if not 0 <= document < self.documents:
            raise IndexError(f"there are {self.documents} documents; {document} is outside")
        number = int(np.searchsorted(self._starts, document, side="right")) - 1
        shard, row = self._shard(number), document - int(self._starts[number])
        begin, end = int(shard.ends[row]), int(shard.ends[row + 1])
        if not 0 <= start <= stop <= end - begin:
            raise IndexError(f"document {document} has {end - begin} tokens; {start} to {stop} is outside")
        part = slice(begin + start, begin + stop)
        return shard.tokens[part].astype(np.int64), shard.flags[part].copy()

    def read_many(self, documents: Ids, starts: Ids, stops: Ids) -> tuple[Ids, Flags]:
        """Tokens start to stop of each document, one after another: as `slice`, but all in a few operations.

        Raises IndexError for documents or places that are not there.
        """
        sizes = stops - starts
        lengths = self.document_lengths[documents]
        if ((documents < 0) | (starts < 0) | (sizes < 0) | (stops > lengths)).any():
            raise IndexError("some of these documents or places are outside of the corpus")
        ids, flags = np.empty(sizes.sum(), dtype=np.int64), np.empty(sizes.sum(), dtype=np.uint8)
        target = sizes.cumsum() - sizes
        numbers = np.searchsorted(self._starts, documents, side="right") - 1
        for number in np.unique(numbers):
            shard, mine = self._shard(int(number)), numbers == number
            begin = shard.ends[documents[mine] - self._starts[number]] + starts[mine]
            source, places = ranges(begin, sizes[mine]), ranges(target[mine], sizes[mine])
            ids[places], flags[places] = shard.tokens[source], shard.flags[source]
        return ids, flags

    def statistics(self, tokens: int = 20) -> dict[str, Any]:
        """What `unmask corpus stats` shows: totals, length quartiles, sources, entropy, frequent tokens."""
        unknown_id = self.tokenizer.unk_token_id
        unknown = 0 if unknown_id is None else int(self.token_counts[unknown_id])
        frequent = np.argsort(-self.token_counts, kind="stable")[:tokens]
        quartiles = np.quantile(self.document_lengths, [0, 0.25, 0.5, 0.75, 1])
        return {
            **{key: self.manifest[key] for key in ("documents", "tokens", "characters", "bytes", "skipped")},
            "vocab_size": self.vocab_size,
            "tokens_per_document": dict(zip(("p0", "p25", "p50", "p75", "p100"), quartiles.tolist(), strict=True)),
            "characters_per_token": self.manifest["characters"] / self.tokens,
            "unigram_entropy": self.unigram_entropy(),
            "uniform_entropy": float(np.log(self.vocab_size)),
            "unknown_rate": unknown / self.tokens,
            "frequent": [
                {"token": self.tokenizer.id_to_token(int(token)), "count": int(self.token_counts[token])}
                for token in frequent
                if self.token_counts[token]
            ],
            "sources": self.manifest["sources"],
            "sha256": self.sha256,
        }

    def _shard(self, number: int) -> _Arrays:
        if number not in self._opened:
            tokens, flags, documents = (load(self.folder / array_file(number, name), map=True) for name in ARRAYS)
            ends = np.concatenate([[0], np.cumsum(documents[:, 0])])
            self._opened[number] = _Arrays(tokens, flags, documents, ends)
        return self._opened[number]


def ranges(starts: Ids, sizes: Ids) -> Ids:
    """start, start + 1, ... of each, `size` numbers long, one after another."""
    first = sizes.cumsum() - sizes
    return np.arange(sizes.sum()) + np.repeat(starts - first, sizes)


def build(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    output: Path | str,
    *,
    shard_tokens: int = SHARD_TOKENS,
    progress: Progress = SILENT,
    total_bytes: float | None = None,
    provenance: Mapping[str, Any] | None = None,
    restart: bool = False,
    words: Words | None = None,
) -> Shards:
    """Tokenise documents into the corpus folder `output`, in memory bounded by a shard and the longest document.

    Started again after any interruption with the same documents, it checks that they are the same, goes on
    after the last finished shard, and ends with the same bytes; a finished corpus is returned as it is.
    `provenance` (JSON values, the same in every run) is kept in the manifest; `total_bytes` of text is for
    the progress; `restart` removes an earlier corpus in `output` first. Documents without tokens are left out.
    `words` (a Lexicon, jieba_words() or any function from a text to its words) tells which Chinese characters
    are one word, for whole-word masks; without it each is a word. The manifest says which it was.

    Raises UserError where `output` holds something else, or a corpus of other documents, another tokenizer or
    other settings; where no document yields a token; and for a full disk (finished shards stay).
    """
    settings = {"shard_tokens": shard_tokens, "provenance": dict(provenance or {})}
    progress.start(total_bytes, "bytes")
    write(documents, tokenizer, Path(output), settings, progress, restart, words)
    return Shards.open(output)
