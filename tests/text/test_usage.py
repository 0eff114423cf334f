"""What a tokenizer makes of a text, counted piece by piece with its own encodings; and the audit made of that."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.text import usage as module
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import SCRIPTS, audit, count_usage, script_of

ALPHABET = "abmorning rivers,.12 中国あカЖé☃\t\n"
TRAINED = ["The morning river rivers mornings g gi a b c d e", "中国 12 , ."] * 3
mixed = st.lists(st.text(alphabet=ALPHABET, max_size=40), max_size=5)


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return Tokenizer.train(TRAINED, vocab_size=60, allow_fewer=True)


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("aZéßＡ", "Latin"),
        ("中々豈𠀀", "Han"),
        ("あカｱー", "kana"),
        ("Жя", "Cyrillic"),
        ("0９٣½Ⅷ", "digits"),
        (".。“+€☃", "punctuation"),
        ("한αא", "other"),
        (" \u3000\n\x00\u200b", None),
    ],
)
def test_scripts(characters: str, script: str | None) -> None:
    assert {character: script_of(character) for character in characters} == dict.fromkeys(characters, script)


@given(mixed)
def test_counts_are_those_of_counting_one_by_one(small: Tokenizer, texts: list[str]) -> None:
    found = count_usage(small, texts)
    characters, words, pieces, unknown = (Counter[str | None]() for _ in range(4))
    cut: Counter[tuple[int, ...]] = Counter()
    for text in texts:
        characters.update(map(script_of, text))
        one = small.encode(text)
        grouped: dict[int, list[int]] = {}
        for number, (start, _), word in zip(one.input_ids, one.offsets, one.word_ids, strict=True):
            if word is None:
                continue
            pieces[script_of(text[start])] += 1
            unknown[script_of(text[start])] += number == small.unk_token_id
            words[script_of(text[start])] += word not in grouped
            grouped.setdefault(word, []).append(number)
        cut.update(tuple(ids) for ids in grouped.values() if len(ids) > 1)
    for script in SCRIPTS:
        counted = found.scripts[script]
        assert (counted.characters, counted.words) == (characters[script], words[script])
        assert (counted.tokens, counted.unknown) == (pieces[script], unknown[script])
    assert found.split_words == cut and found.documents == len(texts)
    total = found.total
    assert total.characters == sum(map(len, texts)) and total.words == words.total()
    assert (total.tokens, total.unknown) == (pieces.total(), unknown.total())


def test_texts_are_counted_alike_in_any_batches(small: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TRAINED, "rivers and 国 ☃", ""]
    whole = audit(count_usage(small, texts))
    monkeypatch.setattr(module, "BATCH_CHARACTERS", 1)
    assert audit(count_usage(small, texts)) == whole


def test_the_rarest_words_are_forgotten(small: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORDS", 2)
    words = (("xa", 3), ("xb", 3), ("☃", 1), ("囯", 1))
    found = count_usage(small, [" ".join(word for word, count in words for _ in range(count)), "gie gie gie gos"])
    assert found.forgotten == 8 and not found.unknown_characters and list(found.split_words.values()) == [3, 1]


def test_an_audit_says_what_is_missing_and_what_is_idle(small: Tokenizer) -> None:
    text = "gie gie gie ☃☃ x☃ 囯 xa river"
    figures = audit(count_usage(small, [text]))
    assert figures["fragmented"] == [{"word": "gie", "tokens": ["gi", "##e"], "count": 3}]
    assert figures["unknown_characters"] == [
        {"character": "☃", "count": 3},
        {"character": "x", "count": 2},
        {"character": "囯", "count": 1},
    ]
    used = set(small.encode(text).input_ids) - set(small.all_special_ids)
    idle = figures["unused"]
    assert not {small.id_to_token(number) for number in used} & set(idle["examples"])
    assert idle["count"] == len(small.text_token_ids) - len(used)
    assert idle["share"] == idle["count"] / len(small.text_token_ids)
    assert figures["unknown_otherwise"] == 0 and set(figures["scripts"]) == {"Latin", "Han", "punctuation"}


def test_a_text_of_nothing(small: Tokenizer) -> None:
    figures = audit(count_usage(small, ["", " \n"]))
    assert figures["tokens"] == 0 and figures["scripts"] == {} and figures["unused"]["share"] == 1
