"""Which characters are Chinese: those that BERT's tokenizer makes words of their own."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is needed: reading rows is not
    import numpy as np
    from numpy.typing import NDArray

# CJK ideographs, extensions A to E, and compatibility forms: the ranges of BERT's tokenizer
IDEOGRAPHS = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
RUN = re.compile(f"[{IDEOGRAPHS}]+")

ENOUGH = 2**18  # characters that tell what a text mostly is


def mostly_chinese(texts: Iterable[str]) -> bool:
    """Whether half of the letters in the first 2**18 characters of some texts are Chinese.

    English needs about three times as many letters for the same, so that by content such a text is more
    Chinese than half.
    """
    sample = "".join(islice(chain.from_iterable(texts), ENOUGH))
    return 2 * sum(map(len, RUN.findall(sample))) > sum(map(str.isalpha, sample))


def is_ideograph(codes: "NDArray[np.uint32]") -> "NDArray[np.bool_]":
    """Which code points are Chinese characters."""
    bounds = _bounds()
    at = bounds[:, 0].searchsorted(codes, side="right") - 1
    found: NDArray[np.bool_] = (at >= 0) & (codes <= bounds[at, 1])
    return found


@cache
def _bounds() -> "NDArray[np.int64]":
    """(ranges, 2) the first and the last code point of each range."""
    import numpy as np

    return np.array([[ord(a), ord(b)] for a, b in zip(IDEOGRAPHS[::3], IDEOGRAPHS[2::3], strict=True)])
