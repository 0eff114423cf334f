"""Documents: how each kind of file is cut into them, where they say they come from, what is refused."""

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of
from unmask.data.corpus import documents as corpus
from unmask.data.corpus.documents import Document, read_documents


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def texts(*arguments, **settings) -> list[str]:
    return [document.text for document in read_documents(*arguments, **settings)]


PLAIN = "\n\nA first line.\n  a second\n \t\nB one line\n\n\n\nC"


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("blank", ["A first line.\n  a second", "B one line", "C"]),
        ("line", ["A first line.", "  a second", "B one line", "C"]),
        ("file", [PLAIN.strip("\n")]),
    ],
)
def test_how_plain_text_is_split(tmp_path: Path, split, expected: list[str]) -> None:
    assert texts(write(tmp_path, "a.txt", PLAIN), split=split) == expected
    assert texts(write(tmp_path, "b.txt", PLAIN.replace("\n", "\r\n")), split=split) == expected


line = st.text(st.characters(blacklist_characters="\0\r\n", blacklist_categories=["Cs"]), min_size=1)
paragraphs = st.lists(st.lists(line.filter(str.strip), min_size=1, max_size=3), min_size=1)


@given(paragraphs, st.integers(1, 3))
def test_documents_round_trip(tmp_path_factory: pytest.TempPathFactory, written, gap: int) -> None:
    documents = ["\n".join(line.lstrip("\ufeff") or "x" for line in lines) for lines in written]
    documents = [document for document in documents if document.strip()]
    if documents:
        path = write(tmp_path_factory.mktemp("t"), "a.txt", ("\n" * (gap + 1)).join(documents))
        assert texts(path) == documents


def test_sources_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a.csv", 'id,text\n1,"first\nof two lines"\n2,\n')
    write(tmp_path, "b.tsv", "text\tlabel\nthird\tx\n")
    write(tmp_path, "c.jsonl", '{"text": "fourth", "id": 4}\n\n{"text": "fifth"}\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sixth\n\nseventh")))
    assert list(read_documents(["a.csv", "b.tsv", "c.jsonl", "-"])) == [
        Document("first\nof two lines", "a.csv", 0),
        Document("", "a.csv", 1),
        Document("third", "b.tsv", 0),
        Document("fourth", "c.jsonl", 0),
        Document("fifth", "c.jsonl", 1),
        Document("sixth", "standard input", 0),
        Document("seventh", "standard input", 1),
    ]


TABLE = [("Yes, no", "a"), ("It rained; again", "b"), ('"so" it is', "c")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id;text\n1;Yes, no\n2;"It rained; again"\n3;"""so"" it is"\n'),
        ("a.csv", 'sep=;\r\nid;text\r\n1;Yes, no\r\n2;"It rained; again"\r\n3;"""so"" it is"\r\n'),
        ("a.csv", 'id\ttext\r1\tYes, no\r2\tIt rained; again\r3\t"""so"" it is"\r'),
        ("a.tsv", 'text,id\n"Yes, no",1\nIt rained; again,2\n"""so"" it is",3\n'),
        ("a.csv", 'text|id\nYes, no|1\nIt rained; again|2\n"""so"" it is"|3\n'),
        ("a.json", json.dumps([{"text": text} for text, _ in TABLE])),
        ("a.json", json.dumps([{"text": text} for text, _ in TABLE], indent=1)),
        ("a.json", "".join(json.dumps({"text": text}) + "\r" for text, _ in TABLE)),
        ("a.jsonl", json.dumps([{"text": text} for text, _ in TABLE])),
    ],
)
def test_tables_are_read_as_labelled_rows_are(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path, name, content)
    assert texts(path) == [text for text, _ in TABLE]
    assert [example.text for example in examples_of(path, use="predict")] == texts(path)


def test_parquet_and_faults_of_an_array_on_one_line(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"id": [1, 2, 3], "text": [text for text, _ in TABLE]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert texts(tmp_path) == texts(tmp_path / "a.parquet") == [text for text, _ in TABLE]
    with refused(tmp_path / "a.parquet", "'body'", "'text'"):
        texts(tmp_path / "a.parquet", column="body")
    path = write(tmp_path, "b.json", '[{"text": "a"}, {"text": "b"}, {"texts": "c"}, 4]')
    assert texts(path, on_error="skip") == ["a", "b"]
    path = write(tmp_path, "b.json", '[{"text": "a"}, {"text": "b"}, {"texts": "c"}]')
    with refused(f"{path}, row 3", "'text'"):
        texts(path)
    assert texts(path, on_error="skip") == ["a", "b"]


def test_a_column_or_key_that_is_not_there(tmp_path: Path) -> None:
    table = write(tmp_path, "a.csv", "id,body\n1,x\n")
    with refused(f"{table}, line 2", "'text'") as error:
        texts(table)
    assert error.value.facts["given"] == "'id', 'body'"
    assert texts(table, column="body") == ["x"]
    lines = write(tmp_path, "a.jsonl", '{"text": "fine"}\n{"texts": "x"}\n')
    with refused(f"{lines}, line 2", "'text'") as error:
        texts(lines)
    assert "texts" in error.value.facts["hint"]
    assert texts(lines, on_error="skip") == ["fine"]
    null = write(tmp_path, "b.jsonl", json.dumps({"text": None}))
    with refused(f"{null}, line 1", "'text'") as error:
        texts(null)
    assert error.value.facts["given"] == "None"


def test_skipping_goes_on_with_the_next_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"good\n\nb\xffd\n\nfine")
    assert texts(tmp_path, on_error="skip") == ["good", "fine"]
    assert "skipped: 3" in capsys.readouterr().err


def test_what_is_refused_at_once(tmp_path: Path) -> None:
    with refused(tmp_path / "absent.txt"):
        read_documents([tmp_path / "absent.txt"])
    path = write(tmp_path, "a.txt", "x")
    with refused("'paragraph'", "blank, line, file"):
        read_documents(path, split="paragraph")  # type: ignore[arg-type]
    with refused("'ignore'", "stop, skip"):
        read_documents(path, on_error="ignore")  # type: ignore[arg-type]


def test_a_file_without_blank_lines_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "a.txt", "a line\n" * 2000)
    assert len(texts(path)) == 1
    assert "split='line'" in capsys.readouterr().err
    monkeypatch.setattr(corpus, "LONGEST", 700)
    with refused(f"{path}, line 101", 700, "--split line"):
        texts(path)
    assert len(texts(path, split="line")) == 2000
