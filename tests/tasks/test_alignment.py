"""Spans to tags of units and back, on strings of every script."""

import random
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from unmask.data.rows.example import Example, Span
from unmask.data.rows.tagged import join_tokens
from unmask.tasks.alignment import Tags, Words, align_words, chunk_bounds, misfit_remarks
from unmask.text.tokenizer import Tokenizer

LABELS = ["x", "y"]


def decode(words: Words, numbers: np.ndarray, labels: list[str]) -> tuple[Span, ...]:
    """The spans that tags stand for."""
    bounds = words.offsets.tolist()
    return tuple(
        Span(bounds[start][0], bounds[stop - 1][1], labels[(int(numbers[start]) - 1) // 2])
        for start, stop in chunk_bounds(numbers)
    )


SCRIPTS = (
    "the river caf\u00e9 cafe\u0301 stra\u00dfe \u0130stanbul na\u00efve can't e-mail 3,141 $5 #tag @me ... "
    "Привет мир Ελλάδα; שָׁלוֹם مَرْحَبًا क्या हिन्दीक् বাংলা ภาษาไทย 한국어 日本語です 中国人，同样。２００４年 ＡＢ "
    "a\u2260b \u200babc\u200b x\u00ady \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea "
    "\U00020000\U0002a6d6 [MASK] [SEP] ##ab "
    "a\x00b \ufffd \ufeffc"
)
PIECES = sorted(set(SCRIPTS.replace("\x00", "")))


def sentencepiece() -> Tokenizer:
    """XLM-R's kind: a word is what stands between blanks, so that a piece may hold the end of a unit."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=260,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        unk_token="<unk>",
        show_progress=False,
    )
    backend.train_from_iterator([SCRIPTS] * 3, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return Tokenizer(backend.to_str())


@pytest.fixture(scope="module", params=["lower case", "cased", "whole Chinese", "byte-level", "SentencePiece"])
def every_script(request: pytest.FixtureRequest, byte_level: Tokenizer) -> Tokenizer:
    if request.param in ("byte-level", "SentencePiece"):
        return byte_level if request.param == "byte-level" else sentencepiece()
    options = {
        "lower case": {},
        "cased": {"lowercase": False},
        "whole Chinese": {"tokenize_chinese_chars": False},
    }[request.param]
    return Tokenizer.train([SCRIPTS] * 3, vocab_size=260, allow_fewer=True, **options)


@st.composite
def texts(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.sampled_from([*SCRIPTS.split(), *PIECES, " ", "\u3000", "\n", "\u0301"])))
    return draw(st.sampled_from(["", " "])).join(words)


anything = st.one_of(texts(), st.text(max_size=30))


def spans_over(draw: st.DrawFn, bounds: list[tuple[int, int]]) -> list[Span]:
    """Random spans, apart from one another, each from the start of one to the stop of another."""
    cuts = sorted(draw(st.sets(st.integers(0, len(bounds)), max_size=8))) if bounds else []
    return [
        Span(bounds[i][0], bounds[j - 1][1], draw(st.sampled_from(LABELS)))
        for i, j in pairwise(cuts)
        if draw(st.booleans())
    ]


def bounds_of(units: Words) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop in units.offsets.tolist()]


@given(text=anything, data=st.data())
def test_spans_on_the_bounds_of_units_come_back(every_script: Tokenizer, text: str, data: st.DataObject) -> None:
    units = align_words(text, every_script.encode(text))
    spans = data.draw(st.composite(spans_over)(bounds_of(units)))
    tags, misfits = Tags(LABELS).encode(units, spans)
    assert misfits == []
    assert decode(units, tags, LABELS) == tuple(spans)


@given(text=anything)
def test_units_are_apart_and_hold_all_that_is_not_white_space(every_script: Tokenizer, text: str) -> None:
    encoded = every_script.encode(text)
    units = align_words(text, encoded)
    bounds = bounds_of(units)
    assert all(start < stop for start, stop in bounds)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(bounds))
    assert all(a <= c < d <= b for (a, b), (c, d) in zip(bounds, units.core_offsets.tolist(), strict=True))
    assert not any(text[start].isspace() or text[stop - 1].isspace() for start, stop in bounds)
    for (_, stop), (start, _) in pairwise(bounds):
        gap = text[stop:start]
        # what stands between two spaces and is wholly dropped belongs to nobody
        assert gap == "" or (gap[0].isspace() and gap[-1].isspace())
    firsts = units.first_tokens.tolist()
    assert firsts[0] == 1 or not bounds
    assert all(a < b for a, b in pairwise(firsts)) and firsts[-1] == (len(encoded.input_ids) - 1 if bounds else 1)
    assert (units.tokens == -1).all()


@given(
    words=st.lists(st.one_of(st.sampled_from(SCRIPTS.split()), st.text(min_size=1, max_size=4)), min_size=1),
    data=st.data(),
)
def test_spans_over_given_tokens_come_back(every_script: Tokenizer, words: list[str], data: st.DataObject) -> None:
    """Whatever the tokenizer does inside a token. A token whose characters are dropped carries no tag."""
    text, bounds = join_tokens(words)
    units = align_words(text, every_script.encode(text), bounds)
    present = set(units.tokens.tolist())
    assert -1 not in present
    with_units = [bound for number, bound in enumerate(bounds) if number in present]
    spans = data.draw(st.composite(spans_over)(with_units))
    tags, misfits = Tags(LABELS).encode(units, spans)
    assert misfits == []
    assert decode(units, tags, LABELS) == tuple(spans)


@given(words=st.lists(st.sampled_from(SCRIPTS.split()), min_size=1), data=st.data())
def test_plain_tags_of_given_tokens_come_back(every_script: Tokenizer, words: list[str], data: st.DataObject) -> None:
    text, bounds = join_tokens(words)
    units = align_words(text, every_script.encode(text), bounds)
    labels = data.draw(st.lists(st.sampled_from(LABELS), min_size=len(words), max_size=len(words)))
    tags = Tags(LABELS)
    spans = [Span(*bound, label) for bound, label in zip(bounds, labels, strict=True)]
    numbers, misfits = tags.encode(units, spans)
    lost = {span for span, _ in misfits}
    assert decode(units, numbers, LABELS) == tuple(span for span in spans if span not in lost)
    assert all(reason == "without a token" for _, reason in misfits)
    assert tags.allowed(units, plain=True)[np.arange(len(units)), numbers].all()


@given(anything, st.data())
def test_the_grammar_allows_what_spans_give_and_nothing_else(
    tokenizer: Tokenizer, text: str, data: st.DataObject
) -> None:
    """Tags that keep the rules are those that decoding and encoding leave as they are."""
    units = align_words(text, tokenizer.encode(text))
    tags = Tags(LABELS)
    drawn = data.draw(st.lists(st.integers(0, 4), min_size=len(units), max_size=len(units)))
    again, misfits = tags.encode(units, decode(units, np.array(drawn, dtype=np.int64), LABELS))
    kept = all(tags.follows[a, b] for a, b in pairwise(drawn)) and all(tags.start[drawn[:1]])
    assert misfits == [] and (again.tolist() == drawn) == kept


def test_names_and_masks_of_tags() -> None:
    tags = Tags(["LOC", "PER"])
    assert tags.tags == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"] and len(tags) == 5
    assert tags.start.tolist() == [True, True, False, True, False]

    def pairs(mask: np.ndarray) -> set[str]:
        return {f"{tags.tags[i]} {tags.tags[j]}" for i, j in np.argwhere(mask).tolist()}

    inside = {"B-LOC I-LOC", "I-LOC I-LOC", "B-PER I-PER", "I-PER I-PER"}
    assert pairs(tags.within) == {"O O"} | inside
    assert pairs(tags.follows) == inside | {
        f"{name} {after}" for name in tags.tags for after in ("O", "B-LOC", "B-PER")
    }


def units(text: str, tokenizer: Tokenizer, tokens: list[tuple[int, int]] | None = None) -> Words:
    return align_words(text, tokenizer.encode(text), tokens)


def test_what_units_may_carry(tokenizer: Tokenizer) -> None:
    tags = Tags(["x"])  # O B-x I-x
    given_tokens = units("river-stone wind", tokenizer, [(0, 11), (12, 16)])
    assert bounds_of(given_tokens) == [(0, 5), (5, 6), (6, 11), (12, 16)]
    assert given_tokens.tokens.tolist() == [0, 0, 0, 1]
    assert given_tokens.joined.tolist() == [False, True, True, False]
    assert tags.allowed(given_tokens, plain=True).astype(int).tolist() == [
        [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0],
    ]  # fmt: skip
    assert tags.allowed(given_tokens, plain=False).astype(int).tolist() == [
        [1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 1, 1],
    ]  # fmt: skip
    assert tags.allowed(units("river-stone wind", tokenizer), plain=True).all()
    assert decode(given_tokens, np.array([1, 2, 2, 0]), ["x"]) == (Span(0, 11, "x"),)


def test_units_are_cut_where_a_given_token_ends(tokenizer: Tokenizer) -> None:
    """A piece that reaches over the end of a token belongs to the token in which it begins."""
    text = "riverstone"
    offsets = [offset for offset in tokenizer.encode(text).offsets if offset != (0, 0)]
    assert len(offsets) > 2  # several pieces, one word
    assert len(units(text, tokenizer)) == 1
    cut = offsets[1][0]
    found = units(text, tokenizer, [(0, cut), (cut, 10)])
    assert bounds_of(found) == [(0, cut), (cut, 10)] and found.tokens.tolist() == [0, 1]
    whole = next(stop for start, stop in offsets if stop - start > 1)
    found = units(text, tokenizer, [(0, whole - 1), (whole - 1, whole), (whole, 10)])
    assert found.tokens.tolist() == [0, 2] and bounds_of(found) == [(0, whole - 1), (whole, 10)]
    _, misfits = Tags(["x"]).encode(found, [Span(whole - 1, whole, "x")])
    assert [reason for _, reason in misfits] == ["without a token"]


@pytest.mark.parametrize(
    ("spans", "reason", "left"),
    [
        ([Span(0, 3, "x")], "cut through a word", []),
        ([Span(2, 11, "x")], "cut through a word", []),
        ([Span(5, 6, "x")], "without a token", []),
        ([Span(3, 3, "x")], "cut through a word", []),
        ([Span(0, 11, "x"), Span(6, 16, "x")], "overlapping", [Span(0, 11, "x")]),
        ([Span(6, 11, "x"), Span(99, 101, "x")], "without a token", [Span(6, 11, "x")]),
    ],
)
def test_what_cannot_be_aligned(tokenizer: Tokenizer, spans: list[Span], reason: str, left: list[Span]) -> None:
    found = units("river stone wind", tokenizer)
    tags, misfits = Tags(["x"]).encode(found, spans)
    assert [reason for _, reason in misfits] == [reason]
    assert decode(found, tags, ["x"]) == tuple(left)


def test_white_space_and_dropped_characters_at_the_ends_of_a_span(tokenizer: Tokenizer) -> None:
    found = units(" cafe\u0301\u200b  wind ", tokenizer)
    assert bounds_of(found) == [(1, 7), (9, 13)]
    for start, stop in [(0, 8), (1, 5), (1, 6), (1, 7)]:
        tags, misfits = Tags(["x"]).encode(found, [Span(start, stop, "x")])
        assert misfits == [] and decode(found, tags, ["x"]) == (Span(1, 7, "x"),)


def test_a_text_of_100_000_words(tokenizer: Tokenizer) -> None:
    text = "a b " * 50_000
    found = units(text, tokenizer)
    spans = [Span(4 * number, 4 * number + 3, "x") for number in range(0, 50_000, 2)]
    tags, misfits = Tags(["x"]).encode(found, spans)
    assert len(found) == 100_000 and misfits == []
    assert decode(found, tags, ["x"]) == tuple(spans)


def test_no_text_has_no_units(tokenizer: Tokenizer) -> None:
    for text in ("", "  \n", "\u0301"):
        found = units(text, tokenizer)
        assert len(found) == 0 and found.first_tokens.tolist() == [1] and found.joined.tolist() == []
        assert Tags(["x"]).allowed(found, plain=True).shape == (0, 3)


def test_misfits_are_counted_and_the_first_are_shown(tokenizer: Tokenizer) -> None:
    misfits, draw = [], random.Random(0)
    for line in range(1, 6):
        example = Example("river stone wind", None, None, "1", line, "a.jsonl")
        spans = [Span(0, 3, "x")] + ([Span(20, 99, "y")] if line == 2 else [])
        draw.shuffle(spans)
        wrong = Tags(LABELS).encode(units(example.text, tokenizer), spans)[1]
        misfits += [(example, misfit) for misfit in wrong]
    assert list(misfit_remarks(misfits, 20)) == [
        "5 of 20 spans not aligned: cut through a word (the first: a.jsonl, line 1: 'riv' (x))",
        "1 of 20 spans not aligned: without a token (the first: a.jsonl, line 2: '' (y))",
    ]
