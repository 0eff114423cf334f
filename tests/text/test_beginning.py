"""The beginning of a long text, which is all that is tokenised where the rest is cut off."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_kinds import TEXT, every, made, trained_here

from unmask.text.public import beginning
from unmask.text.tokenizer import Tokenizer

BEGINNINGS = st.lists(
    st.sampled_from(
        [
            "word ",
            "a b ",
            "don't",
            "the river\n",
            "\t",
            "  ",
            " \u3000",
            "\r\n",
            "12 3",
            "中国",
            "人",
            "한국어 ",
            "日本の",
        ]
    )
    | st.sampled_from(
        [
            "e\u0301",
            " \u0301",
            "\u093f ",
            "\ud800",
            "\udfff a",
            "x" * 40,
            "y" * 300,
            " " * 200,
            "[MASK]",
            "<<a>>.",
            "a,b;c",
            " ``",
            "[E1]",
            "\U0010ffff",
            "\u0d4e ",
        ]
    )
    | TEXT,
    max_size=60,
).map("".join)


@every
@settings(max_examples=60, deadline=None)
@given(first=BEGINNINGS, second=BEGINNINGS | st.none(), room=st.integers(6, 12))
def test_the_beginning_of_a_long_text_has_the_tokens_of_the_whole(
    kind: str, first: str, second: str | None, room: int
) -> None:
    _, ours = made(kind)
    check_beginning(ours, first, second, room)


@settings(max_examples=200, deadline=None)
@given(first=BEGINNINGS, second=BEGINNINGS | st.none(), room=st.integers(6, 12))
def test_the_beginning_of_a_long_text_has_the_tokens_of_the_whole_in_bert(
    first: str, second: str | None, room: int
) -> None:
    check_beginning(trained_here(), first, second, room)


def check_beginning(ours: Tokenizer, first: str, second: str | None, room: int) -> None:
    """Against a tokenizer that is told to read whole texts."""
    whole = Tokenizer(ours._description, config=ours._config)
    whole.__dict__["_safe_cut"] = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning, "CHARACTERS_PER_TOKEN", 1)
        patch.setattr(beginning, "_LONGEST_RUN", 110)
        patch.setattr(beginning, "_LONG_RUN", re.compile("[A-Za-z0-9]{110,}|[ \t\n\r]{110,}"))
        patch.setattr(beginning, "_IN_LONG_RUN", "(?<=[A-Za-z0-9]{110})|(?<=[ \t\n\r]{110})")
        found = ours.encode(first, second, room)
        arrays, truncated = ours.encode_arrays([first], [second], room)
    expected = whole.encode(first, second, room)
    assert found == expected
    ((ids, types, flags),) = arrays
    assert ids.tolist() == expected.input_ids and types.tolist() == expected.token_type_ids
    assert (flags > 0).tolist() == expected.special_tokens_mask and truncated == expected.truncated


def test_of_a_long_text_only_the_beginning_is_tokenised(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = beginning._beginning
    monkeypatch.setattr(beginning, "_beginning", lambda *a: read.append(len(part := real(*a))) or part)
    for ours in (trained_here(), made("RoBERTa")[1], made("XLM-R")[1], made("ALBERT")[1]):
        for text in ("The river flows north, past the old mill. " * 20_000, "one 2 " * 100_000):
            assert len(ours.encode(text, max_length=32).input_ids) == 32
    assert max(read) < 1100
    assert len(trained_here().encode("中国人在河边看书" * 50_000, max_length=32).input_ids) == 32
    assert read[-1] < 1100
    for kind in ("SentencePiece, not split", "bytes for what is unknown"):  # nothing says that a cut is safe
        assert made(kind)[1]._safe_cut is None
