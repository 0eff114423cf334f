"""The lexicon against enumeration: best paths over all cuts, statistics counted one by one."""

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import refused
from unmask.text import chinese, word_discovery
from unmask.text.lexicon import Lexicon, describe_words, jieba_segmenter
from unmask.text.public import layout
from unmask.text.public.layout import SPECIALS
from unmask.text.tokenizer import SENTENCE_START, WORD_START, Tokenizer, TokenizerConfig

LETTERS = "天地人日月水"
WORDS = st.dictionaries(st.text(LETTERS, min_size=1, max_size=4), st.integers(1, 50), min_size=1, max_size=12)


def cuts(run: str) -> list[list[str]]:
    """Every way to cut a run."""
    found = []
    for bars in itertools.product((False, True), repeat=len(run) - 1):
        words = [run[0]]
        for bar, character in zip(bars, run[1:], strict=True):
            if bar:
                words.append(character)
            else:
                words[-1] += character
        found.append(words)
    return found


@settings(deadline=None)
@given(WORDS, st.text(LETTERS + "木", min_size=1, max_size=8))
def test_the_path_is_the_best_of_all(counts: dict[str, int], run: str) -> None:
    lexicon, total = Lexicon(counts), sum(counts.values())

    def score(words: list[str]) -> float:
        if any(word not in counts and len(word) > 1 for word in words):
            return -math.inf
        return sum(math.log(counts.get(word, 0.5) / total) for word in words)

    found = lexicon(run)
    assert "".join(found) == run
    assert score(found) == pytest.approx(max(map(score, cuts(run))))


@settings(deadline=None)
@given(st.text(st.sampled_from(LETTERS + "ab1 ，。\n𠀀") | st.characters(exclude_categories=["Cs"]), max_size=30))
def test_the_words_of_any_text_are_the_text(text: str) -> None:
    assert "".join(Lexicon({"天地": 3, "天": 1})(text)) == text


def texts_of(seed: int = 3, words: tuple[str, ...] = ("北京", "大学", "图书馆", "我", "爱", "很")) -> list[str]:
    pick = random.Random(seed)
    return ["".join(pick.choice(words) for _ in range(pick.randint(1, 9))) + "。" for _ in range(400)]


def test_words_that_a_text_is_made_of_are_found() -> None:
    lexicon = Lexicon.train(texts_of())
    assert {"北京", "大学", "图书馆"} <= lexicon.counts.keys()
    assert lexicon("很北京大学图书馆 OK")[-4:] == ["北京", "大学", "图书馆", " OK"]
    assert set("北京大学图书馆我爱很") <= lexicon.counts.keys()


def test_learning_does_not_depend_on_order_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_of()
    assert Lexicon.train(texts).sha256 == Lexicon.train(texts[::-1]).sha256
    for bound in (100, 1000):
        monkeypatch.setattr(word_discovery, "MAX_CHARACTERS", bound)
        runs = word_discovery._runs(texts, word_discovery.SILENT)
        assert 0 < sum(map(len, runs)) <= bound
        assert sorted(runs) == sorted(word_discovery._runs(texts[::-1], word_discovery.SILENT))
    assert sum(map(len, word_discovery._runs(["天" * 5000], word_discovery.SILENT))) <= 1000


def entropy(neighbours: list[str]) -> float:
    """Nats; a neighbour \\0 (the end of a run) is another one every time."""
    counts = Counter(f"end {n}" if c == "\0" else c for n, c in enumerate(neighbours))
    return -sum(n / len(neighbours) * math.log(n / len(neighbours)) for n in counts.values())


def test_statistics_are_those_of_counting_one_by_one() -> None:
    pick = random.Random(5)
    runs = ["".join(pick.choice(LETTERS) for _ in range(pick.randint(1, 6))) for _ in range(60)]
    joined = "\0" + "\0".join(runs) + "\0"
    _, text = np.unique([ord(c) for c in joined], return_inverse=True)
    stretches = word_discovery._stretches(text.astype(np.int64))
    total = sum(map(len, runs))
    places: dict[str, list[int]] = {}
    for length, found in enumerate(stretches, 1):
        for place in range(len(joined) - length + 1):
            if "\0" not in (part := joined[place : place + length]):
                places.setdefault(part, []).append(place)
        often = {
            part: at for part, at in places.items() if len(part) == length and len(at) >= (1 if length == 1 else 2)
        }
        assert len(found.counts) == len(often) + 1
        cohesion = word_discovery._cohesion(stretches, length) if length > 1 else []
        for part, at in often.items():
            number = int(found.at[at[0]])
            assert number and all(found.at[place] == number for place in at)
            assert found.counts[number] == len(at)
            assert found.after[number] == pytest.approx(entropy([joined[place + length] for place in at]))
            assert found.before[number] == pytest.approx(entropy([joined[place - 1] for place in at]))
            if length > 1:
                least = min(
                    math.log(len(at) * total / len(places[part[:cut]]) / len(places[part[cut:]]))
                    for cut in range(1, length)
                )
                assert cohesion[number] == pytest.approx(least)


def test_the_cut_of_the_text_is_the_best_of_all() -> None:
    pick = random.Random(7)
    runs = ["".join(pick.choice(LETTERS[:3]) for _ in range(pick.randint(1, 7))) for _ in range(80)]
    joined = "\0" + "\0".join(runs) + "\0"
    _, text = np.unique([ord(c) for c in joined], return_inverse=True)
    stretches = word_discovery._stretches(text.astype(np.int64))
    scores = [
        np.where(s.at > 0, w[s.at], -np.inf) for s, w in zip(stretches, word_discovery._weights(stretches), strict=True)
    ]
    lengths = word_discovery._cut(text, scores)
    begin = 1
    for run in runs:

        def score(words: list[str], begin: int = begin) -> float:
            places = itertools.accumulate([begin, *map(len, words[:-1])])
            return sum(
                scores[len(w) - 1][p] if len(w) <= word_discovery.MAX_WORD_LENGTH else -math.inf
                for w, p in zip(words, places, strict=True)
            )

        found, place = [], begin
        while place < begin + len(run):
            found.append(joined[place : place + int(lengths[place])])
            place += int(lengths[place])
        assert "".join(found) == run and score(found) == pytest.approx(max(map(score, cuts(run))))
        begin += len(run) + 1
    assert int(lengths.sum()) == sum(map(len, runs))


def test_saved_and_read_again(tmp_path: Path) -> None:
    lexicon = Lexicon.train(texts_of())
    lexicon.save(tmp_path / "lexicon.txt")
    loaded = Lexicon.load(tmp_path / "lexicon.txt")
    assert loaded.counts == lexicon.counts and loaded.sha256 == lexicon.sha256
    assert describe_words(lexicon) == {
        "lexicon": lexicon.sha256, "words": len(lexicon.counts), "origin": "learnt from the text"
    }  # fmt: skip
    (tmp_path / "jieba.txt").write_text("\ufeff云计算 5 n\n\n创新办\t3\n台中\n")
    assert Lexicon.load(tmp_path / "jieba.txt").counts == {"云计算": 5, "创新办": 3, "台中": 1}
    for content, name in {"好 x\n": "line 1", "好 1\n坏 1 2 3\n": "line 2", "\n": "no words"}.items():
        (tmp_path / "bad.txt").write_text(content)
        with refused(tmp_path / "bad.txt", name):
            Lexicon.load(tmp_path / "bad.txt")
    (tmp_path / "bad.txt").write_bytes("创新办\n".encode("gb18030"))
    for unreadable, name in {"bad.txt": "UTF-8", "absent.txt": "absent.txt", "": "directory"}.items():
        with refused(tmp_path / unreadable, name):
            Lexicon.load(tmp_path / unreadable)


def test_there_must_be_chinese_to_learn_from() -> None:
    with refused("Chinese", "--words none"):
        Lexicon.train(["only English"])


def test_mostly_chinese() -> None:
    assert chinese.mostly_chinese(["English " * 3, "中文" * 60])
    assert not chinese.mostly_chinese(["English words", "中文"]) and not chinese.mostly_chinese([])


def test_jieba_cuts_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = jieba_segmenter()
    assert cut("我来到北京清华大学") == ["我", "来到", "北京", "清华大学"]
    assert str(describe_words(cut)["function"]).startswith("jieba 0.")
    monkeypatch.setitem(__import__("sys").modules, "jieba", None)
    with refused("jieba", "pip install 'unmask[zh]'"):
        jieba_segmenter()


TOKENIZER = Tokenizer(
    layout.tokenizer_json([*SPECIALS, *LETTERS, *"abc，。", *("##" + c for c in "abc")], TokenizerConfig())
)
MIXED = st.text(LETTERS + "木abc ，。\n\u0007\u200b", max_size=24)


@settings(max_examples=200, deadline=None)
@given(st.lists(MIXED, min_size=1, max_size=4), WORDS)
def test_flags_against_a_reading_of_the_words(texts: list[str], counts: dict[str, int]) -> None:
    """A Chinese piece goes on with a word when the word holds it and the Chinese character right before it."""
    lexicon = Lexicon(counts)
    plain, found = TOKENIZER.encode_texts(texts), TOKENIZER.encode_texts(texts, lexicon)
    for text, (ids, before), (same, flags) in zip(texts, plain, found, strict=True):
        assert ids.tolist() == same.tolist()
        assert (flags & SENTENCE_START).tolist() == (before & SENTENCE_START).tolist()
        encoded = TOKENIZER.encode(text)
        bounds = list(itertools.accumulate([0, *map(len, lexicon(text))]))
        for flag, old, (start, stop) in zip(flags, before, encoded.offsets[1:-1], strict=True):
            chinese_pair = stop - start == 1 and start and all(c in LETTERS + "木" for c in text[start - 1 : stop])
            inside = chinese_pair and start not in bounds
            assert bool(flag & WORD_START) == (bool(old & WORD_START) and not inside)


def test_words_may_leave_out_white_space_and_nothing_else() -> None:
    ((_, flags),) = TOKENIZER.encode_texts(["天地 人日"], lambda text: ["天地", "人日"])
    assert (flags & WORD_START).tolist() == [1, 0, 1, 0]
    for wrong, word in ((["天人"], "天人"), (["天", "人"], "人"), (["地", "天"], "地")):
        with refused(repr(word), "天地人"):
            TOKENIZER.encode_texts(["天地人"], lambda text, wrong=wrong: wrong)
