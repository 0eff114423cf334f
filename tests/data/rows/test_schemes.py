"""Tags to chunks against the rules of the official scorer as it states them, for random tags of every scheme."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.rows import schemes
from unmask.data.rows.schemes import SchemeName

LETTERS: dict[SchemeName, str] = {"BIO": "BI", "IOB1": "BI", "BIOES": "BIES"}
CHUNKED: list[SchemeName] = ["BIO", "IOB1", "BIOES"]


def end_of_chunk(before: str, tag: str, label_before: str, label: str) -> bool:
    """The rules of conlleval, one for each pair of letters, with those for S that later versions add."""
    pairs = {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}
    ended = before in ("E", "S") or (before, tag) in pairs
    return ended or (before != "O" and label_before != label)


def start_of_chunk(before: str, tag: str, label_before: str, label: str) -> bool:
    pairs = {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")}
    started = tag in ("B", "S") or (before, tag) in pairs
    return started or (tag != "O" and label_before != label)


def official(tags: Sequence[tuple[str, str]]) -> list[tuple[int, int, str]]:
    """Chunks by asking before every token, and after the last, whether one ends and whether one starts."""
    found, begun = [], None
    before, label_before = "O", ""
    for place, (tag, label) in enumerate([*tags, ("O", "")]):
        if begun is not None and end_of_chunk(before, tag, label_before, label):
            found.append((begun, place, label_before))
            begun = None
        if start_of_chunk(before, tag, label_before, label):
            begun = place
        before, label_before = tag, label
    return found


@st.composite
def letters_and_labels(draw: st.DrawFn) -> list[tuple[str, str]]:
    tag = st.one_of(st.just(("O", "")), st.tuples(st.sampled_from("BIES"), st.sampled_from(["x", "y"])))
    return draw(st.lists(tag, max_size=12))


@st.composite
def chunked(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, str]]]:
    """A number of tokens, and chunks in it."""
    cuts = sorted(set(draw(st.lists(st.integers(0, 15), max_size=12))))
    found = []
    for start, stop in pairwise(cuts):
        label = draw(st.sampled_from(["x", "y", None]))
        if label is not None:
            found.append((start, stop, label))
    return 15, found


@given(letters_and_labels())
def test_chunks_are_those_of_the_official_rules(tags: list[tuple[str, str]]) -> None:
    assert schemes.chunks(tags) == official(tags)


@pytest.mark.parametrize("scheme", CHUNKED)
@given(data=chunked())
def test_tags_that_are_written_are_read_again_and_keep_the_rules(
    scheme: SchemeName, data: tuple[int, list[tuple[int, int, str]]]
) -> None:
    tokens, found = data
    written = schemes.write_tags(tokens, found, scheme)
    read = schemes.scheme_tags(written, scheme)
    tags = [read[tag] or ("?", "") for tag in written]
    assert schemes.chunks(tags) == found == official(tags)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("B-x I-x O B-y", "BIO"),
        ("I-x I-x O I-y", "IOB1"),
        ("I-x B-x O I-y", "IOB1"),
        ("I-x I-y B-y", "IOB1"),
        ("B-x O B-x I-x I-y", "BIO"),
        ("O O O", "BIO"),
        ("B-x E-x S-y O", "BIOES"),
        ("B-x M-x E-x", "BIOES"),
        ("B-x L-x U-y O", "BIOES"),
        ("B M E S", "BIOES"),
        ("B I O", "BIO"),
        ("B_x I_x O", "BIO"),
        ("NOUN VERB", "plain"),
        ("M N O", "plain"),
        ("O PER LOC", "plain"),
        ("B-x I-x O LOC", "BIO"),
        ("B-x LOC PER ORG", "plain"),
    ],
)
def test_the_scheme_is_found_out(tags: str, scheme: str) -> None:
    assert schemes.detect_scheme([tags.split()]) == scheme
    assert schemes.detect_scheme([["O"], tags.split(), []]) == scheme


@pytest.mark.parametrize(
    ("tags", "meant"),
    [
        ("B-x M-x E-x S-x O", [("B", "x"), ("I", "x"), ("E", "x"), ("S", "x"), ("O", "")]),
        ("B-x I-x L-x U-x O", [("B", "x"), ("I", "x"), ("E", "x"), ("S", "x"), ("O", "")]),
        ("B M E S", [("B", "chunk"), ("I", "chunk"), ("E", "chunk"), ("S", "chunk")]),
        ("B-creative-work I-PER.NAM", [("B", "creative-work"), ("I", "PER.NAM")]),
        ("B- X-x b-x B O-x E", [None, None, None, None, None, None]),
    ],
)
def test_letters_stand_for_those_of_bioes(tags: str, meant: list[tuple[str, str] | None]) -> None:
    read = schemes.scheme_tags(tags.split(), "BIOES")
    assert [read[tag] for tag in tags.split()] == meant
    assert schemes.scheme_tags(["M-x", "S-x", "I-x"], "BIO") == {"M-x": None, "S-x": None, "I-x": ("I", "x")}


def test_plain_tags_stand_for_themselves() -> None:
    read = schemes.scheme_tags(["B-x", "O", "NN"], "plain")
    assert read == {"B-x": ("S", "B-x"), "NN": ("S", "NN"), "O": ("S", "O")}
    assert schemes.write_tags(3, [(0, 1, "DT"), (1, 2, "NN"), (2, 3, "NN")], "plain") == ["DT", "NN", "NN"]


def test_long_sentences_take_linear_time() -> None:
    draw = random.Random(1)
    tags = [draw.choice([("B", "x"), ("I", "x"), ("O", "")]) for _ in range(100_000)]
    assert schemes.chunks(tags) == official(tags)
