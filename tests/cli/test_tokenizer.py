"""`unmask tokenizer` as people and scripts call it."""

import errno
import json
from pathlib import Path

import pytest

from errors import refused
from unmask.cli.app import run
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import count_usage

TEXT = "The river flows, well lit.\n\nThe rivers flowed under the bridge: wells, tells, rivers, 中国人.\n\n" * 4


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    out = tmp_path / "tokenizer"
    assert run(["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "70", "--output", str(out)]) == 0
    capsys.readouterr()
    return out


def test_train_writes_a_tokenizer_and_says_how_good_it_is(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "70", "--cased"]
    assert run([*arguments, "--output", str(tmp_path / "cased"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    cased = Tokenizer.from_pretrained(tmp_path / "cased")
    statistics = count_usage(cased, TEXT.split("\n\n")[:-1]).total
    assert found["sha256"] == cased.sha256 and found["cased"] and found["vocab_size"] == 70
    assert found["characters_per_token"] == statistics.characters_per_token and found["unknown_rate"] == 0
    assert found["seconds"] > 0 and found["documents"] == 8
    assert "T" in cased.tokens and "T" not in Tokenizer.from_pretrained(folder).tokens


def test_train_prints_one_table(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "70", "--output", str(folder)]) == 0
    shown = capsys.readouterr()
    assert "characters per token" in shown.out and Tokenizer.from_pretrained(folder).sha256 in shown.out
    assert "70 tokens" in shown.err


def test_a_vocabulary_that_the_text_does_not_support(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokenizer", "train", str(tmp_path / "a.txt"), "--output", str(tmp_path / "big")]) == 1
    assert "at most" in capsys.readouterr().err and not (tmp_path / "big").exists()


@pytest.mark.parametrize("name", ["unmask.json", "run.json", "manifest.json"])
def test_a_tokenizer_does_not_spoil_what_was_made_with_another(
    name: str, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text("{}")
    before = (folder / "tokenizer.json").read_bytes()
    asked = ["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "65", "--output", str(folder)]
    assert run(asked) == 1 and name in capsys.readouterr().err
    assert (folder / "tokenizer.json").read_bytes() == before


def test_a_full_disk_leaves_the_tokenizer_that_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Tokenizer.train([TEXT], vocab_size=65)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = Path.write_text

    def full(path: Path, content: str, **named: object) -> int:
        if "vocab.txt" in path.name:
            raise OSError(errno.ENOSPC, "full")
        return write(path, content, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    with refused(folder, "space"):
        other.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_rare_characters_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text(TEXT + "x Ж", encoding="utf-8")
    assert run(["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "70", "--output", str(tmp_path)]) == 0
    assert ["dropped", "characters", "2"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_inspect_shows_facts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "inspect", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "WordPiece"
    assert found["vocab_size"] == 70 == 5 + found["word_starts"] + found["continuations"]
    assert found["special_tokens"] == {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    lengths = [len(piece.removeprefix("##")) for piece in found["longest_tokens"]]
    assert lengths[0] == max(len(piece.removeprefix("##")) for piece in Tokenizer.from_pretrained(folder).tokens[5:])
    assert run(["tokenizer", "inspect", str(folder)]) == 0
    assert found["sha256"] in capsys.readouterr().out


def test_inspect_of_another_kind(byte_level: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    byte_level.save_pretrained(tmp_path)
    assert run(["tokenizer", "inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "byte-level BPE" and found["special_tokens"]["<mask>"] == byte_level.mask_token_id
    blanks = 9  # bytes that are white space: tab to carriage return, and four separators
    assert found["word_starts"] == sum(piece.startswith("Ġ") for piece in byte_level.tokens) + blanks
    assert run(["tokenizer", "inspect", str(tmp_path), "the 中", "--pair", "b", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tokens"]
    assert {row["token_type_id"] for row in rows} == {0}
    assert [row["characters"] for row in rows if row["word_id"] is not None][-1] == "b"


def test_inspect_cuts_a_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The RIVERS [MASK]\udcff."
    arguments = ["tokenizer", "inspect", str(folder), text, "--pair", "lit"]
    assert run([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["tokens"]
    tokenizer = Tokenizer.from_pretrained(folder)
    assert [row["id"] for row in rows] == tokenizer.encode(text, "lit").input_ids
    assert all(row["characters"] == (text, "lit")[row["token_type_id"]][row["start"] : row["end"]] for row in rows)
    assert run(arguments) == 0
    assert "RIVER" in capsys.readouterr().out


def test_inspecting_nothing_is_a_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "inspect", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert str(tmp_path) in told and "unmask tokenizer train" in told


@pytest.mark.parametrize("command", ["train", "inspect"])
def test_help_ends_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", command, "--help"]) == 0
    assert f"Example: unmask tokenizer {command}" in " ".join(capsys.readouterr().out.split())


WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # to full-width forms


def test_foldings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(("漢語，" + TEXT.translate(WIDE)).encode("utf-16"))
    out = str(tmp_path / "folded")
    arguments = ["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "70", "--output", out]
    assert run([*arguments, "--fold-width", "--simplify", "--min-frequency", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fold_width"] and told["simplify"]
    assert {"汉", "语", "river"} <= set(Tokenizer.from_pretrained(out).tokens)
    assert run(["tokenizer", "inspect", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fold_width"] and found["simplify"]


def test_train_lists_no_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("the river runs to the sea and the sea to the sky\n" * 20)
    arguments = ["tokenizer", "train", str(tmp_path / "a.txt"), "--vocab-size", "40", "--output", str(tmp_path / "t")]
    assert run(arguments) == 0
    assert "##" not in capsys.readouterr().out
