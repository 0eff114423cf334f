"""How answers are scored: exact match and F1 of words, the best over several references (Rajpurkar et al. 2016,
section 6.1), in English and in Chinese; questions without an answer as in SQuAD 2.0 (Rajpurkar et al. 2018).

English: lower case, ASCII punctuation and the articles a, an, the taken out, words between white space. Chinese:
lower case, all punctuation taken out, each Chinese character a word, other runs between white space words (the
mixed segmentation of CMRC 2018, Cui et al. 2019, section 4.1). F1 counts words in common wherever they stand, as
SQuAD and DRCD do; CMRC's own script counts the longest common run of them, which never gives more.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unmask import metrics
from unmask.data.rows.tables import Example
from unmask.metrics import Interval
from unmask.tasks.task import ScoreTable
from unmask.text.chinese import IDEOGRAPHS, mostly_chinese

Language = Literal["en", "zh"]
Floats = npt.NDArray[np.float64]

ARTICLES = re.compile(r"\b(a|an|the)\b")
FIGURES = ("answer_f1", "exact_match")  # the columns of `scores`
_ASCII = str.maketrans("", "", string.punctuation)
_CHARACTER = re.compile(f"[{IDEOGRAPHS}]")


def detect_language(example: Example) -> Language:
    """By what most letters of question and context are."""
    return "zh" if mostly_chinese([example.text, example.pair or ""]) else "en"


def answer_words(answer: str, language: Language) -> list[str]:
    """What of an answer is compared."""
    text = answer.lower()
    if language == "en":
        return ARTICLES.sub(" ", text.translate(_ASCII)).split()
    kept = "".join(character for character in text if not _is_punctuation(character))
    return _CHARACTER.sub(lambda found: f" {found[0]} ", kept).split()


def _is_punctuation(character: str) -> bool:
    wide = character in "～＋＝＾｀｜＜＞＄"  # full-width forms of ASCII punctuation that Unicode calls symbols
    return wide or character in string.punctuation or unicodedata.category(character).startswith("P")


def score(said: str, answers: Sequence[str], language: Language) -> tuple[float, float]:
    """(F1, exact match) of one answer, "" for none, against those that are right ([]: there is none).

    Where one side has no words F1 is 1 if the other has none either, as the scorer of SQuAD 2.0 has it.
    """
    given = answer_words(said, language)
    wanted = [words for answer in answers if (words := answer_words(answer, language))] or [[]]
    return max(_f1(given, words) for words in wanted), float(any(given == words for words in wanted))


def _f1(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(not given and not wanted)
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted))


def reference(example: Example, language: Language | None = None) -> dict[str, Any]:
    """What is right, and in which language it is scored, as it is kept beside predictions."""
    answers = list(dict.fromkeys(answer.text for answer in example.answers or ()))
    return {"answers": answers, "language": language or detect_language(example)}


def scores(references: Sequence[Mapping[str, Any]], said: Sequence[str]) -> Floats:
    """(questions, 2): F1 and exact match of each. references: as `reference` gives them."""
    return np.array(
        [score(one, right["answers"], right["language"]) for right, one in zip(references, said, strict=True)]
    ).reshape(-1, 2)


@dataclass(frozen=True)
class AnswerEvaluation:
    """F1 and exact match over questions with 95 % bootstrap intervals over them; and of parts of the questions:
    of those with and without an answer, and of each language, where there are both."""

    rows: int
    figures: Mapping[str, Interval]
    parts: list[dict[str, Any]]

    def __repr__(self) -> str:
        return f"AnswerEvaluation({self.rows:,} questions, F1 {self.f1}, exact match {self.exact})"

    @property
    def f1(self) -> Interval:
        return self.figures["answer_f1"]

    @property
    def exact(self) -> Interval:
        return self.figures["exact_match"]

    def tables(self) -> list[ScoreTable]:
        rows: list[tuple[object, ...]] = [
            (row["part"], f"{100 * row['answer_f1']:.1f}", f"{100 * row['exact_match']:.1f}", row["n"])
            for row in self.parts
        ]
        return [ScoreTable(("questions of which", "F1", "exact match", "questions"), rows)] if rows else []

    def to_dict(self) -> dict[str, Any]:
        figures = {name: asdict(interval) for name, interval in self.figures.items()}
        return {"rows": self.rows, "metric": FIGURES[0], **figures, "parts": self.parts}


def evaluation(references: Sequence[Mapping[str, Any]], said: Sequence[str], seed: int = 0) -> AnswerEvaluation:
    """The figures of answers (questions,), "" for none."""
    found = scores(references, said)
    figures = {name: metrics.bootstrap_mean(found[:, column], seed=seed) for column, name in enumerate(FIGURES)}
    return AnswerEvaluation(len(found), figures, parts_of(references, found))


def parts_of(references: Sequence[Mapping[str, Any]], found: Floats) -> list[dict[str, Any]]:
    """The mean scores of the parts of the questions, where they are of several kinds."""
    kinds: list[dict[str, list[bool]]] = [
        {
            "with an answer": [bool(row["answers"]) for row in references],
            "without an answer": [not row["answers"] for row in references],
        },
        {
            "English": [row["language"] == "en" for row in references],
            "Chinese": [row["language"] == "zh" for row in references],
        },
    ]
    parts = []
    for kind in kinds:
        if all(any(chosen) for chosen in kind.values()):
            for name, chosen in kind.items():
                means = dict(zip(FIGURES, found[chosen].mean(0).tolist(), strict=True))
                parts.append({"part": name, **means, "n": sum(chosen)})
    return parts
