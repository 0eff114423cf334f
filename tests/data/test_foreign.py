"""Files that are not read are named, by their content and not by their names, with lines that convert them."""

import io
import json
import pickle
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from errors import refused
from reading import examples_of, tagged_of
from unmask.data.textfiles import open_text


def zipped(*names: str) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, "x" * 50)
        return file.getvalue()

    return make


def arrow(stream: bool) -> bytes:
    import pyarrow as pa

    sink, table = io.BytesIO(), pa.table({"text": ["a", "b"], "label": ["x", "y"]})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return file.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a)")
    return connection.serialize()


ROWS = [{"text": "a", "label": "x"}]
BINARY: dict[str, tuple[Callable[[], bytes], str]] = {
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "read_excel"),
    "xlsx at last": (zipped("docProps/app.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"), "read_excel"),
    "docx": (zipped("_rels/.rels", "word/document.xml"), "docx.Document"),
    "zip": (zipped("train.csv"), "zipfile"),
    "pt": (lambda: saved(lambda file: torch.save(ROWS, file)), "torch.load"),
    "pkl": (lambda: pickle.dumps(ROWS), "read_pickle"),
    "pkl2": (lambda: pickle.dumps(ROWS, protocol=2), "read_pickle"),
    "arrow": (lambda: arrow(stream=False), "open_file"),
    "arrows": (lambda: arrow(stream=True), "open_stream"),
    "npy": (lambda: saved(lambda file: np.save(file, np.arange(3))), "numpy.load"),
    "tar": (archive, "tarfile"),
    "sqlite": (database, "read_sql"),
    "spacy": (lambda: zlib.compress(b"\x84\xa7version\xa30.1\xa5attrs\x98" + b"x" * 99), "DocBin"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "pypdf"),
    "h5": (lambda: b"\x89HDF\r\n\x1a\n\0\0\0", "read_hdf"),
    "xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "Workbook".encode("utf-16-le"), "read_excel"),
    "doc": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "libreoffice"),
    "rtf": (lambda: b"{\\rtf1\\ansi text}", "libreoffice"),
}


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".jsonl", ".bin", ""])
@pytest.mark.parametrize("kind", BINARY)
def test_binary_files(tmp_path: Path, kind: str, suffix: str) -> None:
    make, converter = BINARY[kind]
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(make())
    if kind in ("pkl", "pkl2") and suffix == ".bin":
        converter = "torch.load"  # as old checkpoints are called
    for read in (examples_of, tagged_of, lambda path: list(open_text(path))):
        with refused(path) as caught:
            read(path)
        facts = caught.value.facts
        assert facts["given"] and "CSV" in facts["allowed"] and converter in facts["hint"]
        assert str(path) in facts["hint"]
        assert f'"{path}", index' not in facts["hint"], "the file itself is not written over"


@pytest.mark.parametrize(("suffix", "converter"), [(".xlsx", "read_excel"), (".docx", "docx"), (".pt", "torch.load")])
def test_archives_that_show_nothing_are_told_by_their_names(tmp_path: Path, suffix: str, converter: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"PK\x03\x04....")
    with refused(path, converter):
        examples_of(path)


WEBANNO = (
    "#FORMAT=WebAnno TSV 3.3\n#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|value\n\n\n"
    "#Text=Ada Byron met Bob\n1-1\t0-3\tAda\tPER[1]\t\n1-2\t4-9\tByron\tPER[1]\t\n1-3\t10-13\tmet\t_\t\n"
    "1-4\t14-17\tBob\tPER\t\n\n#Text=Rome\n2-1\t18-22\tRome\tLOC\t\n"
)
LIGHTTAG = {
    "examples": [
        {"example_id": "1", "content": "Ada lives", "annotations": [{"start": 0, "end": 3, "tag": "PER"}]},
        {"example_id": "2", "content": "nobody", "annotations": []},
    ],
    "relations": [],
}
NER_ANNOTATOR = {"classes": ["PER"], "annotations": [["Ada lives", {"entities": [[0, 3, "PER"]]}], None]}
RASA = {"rasa_nlu_data": {"common_examples": [{"text": "hello", "intent": "greet", "entities": []}]}}
XML = '<?xml version="1.0"?>\n<rows><row id="1"><text>a 😀</text><label>x</label></row><row><text>b</text></row></rows>'


def entities(path: Path) -> list[list[tuple[str, str]]]:
    return [[(e.text[s.start : s.end], s.label) for s in e.spans] for e in tagged_of(path).examples]


@pytest.mark.parametrize(
    ("name", "content", "written", "expected"),
    [
        ("a.tsv", WEBANNO, "a.conll", [[("Ada Byron", "PER"), ("Bob", "PER")], [("Rome", "LOC")]]),
        ("a.json", json.dumps(LIGHTTAG), "a.jsonl", [[("Ada", "PER")], []]),
        ("b.json", json.dumps(LIGHTTAG, indent=2), "b.jsonl", [[("Ada", "PER")], []]),
        ("c.json", json.dumps(NER_ANNOTATOR), "c.jsonl", [[("Ada", "PER")]]),
        ("d.json", json.dumps(RASA), "d.jsonl", ["greet"]),
        ("e.xml", XML, "e.jsonl", ["x"]),
        ("f.xml", XML.partition("\n")[2].replace("<row", "\n<row"), "f.jsonl", ["x"]),
    ],
)
def test_lines_convert_what_they_are_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, written: str, expected: list[object]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    with refused(name) as caught:
        tagged_of(name)
    code = caught.value.facts["hint"]
    assert len(code.splitlines()) <= 5
    exec(compile(code, name, "exec"), {})
    if isinstance(expected[0], str):
        assert [e.label for e in examples_of(written, on_error="skip")] == expected
    else:
        assert entities(Path(written)) == expected


@pytest.mark.parametrize("stream", [True, False])
def test_lines_convert_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.arrow").write_bytes(arrow(stream))
    with refused("a.arrow", "parquet") as caught:
        examples_of("a.arrow")
    exec(caught.value.facts["hint"], {})
    assert [(e.text, e.label) for e in examples_of("a.parquet")] == [("a", "x"), ("b", "y")]


def test_lines_convert_what_torch_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(ROWS, "a.pt")
    with refused("a.pt") as caught:
        examples_of("a.pt")
    exec(caught.value.facts["hint"], {})
    assert [(e.text, e.label) for e in examples_of("a.jsonl")] == [("a", "x")]


@pytest.mark.parametrize(
    ("text", "kind"), [("<html><body>", "HTML"), ("<!doctype html>\n<p>", "HTML"), ("<a>\n <b/>\n</a>", "XML")]
)
def test_markup(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with refused(tmp_path / "a.txt") as caught:
        examples_of(tmp_path / "a.txt", use="predict")
    assert caught.value.facts["given"] == kind


@pytest.mark.parametrize(
    "text",
    [
        "<b>fine</b> film\nplain",
        "<3 you\n<3 me",
        "x < y",
        '{"classes": ["a"], "text": "b"}',
        '{"examples": 3, "text": "b"}',
    ],
)
def test_texts_that_only_look_like_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert len(examples_of(tmp_path / "a.txt", use="predict")) == len(text.splitlines())


def test_folders_of_datasets(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    for name in ("state.json", "dataset_info.json"):
        (folder / name).write_text("{}")
    (folder / "data-00000-of-00001.arrow").write_bytes(arrow(stream=True))
    with refused(folder, "load_from_disk", "to_parquet"):
        examples_of(folder)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["saved"]}')
    with refused(tmp_path, "load_from_disk", ".items()"):
        examples_of(tmp_path)
