"""Foldings against a plain table: what the library makes of a text is what the folded text would give."""

import base64
import json
import struct
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from errors import refused
from unmask.text import folding
from unmask.text.public import layout
from unmask.text.public.layout import SPECIALS, TokenizerConfig
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import count_usage

TRADITIONAL = "漢語體後臺灣隻發髮乾龜鱻"
TEXT = st.text(
    st.sampled_from(TRADITIONAL + "汉语体后中国人ＡＢｚ１２９，！？（）～　ｶｶﾞ￥abc 12,.\n…。é\u0301\u0e33😀")
    | st.characters(exclude_categories=["Cs"]),
    max_size=24,
)
PLAIN_TABLE = str.maketrans({**folding.width_forms(), **folding.simplified_forms()})


def made(**foldings: bool) -> Tokenizer:
    letters = sorted(set("汉语体后台湾只发干龟鲜中国人abz129,!?()~カキ¥。é") | set(TRADITIONAL))
    pieces = [*SPECIALS, *letters, *("##" + c for c in letters)]
    return Tokenizer(layout.tokenizer_json(pieces, TokenizerConfig(**foldings)))


PLAIN, WIDTH, BOTH = made(), made(fold_width=True), made(fold_width=True, simplify=True)


def _marks_on_folded(text: str, table: dict[int, str]) -> bool:
    """Whether a mark of two bytes stands on a folded character, which the format drops (see folding.py)."""
    return any(
        ord(a) in table and len(b.encode()) == 2 and unicodedata.category(b) not in ("Lu", "Ll", "Lo", "Nd")
        for a, b in pairwise(text)
    )


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_a_folded_text_gives_what_the_text_in_ordinary_characters_gives(text: str) -> None:
    for tokenizer, table in (
        (WIDTH, str.maketrans(dict(folding.width_forms()))),
        (BOTH, PLAIN_TABLE),
    ):
        if _marks_on_folded(text, table):
            continue
        found, expected = tokenizer.encode(text), PLAIN.encode(text.translate(table))
        assert (found.input_ids, found.word_ids) == (expected.input_ids, expected.word_ids)
        # one character for one: places in the text as given are places in the folded one
        assert found.offsets == expected.offsets


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_offsets_of_any_text_stay_inside(text: str) -> None:
    offsets = BOTH.encode(text).offsets[1:-1]
    assert all(0 <= start < end <= len(text) for start, end in offsets)


def test_mixed_text_by_example() -> None:
    text = "漢語ＡＢ１２，ａ臺！"
    encoded = BOTH.encode(text)
    shown = [(BOTH.id_to_token(i), text[a:b]) for i, (a, b) in zip(encoded.input_ids, encoded.offsets, strict=True)]
    assert shown[1:-1] == [
        ("汉", "漢"), ("语", "語"), ("a", "Ａ"), ("##b", "Ｂ"), ("##1", "１"), ("##2", "２"), (",", "，"),
        ("a", "ａ"), ("台", "臺"), ("!", "！"),
    ]  # fmt: skip


def test_only_width_forms_are_folded() -> None:
    forms = folding.width_forms()
    for form, plain in forms.items():
        assert unicodedata.normalize("NFKC", form) == unicodedata.normalize("NFKC", plain)
    assert {"Ａ": "A", "　": " ", "，": ",", "ｶ": "カ", "￥": "¥"}.items() <= forms.items()
    assert not {"①", "㍿", "ﬁ", "ª", "…", "。", "、", "Ⅳ"} & forms.keys()


def test_simplified_forms_are_opencc_s_character_for_character() -> None:
    from opencc import OpenCC

    forms, convert = folding.simplified_forms(), OpenCC("t2s").convert
    assert len(forms) > 4000 and all(convert(given_) == plain for given_, plain in list(forms.items())[::37])
    assert all(len(given_) == len(plain) == 1 and given_ != plain for given_, plain in forms.items())
    assert "著" not in forms and forms["後"] == "后"


def test_a_character_map_is_the_table_and_touches_nothing_else() -> None:
    table = {"a": "b", "é": "e", "漢": "汉", "漣": "x", "\U00020000": "一", "z": "漢"}
    normaliser = normalizers.Precompiled(folding.character_map(table))
    for code in (*range(1, 0x3000), *range(0x6F00, 0x7000), *range(0x20000, 0x20100)):
        assert normaliser.normalize_str(chr(code)) == table.get(chr(code), chr(code))
    size = struct.unpack_from("<I", folding.character_map(table))[0]
    assert size % 1024 == 0


def test_the_table_travels_with_the_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BOTH.save_pretrained(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    loaded = Tokenizer.from_pretrained(tmp_path)
    assert loaded.sha256 == BOTH.sha256 and loaded.fold_width and loaded.simplify and loaded.lowercase
    assert loaded.encode("臺灣").input_ids == BOTH.encode("台湾").input_ids
    settings_ = json.loads((tmp_path / "tokenizer_config.json").read_text())
    # the class that takes tokenizer.json as it is
    assert settings_["tokenizer_class"] == "PreTrainedTokenizerFast" and settings_["simplify"]
    described = json.loads((tmp_path / "tokenizer.json").read_text())["normalizer"]["normalizers"][0]
    assert base64.b64decode(described["precompiled_charsmap"]) == folding.normalizer_map(True, True)


def test_vocab_txt_says_its_folding_in_the_file_beside_it(tmp_path: Path) -> None:
    WIDTH.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert Tokenizer.from_pretrained(tmp_path).sha256 == WIDTH.sha256


def test_without_opencc_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    folding.simplified_forms.cache_clear()
    with refused("opencc", "pip install 'unmask[zh]'"):
        folding.simplified_forms()


def test_without_a_folding_nothing_changes() -> None:
    assert json.loads(PLAIN._json)["normalizer"]["type"] == "BertNormalizer"
    assert not PLAIN.fold_width and not PLAIN.simplify and WIDTH.fold_width and not WIDTH.simplify


def test_training_folds_too() -> None:
    texts = ["漢語 ＡＢＣ１２ 漢語", "汉语 abc12"] * 3
    tokenizer = Tokenizer.train(texts, vocab_size=20, fold_width=True, simplify=True, allow_fewer=True)
    assert not {"漢", "語", "Ａ", "ａ"} & set(tokenizer.tokens) and {"汉", "语"} <= set(tokenizer.tokens)
    assert tokenizer.training is not None
    assert tokenizer.training.statistics == count_usage(tokenizer, texts).total
    assert tokenizer.encode(texts[0]).input_ids[1:3] == tokenizer.encode(texts[1]).input_ids[1:3]


# The ranges that BERT's tokenizer takes apart, as the tokenizers library has them; U+2B820 to U+2B91F, which
# BERT's first release took apart too, are missing in the library, and extensions F and later in both.
CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def test_which_characters_are_words_of_their_own() -> None:
    normaliser = layout.normalizer(TokenizerConfig(lowercase=False, strip_accents=False))
    for code in (*range(0x2E80, 0xA000), *range(0xF900, 0xFB00), *range(0x20000, 0x32400)):
        character = chr(code)
        apart = normaliser.normalize_str(character).strip() != normaliser.normalize_str(character)
        inside = any(first <= code <= last for first, last in CHINESE)
        assert apart == (inside or code == 0x3000), hex(code)
