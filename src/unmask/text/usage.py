"""Token counts of texts: tokens and words by script, tokens in use, words cut into several, unknown characters."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from unmask.console import SILENT, Progress
from unmask.text.encoding import TokenCounts
from unmask.text.tokenizer import Tokenizer
from unmask.text.words import drop_rarest

SCRIPTS = ("Latin", "Han", "kana", "Cyrillic", "digits", "punctuation", "other")
MAX_WORDS = 2_000_000  # distinct ones kept of those cut into several, and of unknown ones
BATCH_CHARACTERS = 2**20  # encoded at a time, about
SHOWN = 20  # fragmented words, unused tokens and unknown characters in an audit

_NAMES = {  # how the Unicode names of a script's letters begin
    "Latin": ("LATIN", "FULLWIDTH LATIN"),
    "Han": ("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ITERATION MARK"),
    "kana": ("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA"),
    "Cyrillic": ("CYRILLIC",),
}
_CATEGORIES = {"N": "digits", "P": "punctuation", "S": "punctuation"}


@cache
def script_of(character: str) -> str | None:
    """Of SCRIPTS; None for white space and controls.

    Numbers of every kind (Unicode's category N) are digits, punctuation and symbols (P, S) are punctuation; letters and
    marks go by how their Unicode name begins; what is left, such as Hangul and Arabic, is other.
    """
    category = unicodedata.category(character)
    if character.isspace() or category[0] in "CZ":
        return None
    if category[0] in _CATEGORIES:
        return _CATEGORIES[category[0]]
    name = unicodedata.name(character, "")
    return next((script for script, starts in _NAMES.items() if name.startswith(starts)), "other")


@dataclass
class Usage:
    """Counts of texts as a tokenizer encodes them.

    characters: white space included; scripts: of each the characters, the words that begin in it, the tokens that do,
    and the unknown ones of these; token_ids: those in use; split_words: words of several tokens, by the ids of these;
    unknown_characters: the text of unknown tokens; forgotten: occurrences of rare words that were dropped from the
    latter two to bound memory.
    """

    tokenizer: Tokenizer
    documents: int = 0
    characters: int = 0
    scripts: dict[str, TokenCounts] = field(default_factory=lambda: {script: TokenCounts() for script in SCRIPTS})
    token_ids: set[int] = field(default_factory=set)
    split_words: Counter[tuple[int, ...]] = field(default_factory=Counter)
    unknown_characters: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0

    @property
    def total(self) -> TokenCounts:
        """All scripts together, and the white space that belongs to none."""
        scripts, names = self.scripts.values(), ("words", "tokens", "unknown")
        return TokenCounts(self.characters, *(sum(getattr(one, name) for one in scripts) for name in names))

    def add(self, texts: list[str]) -> None:
        """Count some texts."""
        self.documents += len(texts)
        for character, count in Counter("".join(texts)).items():
            self.characters += count
            if script := script_of(character):
                self.scripts[script].characters += count
        for text, one in zip(texts, self.tokenizer.encode_batch(texts), strict=True):
            tokens = zip(one.word_ids, one.input_ids, one.offsets, strict=True)
            for word, group in groupby(tokens, key=itemgetter(0)):
                if word is not None:
                    self._add_word(text, [(number, *offsets) for _, number, offsets in group])
        for words in (self.split_words, self.unknown_characters):
            self.forgotten += drop_rarest(words, MAX_WORDS)

    def _add_word(self, text: str, tokens: list[tuple[int, int, int]]) -> None:
        """tokens: the id of each, and where it begins and ends in the text."""
        unknown_id = self.tokenizer.unk_token_id
        ids = tuple(number for number, _, _ in tokens)
        self.token_ids.update(ids)
        for place, (number, start, end) in enumerate(tokens):
            # a token that takes a control before it, or a blank at the end of the text, counts as what it ends with
            script = script_of(text[start]) if start < len(text) else None
            if script := script or script_of(text[max(end - 1, 0)]):
                counts = self.scripts[script]
                counts.tokens += 1
                counts.words += place == 0
                counts.unknown += number == unknown_id
            if number == unknown_id:
                self.unknown_characters[text[start:end]] += 1
        if len(ids) > 1 and unknown_id not in ids:
            self.split_words[ids] += 1


def count_usage(tokenizer: Tokenizer, texts: Iterable[str], progress: Progress = SILENT) -> Usage:
    """Count texts in one pass and bounded memory; progress in characters."""
    usage = Usage(tokenizer)
    progress.start(None, "characters")
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            usage.add(batch)
            progress.advance(size)
            batch, size = [], 0
    usage.add(batch)
    progress.advance(size)
    return usage


def audit(usage: Usage) -> dict[str, Any]:
    """Characters per token, tokens per word and unknown tokens, in all and by script; unused tokens; the words that
    would save the most tokens if they were one, and the most frequent unknown characters.
    """
    tokenizer = usage.tokenizer
    ordinary = tokenizer.text_token_ids.tolist()
    unused = [number for number in ordinary if number not in usage.token_ids]
    fragmented = sorted(usage.split_words.items(), key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))
    distinct = sorted(set("".join(usage.unknown_characters)))
    encoded = zip(distinct, tokenizer.encode_batch(distinct), strict=True)
    alone = {character for character, one in encoded if tokenizer.unk_token_id in one.input_ids}
    characters, otherwise = Counter[str](), 0  # the latter: words too long, or of characters that stand only elsewhere
    for text, count in usage.unknown_characters.items():
        otherwise += count * alone.isdisjoint(text)
        for character in text:
            characters[character] += count * (character in alone)
    return {
        "documents": usage.documents,
        **_figures(usage.total),
        "scripts": {script: _figures(counts) for script, counts in usage.scripts.items() if counts.characters},
        "unused": {
            "count": len(unused),
            "share": len(unused) / max(1, len(ordinary)),
            "examples": [tokenizer.display_token(number) for number in unused[:SHOWN]],
        },
        "fragmented": [
            {
                "word": "".join(map(tokenizer.token_text, ids)).strip(),
                "tokens": [tokenizer.display_token(number) for number in ids],
                "count": count,
            }
            for ids, count in fragmented[:SHOWN]
        ],
        "unknown_characters": [
            {"character": character, "count": count}
            for character, count in sorted((+characters).items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        ],
        "unknown_otherwise": otherwise,
        "forgotten": usage.forgotten,
    }


def _figures(counts: TokenCounts) -> dict[str, Any]:
    return {
        **asdict(counts),
        "characters_per_token": counts.characters_per_token,
        "tokens_per_word": counts.tokens_per_word,
        "unknown_rate": counts.unknown / max(1, counts.tokens),
    }
