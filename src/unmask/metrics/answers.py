"""Exact match and F1 of answers: the best over several references (Rajpurkar et al. 2016, section 6.1), in English and
in Chinese; questions without an answer as in SQuAD 2.0 (Rajpurkar et al. 2018).

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
from typing import Any, Literal

import numpy as np

from unmask.metrics.figures import Floats, check_rows
from unmask.text.chinese import IDEOGRAPHS

Language = Literal["en", "zh"]

ARTICLES = re.compile(r"\b(a|an|the)\b")
OF_ANSWERS = ("answer_f1", "exact_match")  # the columns of `answer_scores`
_ASCII = str.maketrans("", "", string.punctuation)
_CHARACTER = re.compile(f"[{IDEOGRAPHS}]")
_WIDE = "～＋＝＾｀｜＜＞＄"  # full-width forms of ASCII punctuation that Unicode calls symbols


def words_of(answer: str, language: Language) -> list[str]:
    """The words of an answer that are compared."""
    text = answer.lower()
    if language == "en":
        return ARTICLES.sub(" ", text.translate(_ASCII)).split()
    rest = "".join(character for character in text if not _is_punctuation(character))
    return _CHARACTER.sub(lambda match: f" {match[0]} ", rest).split()


def _is_punctuation(character: str) -> bool:
    return character in _WIDE or character in string.punctuation or unicodedata.category(character)[0] == "P"


def answer_score(predicted: str, answers: Sequence[str], language: Language) -> tuple[float, float]:
    """(F1, exact match) of one answer, "" for none, against those that are right ([]: there is none).

    Where one side has no words F1 is 1 if the other has none either, as the scorer of SQuAD 2.0 has it.
    """
    said = words_of(predicted, language)
    right = [words for answer in answers if (words := words_of(answer, language))] or [[]]
    return max(_f1(said, words) for words in right), float(any(said == words for words in right))


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    if not said or not right:
        return float(not said and not right)
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right))


def answer_scores(reference: Sequence[Mapping[str, Any]], predicted: Sequence[str]) -> Floats:
    """(questions, 2): F1 and exact match of each. reference: {"answers": [...], "language": en | zh} of each question.

    Raises ValueError for other numbers of questions and of answers, or none.
    """
    check_rows(reference, predicted)
    pairs = zip(reference, predicted, strict=True)
    return np.array([answer_score(said, right["answers"], right["language"]) for right, said in pairs])


def parts_of(reference: Sequence[Mapping[str, Any]], scores: Floats) -> list[dict[str, Any]]:
    """The mean scores of the questions with and without an answer, where there are both."""
    answered = np.array([bool(row["answers"]) for row in reference])
    if answered.all() or not answered.any():
        return []
    return [
        {"part": name, **dict(zip(OF_ANSWERS, scores[rows].mean(0).tolist(), strict=True)), "rows": int(rows.sum())}
        for name, rows in (("with an answer", answered), ("without an answer", ~answered))
    ]
