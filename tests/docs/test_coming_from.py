"""The commands and the Python of the page on other tools, run on small files of their formats."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from reading import examples_of, tagged_of
from unmask.cli.app import run
from unmask.data import foreign
from unmask.train.explain import explain

ROOT = Path(__file__).parents[2]
PAGES = ("docs/coming-from.md", "docs/zh/coming-from.md")
OTHERS = ("datasets", "pandas", "spacy", "spacy.tokens")  # nothing that the tests need


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    return re.findall(r"```(console|python)\n(.*?)```", text_of(page), re.DOTALL)


def jsonl(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    hashes = {"_input_hash": 1, "_task_hash": 2}
    triplets = [{"anchor": f"how {n}", "positive": f"so {n}", "negative": f"no {n}"} for n in "abcd"]
    jsonl(tmp_path / "triplets.jsonl", *triplets)
    entities = [["Ada lives in Rome", {"entities": [[0, 3, "PER"], [13, 17, "LOC"]]}], ["nobody", {"entities": []}]]
    (tmp_path / "spacy.json").write_text(json.dumps(entities, indent=1))
    (tmp_path / "fasttext.txt").write_text("__label__sport a ball\n__label__food an apple\n")
    (tmp_path / "uer.tsv").write_text("label\ttext_a\n1\t很好\n0\t不好\n", encoding="utf-8")
    (tmp_path / "uer-ner.tsv").write_text("text_a\tlabel\n北 京 很 大\tB-LOC I-LOC O O\n王 明\tB-PER I-PER\n", "utf-8")
    (tmp_path / "sentiment.data").write_text("很好\t1\n不好\t0\n", encoding="utf-8")
    words = "sentence_id,words,labels\n0,Ada,B-PER\n0,sings,O\n1,Rome,B-LOC\n"
    (tmp_path / "words.csv").write_text(words)
    span = {"start": 0, "end": 3, "label": "PER"}
    tagged = [{"text": "Ada sings", "spans": [span]}, {"text": "Rome", "spans": [{**span, "end": 4, "label": "LOC"}]}]
    jsonl(tmp_path / "prodigy.jsonl", *(one | {"answer": "accept"} | hashes for one in tagged))
    (tmp_path / "brat").mkdir()
    (tmp_path / "brat" / "a.txt").write_text("Ada lives in Rome\n")
    (tmp_path / "brat" / "a.ann").write_text("T1\tPER 0 3\tAda\nT2\tLOC 13 17\tRome\n")
    answers = {"fine": "accept", "bad": "reject", "well": "ignore"}
    jsonl(tmp_path / "binary.jsonl", *({"text": a, "label": "GOOD", "answer": b} | hashes for a, b in answers.items()))
    cluener = {"text": "叶老桂在浙商银行", "label": {"name": {"叶老桂": [[0, 2]]}, "company": {"浙商银行": [[4, 7]]}}}
    jsonl(tmp_path / "cluener.json", cluener)
    asked = [{"query_id": "1_0", "query_text": "哪里？", "answers": ["上海"]}]
    (tmp_path / "cmrc.json").write_text(
        json.dumps([{"context_id": "1", "context_text": "在上海。在上海", "qas": asked}])
    )
    (tmp_path / "kaggle.csv").write_text("id,text,target\n1,a storm,1\n2,a song,0\n")
    jsonl(tmp_path / "predictions.jsonl", {"id": "1", "line": 2, "text": "a storm", "label": "1", "score": 0.9})
    with_names(tmp_path / "split.parquet")
    return tmp_path


def with_names(path: Path) -> None:
    """What the lines on datasets write, where that is not installed."""
    import pyarrow as pa
    from pyarrow import parquet

    features = {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}
    table = pa.table({"text": ["a", "b"], "label": [0, 1]})
    info = {b"huggingface": json.dumps({"info": features}).encode()}
    parquet.write_table(table.replace_schema_metadata(info), path)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_lines(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page: a command may use what the lines before it wrote. Other libraries are stand-ins."""
    for kind, block in blocks(page):
        if kind == "python":
            assert len([line for line in block.splitlines() if line]) <= 5, block
            with monkeypatch.context() as patched:
                for name in OTHERS:
                    patched.setitem(sys.modules, name, MagicMock())
                exec(compile(block, page, "exec"), {})
            continue
        for command in block.splitlines():
            assert run(shlex.split(command.removeprefix("$ "))[1:]) == 0, (command, capsys.readouterr().err)
    assert [e.label for e in examples_of(Path("two.jsonl"))] == ["GOOD", "other"]
    assert [e.label for e in examples_of(Path("split.parquet"))] == ["neg", "pos"]
    for name, expected in {
        "words.conll": [[("Ada", "PER")], [("Rome", "LOC")]],
        "uer-ner.tsv": [[("北京", "LOC")], [("王明", "PER")]],
    }.items():
        found = tagged_of(Path(name)).examples
        assert [[(e.text[s.start : s.end], s.label) for s in e.spans or ()] for e in found] == expected
    assert Path("submission.csv").read_text(encoding="utf-8") == "id,target\n1,1\n"


def test_lines_are_those_of_the_errors() -> None:
    """What is printed and what stands on the page do the same."""
    page = text_of(PAGES[0])
    for kind, file, stem in ((foreign.SPACY, "train.spacy", "spacy"), (foreign.EXCEL, "book.xlsx", "book")):
        for line in kind.lines[1:]:
            assert line.replace("FILE", file).replace("NAME", stem) in page, line


@pytest.mark.parametrize("page", PAGES)
def test_links_and_settings_exist(page: str) -> None:
    text = text_of(page)
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for link in re.findall(r"\]\(([^):]+)\)", text):
        file, _, heading = link.partition("#")
        assert not file or ((ROOT / page).parent / file).is_file(), link
        assert not heading or heading in headings, link
    known = {f"{group.key}.{one.name}".removeprefix(".") for group in explain() for one in group.settings}
    known |= {"train.schedule.name", "task.decoder", "data.answer_starts"}
    for name in re.findall(r"`((?:train|task|data|model|regularisation)\.[\w.]*\w)", text):
        assert name in known or name.endswith((".md", ".json", ".csv", ".spacy")), name


def test_both_languages_show_the_same_commands_and_lines() -> None:
    def code(page: str) -> list[str]:
        return [re.sub(r"\s+#.*", "", block) for _, block in blocks(page)]

    assert code(PAGES[0]) == code(PAGES[1])
