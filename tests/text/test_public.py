"""Tokenizers of every kind that public checkpoints carry, against the library's own encodings of them."""

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from public_kinds import BERT, LONG, MAKERS, TEXT, TEXTS, every, made, roberta, trained_here
from tokenizers import pre_tokenizers

from errors import refused
from unmask.files import read_json, write_json
from unmask.text.public import layout
from unmask.text.public.specials import RESERVED, without_matching
from unmask.text.tokenizer import Tokenizer


def expected_place(token: str, text: str, start: int, stop: int) -> tuple[int, int]:
    """What the library says of a piece, without the blanks at its ends: it trims some kinds itself."""
    while start < stop and text[start].isspace():
        start += 1
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    return (start, start) if not token.strip(" ▁Ġ") else (start, stop)


@every
@settings(max_examples=60, deadline=None)
@given(first=TEXT | LONG, second=TEXT | st.none())
def test_ids_segments_and_places_are_the_librarys(kind: str, first: str, second: str | None) -> None:
    theirs, ours = made(kind)
    assume(not any(ours.id_to_token(number) in first + (second or "") for number in ours.all_special_ids))
    expected = theirs.encode(first) if second is None else theirs.encode(first, second)
    encoded = ours.encode(first, second)
    assert encoded.input_ids == expected.ids
    assert encoded.token_type_ids == expected.type_ids
    assert encoded.special_tokens_mask == [bool(flag) for flag in expected.special_tokens_mask]
    for token, text, found, (start, stop) in zip(
        expected.tokens, expected.sequence_ids, encoded.offsets, expected.offsets, strict=True
    ):
        source = first if text == 0 else second or ""
        wanted = (0, 0) if text is None else expected_place(token, source, start, stop)
        # of a piece of white space nothing is left, which the library does for ordinary blanks only
        nothing = not source[start : max(stop, found[1])].strip()
        assert found == wanted or (found[0] == found[1] and nothing)
    starts = [number for number, text in enumerate(expected.sequence_ids) if text == 1]
    assert encoded.pair_start == (None if second is None else starts[0] if starts else len(encoded.input_ids) - 1)


@every
@settings(max_examples=60, deadline=None)
@given(text=TEXT | LONG)
def test_places_rise_and_stay_inside_and_words_are_numbered(kind: str, text: str) -> None:
    _, ours = made(kind)
    encoded = ours.encode(text)
    inner = encoded.offsets[1:-1]
    assert all(0 <= start <= stop <= len(text) for start, stop in inner)
    assert all(text[a:b] == text[a:b].strip() for a, b in inner)
    words = encoded.word_ids[1:-1]
    assert encoded.word_ids[0] is encoded.word_ids[-1] is None
    assert [0, *words][0] == 0 and all(b - a in (0, 1) for a, b in pairwise([-1, *words]))  # type: ignore[operator]
    ((ids, flags),) = ours.encode_texts([text])
    assert ids.tolist() == encoded.input_ids[1:-1]
    fresh = [a != b for a, b in pairwise([None, *words])]
    assert (flags & 1 > 0).tolist() == [a or b for a, b in zip(fresh, (flags & 2 > 0).tolist(), strict=True)]
    assert ((flags & 2) <= (flags & 1) * 2).all() and (not len(ids) or flags[0] == 3)


@every
def test_texts_beside_each_other_do_not_matter(kind: str) -> None:
    _, ours = made(kind)
    texts = ["a  b.", "", " ", *TEXTS[:4], "中"]
    pairs = [None, "x", *[None] * 5, "国。"]
    batch = ours.encode_batch(texts, pairs, 12)
    assert batch == [ours.encode(a, b, 12) for a, b in zip(texts, pairs, strict=True)]
    for text, (ids, flags) in zip(texts, ours.encode_texts(texts), strict=True):
        ((alone, flags_alone),) = ours.encode_texts([text])
        assert ids.tolist() == alone.tolist() and flags.tolist() == flags_alone.tolist()


@every
@settings(max_examples=25, deadline=None)
@given(text=TEXT, where=st.integers(0, 20))
def test_text_never_becomes_a_special_piece(kind: str, text: str, where: int) -> None:
    _, ours = made(kind)
    forbidden = set(ours.all_special_ids) - {ours.unk_token_id}
    for piece in (ours.id_to_token(number) for number in ours.all_special_ids):
        for typed in (piece, f" {piece} ", RESERVED + piece):
            given_text = text[:where] + typed + text[where:]
            assert not forbidden & set(ours.encode(given_text).input_ids[1:-1])
            assert not forbidden & set(ours.encode_texts([given_text])[0][0].tolist())


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(TEXT | st.sampled_from([*BERT, "##", "MASK", "[", "]", "CLS]"]), max_size=8))
def test_bert_needs_no_second_vocabulary_to_keep_its_special_pieces_out_of_reach(parts: list[str]) -> None:
    """By cutting at punctuation, against the way that holds for every kind: other names for these pieces."""
    tokenizer = trained_here()
    description = json.loads(tokenizer._json)
    shared = layout.plain_backend(tokenizer._whole, description, set(BERT))
    hidden = layout.backend(without_matching(description, set(BERT)), "the tokenizer")
    assert shared is not None
    text = "".join(parts)
    assert shared.encode(text, add_special_tokens=False).ids == hidden.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("names", [("MASK",), ("[MASK]", "##[x]"), ("[",), ("[MASK]", "p\u3010ad")])
def test_special_pieces_that_a_text_can_spell_take_another_vocabulary(names: tuple[str, ...]) -> None:
    tokenizer = trained_here()
    assert layout.plain_backend(tokenizer._whole, json.loads(tokenizer._json), {*BERT, *names}) is None


@every
def test_the_mask_is_read_where_it_is_asked_for(kind: str) -> None:
    _, ours = made(kind)
    (end,) = ours.single_template.runs[1]
    text = f"The {ours.mask_token} river {ours.id_to_token(end)}"
    encoded = ours.encode(text, add_special_tokens=True)
    assert encoded.input_ids.count(ours.mask_token_id) == 1 and encoded.input_ids.count(end) == 1
    place = encoded.input_ids.index(ours.mask_token_id)
    start, stop = encoded.offsets[place]
    assert text[start:stop] == ours.mask_token
    without = ours.encode(text)
    assert ours.mask_token_id not in without.input_ids


@every
@settings(max_examples=25, deadline=None)
@given(first=TEXT, second=TEXT | st.none(), room=st.integers(2, 12))
def test_truncation_takes_from_the_longer_text(kind: str, first: str, second: str | None, room: int) -> None:
    _, ours = made(kind)
    frame = ours.single_template if second is None else ours.pair_template
    whole, cut = ours.encode(first, second), ours.encode(first, second, room + frame.size)
    parts = [ours.encode(text).input_ids[1:-1] for text in (first, second) if text is not None]
    while sum(map(len, parts)) > room:
        (parts[0] if len(parts) == 1 or len(parts[0]) > len(parts[1]) else parts[1]).pop()
    expected = list(frame.runs[0])
    for part, run in zip(parts, frame.runs[1:], strict=True):
        expected += [*part, *run]
    assert cut.input_ids == expected and cut.truncated == (len(whole.input_ids) > len(cut.input_ids))
    assert (
        len(
            {
                len(x)
                for x in (
                    cut.input_ids,
                    cut.token_type_ids,
                    cut.offsets,
                    cut.word_ids,
                    cut.special_tokens_mask,
                )
            }
        )
        == 1
    )
    none_left = frame.size + (0 if second is None else 1)
    with refused(f"max_length {none_left}", f"{none_left + 1} or more"):
        ours.encode(first, second, none_left)


@every
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    theirs, ours = made(kind)
    ours.save_pretrained(tmp_path)
    loaded = Tokenizer.from_pretrained(tmp_path)
    for again in (loaded, pickle.loads(pickle.dumps(ours))):
        assert again.sha256 == ours.sha256 and again.special_tokens == ours.special_tokens
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == theirs.to_str(), "as it came"
    assert (tmp_path / "vocab.txt").exists() == ("WordPiece" in kind)
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS[:4]:
        assert again.encode(text, text).ids == ours.encode(text, text).input_ids == loaded.encode(text, text).input_ids
        if not ours.tokenize_chinese_chars:  # else no blanks are put between them
            assert ours.decode(ours.encode(text).input_ids) == theirs.decode(theirs.encode(text).ids)


@every
def test_ids_that_stand_for_text(kind: str) -> None:
    _, ours = made(kind)
    ordinary = set(ours.text_token_ids.tolist())
    assert not ordinary & set(ours.all_special_ids)
    apart = {n for n, piece in enumerate(ours.tokens) if piece.startswith("[unused")}
    assert ordinary | set(ours.all_special_ids) | apart == set(range(ours.vocab_size))
    for text in TEXTS:
        assert set(ours.encode(text).input_ids) <= ordinary | set(ours.all_special_ids)
    assert {ours.pad_token_id, ours.cls_token_id, ours.sep_token_id, ours.mask_token_id} <= set(ours.all_special_ids)


def shown(kind: str, text: str) -> list[tuple[str, str, int | None]]:
    _, ours = made(kind)
    encoded = ours.encode(text)
    rows = zip(encoded.input_ids, encoded.offsets, encoded.word_ids, strict=True)
    return [(ours.display_token(number), text[a:b], word) for number, (a, b), word in rows][1:-1]


def test_places_and_words_by_example() -> None:
    assert shown("RoBERTa", " The river, 中") == [
        ("The", "The", 0),
        ("river", "river", 1),
        (",", ",", 2),
        ("▁", "", 3),
        ("中", "中", 3),
    ]
    half = shown("RoBERTa", "a 😀b")
    assert half[1:-1] == [(piece, "😀", 1) for piece, _, _ in half[1:-1]] and len(half) > 3
    for kind in ("XLM-R", "SentencePiece, not split"):
        found = shown(kind, "river, 中国 x")
        assert [text for _, text, _ in found if text][-1] == "x"
        words = {word: "".join(t for _, t, w in found if w == word) for *_, word in found}
        assert list(words.values())[:2] == ["river", ","], kind
        assert all(words.values()), "the marker of a blank belongs to the word after it"


def test_sentences_and_words_given() -> None:
    for kind in ("RoBERTa", "XLM-R", "SentencePiece, not split", "ALBERT"):
        _, ours = made(kind)
        text = "The river rose. Nobody knows why.中国人。人"
        ((ids, flags),) = ours.encode_texts([text])
        begins = [
            text[start:].strip()[:1]
            for (start, _), flag in zip(ours.encode(text).offsets[1:-1], flags.tolist(), strict=True)
            if flag & 2
        ]
        assert begins == ["T", "N", "人"] or begins == ["T", "N", "中", "人"], (kind, begins)
        ((same, inside),) = ours.encode_texts([text], lambda sentence: [sentence[:-2], sentence[-2:]])
        assert same.tolist() == ids.tolist() and (inside <= flags).all()


# What the files say, and what they lack


def saved(tmp_path: Path, kind: str, config: dict[str, Any] | None = None, **parts: Any) -> Path:
    content = {**json.loads(MAKERS[kind]().to_str()), **parts}
    write_json(tmp_path / "tokenizer.json", content)
    write_json(tmp_path / "tokenizer_config.json", config or {})
    return tmp_path


def test_special_pieces_are_found_in_each_place(tmp_path: Path) -> None:
    folder = saved(tmp_path, "odd WordPiece", {"pad_token": "PAD", "bos_token": "the"})
    write_json(folder / "special_tokens_map.json", {"mask_token": {"content": "MASK"}, "pad_token": "SEP"})
    loaded = Tokenizer.from_pretrained(folder)
    assert loaded.special_tokens == {
        "pad": "PAD",
        "unknown": "UNK",
        "cls": "CLS",
        "sep": "SEP",
        "mask": "MASK",
    }
    loaded.save_pretrained(tmp_path / "again")
    told = read_json(tmp_path / "again" / "tokenizer_config.json")["mask_token"]
    assert told == {"__type": "AddedToken", "content": "MASK"}, "as other libraries read it in this file"
    assert Tokenizer.from_pretrained(tmp_path / "again").special_tokens == loaded.special_tokens
    nothing = saved(tmp_path, "words", {"cls_token": "[CLS]"}, post_processor=None)
    write_json(folder / "special_tokens_map.json", {})
    framed = Tokenizer.from_pretrained(nothing)
    assert framed.encode("the", "the").token_type_ids == [0, 0, 0, 1, 1], "BERT's frame, where a file has none"


@pytest.mark.parametrize("where", ["added_tokens.json", "tokenizer_config.json"])
def test_pieces_that_were_added_to_a_list_are_read(where: str, tmp_path: Path) -> None:
    tokenizer = trained_here()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    count = tokenizer.vocab_size
    given: Any = {"[DATE]": count, "covfefe": count + 1}
    if where == "tokenizer_config.json":
        facts = {"special": False, "normalized": True}
        given = {"added_tokens_decoder": {str(n): {"content": piece, **facts} for piece, n in given.items()}}
        given["added_tokens_decoder"]["0"] = {"content": "[PAD]", "special": True}
    write_json(tmp_path / where, given)
    loaded = Tokenizer.from_pretrained(tmp_path)
    assert loaded.vocab_size == count + 2 and loaded.tokens[:count] == tokenizer.tokens
    assert loaded.encode("covfefe [DATE]").input_ids[1:-1] == [count + 1, count]
    assert loaded.all_special_ids == tokenizer.all_special_ids
    write_json(tmp_path / "tokenizer_config.json", {})
    word = next(piece for piece in tokenizer.tokens if piece.isalpha() and len(piece) > 1)
    write_json(tmp_path / "added_tokens.json", {word: tokenizer.token_to_id(word)})
    assert tokenizer.token_to_id(word) in Tokenizer.from_pretrained(tmp_path).encode(f"x{word}x").input_ids, (
        "kept whole, also inside"
    )
    write_json(tmp_path / "added_tokens.json", {"[DATE]": count, "covfefe": count + 1})
    listed = {str(count + 1): {"content": "covfefe", "special": False, "normalized": True}}
    write_json(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": listed})  # a part of them
    assert Tokenizer.from_pretrained(tmp_path).encode("covfefe [DATE]").input_ids[1:-1] == [count + 1, count]
    write_json(tmp_path / "tokenizer_config.json", {})
    for wrong in ({"covfefe": count + 5}, {word: count}):
        write_json(tmp_path / "added_tokens.json", wrong)
        ((token, number),) = wrong.items()
        with refused(tmp_path / "vocab.txt", f"{token!r} as {number}"):
            Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("added_tokens.json", content) for content in ([], "x", {"a": "x"}, {"a": None}, {"a": [1]})),
        *(
            ("tokenizer_config.json", {"added_tokens_decoder": given})
            for given in ([], 5, {"x": {}}, {"7": {}}, {"7": "a"})
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": {"7": {"content": 4}}}),
        ("tokenizer_config.json", {"strip_accents": [3]}),
        ("special_tokens_map.json", [1]),
    ],
)
def test_a_malformed_file_beside_a_list_is_named(name: str, content: Any, tmp_path: Path) -> None:
    trained_here().save_pretrained(tmp_path)
    for other in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / other).unlink()
    write_json(tmp_path / name, content)
    with refused(tmp_path / name):
        Tokenizer.from_pretrained(tmp_path)


def test_what_is_missing_or_does_not_fit_is_told(tmp_path: Path) -> None:
    template = json.loads(MAKERS["XLM-R"]().to_str())["post_processor"]
    first, second = template["single"][0], template["single"][1]
    wrong: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
        ("odd WordPiece", {}, {}, ["[PAD]", '"pad_token"']),
        ("odd WordPiece", {"pad_token": "[PAD]"}, {}, ["pad_token: '[PAD]'"]),
        ("RoBERTa", {}, {"post_processor": None, "added_tokens": []}, ["RoBERTa"]),
        ("XLM-R", {}, {"post_processor": {**template, "single": [second]}}, ["0 before"]),
        (
            "XLM-R",
            {},
            {"post_processor": {**template, "single": [first, first, second, first]}},
            ["2 before", "1 after"],
        ),
        ("XLM-R", {}, {"post_processor": {**template, "pair": template["single"]}}, ["special tokens"]),
        (
            "ALBERT",
            {},
            {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 9], "cls": ["[CLS]", 2]}},
            ["post_processor", "'[SEP]' as 9"],
        ),
    ]
    for kind, config, parts, names in wrong[:2] + wrong[3:]:
        with refused(tmp_path / "tokenizer.json", *names):
            Tokenizer.from_pretrained(saved(tmp_path, kind, config, **parts))


def test_a_vocabulary_that_does_not_fit_is_told(tmp_path: Path) -> None:
    for kind in ("RoBERTa", "XLM-R", "words"):
        model = json.loads(MAKERS[kind]().to_str())["model"]
        vocabulary = model["vocab"]
        holes = {**vocabulary, "new": 1000} if isinstance(vocabulary, dict) else [*vocabulary, vocabulary[-1]]
        with refused(tmp_path / "tokenizer.json", "0, 1, 2"):
            Tokenizer.from_pretrained(saved(tmp_path, kind, model={**model, "vocab": holes}))
    unknown = {**json.loads(MAKERS["words"]().to_str())["model"], "unk_token": "nothing"}
    with refused(tmp_path / "tokenizer.json", "tokenizers library"):
        Tokenizer.from_pretrained(saved(tmp_path, "words", model=unknown))
    unknown = {**json.loads(MAKERS["XLM-R"]().to_str())["model"], "unk_id": None}
    with refused(tmp_path / "tokenizer.json", "tokenizers library"):
        Tokenizer.from_pretrained(saved(tmp_path, "XLM-R", model=unknown))


def test_a_missing_mask_is_told_where_it_is_needed() -> None:
    content = json.loads(MAKERS["ALBERT"]().to_str())
    content["model"]["vocab"][4][0] = "▁mask"
    del content["added_tokens"][4]
    maskless = Tokenizer(json.dumps(content))
    assert maskless.encode("The river").input_ids[0] == maskless.cls_token_id
    with refused("[MASK]", '"mask_token"'):
        maskless.encode("x", add_special_tokens=True)


def test_roberta_from_vocabulary_and_merges(tmp_path: Path) -> None:
    theirs, ours = roberta(), made("RoBERTa")[1]
    model = json.loads(theirs.to_str())["model"]
    vocabulary = {**model["vocab"], "<mask>": len(model["vocab"])}
    write_json(tmp_path / "vocab.json", vocabulary)
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    for file in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        loaded = Tokenizer.from_pretrained(file)
        for text in TEXTS:
            assert loaded.encode(text, "x <mask>", add_special_tokens=True) == ours.encode(
                text, "x <mask>", add_special_tokens=True
            )
    loaded.save_pretrained(tmp_path / "saved")
    assert Tokenizer.from_pretrained(tmp_path / "saved").sha256 == loaded.sha256
    write_json(tmp_path / "tokenizer_config.json", {"add_prefix_space": True})
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert Tokenizer.from_pretrained(tmp_path).encode(TEXTS[0]).input_ids == theirs.encode(TEXTS[0]).ids
    for line, name in (("nothing here", "nothing"), ("one", f"line {len(model['merges']) + 1}")):
        (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}{line}\n", encoding="utf-8")
        with refused("merges.txt", name):
            Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "merges.txt").write_text("", encoding="utf-8")
    write_json(tmp_path / "vocab.json", {"a</w>": 0})
    with refused(tmp_path / "vocab.json", "</w>", "tokenizer.json"):
        Tokenizer.from_pretrained(tmp_path)
    write_json(tmp_path / "vocab.json", {"a": 0})
    with refused(tmp_path / "vocab.json", "<pad>", '"pad_token"'):
        Tokenizer.from_pretrained(tmp_path)


def test_a_model_of_sentencepiece_alone_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"")
    with refused(f"unmask tokenizer train FILES --output {tmp_path}") as caught:
        Tokenizer.from_pretrained(tmp_path)
    assert "tokenizer.json" in caught.value.facts["hint"]


def test_other_libraries_are_told_the_class_that_came(tmp_path: Path) -> None:
    config = {
        "tokenizer_class": "RobertaTokenizer",
        "model_max_length": 512,
        "name_or_path": "/home/someone",
        "auto_map": {"AutoTokenizer": ["code.py", None]},
        "mask_token": {"content": "<mask>", "lstrip": True},
    }
    folder = saved(tmp_path, "RoBERTa", config)
    Tokenizer.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    told = read_json(tmp_path / "saved" / "tokenizer_config.json")
    assert told == {
        "tokenizer_class": "RobertaTokenizer",
        "model_max_length": 512,
        "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": True},
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    }
    made("ALBERT")[1].save_pretrained(tmp_path / "other")
    assert read_json(tmp_path / "other" / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_pieces_are_shown_readably() -> None:
    _, byte_level = made("RoBERTa")
    number = byte_level.token_to_id("Ġthe")
    assert byte_level.token_text(number) == " the" and byte_level.display_token(number) == "the"
    assert byte_level.word_start[number] and byte_level.display_token(byte_level.token_to_id("Ġ")) == "▁"
    assert byte_level.token_text(byte_level.token_to_id("ä")) == "\\xe4"
    _, pieces = made("XLM-R")
    number = next(n for n, piece in enumerate(pieces.tokens) if piece.startswith("▁") and len(piece) > 1)
    assert pieces.token_text(number) == " " + pieces.display_token(number)
    assert made("end of word")[1].token_text(made("end of word")[1].token_to_id("the</w>")) == "the"
    assert {made(kind)[1].kind for kind in MAKERS} == {
        "byte-level BPE",
        "Unigram",
        "BPE",
        "WordPiece",
        "WordLevel",
    }
