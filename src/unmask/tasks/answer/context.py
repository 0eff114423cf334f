"""Contexts of questions as tokens, and windows of them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import ReferenceAnswer
from unmask.tasks.alignment import align_words
from unmask.tasks.windows import TextTokens, Window
from unmask.text.tokenizer import Encoding


@dataclass(frozen=True)
class Context:
    """A context as tokens; bounds (tokens, 2) int64: the characters that a token at either end of an answer brings."""

    tokens: TextTokens
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds)

    @classmethod
    def of(cls, text: str, encoded: Encoding) -> "Context":
        """Make it from the encoding of a text. The first and the last token of a word take what the tokenizer drops
        beside it (accents, vowel points), a token inside it all up to the next one."""
        bounds = np.array(encoded.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
        words = align_words(text, encoded)
        for (start, stop), first, after in zip(
            words.offsets.tolist(),
            (words.first_tokens[:-1] - 1).tolist(),
            (words.first_tokens[1:] - 1).tolist(),
            strict=True,
        ):
            bounds[first, 0] = start
            bounds[first : after - 1, 1] = np.maximum(bounds[first : after - 1, 1], bounds[first + 1 : after, 0])
            bounds[after - 1, 1] = stop
        return cls(TextTokens.from_encoding(encoded), bounds)

    def tokens_of(self, answer: ReferenceAnswer) -> tuple[int, int]:
        """Return the first and the last token that an answer touches; (-1, -1) where it touches none."""
        touched = np.flatnonzero((self.bounds[:, 1] > answer.start) & (self.bounds[:, 0] < answer.end))
        return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


@dataclass(frozen=True)
class AnswerRow(EncodedRow):
    """A question with a window of its context, whose first token stands at `place`."""

    context: Context = field(kw_only=True)
    window: Window = field(kw_only=True)
    place: int = field(kw_only=True)
