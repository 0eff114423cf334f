"""`unmask corpus build` and `stats` as they are typed."""

import io
import json
import sys
from pathlib import Path

import pytest

from unmask import console
from unmask.cli.app import run
from unmask.data.corpus.shards import Shards
from unmask.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = [f"the fox number {n} jumps over dog {n % 7}." for n in range(60)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a tokenizer, texts/a.txt (50 documents) and texts/b.jsonl (10)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_state", {"quiet": False})
    Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=60, min_frequency=1)).save_pretrained(tmp_path / "tok")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("\n\n".join(TEXTS[:50]))
    (tmp_path / "texts/b.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS[50:]))
    return tmp_path


def test_build_then_stats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "build", "texts", "--tokenizer", "tok", "--output", "out"]) == 0
    said = capsys.readouterr()
    assert said.out == "out\n"
    assert "60 documents" in said.err
    built = Shards.open("out", check=True)
    assert [source["documents"] for source in built.manifest["sources"]] == [50, 10]
    assert built.manifest["settings"]["provenance"]["files"] == ["texts"]

    assert run(["corpus", "stats", "out"]) == 0
    said = capsys.readouterr()
    for expected in (f"{built.tokens:,}", "texts/b.jsonl", f"{built.unigram_entropy():.3f} nats"):
        assert expected in said.out
    assert "checksums verified" in said.err

    assert run(["corpus", "stats", "out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["documents"], found["tokens"]) == (60, built.tokens)
    assert found["unigram_entropy"] == pytest.approx(built.unigram_entropy())


def test_a_share_by_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corpus", "build", "texts", "--tokenizer", "tok", "--keep", "50%", "--json"]
    assert run([*command, "--by", "source", "--seed", "3", "--output", "out"]) == 0
    said = json.loads(capsys.readouterr().out)
    sources = {s["name"]: s["documents"] for s in Shards.open("out").manifest["sources"]}
    assert sources["texts/b.jsonl"] == 10  # the small one is kept whole
    assert 10 <= sources["texts/a.txt"] <= 30  # about 20 of 50
    assert said["documents"] == sum(sources.values())
    assert run([*command, "--by", "source", "--seed", "4", "--output", "out"]) == 1
    assert "provenance.sample.seed: 3 -> 4" in capsys.readouterr().err
    assert run([*command, "--by", "source", "--seed", "4", "--output", "out", "--restart"]) == 0
    assert run([*command, "--by", "size", "--output", "other"]) == 1


def test_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corpus", "build", "-", "--tokenizer", "tok", "--output", "out"]
    for extra, code in ((["--keep", "50%", "--by", "source"], 1), (["--split", "line"], 0)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the fox\nthe dog\n")))
        assert run([*command, *extra]) == code
    assert "standard input" in capsys.readouterr().err
    assert Shards.open("out").documents == 2


def test_faults_stop_or_are_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "texts/c.txt").write_bytes(b"the dog\n\nthe f\xf6x\n")
    command = ["corpus", "build", "texts", "--tokenizer", "tok", "--output", "out"]
    assert run(command) == 1
    assert "texts/c.txt, line 3" in capsys.readouterr().err
    assert run([*command, "--on-error", "skip", "--restart"]) == 0
    assert "skipped: 1" in capsys.readouterr().err
    assert run([*command[:-1], "other", "--keep", "0%"]) == 1
    assert "'0%'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("texts", "unmask corpus build texts --tokenizer DIR --output DIR"),
        ("texts/a.txt", "unmask corpus build texts/a.txt --tokenizer DIR --output DIR"),
        ("text", "error: text "),
    ],
)
def test_stats_of_what_is_no_corpus_says_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    assert run(["corpus", "stats", given]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["build", "stats"])
def test_help_ends_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(["corpus", command, "--help"]) == 0
    assert f"Example: unmask corpus {command}" in capsys.readouterr().out


CHINESE = "我们在北京大学的图书馆看书，他们去北京的图书馆借书。\n\n" * 40


def test_words_are_learnt_where_the_text_is_chinese(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("zh.txt").write_bytes(CHINESE.encode("gb18030"))
    texts = [CHINESE.split("\n")[0]]
    tokenizer = Tokenizer.train(texts, vocab_size=40, min_frequency=1, allow_fewer=True)
    tokenizer.save_pretrained("zhtok")
    command = ["corpus", "build", "zh.txt", "--tokenizer", "zhtok", "--json", "--output"]
    assert run([*command, "auto"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out.splitlines()[-1])
    assert told["words"]["origin"] == "learnt from the text" and "Chinese words, learnt from the text" in said.err
    assert "GB18030" in said.err
    assert run([*command, "file", "--words", "auto/lexicon.txt"]) == 0
    assert json.loads(capsys.readouterr().out)["words"]["lexicon"] == told["words"]["lexicon"]
    assert run([*command, "none", "--words", "none", "--encoding", "gb18030"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] is None
    assert run([*command, "jieba", "--words", "jieba"]) == 0
    assert json.loads(capsys.readouterr().out)["words"]["function"].startswith("jieba")
    flags = {name: Shards.open(name).read(0, 0, 20)[1].tolist() for name in ("auto", "file", "none", "jieba")}
    assert flags["auto"] == flags["file"] != flags["none"] and sum(flags["jieba"]) < sum(flags["none"])


def test_words_of_other_text(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corpus", "build", "texts", "--tokenizer", "tok", "--output", "out"]
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] is None  # English needs none
    for given, said in (("learn", "--words none"), ("jeiba", "--words jeiba")):
        assert run([*command, "--restart", "--words", given]) == 1
        assert said in capsys.readouterr().err
    command[2] = "-"
    for given, code in (("learn", 1), ("auto", 0)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CHINESE.encode())))
        assert run([*command, "--restart", "--words", given]) == code
        assert "once" in capsys.readouterr().err
    assert run([*command[:2], "texts", *command[3:], "--encoding", "utf-9", "--restart"]) == 1
    assert "utf-9" in capsys.readouterr().err
