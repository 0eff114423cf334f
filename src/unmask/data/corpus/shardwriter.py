"""Writing a corpus folder: documents are tokenised in batches into shards; goes on after a kill."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask import config, files
from unmask.advice import advise, flag, option
from unmask.console import Progress
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shardfiles import (
    ARRAYS,
    COUNTS,
    FORMAT,
    LEXICON,
    MANIFEST,
    PARTIAL,
    TOKENIZER,
    array_file,
    describe_file,
    find_problem,
    is_left_over,
    is_own,
    load,
    save,
)
from unmask.errors import UserError
from unmask.messages import message
from unmask.text.lexicon import Lexicon, Words, describe_words
from unmask.text.tokenizer import Tokenizer

SHARD_TOKENS = 2**24  # a shard is full when it holds so many; 48 MiB as uint16 and flags
BATCH_DOCUMENTS = 1000
BATCH_CHARACTERS = 2**22  # a longer document is tokenised in parts of at most this
TOTALS = ("documents", "tokens", "characters", "bytes")
CONTEXT = 200  # characters around a cut that tell whether a sentence starts there

EncodedDocument = tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]


def write(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    output: Path,
    settings: dict[str, Any],
    progress: Progress,
    restart: bool,
    words: Words | None = None,
) -> None:
    """Make `output` the corpus of `documents`, or finish it where it was begun. See unmask.data.corpus.shards.build."""
    if words is not None:
        settings = {**settings, "words": describe_words(words)}
    settings = json.loads(json.dumps({"tokenizer": tokenizer.sha256, **settings}))
    writer = _Writer(output, tokenizer, settings, progress, restart)
    stream = iter(documents)
    if not writer.resume(stream):
        if isinstance(words, Lexicon):
            words.save(output / LEXICON)
        for document, encoded in _tokenize(stream, tokenizer, words):
            writer.add(document, encoded)
        writer.finish()


class _Shard:
    """The shard that is being filled. `summary` is what the manifest holds of it: documents_read counts also those
    without a token, input is a fingerprint of all of them."""

    def __init__(self) -> None:
        self.tokens: list[npt.NDArray[Any]] = []
        self.flags: list[npt.NDArray[np.uint8]] = []
        self.rows: list[tuple[int, int, int]] = []
        self.summary = dict.fromkeys(("tokens", "documents", "characters", "bytes", "documents_read"), 0)
        self.digest = hashlib.sha256()

    def read(self, document: Document) -> int:
        """Count a document into the fingerprint of the input; returns its size in bytes."""
        data = document.text.encode()
        self.digest.update(f"{document.source}\0{document.number}\0{len(data)}\0".encode())
        self.digest.update(data)
        self.summary["documents_read"] += 1
        return len(data)

    def entry(self) -> dict[str, Any]:
        return {**self.summary, "input": self.digest.hexdigest()}


class _Writer:
    """Fills shards, writes each when it is full, and records it, so that a kill loses one shard at most."""

    def __init__(
        self, output: Path, tokenizer: Tokenizer, settings: dict[str, Any], progress: Progress, restart: bool
    ) -> None:
        self.output, self.tokenizer, self.settings, self.progress = output, tokenizer, settings, progress
        self.dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
        self.sources: dict[str, int] = {}
        self.shards: list[dict[str, Any]] = []
        self.complete: dict[str, Any] | None = None
        self.counts = np.zeros(tokenizer.vocab_size, np.int64)
        self.per_source: list[list[int]] = []  # [documents, tokens] of each source
        self.shard = _Shard()
        if restart:
            _remove_corpus(output)
        self._look()

    def _look(self) -> None:
        """Find what is there already (nothing, a part or a whole corpus) and make the folder ready."""
        found = next((path for name in (MANIFEST, PARTIAL) if (path := self.output / name).exists()), None)
        if found is None:
            _require_empty(self.output)
        else:
            state = files.read_object(found)
            self._require_same(state)
            for shard in state["shards"]:
                if any(find_problem(self.output, entry, check=True) for entry in shard["files"]):
                    break
                self.shards.append(shard)
            undamaged = len(self.shards) == len(state["shards"])
            if found.name == MANIFEST and undamaged:
                undamaged = not any(find_problem(self.output, entry, check=True) for entry in state["files"])
                self.complete = state if undamaged else None
        if self.complete is None:
            self._make_ready()

    def _require_same(self, state: Any) -> None:
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise _other(self.output, "it is in another format", None)
        if state["settings"] != self.settings:
            differences = config.difference(state["settings"], self.settings)
            raise _other(self.output, "it was begun with other settings", "; ".join(differences))

    def _make_ready(self) -> None:
        """Leave in the folder the tokenizer, the record of what is finished, and the finished shards only."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.disk_error(error, self.output) from error
        self.tokenizer.save_pretrained(self.output)
        (self.output / LEXICON).unlink(missing_ok=True)
        self._record()
        (self.output / MANIFEST).unlink(missing_ok=True)
        kept = {entry["name"] for shard in self.shards for entry in shard["files"]}
        for path in self.output.iterdir():
            unlisted = path.name.startswith("shard-") and path.name not in kept
            if is_left_over(path) or (unlisted and is_own(path)):
                files.remove(path)

    def _record(self) -> None:
        state = {"format": FORMAT, "settings": self.settings, "shards": self.shards}
        files.write_json(self.output / PARTIAL, state)

    def resume(self, stream: Iterator[Document]) -> bool:
        """Pass over the documents that are in finished shards; True when the corpus is complete already.

        Raises UserError where they are not the documents that the shards were made of.
        """
        tail = [self.complete["tail"]] if self.complete else []
        for number, shard in enumerate([*self.shards, *tail]):
            again = _Shard()
            for document in islice(stream, shard["documents_read"]):
                self._source(document)
                self.progress.advance(again.read(document))
            if any(again.entry()[key] != shard[key] for key in ("documents_read", "input")):
                first = sum(earlier["documents_read"] for earlier in self.shards[:number])
                among = f"among documents {first + 1:,} to {first + max(1, shard['documents_read']):,} of the input"
                raise _other(self.output, "it was made of other documents", among)
            if "files" in shard:
                self._count(number)
        if self.complete and next(stream, None) is not None:
            raise _other(self.output, "it was made of other documents", "there are more now")
        return self.complete is not None

    def add(self, document: Document, encoded: EncodedDocument) -> None:
        """Raises UserError when the disk is full."""
        shard = self.shard
        size = shard.read(document)
        source = self._source(document)
        ids, flags = encoded
        if len(ids):
            shard.tokens.append(ids.astype(self.dtype))
            shard.flags.append(flags)
            shard.rows.append((len(ids), source, document.number))
            for key, count in zip(TOTALS, (1, len(ids), len(document.text), size), strict=True):
                shard.summary[key] += count
        self.progress.advance(size)
        if shard.summary["tokens"] >= self.settings["shard_tokens"]:
            self._flush()

    def finish(self) -> None:
        """Write the last shard and the manifest. Raises UserError when there is not a single token."""
        if self.shard.rows:
            self._flush()
        tail = self.shard.entry()
        if not self.shards:
            raise UserError(
                "the documents contain no tokens to build a corpus from",
                given=f"{tail['documents_read']:,} documents",
            )
        totals = {key: sum(shard[key] for shard in self.shards) for key in TOTALS}
        documents_read = tail["documents_read"] + sum(shard["documents_read"] for shard in self.shards)
        save(self.output / COUNTS, self.counts)
        others = [path for name in (TOKENIZER, COUNTS, LEXICON) if (path := self.output / name).exists()]
        manifest = {
            "format": FORMAT,
            "kind": "corpus",
            **totals,
            "skipped": documents_read - totals["documents"],
            "vocab_size": self.tokenizer.vocab_size,
            "dtype": self.dtype.name,
            "settings": self.settings,
            "sources": [
                {"name": name, "documents": documents, "tokens": tokens}
                for name, (documents, tokens) in zip(self.sources, self.per_source, strict=True)
            ],
            "files": [describe_file(path) for path in others],
            "shards": self.shards,
            "tail": tail,
        }
        files.write_json(self.output / MANIFEST, manifest)
        (self.output / PARTIAL).unlink(missing_ok=True)

    def _source(self, document: Document) -> int:
        number = self.sources.setdefault(document.source, len(self.sources))
        if number == len(self.per_source):
            self.per_source.append([0, 0])
        return number

    def _flush(self) -> None:
        shard, number = self.shard, len(self.shards)
        arrays = {
            "tokens": np.concatenate(shard.tokens),
            "flags": np.concatenate(shard.flags).astype(np.uint8, copy=False),
            "documents": np.array(shard.rows, np.int64),
        }
        for name, array in arrays.items():
            save(self.output / array_file(number, name), array)
        listed = [describe_file(self.output / array_file(number, name)) for name in ARRAYS]
        self.shards.append(shard.entry() | {"files": listed})
        self._count(number)
        self._record()
        self.shard = _Shard()
        self.progress.show(message("{count:,.0f} tokens", sum(shard["tokens"] for shard in self.shards)))

    def _count(self, number: int) -> None:
        """Add a finished shard to the counts of tokens and sources."""
        documents = load(self.output / array_file(number, "documents"))
        self.counts += np.bincount(load(self.output / array_file(number, "tokens")), minlength=len(self.counts))
        used, places, found = np.unique(documents[:, 1], return_inverse=True, return_counts=True)
        tokens = np.zeros(len(used), np.int64)
        np.add.at(tokens, places, documents[:, 0])
        for source, here, size in zip(used.tolist(), found.tolist(), tokens.tolist(), strict=True):
            self.per_source[source][0] += here
            self.per_source[source][1] += size


def _remove_corpus(output: Path) -> None:
    """Remove an earlier corpus, and nothing else that may be in the folder."""
    if (output / MANIFEST).exists() or (output / PARTIAL).exists():
        for path in output.iterdir():
            if is_own(path):
                files.remove(path)


def _other(output: Path, why: str, difference: str | None) -> UserError:
    return UserError(
        f"{output} contains another corpus: {why}",
        given=difference,
        hint=[
            advise("choose another {option} folder", option("output")),
            advise("{option} removes this one first", flag("restart")),
        ],
    )


def _require_empty(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file", allowed=advise("a new or empty folder for {option}", option("output")))
    others = [path.name for path in output.iterdir() if not is_own(path)] if output.exists() else []
    if others:
        raise UserError(
            f"{output} is not empty and is not a corpus",
            given=", ".join(sorted(others)[:5]),
            allowed=advise("a new or empty folder for {option}", option("output")),
        )


def _tokenize(
    documents: Iterator[Document], tokenizer: Tokenizer, words: Words | None
) -> Iterator[tuple[Document, EncodedDocument]]:
    """Documents with their tokens. One batch is read and one is packed while another is being tokenised."""
    with ThreadPoolExecutor(1) as pool:
        before: list[Document] = []
        result = None
        for batch in _batches(documents):
            following = pool.submit(_encode_batch, batch, tokenizer, words)
            if result is not None:
                yield from zip(before, result.result(), strict=True)
            before, result = batch, following
        if result is not None:
            yield from zip(before, result.result(), strict=True)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        if batch and (len(batch) == BATCH_DOCUMENTS or characters + len(document.text) > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document.text)
    if batch:
        yield batch


def _encode_batch(documents: Sequence[Document], tokenizer: Tokenizer, words: Words | None) -> list[EncodedDocument]:
    if len(documents) == 1 and len(documents[0].text) > BATCH_CHARACTERS:
        return [_encode_long(documents[0].text, tokenizer, words)]
    return tokenizer.encode_texts([document.text for document in documents], words)


def _encode_long(text: str, tokenizer: Tokenizer, words: Words | None) -> EncodedDocument:
    """The same tokens as of the whole text, in the memory that one part and the tokens need."""
    ids, flags, tail = [], [], ""
    for part in _parts(text):
        texts = [part, tail, tail + part[:CONTEXT]]
        (new, new_flags), (before, _), (_, around) = tokenizer.encode_texts(texts, words)
        if len(new) and len(around) > len(before) > 0:
            new_flags[0] = around[len(before)]  # whether a sentence starts depends on what stands before
        ids.append(new)
        flags.append(new_flags)
        tail = part[-CONTEXT:]
    return np.concatenate(ids), np.concatenate(flags)


def _parts(text: str) -> Iterator[str]:
    """A long text in parts of at most BATCH_CHARACTERS, cut where a line, else a word ends if one does: before the
    blank, which in some vocabularies is part of the token that follows."""
    begin = 0
    while len(text) - begin > BATCH_CHARACTERS:
        limit = begin + BATCH_CHARACTERS
        end = text.rfind("\n", begin + 1, limit)
        end = text.rfind(" ", begin + 1, limit) if end < 0 else end
        end = limit if end < 0 else end
        yield text[begin:end]
        begin = end
    yield text[begin:]
