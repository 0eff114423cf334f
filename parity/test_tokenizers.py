"""Tokenizers of every kind, written by us and read by the peer: equal pieces, segments and places of many strings."""

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from tests.text.public_kinds import MAKERS, TEXTS, made
from unmask.text.tokenizer import Tokenizer

COUNT = 5000
OURS = {
    "uncased": {},
    "cased": {"lowercase": False},
    "cased, accents dropped": {"lowercase": False, "strip_accents": True},
    "Chinese characters not apart": {"tokenize_chinese_chars": False},
    "width folded": {"fold_width": True},
}
PARTS = (
    *("The river flows north", "nobody knows", "don't", "3.14", "x=3;", "HTML <b>bold</b>", "snake_case", "a@b.de"),
    *("Crème brûlée", "Fluß", "İstanbul", "Ǆ", "ﬁ", "ﬀ", "e\u0301", "a\u0308\u0323", "\u0301", "ẞ", "naïve"),
    *("中国人民", "日本語のテスト、", "한국어 문장", "𠀀𠀁", "ｆｕｌｌ１", "ｱｲｳ", "《书》", "。", "！？", "（"),
    *("Привет, мир", "שלום", "مرحبا", "नमस्ते", "ภาษาไทย", "ქართული", "Ελλάδα", "ς"),
    *("😀", "👩\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3", "\u200b", "\u200d", "\ufeff", "\u202e", "\ufffd"),
    *("\x00", "\x07", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", "\u3000", "\t", "\n", "\r\n", "  ", " "),
    *("a" * 120, "中" * 150, "ab" * 60, "!" * 40, "#" * 9, "##ing", "Ġ", "▁", "``", "''", "…", "—", "½", "①", "Ⅳ"),
)  # fmt: skip


@cache
def strings() -> list[str]:
    draw = random.Random(0)
    found = ["", " ", *PARTS, *TEXTS]
    while len(found) < COUNT:
        parts = draw.choices(PARTS, k=draw.randint(1, 9))
        found.append("".join(part + draw.choice(["", "", " "]) for part in parts))
    return found


def _ours(kind: str) -> Tokenizer:
    if kind in OURS:
        return Tokenizer.train(TEXTS * 2, vocab_size=400, allow_fewer=True, **OURS[kind])
    return made(kind)[1]


@pytest.mark.parametrize("kind", [*OURS, *MAKERS])
def test_the_peer_reads_what_we_write_alike(kind: str, tmp_path: Path) -> None:
    ours = _ours(kind)
    ours.save_pretrained(tmp_path)
    theirs: Any = hf.AutoTokenizer.from_pretrained(tmp_path)
    texts = strings()
    pairs = [texts[-number - 1] if number % 3 == 0 else None for number in range(len(texts))]
    for text, pair, encoded in zip(texts, pairs, ours.encode_batch(texts, pairs), strict=True):
        wanted = theirs(text, pair, return_offsets_mapping=True, return_token_type_ids=True)
        assert encoded.input_ids == wanted["input_ids"], (text, pair)
        assert encoded.token_type_ids == wanted["token_type_ids"], (text, pair)
        places = zip(encoded.input_ids, wanted.sequence_ids(), encoded.offsets, wanted["offset_mapping"], strict=True)
        for number, source, (start, stop), (begin, end) in places:
            if source is None or not ours.token_text(number).strip():
                assert start == stop  # the library gives a piece of blanks a place of what follows
                continue
            given = (text, pair or "")[source]
            assert given[start:stop] == given[begin:end].strip(), (text, pair)
    assert [theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id] == [
        ours.pad_token_id,
        ours.cls_token_id,
        ours.sep_token_id,
    ]
    assert theirs.mask_token_id == ours.mask_token_id
