"""Opening text files: every fault names the file and the line; every way of storing text reads the same."""

import csv
import gzip
import io
import json
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.console import size
from unmask.data import textfiles
from unmask.data.tables import json_lines, table_rows
from unmask.data.textfiles import (
    ReadLog,
    find_files,
    kind_of,
    open_text,
    text_bytes,
)
from unmask.errors import UserError

GERMAN = "Die Straße führt über die Brücke nach Köln."
CHINESE = "今天下午，全国各地的天气都很好。"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def table_of(path: Path, log: ReadLog | None = None) -> list[tuple[int, list[str]]]:
    log = log or ReadLog()
    rows = table_rows(str(path), open_text(path, log), log, path.suffix == ".tsv")
    return [(line, list(row.values())) for line, row in rows]


def refusal(path: Path, *names: object) -> UserError:
    """The error of reading the file, which must name it, and these."""
    with refused(path, *names) as caught:
        list(open_text(path))
    return caught.value


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
@pytest.mark.parametrize("content", ["eins\nzwei ü\n\ndrei", "\ufeffeins\r\nzwei ü\r\n\r\ndrei\r\n"])
def test_every_way_of_storing_text_reads_the_same(tmp_path: Path, name: str, content: str) -> None:
    if name.endswith(".zst"):
        path = tmp_path / name
        path.write_bytes(b"".join(zstandard.compress(part.encode()) for part in (content[:5], content[5:])))
    else:
        path = write(tmp_path, name, content)
    assert list(open_text(path)) == [(1, "eins"), (2, "zwei ü"), (3, ""), (4, "drei")]


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    line = "form feed \x0c, separator \u2028, next line \x85, vertical tab \x0b inside"
    assert list(open_text(write(tmp_path, "a.txt", line + "\nb"))) == [(1, line), (2, "b")]


@given(
    st.lists(st.text("ab\u4e2d \t", max_size=5), min_size=1, max_size=30),
    st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=31, max_size=31),
    st.sampled_from([1, 2, 3, 7, 2**20]),
)
def test_every_line_end_counts_also_mixed_and_where_the_bytes_are_cut(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], ends: list[str], chunk: int
) -> None:
    # Python's universal newlines are the oracle; \r\r\n throughout is one end, which is tested below
    text = "x" + "".join(line + end for line, end in zip(lines, ends, strict=False)) + "last"
    if "\r\r\n" in text:
        return
    path = write(tmp_path_factory.mktemp("ends"), "a.txt", text)
    with pytest.MonkeyPatch.context() as patch, path.open(encoding="utf-8", newline=None) as oracle:
        patch.setattr(textfiles, "CHUNK", chunk)
        assert list(open_text(path)) == [(n, line.removesuffix("\n")) for n, line in enumerate(oracle, 1)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_line_ends_of_every_encoding(tmp_path: Path, name: str, end: str, encoding: str) -> None:
    lines = ["id", "", *[f"{CHINESE}{number}" for number in range(5)]]
    log = ReadLog()
    found = list(open_text(write(tmp_path, name, "".join(line + end for line in lines).encode(encoding)), log))
    assert found == list(enumerate(lines, 1))
    assert ("CR CR LF" in " ".join(log.notes)) == (end == "\r\r\n")


def test_a_byte_order_mark_inside_is_ignored_and_noted(tmp_path: Path) -> None:
    log = ReadLog()
    path = write(tmp_path, "a.txt", "\ufeffone\n\ufefftwo \ufeff\n")
    assert list(open_text(path, log)) == [(1, "one"), (2, "two \ufeff")]
    assert any(f"{path}, line 2" in note for note in log.notes)


@pytest.mark.parametrize(("content", "what"), [("", "empty"), (" \n\t\n\n", "white space")])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_a_file_without_text_is_refused(tmp_path: Path, name: str, content: str, what: str) -> None:
    refusal(write(tmp_path, name, content), what)


@pytest.mark.parametrize(
    ("content", "given_"),
    [
        (b"\x89PNG\r\n\x1a\n....", "PNG"),
        (b"\xff\xd8\xff\xe0....", "JPEG"),
        (b"PK\x03\x04....", "zip"),
        (b"PAR1\x15\x04....", "Parquet"),
        (gzip.compress(b"text", mtime=0), ".gz"),
        (b"abc\x00\x01\x02\x03\xff", "byte 4"),
    ],
)
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes, given_: str) -> None:
    assert given_ in refusal(write(tmp_path, "a.txt", content)).facts["given"]


@pytest.mark.parametrize(
    ("encoding", "text", "guess"),
    [
        ("cp1252", GERMAN, "WINDOWS-1252"),
        ("latin-1", "caf\xe9s et th\xe9s", "WINDOWS-1252"),
        ("big5", "今天全國各地的天氣都很好，時間也對。", "BIG5"),
        ("gb2312", "语", "GB18030"),  # too short to be sure
    ],
)
def test_another_encoding_is_named_with_the_option_that_reads_it(
    tmp_path: Path, encoding: str, text: str, guess: str
) -> None:
    path = write(tmp_path, "my text.txt", f"plain\n{text}\n".encode(encoding))
    error = refusal(path, f"{path}, line 2", "UTF-8")
    assert f"encoding={guess!r} " in error.facts["hint"]
    assert list(open_text(path, encoding=guess)) == [(1, "plain"), (2, text)]


def test_the_offending_byte_is_placed(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.txt", b"one\ntwo\nthr\xe9e\n"), "a.txt, line 3", "UTF-8")
    assert "position 4" in error.facts["given"]
    damaged = refusal(write(tmp_path, "b.txt", (CHINESE * 3).encode()[:-2]), "b.txt, line 1")
    assert "UTF-8" in damaged.facts["hint"] and "encoding=" not in damaged.facts["hint"]


def test_archives_cut_short_or_damaged(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(f"line {i * i}" for i in range(5000)).encode())
    path = tmp_path / "a.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    refusal(path, "cut short", "line")
    path.write_bytes(b"no gzip at all")
    refusal(path, "damaged", "line 0")
    path.write_bytes(whole[:2000] + bytes(50) + whole[2050:])
    refusal(path, "damaged", "line")


def test_a_zstd_file_cut_short(tmp_path: Path) -> None:
    whole = zstandard.compress("\n".join(f"line {i * i}" for i in range(5000)).encode())
    path = tmp_path / "a.txt.zst"
    path.write_bytes(whole[:-7])
    refusal(path, "cut short", "line")


def test_zstd_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    path = write(tmp_path, "a.txt.zst", b"x")
    refusal(path, "zstandard", "pip install 'unmask[zstd]'")


def test_skipping_leaves_out_the_line_and_counts_it(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"one\ntw\xff\nthr\0ee\n" + b"four" * 10)
    log = ReadLog("skip")
    assert [line for _, line in open_text(path, log)] == ["one", "four" * 10]
    assert log.skipped == 2
    assert "skipped: 2" in log.notes[-1] and "line 2" in log.notes[-1]


def test_a_long_line_takes_linear_time_and_a_longer_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.txt", b"word " * 8_000_000 + b"\nnext\n")
    begun = time.process_time()
    (_, long), (_, following) = open_text(path)
    assert (len(long), following) == (40_000_000, "next")
    assert time.process_time() - begun < 5
    monkeypatch.setattr(textfiles, "LONGEST", 1_000_000)
    refusal(path, f"{path}, line 1", size(1_000_000))
    assert list(open_text(path, ReadLog("skip"))) == [(2, "next")]


def test_folders_globs_and_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.jsonl.gz", "a/.hidden.txt", ".git/x.txt", "a/photo.png", "c.TSV"):
        write(tmp_path, name, "x")
    assert find_files([tmp_path]) == [str(tmp_path / name) for name in ("a/z.jsonl.gz", "b.txt", "c.TSV")]
    assert find_files([f"{tmp_path}/*.t*"]) == [str(tmp_path / "b.txt")]
    assert find_files([f"{tmp_path}/**/*.gz", tmp_path / "b.txt", str(tmp_path / "b.txt")]) == [
        str(tmp_path / "a/z.jsonl.gz"),
        str(tmp_path / "b.txt"),
    ]
    odd = write(tmp_path, "odd[1].txt", "x")
    assert find_files([odd, "-"]) == [str(odd), "-"]


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path, "corpus.txt", "x")
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / "corpsu.txt", tmp_path / "corpus.txt"):
        find_files([tmp_path / "corpsu.txt"])
    with refused(f"{tmp_path}/*.gz", Path.cwd()):
        find_files([f"{tmp_path}/*.gz"])
    with refused(tmp_path / "empty", ".txt", ".gz"):
        find_files([tmp_path / "empty"])
    with refused("globs", "standard input"):
        find_files([])


def test_kinds_by_name() -> None:
    names = {"a.txt": "txt", "a.JSONL.gz": "jsonl", "a.ndjson": "jsonl", "a.csv.zst": "csv", "b.tsv": "tsv"}
    assert {name: kind_of(name) for name in names} == names
    assert kind_of("README") == kind_of("-") == "txt"
    assert (kind_of("a.json"), kind_of("a.parquet")) == ("json", "parquet")


def test_the_size_of_the_text_is_known_beforehand(tmp_path: Path) -> None:
    plain, packed = write(tmp_path, "a.txt", "x" * 1000), write(tmp_path, "b.txt.gz", "y" * 5000)
    assert text_bytes([plain, plain]) == 2000
    assert text_bytes([plain, "-"]) is text_bytes([plain, packed]) is None


field = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]), max_size=12)


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(field, min_size=n, max_size=n), min_size=1)))
def test_csv_rows_are_those_that_were_written(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    rows = [["a" + cell if n == 0 else cell for n, cell in enumerate(row)] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows([[f"column {number}" for number in range(len(rows[0]))], *rows])
    path = write(tmp_path_factory.mktemp("csv"), "a.csv", text.getvalue())
    found = list(table_of(path))
    assert [row for _, row in found] == rows
    lines = text.getvalue().split("\r\n")
    for number, row in found:  # a row begins on its line, whatever the line breaks inside fields before
        begin = "\r\n".join(lines).split("\n")[number - 1].removeprefix('"')
        assert begin.startswith(row[0].split("\n")[0].split('"')[0])


def test_csv_fields_beyond_the_librarys_limit(tmp_path: Path) -> None:
    long = "x" * 300_000
    rows = list(table_of(write(tmp_path, "a.csv", f'text,label\n"{long}",a\n')))
    assert rows == [(2, [long, "a"])]


def test_csv_faults(tmp_path: Path) -> None:
    for content, line, name in (
        ("text,label\na,b\n\nc,d,e\n", 4, "c,d,e"),
        ('text,label\n"a\nb",c\n"d,e\nf,g\n', 4, "CSV"),
        ('text,label\n"a"b,c\n', 2, "CSV"),
    ):
        path = write(tmp_path, "a.csv", content)
        with refused(f"{path}, line {line}", name):
            list(table_of(path))
    log = ReadLog("skip")
    path = write(tmp_path, "b.csv", "t,l\na,b\nc\nd,e\n")
    assert [row for _, row in table_of(path, log)] == [["a", "b"], ["d", "e"]]
    assert log.skipped == 1


def test_tsv_keeps_quotation_marks_that_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'a\tb\n"He said\tyes" she said\n"x ""y"""\t"z"\n')
    assert [row for _, row in table_of(path)] == [
        ['"He said', 'yes" she said'],
        ['x "y"', "z"],
    ]


@given(st.lists(st.dictionaries(field, st.none() | st.integers() | field), min_size=1))
def test_json_lines_are_those_that_were_written(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)), "utf-8")
    assert list(json_lines("a", open_text(path), ReadLog())) == list(enumerate(rows, start=1))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('{"text": "a",}', "position"),
        ('["a"]', '["a"]'),
        ('{"text": "\\ud83d"}', "surrogate"),
        ("[" * 100_000, "nested"),
    ],
)
def test_json_faults_name_the_line(tmp_path: Path, line: str, name: str) -> None:
    path = write(tmp_path, "a.jsonl", f'{{"text": "fine"}}\n\n{line}\n')
    with refused(f"{path}, line 3", name, "--on-error skip"):
        list(json_lines(str(path), open_text(path), ReadLog()))
