"""Sampling: the expected share, the same choice in any order, balance against brute-force water-filling."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.data.corpus.documents import Document
from unmask.data.corpus.sample import parse_share, sample_documents, shares


def items(counts: dict[str, int]) -> list[Document]:
    return [Document("text", source, number) for source, count in counts.items() for number in range(count)]


def count_by_source(documents: Iterable[Document]) -> Counter[str]:
    return Counter(document.source for document in documents)


@pytest.mark.parametrize(
    ("given_", "share"),
    [("20%", 0.2), ("0.2", 0.2), ("100%", 1.0), (" 12.5 % ", 0.125), ("1", 1.0)],
)
def test_a_share_is_a_percentage_or_a_fraction(given_: str, share: float) -> None:
    assert parse_share(given_) == pytest.approx(share)


@pytest.mark.parametrize("wrong", ["0", "0%", "101%", "-0.1", "20", "a fifth", "nan", "", "%"])
def test_anything_else_is_refused(wrong: str) -> None:
    with refused(repr(wrong), "20%", "0.2"):
        parse_share(wrong)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_uniform_keeps_the_expected_share_of_every_source(share: float) -> None:
    kept = count_by_source(sample_documents(items({"a": 4000, "b": 16000}), share, seed=3))
    for source, count in {"a": 4000, "b": 16000}.items():
        deviation = (count * share * (1 - share)) ** 0.5
        assert abs(kept[source] - count * share) < 4.5 * deviation


def test_everything_is_kept_of_a_whole() -> None:
    given_ = items({"a": 500, "b": 3})
    assert list(sample_documents(given_, 1.0)) == given_
    assert list(sample_documents(given_, 1.0, by="source", counts=count_by_source(given_))) == given_


@given(st.randoms(), st.integers(0, 2**40), st.floats(0.05, 1), st.sampled_from(["uniform", "source"]))
def test_the_choice_does_not_depend_on_order(random, seed, share, by) -> None:
    given_ = items({"a": 30, "b": 7, "c.txt": 90})
    shuffled = random.sample(given_, len(given_))
    first, second = (
        set(sample_documents(some, share, by=by, seed=seed, counts=count_by_source(some)))
        for some in (given_, shuffled)
    )
    assert first == second


def test_the_seed_and_the_source_change_the_choice_and_a_smaller_share_is_a_part() -> None:
    given_ = items({"a": 1000, "b": 1000})
    first, second = (list(sample_documents(given_, 0.5, seed=seed)) for seed in (0, 1))
    assert first != second
    numbers = [{item.number for item in first if item.source == source} for source in ("a", "b")]
    assert numbers[0] != numbers[1]
    assert set(sample_documents(given_, 0.2)) < set(first)


def test_the_choice_is_the_same_on_every_machine() -> None:
    # [:7] of blake2b("0\0a\0<number>") over 2**56, below 0.3: a change here changes every corpus built before
    assert [item.number for item in sample_documents(items({"a": 20}), 0.3)] == CHOSEN


CHOSEN = [7, 8, 9, 12, 13, 17, 19]


@given(
    st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 60), min_size=1, max_size=6),
    st.floats(0.01, 1),
)
def test_shares_are_those_of_water_filling(counts: dict[str, int], share: float) -> None:
    wanted = share * sum(counts.values())
    low, high = 0.0, float(max(counts.values()))  # the level by bisection, an independent way
    for _ in range(100):
        level = (low + high) / 2
        low, high = (level, high) if sum(min(c, level) for c in counts.values()) < wanted else (low, level)
    found = shares(counts, share)
    for source, count in counts.items():
        assert found[source] == pytest.approx(min(count, high) / count, abs=1e-9)
    assert sum(found[s] * c for s, c in counts.items()) == pytest.approx(wanted)


def test_by_source_keeps_small_sources_whole_and_levels_large_ones() -> None:
    given_ = items({"small": 300, "middle": 5000, "large": 20000})
    kept = count_by_source(sample_documents(given_, 0.2, by="source", counts=count_by_source(given_)))
    assert kept["small"] == 300
    level = (0.2 * 25300 - 300) / 2
    assert abs(kept["middle"] - level) < 160
    assert abs(kept["large"] - level) < 210


def test_by_source_needs_counts() -> None:
    with refused("source", "standard input", "uniform"):
        sample_documents(items({"a": 10, "b": 20}), 0.5, by="source")


def test_an_unknown_way_is_refused() -> None:
    with refused("'size'", "uniform, source"):
        sample_documents([], 0.5, by="size")
