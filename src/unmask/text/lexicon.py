"""Words of Chinese text for whole-word masking: a lexicon learnt from the text itself, or from a file.

`Lexicon.train` needs neither a segmenter nor a word list (word_discovery.py says by which statistics it finds words). A
lexicon cuts a text into the words of the greatest probability: Viterbi's path under a unigram model of the
words' counts, as in Sproat, Shih, Gale and Chang, "A stochastic finite-state word-segmentation algorithm for
Chinese" (Computational Linguistics 1996).
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.console import SILENT, Progress
from unmask.errors import UserError, missing_extra
from unmask.files import read_text, write_text
from unmask.messages import message
from unmask.text.chinese import RUN, is_ideograph
from unmask.text.word_discovery import find_words

Words = Callable[[str], Sequence[str]]  # a text -> its words in order; white space may be left out

# a word of at most 32 characters, how often it occurs, and jieba's tag
_ENTRY = re.compile(r"\s*(\S{1,32})(?:\s+(\d+)(?:\s+\S+)?)?\s*")
_RUNS = re.compile(f"({RUN.pattern})")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words with how often each occurs, the single characters among them; called with a text, it cuts it.

    What is not Chinese in a text comes back uncut, so that the words joined are the text.
    """

    counts: Mapping[str, int]
    origin: str = message("learnt from the text")

    @classmethod
    def train(cls, texts: Iterable[str], *, progress: Progress = SILENT) -> "Lexicon":
        """Learn from texts, the same from the same lines in any order, in bounded memory.

        Of long texts, lines are chosen by their hash until at most word_discovery.MAX_CHARACTERS Chinese characters are
        left. Raises UserError where there is no Chinese character.
        """
        return cls(find_words(texts, progress=progress))

    @classmethod
    def load(cls, path: Path | str) -> "Lexicon":
        """A file of words, one a line, each with its count if it has one (as jieba's dictionaries have it).

        A third field (jieba's tag) is passed over. Raises UserError where it cannot be read, or naming the line that is
        no such entry.
        """
        counts: dict[str, int] = {}
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if entry := _ENTRY.fullmatch(line):
                counts[entry[1]] = counts.get(entry[1], 0) + int(entry[2] or 1)
            elif line.strip():
                raise UserError(
                    f"{path}, line {number:,} is not a word with its count",
                    given=line.strip()[:60],
                    allowed="a word of at most 32 characters, a tab or blank, how often it occurs",
                )
        if not counts:
            raise UserError(f"{path} contains no words")
        return cls(counts, str(path))

    def save(self, path: Path | str) -> None:
        write_text(path, self._content)

    @cached_property
    def _content(self) -> str:
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return "".join(f"{word}\t{count}\n" for word, count in ordered)

    @cached_property
    def sha256(self) -> str:
        """Of the content of the file that `save` writes."""
        return hashlib.sha256(self._content.encode()).hexdigest()

    def __call__(self, text: str) -> list[str]:
        parts = _RUNS.split(text)  # every second one is a run of Chinese characters
        words: list[str] = []
        for number, part in enumerate(parts):
            words += self._path(part) if number % 2 else filter(None, [part])
        return words

    @cached_property
    def _scores(self) -> tuple[dict[str, float], float, int]:
        """Log-probabilities of the words, that of a character that was never seen (half an occurrence), and the
        characters of the longest word."""
        total = math.log(max(1, sum(self.counts.values())))
        scores = {word: math.log(max(count, 1)) - total for word, count in self.counts.items()}
        return scores, -total - math.log(2), max(map(len, self.counts), default=1)

    def _path(self, run: str) -> list[str]:
        """The words of the greatest product of probabilities that spell a run; at a tie, the earlier cut."""
        scores, unseen, longest = self._scores
        size = len(run)
        best = [0.0] + [-math.inf] * size
        begins = [0] * (size + 1)
        for start in range(size):
            base = best[start]
            score = base + scores.get(run[start], unseen)
            if score > best[start + 1]:
                best[start + 1], begins[start + 1] = score, start
            for end in range(start + 2, min(size, start + longest) + 1):
                found = scores.get(run[start:end])
                if found is not None and base + found > best[end]:
                    best[end], begins[end] = base + found, start
        words = []
        end = size
        while end:
            words.append(run[begins[end] : end])
            end = begins[end]
        return words[::-1]


def jieba_segmenter() -> Words:
    """jieba's segmentation with its own dictionary. Raises UserError where it is not installed."""
    try:
        import jieba
    except ImportError:
        raise missing_extra("jieba", "zh", "words by jieba") from None
    import tempfile

    jieba.setLogLevel("WARNING")
    segmenter = jieba.Tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        # else it leaves its prefix dictionary where all users write, and trusts what it finds there
        segmenter.tmp_dir = folder
        segmenter.initialize()

    def cut(text: str) -> list[str]:
        return segmenter.lcut(text)  # type: ignore[no-any-return]

    cut.__qualname__ = f"jieba {jieba.__version__}"
    return cut


def describe_words(words: Words) -> dict[str, object]:
    """What a corpus records of where its words came from."""
    if isinstance(words, Lexicon):
        return {"lexicon": words.sha256, "words": len(words.counts), "origin": words.origin}
    name = getattr(words, "__qualname__", type(words).__qualname__)
    module = getattr(words, "__module__", "")
    return {"function": name if module == __name__ else f"{module}.{name}"}


def continues_word(
    sentences: Sequence[str], words: Words, positions: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which tokens stand for a Chinese character that goes on with the word of the one before it.

    `positions` (tokens,) are the tokens' first characters, each in its sentence; `sizes` (sentences,) how many
    tokens a sentence has. Raises UserError when a word is not in the sentence where it should be.
    """
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    begins = np.cumsum(lengths) - lengths  # of the sentences, were they one text
    goes_on = np.zeros(int(lengths.sum()) + 1, bool)
    for sentence, begin in zip(sentences, begins.tolist(), strict=True):
        end = 0
        for word in words(sentence) if RUN.search(sentence) else ():
            start = sentence.find(word, end)
            if start < 0 or sentence[end:start].strip():
                raise UserError(
                    "the words of a text do not spell it",
                    given=[f"{word!r} after {sentence[max(0, end - 20) : end]!r}", sentence[:80]],
                    allowed="the words of the text in order; only white space may be omitted",
                )
            end = start + len(word)
            goes_on[begin + start + 1 : begin + end] = True
    codes = np.frombuffer("".join(sentences).encode("utf-32-le", "surrogatepass"), np.uint32)
    chinese = np.append(is_ideograph(codes), False)
    goes_on[1:] &= chinese[1:] & chinese[:-1]
    inside: NDArray[np.bool_] = goes_on[positions + np.repeat(begins, sizes)]
    return inside
