"""Counting words over a stream of texts, in bounded memory: what WordPiece training starts from."""

import fileinput
import glob
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError

MAX_WORDS = 5_000_000  # distinct words kept while counting: about 600 MB
RAW_TOKENS = 1_000_000  # distinct strings between spaces kept before they are cut into words
RAW_CHARACTERS = 2**27  # characters read before the same, whatever their number
BUFFER_CHARACTERS = 2**20
JOINED_TOKENS = 4096
# What BERT's normaliser removes but str.split would split at, and what is no character at all.
_REMOVED = re.compile("[\x0b\x0c\x1c-\x1f\x85\ud800-\udfff]")
# Chinese characters of Unicode 1.1: each is a word of its own, and its own normal form, in every Unicode.
_IDEOGRAPHS = (0x4E00, 0x9FA5)
_IDEOGRAPH = re.compile(f"[{chr(_IDEOGRAPHS[0])}-{chr(_IDEOGRAPHS[1])}]")


def drop_rarest(counts: dict[Any, int], limit: int) -> int:
    """Drop the rarest of more than `limit` counts, all of equal count together, until fewer than half remain: lossy
    counting, Manku and Motwani (VLDB 2002). Returns how many occurrences were dropped."""
    if len(counts) <= limit:
        return 0
    values = np.fromiter(counts.values(), np.int64, len(counts))
    keep = max(1, limit // 2)
    level = int(np.partition(values, -keep)[-keep])
    for key in [key for key, count in counts.items() if count <= level]:
        del counts[key]
    return int(values[values <= level].sum())


class WordCounter:
    """Counts words over a stream of texts.

    `split` normalises a text and cuts it into words; white space must always separate words. It is slow, so
    strings between white space are counted first and only the distinct ones are split. With `ideographs`,
    each Chinese character is a word (as in BERT) and is counted apart, since Chinese text has no spaces.

    Of more than MAX_WORDS distinct words the rarest are dropped (`drop_rarest`), in all `dropped_occurrences`. While
    nothing is dropped the counts do not depend on the order of the texts.
    """

    def __init__(self, split: Callable[[str], Sequence[str]], *, ideographs: bool = True) -> None:
        self.split = split
        self.ideographs = ideographs
        self.texts = 0
        self.characters = 0
        self.dropped_occurrences = 0
        self._buffer: list[str] = []
        self._buffered = 0
        self._raw: Counter[str] = Counter()
        self._raw_characters = 0
        self._words: dict[str, int] = {}
        self._ideograph_counts = np.zeros(_IDEOGRAPHS[1] - _IDEOGRAPHS[0] + 1, np.int64)

    def add(self, text: str) -> None:
        self.texts += 1
        self.characters += len(text)
        self._buffer.append(text)
        self._buffered += len(text) + 1
        if self._buffered >= BUFFER_CHARACTERS:
            self._absorb()

    def counts(self) -> dict[str, int]:
        """The words so far, each with how often it occurred."""
        self._absorb()
        self._flush()
        words = dict(self._words)
        for place in np.flatnonzero(self._ideograph_counts).tolist():
            word = chr(_IDEOGRAPHS[0] + place)
            words[word] = words.get(word, 0) + int(self._ideograph_counts[place])
        return words

    def _absorb(self) -> None:
        text = "\n".join(self._buffer)
        self._buffer, self._buffered = [], 0
        if _REMOVED.search(text):
            text = _REMOVED.sub("", text)
        if self.ideographs and not text.isascii() and _IDEOGRAPH.search(text):
            codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).copy()
            chosen = (codes >= _IDEOGRAPHS[0]) & (codes <= _IDEOGRAPHS[1])
            self._ideograph_counts += np.bincount(codes[chosen] - _IDEOGRAPHS[0], minlength=len(self._ideograph_counts))
            codes[chosen] = ord(" ")
            text = codes.tobytes().decode("utf-32-le")
        self._raw.update(text.split())
        self._raw_characters += len(text)
        if len(self._raw) > RAW_TOKENS or self._raw_characters > RAW_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        """Cut the raw strings into words; those of equal count together, as their words count alike."""
        groups: defaultdict[int, list[str]] = defaultdict(list)
        for token, count in self._raw.items():
            groups[count].append(token)
        self._raw, self._raw_characters = Counter(), 0
        words = self._words
        for count in sorted(groups, reverse=True):
            tokens = groups.pop(count)
            for start in range(0, len(tokens), JOINED_TOKENS):
                for word in self.split(" ".join(tokens[start : start + JOINED_TOKENS])):
                    words[word] = words.get(word, 0) + count
                self.dropped_occurrences += drop_rarest(words, MAX_WORDS)


def read_plain(pattern: str | Path) -> Iterator[str]:
    """The lines of plain text files; other formats are read by unmask.data.corpus.documents, above this layer."""
    files = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (an absolute pattern is allowed)
    if not files:
        raise UserError(f"no file matches {pattern}")
    if other := next((file for file in files if Path(file).suffix and not file.endswith((".txt", ".txt.gz"))), None):
        raise UserError(f"{other} is not plain text", allowed=".txt, .txt.gz", hint="use unmask.read_documents")
    with fileinput.FileInput(files, encoding="utf-8", openhook=fileinput.hook_compressed) as lines:
        try:
            yield from lines
        except UnicodeDecodeError as error:
            raise UserError(f"{lines.filename()} is not text in UTF-8", given=error) from None
