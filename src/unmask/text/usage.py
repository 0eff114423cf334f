"""What a tokenizer makes of a text: pieces and words by script, pieces in use, words cut into several, unknown ones."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.console import SILENT, Progress
from unmask.text.tokenizer import Tokenizer

SCRIPTS = ("Latin", "Han", "kana", "Cyrillic", "digits", "punctuation", "other")
MAX_WORDS = 2_000_000  # distinct ones kept of those cut into several, and of unknown ones
BATCH_CHARACTERS = 2**20  # cut at a time, about

_NAMES = {  # how the Unicode names of a script's letters begin
    "LATIN": "Latin",
    "FULLWIDTH LATIN": "Latin",
    "CJK UNIFIED IDEOGRAPH": "Han",
    "CJK COMPATIBILITY IDEOGRAPH": "Han",
    "IDEOGRAPHIC ITERATION MARK": "Han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "HALFWIDTH KATAKANA": "kana",
    "CYRILLIC": "Cyrillic",
}
_CATEGORIES = {"N": "digits", "P": "punctuation", "S": "punctuation"}
_BLANK = len(SCRIPTS)  # the number of white space and controls, which are of no script


def script_of(character: str) -> str | None:
    """Of SCRIPTS; None for white space and controls.

    Numbers of every kind (Unicode's category N) are digits, punctuation and symbols (P, S) are punctuation; letters and
    marks are told by how their Unicode name begins; what is left, such as Hangul and Arabic, is other.
    """
    category = unicodedata.category(character)
    if character.isspace() or category[0] in "CZ":
        return None
    if category[0] in _CATEGORIES:
        return _CATEGORIES[category[0]]
    name = unicodedata.name(character, "")
    return next((script for start, script in _NAMES.items() if name.startswith(start)), "other")


@dataclass
class ScriptCounts:
    """Of one script: characters without white space, words that begin in it, pieces that do, unknown ones of these."""

    characters: int = 0
    words: int = 0
    tokens: int = 0
    unknown: int = 0

    @property
    def characters_per_token(self) -> float:
        return self.characters / self.tokens if self.tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / self.words if self.words else 0.0

    @property
    def unknown_rate(self) -> float:
        """The share of pieces that are unknown."""
        return self.unknown / self.tokens if self.tokens else 0.0


@dataclass
class Usage:
    """What was counted. uses (vocabulary,) int64: how often each piece occurs; cut: words of several pieces, by the
    ids of these; unknown: the characters that an unknown piece stands for; forgotten: occurrences of rare words that
    were left out of `cut` and `unknown` to bound memory.
    """

    tokenizer: Tokenizer
    documents: int = 0
    characters: int = 0  # as given, white space included
    scripts: dict[str, ScriptCounts] = field(default_factory=lambda: {script: ScriptCounts() for script in SCRIPTS})
    split_words: Counter[tuple[int, ...]] = field(default_factory=Counter)
    unknown_characters: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0

    def __post_init__(self) -> None:
        self.token_counts = np.zeros(self.tokenizer.vocab_size, np.int64)
        self._script = np.full(0x110000, -1, np.int8)  # filled in as characters are met

    @property
    def total(self) -> ScriptCounts:
        """All scripts together."""
        names = ("characters", "words", "tokens", "unknown")
        return ScriptCounts(*(sum(getattr(one, name) for one in self.scripts.values()) for name in names))

    def add(self, texts: list[str]) -> None:
        """Count some texts, all together: arrays are made once."""
        encoded = self.tokenizer.encode_batch(texts)
        self.documents += len(texts)
        self.characters += sum(map(len, texts))
        text = "".join(texts)
        begins = np.cumsum([0, *map(len, texts)])[:-1]  # of each text in all of them
        inside = ~np.fromiter(chain.from_iterable(one.special_tokens_mask for one in encoded), bool)
        ids = np.fromiter(chain.from_iterable(one.input_ids for one in encoded), np.int64)[inside]
        owner = np.repeat(np.arange(len(texts)), [len(one.input_ids) for one in encoded])[inside]
        ends = chain.from_iterable(chain.from_iterable(one.offsets for one in encoded))
        places = np.fromiter(ends, np.int64).reshape(-1, 2)[inside] + begins[owner, None]
        numbers = (-1 if word is None else word for one in encoded for word in one.word_ids)
        words = np.fromiter(numbers, np.int64)[inside]
        first = np.ones(len(ids), bool)
        first[1:] = (words[1:] != words[:-1]) | (owner[1:] != owner[:-1])
        self.token_counts += np.bincount(ids, minlength=len(self.token_counts))
        self._count(text, ids, places, first)
        for words_of in (self.split_words, self.unknown_characters):
            self._forget(words_of)

    def _count(self, text: str, ids: NDArray[np.int64], places: NDArray[np.int64], first: NDArray[np.bool_]) -> None:
        """ids (pieces,), places (pieces, 2) in the text, first (pieces,): whether a word begins."""
        script = self._scripts_of(text)
        if not len(ids):
            self._add(script, script[:0], script[:0], script[:0])
            return
        of_piece = script[np.minimum(places[:, 0], len(script) - 1)]
        blank = of_piece == _BLANK  # a piece that takes the blank before it
        of_piece[blank] = script[np.maximum(places[blank, 1] - 1, 0)]
        unknown = np.zeros(len(ids), bool)
        if self.tokenizer.unk_token_id is not None:
            unknown = ids == self.tokenizer.unk_token_id
        self._add(script, of_piece, of_piece[first], of_piece[unknown])
        self.unknown_characters.update(text[start:end] for start, end in places[unknown].tolist())
        begins = np.flatnonzero(first)
        sizes = np.diff(begins, append=len(ids))
        several = (sizes > 1) & ~np.logical_or.reduceat(unknown, begins)
        for begin, size in zip(begins[several].tolist(), sizes[several].tolist(), strict=True):
            self.split_words[tuple(ids[begin : begin + size].tolist())] += 1

    def _add(self, *found: NDArray[np.int8]) -> None:
        """The scripts of characters, of pieces, of first pieces of words, of unknown pieces."""
        counts = [np.bincount(one, minlength=len(SCRIPTS) + 1).tolist() for one in found]
        for number, name in enumerate(SCRIPTS):
            one = self.scripts[name]
            one.characters += counts[0][number]
            one.tokens += counts[1][number]
            one.words += counts[2][number]
            one.unknown += counts[3][number]

    def _scripts_of(self, text: str) -> NDArray[np.int8]:
        """(characters,) the number of each one's script."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        fresh = codes[self._script[codes] < 0]
        for code in set(fresh.tolist()):
            name = script_of(chr(code))
            self._script[code] = _BLANK if name is None else SCRIPTS.index(name)
        return self._script[codes]

    def _forget(self, words: Counter[Any]) -> None:
        """Leave the rarest out where there are too many (lossy counting: Manku and Motwani, VLDB 2002)."""
        while len(words) > MAX_WORDS:
            least = min(words.values())
            rare = [word for word, count in words.items() if count == least]
            self.forgotten += least * len(rare)
            for word in rare:
                del words[word]


def count_usage(tokenizer: Tokenizer, texts: Iterable[str], progress: Progress = SILENT) -> Usage:
    """Go over texts once, in bounded memory; progress in characters."""
    found = Usage(tokenizer)
    progress.start(None, "characters")
    batch: list[str] = []
    held = 0
    for text in chain(texts, [None]):
        if text is not None:
            batch.append(text)
            held += len(text)
        if batch and (text is None or held >= BATCH_CHARACTERS):
            found.add(batch)
            progress.advance(held)
            batch, held = [], 0
    return found
