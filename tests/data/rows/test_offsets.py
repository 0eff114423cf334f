"""Offsets of spans in any unit: detected by the text beside the spans, or named by the setting."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import rows_of, tagged_of
from unmask.data.rows.example import Example
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import Rows, read_rows
from unmask.data.rows.readers.memory import MemoryRows
from unmask.data.rows.write import row_of

# independent of the code: what stands before a place is encoded, and its length counted
UNITS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "utf-16": lambda before: len(before.encode("utf-16-le")) // 2,
    "crlf": lambda before: len(before.replace("\r\n", "\n")),
    "utf-16 crlf": lambda before: len(before.replace("\r\n", "\n").encode("utf-16-le")) // 2,
    "bytes": lambda before: len(before.encode()),
}
TEXTS = {
    "emoji": "\U0001f469\u200d\U0001f692 Anna Berg\r\nlives in \U0001f600 Lyon",
    "Chinese": "\U00020bb7\r\n王小明住在\U0001f3e0上海市区。",
    "accents": "Zoë\r\n\U0001f1eb\U0001f1f7 Müller ist in Köln",
}
SPANS = {"emoji": ("Anna Berg", "Lyon"), "Chinese": ("王小明", "上海"), "accents": ("Müller", "Köln")}


def span(text: str, start: int, end: int, unit: str, inclusive: bool = False, key: str | None = "text") -> dict:
    count = UNITS[unit]
    made: dict[str, Any] = {"start": count(text[:start]), "end": count(text[:end]) - inclusive, "label": "X"}
    return made | ({key: text[start:end]} if key else {})


def row(name: str, unit: str, **how: Any) -> dict[str, Any]:
    text = TEXTS[name]
    places = [(text.index(word), text.index(word) + len(word)) for word in SPANS[name]]
    return {"text": text, "spans": [span(text, *place, unit, **how) for place in places]}


def read(rows: list[dict[str, Any]], kind: str = "spans", **options: Any) -> Rows:
    return rows_of(MemoryRows(rows, "rows"), kind, **options)  # type: ignore[arg-type]


def words(example: Example) -> tuple[str, ...]:
    return tuple(example.text[one.start : one.end] for one in example.spans or ())


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_the_text_beside_spans_shows_their_unit(name: str, unit: str, inclusive: bool) -> None:
    rows = read([row(name, unit, inclusive=inclusive)] * 2)
    assert [words(example) for example in rows.examples] == [SPANS[name]] * 2
    assert bool(rows.notes) == ((unit, inclusive) != ("characters", False))


@pytest.mark.parametrize("key", ["text", "surface", "mention", "word", "token_text", "value"])
def test_the_names_of_the_text_beside(key: str) -> None:
    others = {"text": "\U0001f600 Lyon", "spans": [[3, 7, "X"]]}  # a span without it is read as the others are
    rows = read([row("emoji", "utf-16 crlf", key=key), others])
    assert [words(example) for example in rows.examples] == [SPANS["emoji"], ("Lyon",)]
    assert "3 of 3" in " ".join(rows.notes)


@given(st.data(), st.sampled_from(sorted(UNITS)), st.booleans())
def test_spans_of_any_text_come_back(data: st.DataObject, unit: str, inclusive: bool) -> None:
    """Whatever unit fits, also if it is another one than they were written in, gives the text beside the span."""
    pieces = st.sampled_from(["\U0001f600", "\r\n", "\n", "王", "é", "e\u0301", "a", "b", " ", "\u200d", "\U00020000"])
    drawn, expected = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        text = "".join(data.draw(st.lists(pieces, min_size=1, max_size=12))) + "x"
        bounds = st.integers(0, len(text))
        places = {tuple(sorted((data.draw(bounds), data.draw(bounds)))) for _ in range(data.draw(st.integers(1, 3)))}
        whole = [
            (start, end)
            for start, end in sorted(places)
            # an offset between \r and \n is none where both are one
            if text[start:end].strip() and all(text[max(0, at - 1) : at + 1] != "\r\n" for at in (start, end))
        ]
        drawn.append({"text": text, "spans": [span(text, *place, unit, inclusive) for place in whole]})
        expected.append(sorted({text[start:end].strip() for start, end in whole}))
    rows = read(drawn)
    assert [sorted(set(words(example))) for example in rows.examples] == expected
    if unit == "characters" and not inclusive:
        assert not rows.notes


@pytest.mark.parametrize("minimal", [False, True])
def test_exports_of_label_studio(tmp_path: Path, minimal: bool) -> None:
    """Line breaks in the text beside a span are written as a backslash and an n."""
    text = "\U0001f600 Anna\nBerg in Lyon"
    spans = [
        {"start": 3, "end": 12, "text": "Anna\\nBerg", "labels": ["PER"]},
        {"start": 16, "end": 20, "text": "Lyon", "labels": ["LOC"]},
    ]
    task: dict[str, Any] = {"id": 5, "data": {"text": text}, "annotations": []}
    task["annotations"] = [{"result": [{"from_name": "ner", "type": "labels", "value": one} for one in spans]}]
    if minimal:
        task = {"text": text, "id": 5, "ner": spans, "annotator": 1, "annotation_id": 1, "lead_time": 1.0}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]), encoding="utf-8")
    (example,) = tagged_of(path).examples
    assert [(one.start, one.end, one.label) for one in example.spans or ()] == [(2, 11, "PER"), (15, 19, "LOC")]
    spans[1]["start"] = 14
    path.write_text(json.dumps([task]), encoding="utf-8")
    with refused(f"{path}, line 1", "id 5", "Lyon", "n Lyon", "--span-offsets characters"):
        tagged_of(path)


def test_a_row_that_fits_no_unit_is_never_mended() -> None:
    good, wrong = row("emoji", "utf-16 crlf"), row("emoji", "utf-16 crlf")
    wrong["spans"][1]["start"] -= 2
    with refused("rows, line 2", "Lyon"):
        read([good, wrong, good])
    rows = read([good, wrong, good], on_error="skip")
    assert [example.line for example in rows.examples] == [1, 3] and "skipped: 1 " in rows.notes[-1]
    assert [words(example) for example in rows.examples] == [SPANS["emoji"]] * 2


def test_words_of_models_are_compared_without_case_accents_and_marks() -> None:
    text = "John SMITH of U.S. in Zürich"
    beside = [(0, 10, "john smith"), (14, 18, "u. s."), (22, 28, "##zurich")]
    spans = [{"start": a, "end": b, "label": "X", "word": word} for a, b, word in beside]
    assert words(read([{"text": text, "spans": spans}]).examples[0]) == ("John SMITH", "U.S.", "Zürich")


def test_what_is_no_text_beside_a_span_is_not_compared() -> None:
    rows = read([{"text": "Anna Berg", "spans": [{"start": 0, "end": 4, "label": "X", "value": "Q42"}]}])
    assert words(rows.examples[0]) == ("Anna",) and "'value'" in rows.notes[0]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("unit", ["characters", "utf-16", "bytes"])
def test_a_unit_that_is_named(tmp_path: Path, name: str, unit: str) -> None:
    plain = row(name, unit, key=None)
    lists = {"text": plain["text"], "label": [[s["start"], s["end"], "X"] for s in plain["spans"]]}
    path = tmp_path / "doccano.jsonl"
    path.write_text(json.dumps(lists) + "\n", encoding="utf-8")
    for rows in (read([plain], span_offsets=unit), tagged_of(path, span_offsets=unit)):
        assert [words(example) for example in rows.examples] == [SPANS[name]]


@pytest.mark.parametrize(
    ("text", "spans", "unit", "names"),
    [
        ("\U0001f600 Anna", [[1, 4, "X"]], "utf-16", ["inside a character", "[1, 4"]),
        ("\U0001f600 Anna", [[0, 1, "X"]], "utf-16", ["inside a character", "[0, 1"]),
        ("王小明 x", [[1, 9, "X"]], "bytes", ["inside a character", "[1, 9"]),
        ("\U0001f600 Anna", [[3, 7, "X"]], "characters", ["beyond", "[3, 7", "stop <= 6", "--span-offsets utf-16"]),
        ("Zürich", [[0, 7, "X"]], "auto", ["beyond", "[0, 7", "--span-offsets bytes"]),
        ("\U0001f600 Anna", [[3, 8, "X"]], "utf-16", ["beyond", "[3, 8", "stop <= 7"]),
    ],
)
def test_offsets_that_are_none(text: str, spans: list[Any], unit: str, names: list[str]) -> None:
    with refused("rows, line 1", *names):
        read([{"text": text, "spans": spans}], span_offsets=unit)


def test_a_unit_that_is_named_is_not_doubted() -> None:
    rows = read([row("accents", "crlf"), row("accents", "characters")], span_offsets="characters")
    assert words(rows.examples[1]) == SPANS["accents"] != words(rows.examples[0])
    assert "2 of 4" in " ".join(rows.notes)


def test_bounds_of_tokens_are_counted_alike() -> None:
    given_tokens = {"text": "\U0001f600 Anna", "tokens": [[0, 2], [3, 7]], "spans": [[3, 7, "X"]]}
    (example,) = read([given_tokens], span_offsets="utf-16").examples
    assert example.tokens == ((0, 1), (2, 6)) and words(example) == ("Anna",)
    with refused("rows, line 1", "'tokens'", "[1, 3]"):
        read([given_tokens | {"tokens": [[1, 3]]}], span_offsets="utf-16")


def test_what_was_set_for_another_file_yields_to_the_text_beside_spans() -> None:
    options = ReadOptions(span_offsets="utf-16")

    def inherit(one: dict[str, Any]) -> tuple[str, ...]:
        rows = read_rows(MemoryRows([one], "rows"), options, "tags", "test", ["span_offsets"])
        return words(rows.examples[0])

    assert inherit(row("accents", "characters")) == SPANS["accents"]
    assert inherit(row("accents", "utf-16", key=None)) == SPANS["accents"]
    (example,) = read([row("accents", "utf-16", key=None)], span_offsets="utf-16").examples
    assert inherit(row_of(example)) == SPANS["accents"], "rows that this package wrote say how they are counted"


@pytest.mark.parametrize(
    ("text", "noted"), [("\U0001f600 Anna", True), ("Anna \U0001f600", False), ("王 Anna é", False)]
)
def test_what_cannot_be_told_is_noted(text: str, noted: bool) -> None:
    start = text.index("Anna")
    plain = {"text": text, "spans": [[start, start + 4, "X"]]}
    assert words(read([plain]).examples[0]) == ("Anna",) == words(read([plain], span_offsets="characters").examples[0])
    assert ("span_offsets" in " ".join(read([plain]).notes)) == noted
    assert not read([plain], span_offsets="characters").notes
