"""The tokenizer against a plain-Python BERT tokenizer with its own alignment, and against its own promises."""

import hashlib
import json
import pickle
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import refused
from unmask.files import read_json
from unmask.text.public import layout
from unmask.text.public.layout import SPECIALS, TokenizerConfig
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import count_usage

LETTERS = "aábcdeéhlnostwi\u0307ABEİñüßÄçøаяЖλσςΣאבגعربीहन\u0939कกขあア\u304bㅏㄱ한글中国人𠀀𝐀😀0127½①"
MARKS = "\u0301\u0308\u0327\u093f\u20dd\u3099\u0345"
BREAKS = " \t\n\r\u00a0\u2003\u2028\u3000.,!?。！“”'\"-[]()$+<=>^`|~_"
ODD = "\x00\x07\x0b\x1c\x7f\x85\u00ad\u200b\u200d\u202e\ufeff\ufffd\ud800\udfff\ue000"


def known_for_long(character: str) -> bool:
    """Whether the library's tables and Python's, which are of other versions of Unicode, agree on a character.

    Left out, too: the few marks (Hangul tones) that normalisation moves past an accent but does not remove; the
    library gives such a mark the place of the accent.
    """
    old = unicodedata.ucd_3_2_0
    assigned = old.category(character) != "Cn" and unicodedata.category(character) == old.category(character)
    same = old.normalize("NFD", character) == unicodedata.normalize("NFD", character)
    return assigned and same and (not unicodedata.combining(character) or unicodedata.category(character) == "Mn")


ANCIENT = st.characters(exclude_categories=["Cs"]).filter(known_for_long)
TEXT = st.text(st.sampled_from(LETTERS + MARKS + BREAKS + ODD) | ANCIENT, max_size=24)
LATIN = st.text("abcdehlnostw .!?\n[]MASK中。", max_size=40)


def made(lowercase: bool = True, accents: bool | None = None, chinese: bool = True) -> Tokenizer:
    letters = {c for text in (LETTERS, MARKS, BREAKS) for c in unicodedata.normalize("NFD", text) + text + text.lower()}
    letters = {c for c in letters if not c.isspace() and not "\ud800" <= c <= "\udfff"}
    pieces = [
        *SPECIALS,
        *sorted(letters),
        *("##" + c for c in sorted(letters)),
        "the",
        "##st",
        "##est",
        "hel",
        "##lo",
    ]
    settings = TokenizerConfig(lowercase=lowercase, strip_accents=accents, tokenize_chinese_chars=chinese)
    description = json.loads(layout.tokenizer_json(pieces, settings))
    description["model"]["max_input_chars_per_word"] = 12
    return Tokenizer(json.dumps(description))


KINDS = [(True, None, True), (False, None, True), (True, False, True), (False, True, False)]
MADE = {kind: made(*kind) for kind in KINDS}
PLAIN = MADE[KINDS[0]]

Character = tuple[str, int]  # a normalised character and the place of the one that it comes from


def normalised(text: str, lowercase: bool, accents: bool, chinese: bool) -> list[Character]:
    found: list[Character] = []
    for place, c in enumerate(text):
        if c in "\t\n\r" or (unicodedata.category(c)[0] == "Z"):
            found.append((" ", place))
        elif unicodedata.category(c)[0] == "C" or c == "\ufffd":
            continue
        elif chinese and any(
            a <= ord(c) <= b
            for a, b in [
                (0x3400, 0x4DBF),
                (0x4E00, 0x9FFF),
                (0xF900, 0xFAFF),
                (0x20000, 0x2A6DF),
                (0x2F800, 0x2FA1F),
            ]
        ):
            found += [(" ", place), (c, place), (" ", place)]
        else:
            found.append((c, place))
    if accents:
        found = [(d, place) for c, place in found for d in unicodedata.normalize("NFD", c)]
        found = [(c, place) for c, place in found if unicodedata.category(c) != "Mn"]
    if lowercase:
        found = [(d, place) for c, place in found for d in c.lower()]
    return found


def words_of(characters: list[Character]) -> list[list[Character]]:
    words: list[list[Character]] = [[]]
    for c, place in characters:
        if c.isspace():
            words.append([])
        elif unicodedata.category(c)[0] == "P" or c in "$+<=>^`|~":
            words += [[(c, place)], []]
        else:
            words[-1].append((c, place))
    return [word for word in words if word]


def greedily(word: list[Character], pieces: set[str], longest: int) -> list[tuple[str, tuple[int, int]]]:
    """The longest piece first, from the left; [UNK] for the whole word where that fails."""
    whole = [("[UNK]", (word[0][1], word[-1][1] + 1))]
    if len(word) > longest:
        return whole
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + "".join(c for c, _ in word[start:end])
            if piece in pieces:
                break
        else:
            return whole
        found.append((piece, (word[start][1], word[end - 1][1] + 1)))
        start = end
    return found


@settings(max_examples=400, deadline=None)
@given(TEXT, st.sampled_from(KINDS))
def test_pieces_words_and_places_are_those_of_bert(text: str, kind: tuple[bool, bool | None, bool]) -> None:
    tokenizer = MADE[kind]
    words = words_of(normalised(text, kind[0], tokenizer.strip_accents, kind[2]))
    expected = [
        (piece, place, number)
        for number, word in enumerate(words)
        for piece, place in greedily(word, set(tokenizer.tokens), 12)
    ]
    encoded = tokenizer.encode(text)
    found = list(zip(map(tokenizer.id_to_token, encoded.input_ids), encoded.offsets, encoded.word_ids, strict=True))
    assert found == [("[CLS]", (0, 0), None), *expected, ("[SEP]", (0, 0), None)]
    assert encoded.special_tokens_mask == [True, *[False] * len(expected), True] and set(encoded.token_type_ids) == {0}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.sampled_from(KINDS))
def test_offsets_of_any_text_rise_and_stay_inside(text: str, kind: tuple[bool, bool | None, bool]) -> None:
    encoded = MADE[kind].encode(text)
    offsets = encoded.offsets[1:-1]
    assert all(0 <= start < end <= len(text) for start, end in offsets)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(offsets))


def test_offsets_by_example() -> None:
    text = "\x00He\u0301llo 😀中 the\u200best"
    encoded = MADE[True, None, True].encode(text)
    shown = [(PLAIN.id_to_token(i), text[a:b]) for i, (a, b) in zip(encoded.input_ids, encoded.offsets, strict=True)][
        1:-1
    ]
    assert shown == [
        ("hel", "He\u0301l"),
        ("##lo", "lo"),
        ("😀", "😀"),
        ("中", "中"),
        ("the", "the"),
        ("##est", "est"),
    ]


@given(LATIN)
def test_text_never_becomes_a_special_piece(text: str) -> None:
    for inserted in SPECIALS[:1] + SPECIALS[2:]:
        ids = PLAIN.encode(text + inserted + text, inserted).input_ids
        assert ids.count(PLAIN.cls_token_id) == 1 and ids.count(PLAIN.sep_token_id) == 2
        assert PLAIN.mask_token_id not in ids and PLAIN.pad_token_id not in ids
        assert all(not np.isin(piece_ids, [0, 2, 3, 4]).any() for piece_ids, _ in PLAIN.encode_texts([text + inserted]))


def test_the_mask_is_read_where_it_is_asked_for() -> None:
    encoded = PLAIN.encode("the [MASK] [SEP]", add_special_tokens=True)
    assert encoded.input_ids.count(PLAIN.mask_token_id) == 1 and encoded.input_ids.count(PLAIN.sep_token_id) == 1
    place = encoded.input_ids.index(PLAIN.mask_token_id)
    assert encoded.offsets[place] == (4, 10) and encoded.word_ids[place] == 1


@settings(deadline=None)
@given(LATIN, LATIN | st.none(), st.integers(5, 30))
def test_truncation_takes_from_the_longer_text(text: str, pair: str | None, max_length: int) -> None:
    whole, cut = PLAIN.encode(text, pair), PLAIN.encode(text, pair, max_length)
    first = [
        i
        for i, s, x in zip(whole.input_ids, whole.token_type_ids, whole.special_tokens_mask, strict=True)
        if s == 0 and not x
    ]
    second = [
        i
        for i, s, x in zip(whole.input_ids, whole.token_type_ids, whole.special_tokens_mask, strict=True)
        if s == 1 and not x
    ]
    room = max_length - (2 if pair is None else 3)
    while len(first) + len(second) > room:  # BERT's run_pretraining: truncate_seq_pair
        (first if len(first) > len(second) else second).pop()
    assert cut.input_ids == [
        PLAIN.cls_token_id,
        *first,
        PLAIN.sep_token_id,
        *([*second, PLAIN.sep_token_id] if pair is not None else []),
    ]
    assert cut.truncated == (len(whole.input_ids) > max_length)
    lengths = {len(x) for x in (cut.input_ids, cut.token_type_ids, cut.offsets, cut.word_ids, cut.special_tokens_mask)}
    assert lengths == {len(cut.input_ids)} and cut.token_type_ids == sorted(cut.token_type_ids)


@pytest.mark.parametrize(("pair", "length"), [(None, 2), ("b", 4)])
def test_no_room_for_text_is_an_error(pair: str | None, length: int) -> None:
    with refused(f"max_length {length}", f"{length + 1} or more"):
        PLAIN.encode("a", pair, length)


def test_batches_are_single_texts_together() -> None:
    texts, pairs = ["the hel", "", "a " * 50], [None, "lo", "b " * 50]
    batch = PLAIN.encode_batch(texts, pairs, 20)
    assert batch == [PLAIN.encode(text, pair, 20) for text, pair in zip(texts, pairs, strict=True)]
    assert [encoded.truncated for encoded in batch] == [False, False, True]
    assert PLAIN.encode_batch([]) == []
    with refused("3 texts", "1 pairs", kind=ValueError):
        PLAIN.encode_batch(texts, ["a"])


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT | LATIN, max_size=5), st.sampled_from(KINDS))
def test_pieces_for_shards_are_the_pieces_of_encode(texts: list[str], kind: tuple[bool, bool | None, bool]) -> None:
    tokenizer = MADE[kind]
    found = tokenizer.encode_texts(texts)
    assert len(found) == len(texts)
    for text, (ids, flags) in zip(texts, found, strict=True):
        encoded = tokenizer.encode(text)
        assert ids.tolist() == encoded.input_ids[1:-1]
        starts = [a != b for a, b in pairwise(encoded.word_ids[:-1])]
        assert (flags & 1).tolist() == [int(start) for start in starts]
        assert ((flags & 2) <= (flags & 1) * 2).all() and (not len(ids) or flags[0] == 3)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("the lo. hel lo", ["the", "hel"]),
        ('the lo." (hel 1.2 lo?) a', ["the", "(", "a"]),
        ("the\nlo\n \nhel", ["the", "hel"]),
        ("中国。人人！”中", ["中", "人", "中"]),
        ("a... b. . c", ["a", "b", ".", "c"]),
        ("a.b c", ["a"]),
        ("", []),
    ],
)
def test_sentence_starts(text: str, begins: list[str]) -> None:
    ((ids, flags),) = PLAIN.encode_texts([text])
    assert [PLAIN.id_to_token(number) for number in ids[flags & 2 > 0]] == begins


# Training, saving, loading

TEXTS = ["The river flows, well lit; the rivers flowed.", "Ünder the bridge: wells, tells, 中国人 river."] * 3


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=75)


def test_training_gives_what_was_asked_for(trained: Tokenizer) -> None:
    assert trained.vocab_size == 75 == len(trained.tokens) and trained.tokens[:5] == list(SPECIALS)
    assert [
        trained.pad_token_id,
        trained.unk_token_id,
        trained.cls_token_id,
        trained.sep_token_id,
        trained.mask_token_id,
    ] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert trained.all_special_ids == [0, 1, 2, 3, 4]
    assert trained.sha256 == Tokenizer.train(reversed(TEXTS), vocab_size=75).sha256
    assert "river" in trained.tokens and trained.training is not None and trained.training.texts == 6
    assert repr(trained).startswith("Tokenizer(75 tokens, lower case")


def test_statistics_of_training_are_those_of_its_texts(trained: Tokenizer) -> None:
    assert trained.training is not None
    found = trained.training.statistics
    assert found == count_usage(trained, TEXTS).total
    encoded = [trained.encode(text) for text in TEXTS]
    assert found.tokens == sum(len(e.input_ids) - 2 for e in encoded)
    assert found.words == sum((e.word_ids[-2] or 0) + 1 for e in encoded)
    assert found.characters == sum(map(len, TEXTS)) and found.unknown == 0
    assert found.characters_per_token == found.characters / found.tokens
    assert count_usage(trained, ["river Ж"]).total.unknown_rate == 0.5
    assert count_usage(trained, []).total.characters_per_token == 0.0


def test_cased_training_keeps_capitals_and_accents() -> None:
    cased = Tokenizer.train(TEXTS, vocab_size=60, lowercase=False)
    assert not cased.lowercase and not cased.strip_accents and {"T", "Ü"} <= set(cased.tokens)


def test_training_reads_plain_files(tmp_path: Path, trained: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    assert Tokenizer.train(str(tmp_path / "*.txt"), vocab_size=75).tokens == trained.tokens
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    for wrong, names in (
        (tmp_path / "b*.txt", [tmp_path / "b*.txt"]),
        (__file__, [__file__, ".txt, .txt.gz"]),
        (tmp_path / "l*.txt", [tmp_path / "latin.txt", "UTF-8"]),
    ):
        with refused(*names):
            Tokenizer.train(wrong, vocab_size=75)


def test_wrong_settings_and_too_little_text_are_user_errors() -> None:
    with refused("vocab_sise", "vocab_size"):
        Tokenizer.train(TEXTS, vocab_sise=75)
    with refused("vocab_size") as caught:
        Tokenizer.train(TEXTS, vocab_size=3)
    assert caught.value.facts["given"] == "3"
    with refused("75", "5,000"):
        Tokenizer.train(TEXTS, vocab_size=5000)
    with refused("no text"):
        Tokenizer.train([], vocab_size=100)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path, trained: Tokenizer) -> None:
    trained.save_pretrained(tmp_path)
    loaded = Tokenizer.from_pretrained(tmp_path)
    assert loaded.sha256 == trained.sha256 and loaded.tokens == trained.tokens
    assert hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest() == trained.sha256
    assert pickle.loads(pickle.dumps(trained)).sha256 == trained.sha256
    assert Tokenizer.from_pretrained(tmp_path / "tokenizer.json").sha256 == trained.sha256
    (tmp_path / "tokenizer.json").unlink()
    assert (
        Tokenizer.from_pretrained(tmp_path).sha256 == trained.sha256
    )  # vocab.txt and tokenizer_config.json say as much


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_as_a_list_of_pieces(tmp_path: Path, kind: tuple[bool, bool | None, bool]) -> None:
    MADE[kind].save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    loaded = Tokenizer.from_pretrained(tmp_path / "vocab.txt")
    text = "The HELÉ\u0301 lo 中国人"
    assert loaded.tokens == MADE[kind].tokens and loaded.encode(text) == MADE[kind].encode(text)


def test_a_list_of_pieces_alone_shows_whether_it_is_cased(tmp_path: Path) -> None:
    for pieces, lowercase in (([*SPECIALS, "a"], True), ([*SPECIALS, "a", "B"], False)):
        (tmp_path / "vocab.txt").write_text("\r\n".join(pieces) + "\r\n")
        loaded = Tokenizer.from_pretrained(tmp_path)
        assert loaded.lowercase == lowercase and loaded.tokens == pieces


def test_what_a_file_asks_for_in_length_is_not_done(tmp_path: Path, trained: Tokenizer) -> None:
    content = json.loads(trained._json)
    content["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert Tokenizer.from_pretrained(tmp_path).sha256 == trained.sha256


def changed_json(tokenizer: Tokenizer, **parts: object) -> str:
    return json.dumps({**json.loads(tokenizer._json), **parts})


def test_files_that_are_no_tokenizer_say_why(tmp_path: Path, trained: Tokenizer) -> None:
    model = json.loads(trained._json)["model"]
    holes = {**model, "vocab": {**model["vocab"], "new": 1000}}
    wrong = {
        "{": "line 1",
        "[]": "line 1",
        "{}": "Model missing",
        changed_json(trained, model={**model, "vocab": {"[UNK]": 0}}): "0, 1, 2",
        changed_json(trained, added_tokens=[], model={**model, "vocab": {"[UNK]": 0}}): "post_processor",
        changed_json(trained, model=holes): "0, 1, 2",
        changed_json(trained, model={**model, "vocab": {**model["vocab"], "b": "b"}}): "tokenizers library",
    }
    for content, name in wrong.items():
        (tmp_path / "tokenizer.json").write_text(content)
        with refused(tmp_path / "tokenizer.json", name):
            Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff")
    with refused(tmp_path / "tokenizer.json", "UTF-8"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(("content", "names"), [("a\nb\n", ["[PAD]"]), ("a\n\nb\n", ["line 2"])])
def test_lists_that_are_no_vocabulary_say_why(tmp_path: Path, content: str, names: list[str]) -> None:
    (tmp_path / "vocab.txt").write_text(content)
    with refused(tmp_path / "vocab.txt", *names):
        Tokenizer.from_pretrained(tmp_path)


def test_absent_files_say_what_to_do(tmp_path: Path) -> None:
    with refused("tokenizer.json", f"unmask tokenizer train FILES --output {tmp_path}"):
        Tokenizer.from_pretrained(tmp_path)
    with refused(tmp_path / "no.json", "tokenizer.json"):
        Tokenizer.from_pretrained(tmp_path / "no.json")


def test_decoding(trained: Tokenizer) -> None:
    ids = trained.encode("The rivers, 中国人 well.").input_ids
    assert trained.decode(ids) == "the rivers, 中国人 well."
    assert trained.decode(np.array(ids[:2])) == "the" and trained.decode(ids[:1], specials=True) == "[CLS]"


def test_pieces_and_ids(trained: Tokenizer) -> None:
    assert all(trained.token_to_id(trained.id_to_token(number)) == number for number in range(trained.vocab_size))
    for wrong in (-1, 75):
        with refused(wrong, "0 to 74"):
            trained.id_to_token(wrong)
    with refused("'nowhere'"):
        trained.token_to_id("nowhere")


def test_the_saved_list_of_pieces_is_read_alike_by_another_reader(tmp_path: Path) -> None:
    """vocab.txt, read by the tokenizers library's own BERT tokenizer, gives the same ids and segments."""
    from tokenizers.implementations import BertWordPieceTokenizer

    texts = ["The HEL lo 中国人, ésts", "a"]
    for kind, made in MADE.items():
        made.save_pretrained(tmp_path)
        options = read_json(tmp_path / "tokenizer_config.json")
        theirs = BertWordPieceTokenizer(
            str(tmp_path / "vocab.txt"),
            lowercase=options["do_lower_case"],
            strip_accents=options["strip_accents"],
            handle_chinese_chars=options["tokenize_chinese_chars"],
        ).encode(*texts)
        assert theirs.ids == made.encode(*texts).input_ids, kind
        assert theirs.type_ids == made.encode(*texts).token_type_ids, kind


def test_called_it_gives_the_arguments_of_an_encoder(trained: Tokenizer) -> None:
    texts = ["the river", "the quick brown fox of the river"]
    plain = trained(texts)
    assert plain["input_ids"] == [one.input_ids for one in trained.encode_batch(texts)]
    sizes = [len(row) for row in plain["input_ids"]]
    assert [len(row) for row in plain["attention_mask"]] == sizes and sizes[0] < sizes[1]
    one = trained(texts[0], texts[1])
    assert one["token_type_ids"] == trained.encode(*texts).token_type_ids
    padded = trained(texts, padding=True, return_tensors="np")
    assert padded["input_ids"].shape == padded["token_type_ids"].shape == (2, sizes[1])
    assert padded["attention_mask"].sum(1).tolist() == sizes
    assert padded["input_ids"][0, sizes[0] :].tolist() == [trained.pad_token_id] * (sizes[1] - sizes[0])
    cut = trained(texts, padding="max_length", truncation=True, max_length=5)
    assert [len(row) for row in cut["input_ids"]] == [5, 5] and all(type(row) is list for row in cut["input_ids"])
    with refused("max_length"):
        trained(texts, truncation=True)
