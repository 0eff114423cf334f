"""Tokens and tags of a sentence in two cells."""

import json
from pathlib import Path

import pytest

from errors import refused
from reading import tagged_of

ROWS = [("Bob ran", "B-PER O"), ("Ada lives in Rome", "B-PER O O B-LOC"), ("rain", "O")]
SPANS = [[(0, 3, "PER")], [(0, 3, "PER"), (13, 17, "LOC")], []]


def spans_of(path: Path) -> list[list[tuple[int, int, str]]]:
    return [[(s.start, s.end, s.label) for s in one.spans or ()] for one in tagged_of(path).examples]


@pytest.mark.parametrize(
    ("name", "header", "delimiter"),
    [
        ("a.csv", "tokens,tags", ","),
        ("a.tsv", "text_a\tlabel", "\t"),
        ("a.csv", "sentence;word_labels", ";"),
        ("a.txt", "words\tner_tags", "\t"),
    ],
)
@pytest.mark.parametrize("between", [" ", ","])
def test_sentences_as_text(tmp_path: Path, name: str, header: str, delimiter: str, between: str) -> None:
    lines = [f'{text}{delimiter}"{tags.replace(" ", between)}"' for text, tags in ROWS]
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n")
    assert spans_of(path) == SPANS


def test_chinese_and_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text_a\tlabel\n北 京 很 大\tB-LOC I-LOC O O\n王 明\tB-PER I-PER\n", encoding="utf-8")
    assert spans_of(path) == [[(0, 2, "LOC")], [(0, 2, "PER")]]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text, "labels": tags}) + "\n" for text, tags in ROWS))
    assert spans_of(path) == SPANS


def test_where_a_row_has_another_number_of_tags_it_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("tokens,tags\nBob ran,B-PER O\nAda sings,B-PER\n")
    with refused(path):
        tagged_of(path)
