"""A text as tokens: `Encoding`, arrays, several of them as the arguments of an encoder, and counts of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from unmask.errors import UserError
from unmask.text.public.specials import Templates, TokenArrays

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


def assemble(templates: Templates, first: Any, second: Any, max_length: int | None, left: bool) -> Encoding:
    """Make one sequence of the tokens of one or two texts, of which what is too long is cut, from the left or not."""
    frame = templates[0] if second is None else templates[1]
    sizes = [len(first)] if second is None else [len(first), len(second)]
    keep = sizes if max_length is None else _truncated_sizes(sizes, max_length - frame.size, max_length)
    ids, segments = list(frame.runs[0]), list(frame.run_token_type_ids[0])
    offsets, special = [(0, 0)] * len(ids), [True] * len(ids)
    words: list[int | None] = [None] * len(ids)
    begin = 0
    for number, (text, kept) in enumerate(zip((first, second), keep, strict=False)):
        begin, run = len(ids), frame.runs[number + 1]
        part = slice(len(text) - kept, None) if left else slice(kept)
        ids += text.ids[part]
        ids += run
        segments += [frame.text_token_type_ids[number]] * kept
        segments += frame.run_token_type_ids[number + 1]
        offsets += text.offsets[part]
        offsets += [(0, 0)] * len(run)
        words += text.word_ids[part]
        words += [None] * len(run)
        special += [False] * kept
        special += [True] * len(run)
    return Encoding(ids, segments, offsets, words, special, keep != sizes, None if second is None else begin)


def assemble_arrays(
    templates: Templates, first: list[int], second: list[int] | None, max_length: int | None, left: bool
) -> tuple[TokenArrays, bool]:
    """`assemble` of ids alone, as arrays; and whether tokens were left out."""
    frame, texts = (templates[0], [first]) if second is None else (templates[1], [first, second])
    sizes = [len(text) for text in texts]
    keep = sizes if max_length is None else _truncated_sizes(sizes, max_length - frame.size, max_length)
    if keep != sizes:
        texts = [text[len(text) - kept if left else 0 :][:kept] for text, kept in zip(texts, keep, strict=True)]
    return frame.around([np.array(text, dtype=np.int64) for text in texts]), keep != sizes


def _truncated_sizes(sizes: list[int], max_tokens: int, max_length: int) -> list[int]:
    """How many tokens of each text are kept: in a pair, the longer one is cut first."""
    if max_tokens < len(sizes):
        least = max_length - max_tokens + len(sizes)
        raise UserError(f"max_length {max_length} leaves no room for text", allowed=f"{least} or more")
    if len(sizes) == 1:
        return [min(sizes[0], max_tokens)]
    keep = min(sizes[0], max(max_tokens - sizes[1], max_tokens - max_tokens // 2))
    return [keep, min(sizes[1], max_tokens - keep)]


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
