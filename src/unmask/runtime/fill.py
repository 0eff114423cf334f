"""Filling in masked tokens of a text."""

from dataclasses import dataclass

import numpy as np

from unmask.data.encoded import EncodedRow
from unmask.errors import UserError
from unmask.messages import message
from unmask.runtime.backend import Backend, arrays_of
from unmask.tasks.task import log_softmax, top_places
from unmask.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class FilledMask:
    """A candidate for one [MASK]: the token, its probability, and the text with it filled in."""

    token: str
    score: float
    text: str


def fill(backend: Backend, tokenizer: Tokenizer, longest: int, text: str, top_k: int) -> list[list[FilledMask]]:
    """Find the most probable tokens for each mask of the text; special ones are never proposed.

    Raises UserError for a text without a mask, or of more than `longest` tokens.
    """
    mask, ordinary = tokenizer.mask_token, tokenizer.text_token_ids
    encoded = tokenizer.encode(text, add_special_tokens=True)
    places = [place for place, number in enumerate(encoded.input_ids) if number == tokenizer.mask_token_id]
    if not places:
        hint = message("write {mask} at each word to predict", mask)
        raise UserError("the text contains no {mask}", mask, given=text, hint=hint)
    if len(encoded.input_ids) > longest:
        raise UserError(
            "the text is longer than the positions of the model",
            given=f"{len(encoded.input_ids):,} tokens",
            allowed=f"at most {longest:,}",
            hint=f"shorten the text around its {mask}",
        )
    ids, types = np.array(encoded.input_ids), np.array(encoded.token_type_ids)
    row = EncodedRow(ids, types, np.zeros(len(ids), dtype=np.uint8), 0, positions=np.array(places))
    logits = backend.run(arrays_of([row]))["logits"]
    result = []
    for place, scores in zip(places, np.exp(log_softmax(logits[:, ordinary])), strict=True):
        best = top_places(scores, top_k)[:top_k]
        offsets = encoded.offsets[place]
        result.append([_filled(tokenizer, text, offsets, int(ordinary[n]), float(scores[n])) for n in best])
    return result


def _filled(tokenizer: Tokenizer, text: str, offsets: tuple[int, int], number: int, score: float) -> FilledMask:
    start, stop = offsets
    before, word = text[:start], tokenizer.token_text(number)
    if word[:1] == " " and (not before or before[-1:].isspace()):
        word = word[1:]  # the blank is there already
    elif word[:1].isspace() or not tokenizer.word_start[number]:
        before = before.rstrip()
    return FilledMask(tokenizer.display_token(number), score, before + word + text[stop:])
