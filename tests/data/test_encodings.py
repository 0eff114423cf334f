"""Files that are not UTF-8, as real bytes: read and said where there is no doubt, else an error with the line."""

import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, tagged_of
from unmask.data import encodings
from unmask.data.corpus import documents as corpus
from unmask.data.tables import json_lines
from unmask.data.textfiles import ReadLog, open_text

CHINESE = "今天下午，全国各地的天气都很好。\r\n他说：“这个问题，我们还没有想好。”\n\nABC 123\n生僻字：㐀𠀀镕"
GERMAN = "Die Straße führt über die Brücke nach Köln.\nZweite Zeile"
KOREAN = "오늘 오후 전국 각지의 날씨가 매우 좋습니다"
JAPANESE = "今日の午後は全国各地で天気がとても良いです。カタカナもあります"
LINES = [line.removesuffix("\r") for line in CHINESE.split("\n")]


def lines_of(path: Path, encoding: str | None = None, log: ReadLog | None = None) -> list[str]:
    found = list(open_text(path, log, encoding))
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return [line for _, line in found]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("gb18030", "GB18030"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_chinese_files_are_found_out_read_and_said(tmp_path: Path, encoding: str, said: str, name: str) -> None:
    path, log = tmp_path / name, ReadLog()
    data = CHINESE.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert lines_of(path, log=log) == LINES
    assert log.notes == (f"{path} is not UTF-8: it is read as {said}",)


def test_big_endian_with_a_mark_and_latin_without(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xfe\xff" + CHINESE.encode("utf-16-be"))
    assert lines_of(tmp_path / "a.txt") == LINES
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "b.txt").write_bytes(GERMAN.encode(encoding))
        assert lines_of(tmp_path / "b.txt") == GERMAN.split("\n")


def test_gb18030_that_begins_after_much_ascii(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain line\n" * 20_000 + CHINESE.encode("gb18030"))
    assert lines_of(path)[20_000:] == LINES


def test_chinese_in_utf8_is_never_taken_for_anything_else(tmp_path: Path) -> None:
    log = ReadLog()
    for number, text in enumerate((CHINESE, GERMAN, KOREAN, "的" * 5000, "Bush hid the facts", "a\n的")):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(text.encode())
        assert lines_of(path, log=log) == [line.removesuffix("\r") for line in text.split("\n")]
    assert log.notes == ()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("euc-kr", KOREAN),
        ("euc-jp", JAPANESE),
        ("shift_jis", JAPANESE),
        ("cp1252", GERMAN),
        ("big5", "今天全國天氣好"),
    ],
)
def test_what_might_be_something_else_is_an_error(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"first\n{text}\n".encode(encoding))
    with refused(f"{path}, line 2", "UTF-8"):
        list(open_text(path))
    assert lines_of(path, encoding) == ["first", *text.split("\n")]


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=60),
    st.sampled_from(["gb18030", "utf-16", "utf-16-le", "utf-32", "utf-8"]),
)
def test_an_encoding_that_is_named_is_taken_at_its_word(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "named.txt"
    text = "x" + text
    path.write_bytes(text.encode(encoding))
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()  # the file ends with a line end
    assert [line for _, line in open_text(path, encoding=encoding)] == expected


def test_broken_bytes_name_the_line(tmp_path: Path) -> None:
    good = CHINESE.encode("gb18030")
    path = tmp_path / "a.txt"
    path.write_bytes(good + b"\n\xd6\xff\xd0\n" + "好的".encode("gb18030"))
    with refused(f"{path}, line 6", "GB18030"):
        list(open_text(path))
    log = ReadLog("skip")
    assert [line for _, line in open_text(path, log)] == [*LINES, "好的"] and log.skipped == 1
    path.write_bytes("\ufeff好的\n".encode("utf-16-le") + b"\x00\xd8" + "坏\n好\n".encode("utf-16-le"))
    with refused(f"{path}, line 2", "UTF-16"):
        list(open_text(path))
    assert [line for _, line in open_text(path, ReadLog("skip"))] == ["好的", "好"]


def test_characters_of_gb18030_that_are_letters_of_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"  # one character a line, as in CoNLL
    characters = ["一", *"".join(CHINESE.split())]
    path.write_bytes("\n".join(characters).encode("gb18030"))
    assert "一".encode("gb18030").decode("utf-8") == "\u04bb"
    assert [line for _, line in open_text(path)] == characters


def test_a_mixture_is_an_error_at_the_first_line_that_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("今天的天气\n".encode() + CHINESE.encode("gb18030"))
    with refused(f"{path}, line 2", "UTF-8", "--encoding GB18030"):
        list(open_text(path))


def test_an_encoding_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for name in ("gb18O30", "rot13", "base64"):
        with refused(name, "utf-8, gb18030"):
            corpus.read_documents([tmp_path / "a.txt"], encoding=name)


def test_every_kind_of_file_is_recoded(tmp_path: Path) -> None:
    for encoding in ("gb18030", "utf-16", "big5hkscs"):
        text = "天气，很好。" if encoding != "big5hkscs" else "天氣，很好。"
        named = encoding if encoding == "big5hkscs" else None
        (tmp_path / "a.csv").write_bytes(f'text,label\n"{text}\n第二",1\n'.encode(encoding))
        (tmp_path / "a.jsonl").write_bytes((json.dumps({"text": text}, ensure_ascii=False) + "\n").encode(encoding))
        (row,) = examples_of(tmp_path / "a.csv", encoding=named)
        assert (row.text, row.label) == (f"{text}\n第二", "1")
        assert [row for _, row in json_lines("a", open_text(tmp_path / "a.jsonl", encoding=named), ReadLog())] == [
            {"text": text}
        ]
        documents = corpus.read_documents([tmp_path / "a.csv", tmp_path / "a.jsonl"], encoding=named)
        assert [document.text for document in documents] == [f"{text}\n第二", text]


# characters that GB 2312 and Big5 have in common
ROWS = {"今天的天很好，我想要": "好", "一分也不想出，太小了": "不好"}
TAGS = "我\tr\n是\tv\n北京\tns\n\n他\tr\n在\tp\n家\tn\n里\tf\n。\tw\n"
SPANS = json.dumps({"text": "他在北京的家里", "spans": [[2, 4, "地名"]]}, ensure_ascii=False) + "\n"
LABELLED = {
    "a.csv": "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS.items()),
    "a.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS.items()),
    "a.jsonl": "".join(
        json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in ROWS.items()
    ),
}
WAYS = [("gb18030", None), ("utf-16", None), ("utf-16-le", None), ("utf-8-sig", None), ("big5", "big5")]


@pytest.mark.parametrize(("encoding", "named"), WAYS)
def test_labelled_files_are_recoded_like_corpora(tmp_path: Path, encoding: str, named: str | None) -> None:
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    for name, text in LABELLED.items():
        rows = examples_of(written(name, text), encoding=named)
        assert {row.text: row.label for row in rows} == ROWS
    tagged = tagged_of(written("a.conll", TAGS), encoding=named)
    assert [row.text for row in tagged.examples] == ["我是北京", "他在家里。"]
    (row,) = tagged_of(written("s.jsonl", SPANS), encoding=named).examples
    assert row.text == "他在北京的家里" and row.labels == {"地名"}


@pytest.mark.parametrize(("encoding", "named"), WAYS)
def test_json_lines_on_standard_input_are_known_in_every_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, named: str | None
) -> None:
    given = io.BytesIO(LABELLED["a.jsonl"].encode(encoding))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(given)))  # type: ignore[arg-type]
    assert {row.text: row.label for row in examples_of("-", encoding=named)} == ROWS


def test_an_unclosed_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + '"open,1\n' + "fine,0\n" * 5000)
    with refused(f"{path}, line 2", "CSV", '"open,1'):
        list(corpus.read_documents([path]))
    assert len(list(corpus.read_documents([path], on_error="skip"))) == 5000


def test_a_lone_surrogate_in_a_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes("naïve\tO\n\n一".encode() + b"\xed\xa0\x80\tB-X\n")
    with refused(f"{path}, line 3", "UTF-8"):
        tagged_of(path)
    assert [one.text for one in tagged_of(path, on_error="skip").examples] == ["naïve"]


def test_lone_surrogates_in_json_lines_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for bad in (b'{"text": "\\ud83d"}', b'{"text": "\xed\xa0\xbd"}'):
        path.write_bytes(b'{"text": "fine \\ud83d\\ude00"}\n' + bad + b"\n")
        with refused(f"{path}, line 2"):
            list(corpus.read_documents([path]))


@given(st.binary(min_size=1, max_size=300))
def test_recoding_never_fails(data: bytes) -> None:
    import io

    for encoding in ("UTF-16", "UTF-16LE", "BIG5", "EUC-JP"):
        list(encodings.recode(io.BytesIO(data), encodings.with_byte_order(encoding, data)))
    encodings.utf16(data)
    encodings.is_gb18030(data)
