"""Spans that do not begin and end with words, with a tokenizer and without, and the unit in which they would."""

from typing import Any

import pytest

from errors import refused
from reading import rows_of
from unmask.data.rows.example import Example
from unmask.data.rows.offsets import Unit
from unmask.data.rows.readers.memory import MemoryRows
from unmask.evaluate.datacheck import check_data
from unmask.tasks.span_check import alignment_problems, check_alignment
from unmask.text.tokenizer import Tokenizer

FIRE = "\U0001f469\u200d\U0001f692"
COUNTS = {
    "utf-16": lambda before: len(before.encode("utf-16-le")) // 2,
    "bytes": lambda before: len(before.encode()),
    "characters": lambda before: len(before.replace("\r\n", "\n")),
}
CASES = {
    "utf-16": (f"{FIRE} Anna Berg lives in Lyon", "Anna Berg", Unit("utf-16")),
    "bytes": ("Zo\xeb: Anna Berg lives in Lyon", "Anna Berg", Unit("bytes")),
    "characters": ("Zo\xeb\r\nAnna Berg lives in Lyon", "Anna Berg", Unit(crlf=True)),
}


def examples(*rows: tuple[str, list[Any]], **options: Any) -> list[Example]:
    named = [{"text": text, "spans": spans} for text, spans in rows]
    return rows_of(MemoryRows(named, "rows"), "tags", **options).examples


def misread(unit: str, rows: int = 3) -> list[Example]:
    """Rows whose offsets are in another unit than they are read in."""
    text, word, _ = CASES[unit]
    count, place = COUNTS[unit], text.index(word)
    return examples(*[(text, [[count(text[:place]), count(text[: place + len(word)]), "PER"]])] * rows)


@pytest.mark.parametrize("name", CASES)
def test_the_unit_in_which_all_spans_align(tokenizer: Tokenizer, name: str) -> None:
    for words_of in (tokenizer, None):
        problems = alignment_problems(misread(name), words_of)
        assert (problems.spans, problems.count, problems.numbers) == (3, 3, (0, 1, 2))
        assert problems.unit == CASES[name][2] and problems.are_most and problems.first.startswith("rows, line 1: ")
    option = f"span_offsets={name!r}" if name != "characters" else "\\r\\n"
    with refused("rows", "3 of 3", "rows, line 1", option):
        check_alignment(misread(name), tokenizer)


def test_the_last_character_in_place_of_the_end(tokenizer: Tokenizer) -> None:
    rows = examples(("Anna Berg lives", [[0, 8, "PER"]]), ("in Lyon", [[3, 6, "LOC"]]))
    assert alignment_problems(rows).unit == Unit(inclusive=True)
    with refused("2 of 2", "'Anna Ber' (PER)"):
        check_alignment(rows, tokenizer)


def test_spans_that_no_unit_mends(tokenizer: Tokenizer) -> None:
    rows = examples(("Anna Berg lives", [[1, 7, "PER"]]), ("in Lyon", [[0, 2, "X"], [4, 6, "LOC"]]))
    problems = alignment_problems(rows)
    assert (problems.spans, problems.count, problems.unit) == (3, 2, None)
    with refused("2 of 3", "'nna Be' (PER)", "check the offsets"):
        check_alignment(rows, tokenizer)


def test_few_spans_are_no_error_but_a_unit_that_fits_all_is_named(tokenizer: Tokenizer) -> None:
    fine = [("Anna lives", [[0, 4, "PER"]])] * 3
    text, word, _ = CASES["utf-16"]
    place = len(text[: text.index(word)].encode("utf-16-le")) // 2
    rows = examples(*fine, (text, [[place, place + len(word), "PER"]]))
    assert "span_offsets='utf-16'" in (check_alignment(rows, tokenizer) or "")
    assert check_alignment(examples(*fine, ("Anna lives", [[1, 4, "PER"]])), tokenizer) is None
    assert check_alignment(examples(*fine), tokenizer) is None
    half = examples(fine[0], ("Anna lives", [[1, 4, "PER"]]))
    assert alignment_problems(half).count == 1 and check_alignment(half, tokenizer) is None


def test_white_space_that_reading_took_off_is_thought_of() -> None:
    """In UTF-16 the first span is `Lyon`; read as characters it is ` is `, without its blanks."""
    four = "\U0001f600" * 4
    rows = examples((f"{four} Lyon is big", [[9, 13, "LOC"]]), ("a\U0001f600 bc d", [[4, 6, "X"]]))
    assert [(one.start, one.end) for row in rows for one in row.spans or ()] == [(10, 12), (4, 5)]
    problems = alignment_problems(rows)
    assert problems.numbers == (1,) and problems.unit == Unit("utf-16")


def test_rows_with_given_tokens_are_left_out(tokenizer: Tokenizer) -> None:
    rows = rows_of(MemoryRows([{"tokens": ["\u200b", "ab"], "ner_tags": ["B-X", "O"]}], "rows"), "tags").examples
    assert alignment_problems(rows).spans == 0 and check_alignment(rows, tokenizer) is None


def test_chinese_characters_and_punctuation_are_words() -> None:
    assert (
        alignment_problems(examples(("王小明住在上海。Rock'n", [[1, 3, "X"], [7, 8, "X"], [12, 13, "X"]]))).count == 0
    )


@pytest.mark.parametrize("name", CASES)
def test_a_check_of_files_finds_them(name: str) -> None:
    text = CASES[name][0]
    clean = examples((text, [[len(text) - 4, len(text), "PER"]]))
    found = check_data({"train": clean, "test": misread(name)})
    assert [key for key in found.biasing if key[0] == "misaligned"] == [("misaligned", "test")]
    one = found.biasing["misaligned", "test"]
    assert one.rows == 3 and one.places.startswith("rows, line 1: ")
    few = check_data({"train": [*clean, *clean, *examples(("Anna lives", [[1, 4, "PER"]]))]})
    assert ("misaligned", "train") in few.others and ("misaligned", "train") not in few.biasing
