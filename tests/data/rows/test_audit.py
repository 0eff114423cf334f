"""Leaks, contradictions and duplicates, against brute force over all pairs of rows."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.rows.example import Example, Labels, Span, Spans
from unmask.data.rows.leaks import contradictions, duplicates, key_of, leaks, same_ids, without_rows

TEXTS = st.sampled_from(["a", "A", " a ", "ａ", "b c", "B\u3000C", "b\nc", "bc", "你好", "你 好", "ﬁn", "fin"])
EXAMPLES = st.lists(
    st.builds(
        lambda text, pair, label, number: Example(text, pair, label, number, int(number), "f"),
        text=TEXTS,
        pair=st.sampled_from([None, None, "x", "X"]),
        label=st.sampled_from(["yes", "no", None]),
        number=st.integers(1, 9).map(str),
    ),
    max_size=14,
)


def written_out(example: Example) -> tuple[str, ...]:
    """The definition, step by step."""
    texts = [example.text] if example.pair is None else [example.text, example.pair]
    steps = []
    for text in texts:
        wide = unicodedata.normalize("NFKC", text)
        steps.append(" ".join(wide.lower().split()))
    return tuple(steps)


@given(train=EXAMPLES, heldout=EXAMPLES)
def test_leaks_are_what_sets_say(train: list[Example], heldout: list[Example]) -> None:
    finding = leaks(train, heldout)
    there = {written_out(example) for example in train}
    assert list(finding.numbers) == [n for n, e in enumerate(heldout) if written_out(e) in there]
    kept = without_rows(train, leaks(heldout, train).numbers)
    assert leaks(kept, heldout).rows == 0
    assert len(kept) == sum(written_out(e) not in {written_out(h) for h in heldout} for e in train)


@given(examples=EXAMPLES)
def test_duplicates_are_what_is_left_of_the_different(examples: list[Example]) -> None:
    assert len(examples) - duplicates(examples).rows == len({written_out(example) for example in examples})


@given(examples=EXAMPLES)
def test_contradictions_are_pairs_of_one_text_and_two_labels(examples: list[Example]) -> None:
    labelled = [(n, e) for n, e in enumerate(examples) if e.label is not None]
    texts = {
        written_out(one)
        for _, one in labelled
        for _, other in labelled
        if written_out(one) == written_out(other) and one.label != other.label
    }
    finding = contradictions(examples)
    assert list(finding.numbers) == [n for n, e in labelled if written_out(e) in texts]
    assert bool(finding.first) == bool(texts)
    assert contradictions(without_rows(examples, finding.numbers)).rows == 0


@given(examples=EXAMPLES)
def test_ids_that_stand_twice(examples: list[Example]) -> None:
    counts = Counter(example.id for example in examples)
    assert same_ids(examples).rows <= sum(count - 1 for count in counts.values())


def test_the_first_places_are_shown() -> None:
    train = [
        Example("One text", None, "a", "1", 2, "train.csv"),
        Example("x", None, "a", "2", 5, "train.csv"),
    ]
    test = [Example("ONE  TEXT", None, "b", "1", 7, "test.csv")]
    assert leaks(train, test).places == "test.csv, line 7 and train.csv, line 2"
    both = contradictions([*train, *test])
    assert both.places == "test.csv, line 7: b and train.csv, line 2: a" and both.rows == 2


@pytest.mark.parametrize(("spans", "rows"), [(((0, 3, "PER"),), 0), (((0, 3, "LOC"),), 2), ((), 2), (None, 0)])
def test_spans_contradict_each_other_too(spans: tuple[tuple[int, int, str], ...] | None, rows: int) -> None:
    other = None if spans is None else tuple(Span(*span) for span in spans)
    examples = [
        Example("Ada", None, Spans((Span(0, 3, "PER"),)), "1", 1, "f"),
        Example("Ada", None, None if other is None else Spans(other), "2", 2, "f"),
    ]
    assert contradictions(examples).rows == rows


def test_sets_of_labels_and_numbers_are_compared_as_a_whole() -> None:
    def rows(*truths: tuple[str, ...] | float) -> list[Example]:
        return [
            Example("x", None, Labels(truth) if isinstance(truth, tuple) else truth, "", line, "f")
            for line, truth in enumerate(truths, 1)
        ]

    assert contradictions(rows(("a", "b"), ("a", "b"))).rows == contradictions(rows(1.0, 1.0)).rows == 0
    assert contradictions(rows(("a", "b"), ())).places == "f, line 2: - and f, line 1: a, b"
    assert contradictions(rows(1.0, 2.5)).places == "f, line 2: 2.5 and f, line 1: 1.0"


def test_one_text_is_not_a_pair() -> None:
    assert key_of(Example("a", None, None, "", 1, "f")) != key_of(Example("a", "", None, "", 1, "f"))
