"""`unmask inspect` and `unmask vocab` as people and scripts call them."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from unmask import bundle
from unmask.bundle.description import describe
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import audit, count_usage

LINES = [
    "kubernetes clusters restart the gateway",
    "the gateways restart a kubernetes",
    "clustering 国 lanterns",
]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "domain.txt"
    path.write_text("\n".join(f"{line} {number}" for number in range(20) for line in LINES), encoding="utf-8")
    return path


def test_inspect_says_what_a_model_is(pretrained: Path, command: Command) -> None:
    done = command("inspect", pretrained.parent, "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found.pop("folder") == str(pretrained) and found.pop("model") == str(pretrained.parent)
    assert found == describe(bundle.read(pretrained))
    shown = command("inspect", pretrained)
    for value in (
        f"{found['parameters']['total']:,}",
        found["sha256"]["model.safetensors"],
        "bert, as BertForMaskedLM",
    ):
        assert value in shown.out
    assert "corpus_sha256=" in shown.out


def test_inspect_of_what_no_other_library_reads(pretrained: Path, tmp_path: Path, command: Command) -> None:
    from unmask.config import changed
    from unmask.model.encoder import Encoder

    opened = bundle.read(pretrained)
    config = changed(opened.config, norm="pre", attention_pattern="GL", window=8)
    task = {"name": "classify", "labels": ["yes", "no"]}
    bundle.write(tmp_path / "m", config, {"encoder": Encoder(config)}, opened.tokenizer, [], task)
    shown = command("inspect", tmp_path / "m")
    assert shown.code == 0 and "own: that of bert cannot express norm pre" in shown.out
    assert "2: yes, no" in shown.out and "window=8" in shown.out


def test_inspect_of_no_model(tmp_path: Path, command: Command) -> None:
    done = command("inspect", tmp_path)
    assert done.code == 1 and done.err.startswith(f"error: {tmp_path} ") and done.out == ""


@pytest.mark.parametrize("kind", ["run", "model", "tokenizer", "file"])
def test_audit_reads_models_and_tokenizers(
    kind: str, pretrained: Path, tmp_path: Path, texts: Path, command: Command
) -> None:
    tokenizer = Tokenizer.from_pretrained(pretrained)
    tokenizer.save_pretrained(tmp_path / "t")
    source = {
        "run": pretrained.parent,
        "model": pretrained,
        "tokenizer": tmp_path / "t",
        "file": tmp_path / "t" / "vocab.txt",
    }[kind]
    done = command("vocab", "audit", source, texts, "--split", "line", "--json")
    figures = audit(count_usage(tokenizer, texts.read_text(encoding="utf-8").splitlines()))
    assert done.code == 0 and json.loads(done.out) == {"model": str(source), **figures}


def test_audit_shows_tables(pretrained: Path, texts: Path, command: Command) -> None:
    done = command("vocab", "audit", pretrained, texts)
    assert done.code == 0 and "kubernetes" in done.out and "国 20" in done.out and "Latin" in done.out
    assert "of the ordinary ones" in done.out and "unknown rate" in done.out


def test_audit_without_a_tokenizer(tmp_path: Path, texts: Path, command: Command) -> None:
    done = command("vocab", "audit", tmp_path, texts)
    assert done.code == 1 and done.err.startswith(f"error: {tmp_path} ")


def test_grow_writes_a_model_and_says_what_it_changed(
    pretrained: Path, tmp_path: Path, texts: Path, command: Command
) -> None:
    arguments = ("vocab", "grow", pretrained, texts, "--split", "line", "--output")
    done = command(*arguments, tmp_path / "few", "--add", 5)
    assert done.code == 0 and "characters per token" in done.out and "kubernetes" in done.out
    assert "have not been trained" in done.err and "supports no more than" not in done.err
    many = command(*arguments, tmp_path / "many", "--add", 1000, "--json")
    told, few = json.loads(many.out), bundle.read(tmp_path / "few")
    assert len(told["chosen"]) == bundle.read(tmp_path / "many").lineage[-1]["tokens_added"] < 1000
    assert [one["token"] for one in told["chosen"]][:5] == few.tokenizer.tokens[-5:]
    assert told["after"]["characters_per_token"] > told["before"]["characters_per_token"]


def test_grow_needs_several_documents(pretrained: Path, tmp_path: Path, texts: Path, command: Command) -> None:
    done = command("vocab", "grow", pretrained, texts, "--output", tmp_path / "out")
    assert done.code == 1 and "--split line" in done.err and not (tmp_path / "out").exists()
