"""Scores of answers: the official scorers' definitions written out a second time, and cases worked out by hand."""

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.metrics.answers import Language, answer_score, answer_scores, parts_of, words_of

TEXTS = st.text(alphabet="aAtThe n.,'-x19é中文，。《a ", max_size=14)


# SQuAD's definitions (Rajpurkar et al. 2016, 2018), as its scorers apply them one after another


def squad_tokens(text: str) -> list[str]:
    lower = text.lower()
    without = "".join(character for character in lower if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", without, flags=re.UNICODE).split()).split()


def squad_f1(gold: str, said: str) -> float:
    g, s = squad_tokens(gold), squad_tokens(said)
    same = sum((collections.Counter(g) & collections.Counter(s)).values())
    if len(g) == 0 or len(s) == 0:
        return int(g == s)
    if same == 0:
        return 0
    precision, recall = same / len(s), same / len(g)
    return 2 * precision * recall / (precision + recall)


def squad_scores(golds: list[str], said: str) -> tuple[float, float]:
    golds = [gold for gold in golds if squad_tokens(gold)] or [""]
    exact = max(int(squad_tokens(gold) == squad_tokens(said)) for gold in golds)
    return max(squad_f1(gold, said) for gold in golds), exact


@given(st.lists(TEXTS, max_size=4), TEXTS)
def test_english_scores_are_those_of_squad(golds: list[str], said: str) -> None:
    assert answer_score(said, golds, "en") == pytest.approx(squad_scores(golds, said))


# the mixed segmentation of Chinese


def mixed(text: str) -> list[str]:
    """Character by character: punctuation goes, a Chinese character ends what was gathered and stands alone."""
    found, gathered = [], ""
    for character in text.lower():
        if character in string.punctuation or character in "，。《":
            continue
        if "\u4e00" <= character <= "\u9fff":
            found += [*gathered.split(), character]
            gathered = ""
        else:
            gathered += character
    return found + gathered.split()


@given(TEXTS)
def test_chinese_words_are_those_of_mixed_segmentation(text: str) -> None:
    assert words_of(text, "zh") == mixed(text)


@given(st.lists(TEXTS, max_size=3), TEXTS, st.sampled_from(["en", "zh"]))
def test_what_any_scores_keep_to(golds: list[str], said: str, language: Language) -> None:
    f1, exact = answer_score(said, golds, language)
    assert 0 <= exact <= f1 <= 1, "an exact match has F1 1"
    assert answer_score(said, golds[::-1], language) == (f1, exact), "the order of references does not matter"
    assert answer_score(said, [*golds, said], language)[1] == 1 or not words_of(said, language)
    for gold in golds:
        if words_of(gold, language):
            assert answer_score(said, [gold], language)[0] <= f1, "the best of several references counts"


@pytest.mark.parametrize(
    ("said", "golds", "language", "f1", "exact"),
    [
        ("The Taiping Rebellion.", ["Taiping rebellion"], "en", 1, 1),
        ("in 1981", ["1981"], "en", 2 / 3, 0),
        ("Anwar Sadat", ["Sadat", "Anwar el-Sadat"], "en", 2 / 3, 0),
        ("apostate leaders", ['"apostate"', "apostate leaders"], "en", 1, 1),
        ("", [], "en", 1, 1),
        ("", ["Nanjing"], "en", 0, 0),
        ("Nanjing", [], "en", 0, 0),
        ("anything", ["the"], "en", 0, 0),
        ("《八篇书》", ["八篇书"], "zh", 1, 1),
        ("波你尼的八篇书", ["八篇书"], "zh", 2 * 3 / 10, 0),
        ("1786年2月2日", ["1786年"], "zh", 2 * 2 / 8, 0),
        ("Windows 10，系统", ["windows 10系统"], "zh", 1, 1),
        ("威廉·琼斯", ["威廉琼斯"], "zh", 1, 1),
        ("价格～３０", ["价格３０"], "zh", 1, 1),
        ("", [], "zh", 1, 1),
    ],
)
def test_cases_worked_out_by_hand(said: str, golds: list[str], language: Language, f1: float, exact: float) -> None:
    assert answer_score(said, golds, language) == pytest.approx((f1, exact))


def test_parts_are_means_of_questions_of_one_kind() -> None:
    reference = [
        {"answers": ["a river"], "language": "en"},
        {"answers": ["stone bridge"], "language": "en"},
        {"answers": [], "language": "en"},
        {"answers": ["梵语"], "language": "zh"},
    ]
    scores = answer_scores(reference, ["river", "stone", "", "汉语"])
    assert scores.tolist() == pytest.approx(np.array([[1, 1], [2 / 3, 0], [1, 1], [0.5, 0]]))
    parts = {part["part"]: part for part in parts_of(reference, scores)}
    assert list(parts) == ["with an answer", "without an answer"]
    assert parts["with an answer"]["answer_f1"] == pytest.approx((1 + 2 / 3 + 0.5) / 3)
    assert parts["without an answer"]["exact_match"] == 1 and parts["without an answer"]["rows"] == 1
    assert parts_of(reference[:2], scores[:2]) == []
    with pytest.raises(ValueError):
        answer_scores(reference, ["river"])
