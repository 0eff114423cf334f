"""Counts of tokens and words: of texts, and of the training of a tokenizer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenizerStatistics:
    """How a vocabulary suits some texts."""

    characters: int  # of the texts as given, white space included
    words: int
    tokens: int
    unknown: int  # words that became [UNK]

    @property
    def characters_per_token(self) -> float:
        return self.characters / self.tokens if self.tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        return self.tokens / self.words if self.words else 0.0

    @property
    def unknown_rate(self) -> float:
        """The share of words that became [UNK]."""
        return self.unknown / self.words if self.words else 0.0


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What was seen while a tokenizer was trained. `statistics` are those of the training text."""

    texts: int
    distinct_words: int
    alphabet: int
    dropped_characters: list[str]
    dropped_words: int
    forgotten_words: int  # occurrences forgotten to keep memory bounded (see words.WordCounter)
    statistics: TokenizerStatistics
