"""A text as tokens: `Encoding`, several of them as the arguments of an encoder, and counts of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Padding = bool | Literal["longest", "max_length"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text or pair as tokens, in parallel lists: [CLS] text [SEP] or [CLS] text [SEP] pair [SEP] under BERT."""

    input_ids: list[int]
    token_type_ids: list[int]  # under BERT 0 for the text and its specials, 1 for the pair and the last [SEP]
    # the token's characters in the original text or pair, without a blank before; none of a blank; specials (0, 0)
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]  # the number of the token's word within its own text; None for specials
    special_tokens_mask: list[bool]  # the tokens that encoding added around the texts
    truncated: bool = False  # whether tokens were left out to keep to max_length
    pair_start: int | None = None  # where the tokens of the pair begin; None without a pair


def model_inputs(
    encodings: Sequence[Encoding], pad_token_id: int, padding: Padding, max_length: int | None
) -> dict[str, list[list[int]]]:
    """Collect input_ids, token_type_ids and attention_mask, padded to the longest text or to max_length."""
    columns = {
        "input_ids": [one.input_ids for one in encodings],
        "token_type_ids": [one.token_type_ids for one in encodings],
        "attention_mask": [[1] * len(one.input_ids) for one in encodings],
    }
    size = max((len(one.input_ids) for one in encodings), default=0) if padding else 0
    if padding == "max_length" and max_length is not None:
        size = max_length
    pads = {"input_ids": pad_token_id}
    return {name: [row + [pads.get(name, 0)] * (size - len(row)) for row in rows] for name, rows in columns.items()}


@dataclass(slots=True)
class TokenCounts:
    """How a vocabulary suits some texts. characters: white space included; unknown: tokens that are [UNK]."""

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
        """The share of words that became [UNK]."""
        return self.unknown / self.words if self.words else 0.0
