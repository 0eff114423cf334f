"""Words of Chinese text for whole-word masking: a lexicon learnt from the text itself, or from a file.

`learn` needs neither a segmenter nor a word list (autonomy.py says by which statistics it finds words). A
lexicon cuts a text into the words of the greatest probability: Viterbi's path under a unigram model of the
words' counts, as in Sproat, Shih, Gale and Chang, "A stochastic finite-state word-segmentation algorithm for
Chinese" (Computational Linguistics 1996).
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.console import SILENT, Progress
from unmask.errors import UserError, missing_extra
from unmask.files import write_text
from unmask.text.autonomy import MAX_CHARACTERS, find_words
from unmask.text.chinese import RUN, is_ideograph

Words = Callable[[str], Sequence[str]]  # a text -> its words in order; white space may be left out

MAX_WORD_LENGTH = 32  # characters of a word in a file


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words with how often each occurs, the single characters among them; called with a text, it cuts it.

    What is not Chinese in a text comes back uncut, so that the words joined are the text.
    """

    counts: Mapping[str, int]
    origin: str = field(default="learnt from the text")

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        progress: Progress = SILENT,
        characters: int = MAX_CHARACTERS,
    ) -> "Lexicon":
        """Learn from texts, the same from the same lines in any order, in memory bounded by `characters`.

        Of longer texts, lines are chosen by their hash until at most so many Chinese characters are left.
        Raises UserError where there is no Chinese character.
        """
        return cls(find_words(texts, progress=progress, characters=characters))

    @classmethod
    def load(cls, path: Path | str) -> "Lexicon":
        """A file of words, one a line, each with its count if it has one (as jieba's dictionaries have it).

        A third field (jieba's tag) is passed over. Raises UserError naming the line that is no such entry.
        """
        path = Path(path)
        try:
            lines = path.read_bytes().decode("utf-8-sig").splitlines()
        except OSError as error:
            raise UserError(f"{path} cannot be read", given=error.strerror) from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a list of words in UTF-8", given=f"byte {error.start:,}") from None
        counts: dict[str, int] = {}
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields:
                continue
            count = fields[1] if len(fields) > 1 else "1"
            if len(fields) > 3 or not count.isdecimal() or len(fields[0]) > MAX_WORD_LENGTH:
                raise UserError(
                    f"{path}, line {number:,} is not a word with its count",
                    given=line.strip()[:60],
                    allowed=f"a word of at most {MAX_WORD_LENGTH} characters, a tab or blank, how often it occurs",
                )
            counts[fields[0]] = counts.get(fields[0], 0) + int(count)
        if not counts:
            raise UserError(f"{path} holds no words")
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

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"Lexicon({len(self):,} words, {self.origin}, sha256 {self.sha256[:12]})"

    @property
    def longer(self) -> int:
        """How many of the words have two characters or more."""
        return sum(len(word) > 1 for word in self.counts)

    @cached_property
    def _scores(self) -> dict[str, float]:
        """Log-probabilities; a character that was never seen counts as half an occurrence (see `_path`)."""
        total = math.log(max(1, sum(self.counts.values())))
        return {word: math.log(max(count, 1)) - total for word, count in self.counts.items()}

    @cached_property
    def _unseen(self) -> float:
        return -math.log(max(1, sum(self.counts.values()))) - math.log(2)

    @cached_property
    def _longest(self) -> int:
        return max((len(word) for word in self.counts), default=1)

    def __call__(self, text: str) -> list[str]:
        words: list[str] = []
        end = 0
        for match in RUN.finditer(text):
            if match.start() > end:
                words.append(text[end : match.start()])
            words += self._path(match[0])
            end = match.end()
        if end < len(text):
            words.append(text[end:])
        return words

    def _path(self, run: str) -> list[str]:
        """The words of the greatest product of probabilities that spell a run; at a tie, the earlier cut."""
        size, longest = len(run), self._longest
        scores, unseen = self._scores, self._unseen
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
        words.reverse()
        return words


def jieba_segmenter() -> Words:
    """jieba's segmentation with its own dictionary. Raises UserError where it is not installed."""
    try:
        import jieba
    except ImportError:
        raise missing_extra("jieba", "zh", "words by jieba") from None
    import logging
    import tempfile

    jieba.setLogLevel(logging.WARNING)
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
        return {"lexicon": words.sha256, "words": len(words), "origin": words.origin}
    name = getattr(words, "__qualname__", type(words).__qualname__)
    module = getattr(words, "__module__", "")
    return {"function": name if module == __name__ else f"{module}.{name}"}


def continues_word(
    sentences: Sequence[str], words: Words, positions: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pieces stand for a Chinese character that goes on with the word of the one before it.

    `places` (pieces,) are the pieces' first characters, each in its sentence; `sizes` (sentences,) how many
    pieces a sentence has. Raises UserError when a word is not in the sentence where it should be.
    """
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    begins = np.cumsum(lengths) - lengths  # of the sentences, were they one text
    goes_on = np.zeros(int(lengths.sum()) + 1, bool)
    for sentence, begin in zip(sentences, begins.tolist(), strict=True):
        if not RUN.search(sentence):
            continue
        for start, stop in _bounds(sentence, words(sentence)):
            goes_on[begin + start + 1 : begin + stop] = True
    codes = np.frombuffer("".join(sentences).encode("utf-32-le", "surrogatepass"), np.uint32)
    chinese = np.append(is_ideograph(codes), False)
    goes_on[1:] &= chinese[1:] & chinese[:-1]
    inside: NDArray[np.bool_] = goes_on[positions + np.repeat(begins, sizes)]
    return inside


def _bounds(sentence: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    end = 0
    for word in words:
        start = sentence.find(word, end)
        if start < 0 or (start > end and not sentence[end:start].isspace()):
            raise UserError(
                "the words that were given for a text do not spell it",
                given=[f"{word!r} after {sentence[max(0, end - 20) : end]!r}", sentence[:80]],
                allowed="its words in order; only white space may be left out",
            )
        end = start + len(word)
        yield start, end
