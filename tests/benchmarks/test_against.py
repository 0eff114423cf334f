"""Another checkout as a side, and benchmarks of whole commands. No peers needed."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import against, commands, peer, prediction
from errors import refused

UNMASK = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1])
with pathlib.Path(__file__).with_name("called.jsonl").open("a") as file:
    file.write(json.dumps(words) + "\\n")
if words[0] == "finetune":
    (out / "model").mkdir(parents=True)
else:
    out.write_text('{"label": "water"}\\n')
"""
ENCODING = """
from dataclasses import dataclass
from typing import Any
import unmask

@dataclass
class Prepared:
    work: Any
    facts: Any

def add_options(parser):
    parser.add_argument("--documents", nargs="+")
    parser.add_argument("--characters", type=int, default=7)

def arrange(arguments, folder):
    return {"documents": arguments.documents, "characters": arguments.characters, "folder": str(folder)}, []

def ours(settings):
    return Prepared(lambda: 1.0, lambda: {"imported": unmask.__file__, **settings})
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of version 0.0.9, whose commands write down how they are called."""
    folder = tmp_path / "checkout"
    for path, text in {
        "pyproject.toml": '[project]\nname = "unmask"\nversion = "0.0.9"\n',
        "src/unmask/__init__.py": "",
        "src/unmask/__main__.py": UNMASK,
        "benchmarks/__init__.py": "",
        "benchmarks/encoding.py": ENCODING,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text), encoding="utf-8")
    words = against.Words(
        "finetune --old-model {model} --out {out}", "predict {model} --out {out}", {"--text": "--documents"}
    )
    monkeypatch.setitem(against.WORDS, "0.0.9", words)
    monkeypatch.setattr(command.conditions, "others_now", lambda: 0.0)
    return folder


@pytest.fixture
def rows(tmp_path: Path, tagged: Path) -> dict[str, Path]:
    """A file for each task."""
    file = tmp_path / "rows.jsonl"
    lines = [{"text": f"{word} and stone", "label": word} for word in ("river", "harbour") * 20]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {"classify": file, "tag": tagged}


def record_in(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_same_side_of_another_checkout(checkout: Path, table: Path, tmp_path: Path) -> None:
    """It arranges the work itself, from the same options by its names, and imports its own unmask."""
    given = ["--text", str(table), "--characters", "2000", "--vocabulary", "96", "--threads", "1"]
    given += ["--rounds", "2", "--against", str(checkout), "--out", str(tmp_path / "records")]
    assert command.main(["encoding", *given]) == 0
    found = record_in(tmp_path / "records")
    assert found["sides"] == ["ours", "checkout"] and len(found["results"][0]["speed"]["rounds"]) == 2
    assert found["data"][-1] == {
        "name": "checkout",
        "version": "0.0.9",
        "commit": None,
        "changed": None,
        "data": [],
    }
    ours, other = (each["facts"] for each in found["measurements"][:2])
    assert ours["tokens"] > 0
    assert Path(other["imported"]) == checkout / "src" / "unmask" / "__init__.py"
    assert (other["documents"], other["characters"]) == ([str(table)], 2000)


@pytest.mark.parametrize(("name", "task"), [("finetuning", "classify"), ("prediction", "tag")])
def test_whole_commands_of_another_checkout(
    name: str, task: str, checkout: Path, rows: dict[str, Path], pretrained: Path, tmp_path: Path
) -> None:
    given = ["--task", task, "--file", str(rows[task]), "--model", str(pretrained), "--max-length", "32"]
    given += ["--rows", "30", "--steps", "2", "--batch-size", "4", "--threads", "1", "--warmup", "0"]
    given += ["--rounds", "1", "--against", str(checkout), "--out", str(tmp_path / "records")]
    assert command.main([name, *given]) == 0
    found = record_in(tmp_path / "records")
    assert found["sides"] == ["ours", "checkout"]
    for each in found["measurements"]:
        assert each["done"] == [8.0 if name == "finetuning" else 30.0]
        assert 0 < each["facts"]["seconds"] <= each["seconds"][0]
        assert each["cpu_seconds"] > 0
    called = [json.loads(line) for line in (checkout / "src/unmask/called.jsonl").read_text().splitlines()]
    assert called[0][:3] == ["finetune", "--old-model", str(pretrained)]
    assert [words[0] for words in called[1:]] == ["predict"] * (name == "prediction")
    if name == "prediction":  # each side predicts with a model that its own version made
        assert called[1][1] == str(Path(called[0][-1]) / "model")


def test_a_folder_that_is_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("encoding", "finetuning"):
        assert command.main([name, "--against", str(tmp_path)]) == 2
        assert str(tmp_path) in capsys.readouterr().err


def test_a_checkout_without_the_benchmark(
    checkout: Path, rows: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "benchmarks" / "encoding.py").unlink()
    given = ["--text", str(rows["classify"]), "--vocabulary", "30", "--against", str(checkout)]
    assert command.main(["encoding", *given]) == 2
    assert str(checkout) in capsys.readouterr().err


def test_only_benchmarks_of_one_figure_are_compared() -> None:
    for name in command.MEMBERS:
        help_ = command.parser_of(name, command.member(name)).format_help()
        assert ("--against" in help_) == (name not in ("lengths", "scaling"))


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    settings = {"commands": {"predict": "predict {model}"}, "model": tmp_path, "threads": 1}
    with refused("unmask predict", "status", tmp_path):
        commands.unmask("predict", {**settings, "checkout": against.conditions.ROOT}, tmp_path)


def test_rows_come_evenly_and_whole(rows: dict[str, Path], tagged: Path) -> None:
    lines = commands.records_of(rows["classify"], "jsonl")
    assert len(lines) == 40 and commands.evenly(lines, 4) == lines[::10] and commands.evenly(lines, 99) == lines
    sentences = commands.records_of(tagged, "conll")
    assert len(sentences) == 60 and "".join(sentences) == tagged.read_text(encoding="utf-8")


def test_the_peer_reads_the_same_rows(rows: dict[str, Path]) -> None:
    assert peer.rows_of(str(rows["classify"]), "classify")[0] == ("river and stone", "river")
    words, tags = peer.rows_of(str(rows["tag"]), "tag")[0]
    first = commands.records_of(rows["tag"], "conll")[0]
    assert first == "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def test_the_first_wordpiece_of_a_token_has_its_tag() -> None:
    class Encoded(dict[str, Any]):
        def word_ids(self, row: int) -> list[int | None]:
            assert row == 0
            return [None, 0, 0, 1, None]

    def tokenizer(words: list[list[str]], **options: Any) -> Encoded:
        assert words == [["ab", "c"]] and options["max_length"] == 8
        return Encoded(input_ids=[[2, 7, 8, 9, 3]])

    (row,) = peer.encode_words(tokenizer, [(["ab", "c"], ["X", "O"])], {"O": 0, "X": 1}, 8)
    assert row == {"input_ids": [2, 7, 8, 9, 3], "labels": [-100, 1, -100, 0, -100]}


def test_only_the_labels_of_predictions_are_compared(tmp_path: Path) -> None:
    found = []
    for number, score in enumerate((0.5, 0.75)):
        file = tmp_path / f"{number}.jsonl"
        file.write_text(json.dumps({"label": "river", "score": score}) + "\n")
        found.append(prediction.labels_of(file))
    assert found[0] == found[1]
