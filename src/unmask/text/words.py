"""Counting words over a stream of texts, in bounded memory: what WordPiece training starts from."""

import glob
import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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


class WordCounter:
    """Counts words over a stream of texts.

    `split` normalises a text and cuts it into words; white space must always separate words. It is slow, so
    strings between white space are counted first and only the distinct ones are split. With `ideographs`,
    each Chinese character is a word (as in BERT) and is counted apart, since Chinese text has no spaces.

    When more than `maximum_words` distinct words are known, the rarest are forgotten, all of equal count
    together, until fewer than half remain: lossy counting, Manku and Motwani (VLDB 2002). A word's count is
    then too low by at most `error`, and `forgotten` occurrences are missing in all. While nothing is
    forgotten the counts do not depend on the order of the texts.
    """

    def __init__(
        self,
        split: Callable[[str], Sequence[str]],
        *,
        ideographs: bool = True,
        max_words: int = MAX_WORDS,
        raw_tokens: int = RAW_TOKENS,
    ) -> None:
        self.split = split
        self.ideographs = ideographs
        self.max_words = max_words
        self.raw_tokens = raw_tokens
        self.texts = 0
        self.characters = 0
        self.dropped_occurrences = 0
        self.error = 0
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
        if len(self._raw) > self.raw_tokens or self._raw_characters > RAW_CHARACTERS:
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
                if len(words) > self.max_words:
                    self._forget()

    def _forget(self) -> None:
        counts = np.fromiter(self._words.values(), np.int64, len(self._words))
        keep = self.max_words // 2
        limit = int(np.partition(counts, -keep)[-keep]) if keep else int(counts.max())
        self.error += limit
        self.dropped_occurrences += int(counts[counts <= limit].sum())
        kept = {word: count for word, count in self._words.items() if count > limit}
        self._words.clear()
        self._words.update(kept)


def read_plain(pattern: str | Path) -> Iterator[str]:
    """The lines of plain text files; other formats are read by unmask.data.corpus.documents, above this layer."""
    files = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (an absolute pattern is allowed)
    if not files:
        raise UserError(f"no file matches {pattern}")
    for file in map(Path, files):
        if file.suffixes[-1:] not in (["", ".txt"], [".txt"], []) and file.suffixes[-2:] != [".txt", ".gz"]:
            raise UserError(
                f"{file} is not plain text",
                allowed=".txt, .txt.gz",
                hint="train on the texts that unmask.data.corpus.documents.read gives",
            )
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            try:
                yield from lines
            except UnicodeDecodeError as error:
                raise UserError(f"{file} is not text in UTF-8", given=f"byte {error.start:,} of a block") from None
