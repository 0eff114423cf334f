"""The README's commands and its Python, run on small files; its make targets exist."""

import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from unmask.cli.app import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]

# what makes a command small enough for a test: other settings, the same command
SMALLER = {
    "tokenizer train": {"8192": "200", "5000": "60"},
    "quickstart": {"10m": "2s"},
    "pretrain": {"train.budget=30m": "train.budget=3 steps"},
}
TINY = ["model.layers=1", "model.width=16", "model.heads=2", "data.length=32", "data.batch_tokens=256"]
EXTRA: dict[str, list[str]] = {"pretrain": TINY, "finetune": ["task.length=32", "train.budget=4 steps"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    draw = random.Random(0)
    syllables = ["ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]
    (folder / "corpus").mkdir()
    for name in ("first", "second"):
        documents = [" ".join(draw.choices(words, k=40)) + "." for _ in range(150)]
        (folder / "corpus" / f"{name}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    for name, count in (("train", 60), ("test", 20)):
        rows = [
            f"{' '.join(draw.choices(words, k=8))},{draw.choice(['left', 'right'])}" for _ in range(count)
        ]
        text = "\n".join(["text,label", *rows])
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
        tags = ["O", "B-PER", "B-LOC"]
        sentences = [
            "".join(f"{draw.choice(words)}\t{tags[place % 3]}\n" for place in range(6)) for _ in range(count)
        ]
        (folder / f"{name}.conll").write_text("\n".join(sentences), encoding="utf-8")
    (folder / "zh").mkdir()
    some = ["".join(chr(0x4E00 + draw.randrange(300)) for _ in range(draw.randint(1, 3))) for _ in range(300)]
    documents = ["".join(draw.choices(some, k=60)) + "。" for _ in range(60)]
    (folder / "zh" / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def small(command: str) -> list[str]:
    arguments = shlex.split(command)[1:]
    for prefix, replacements in SMALLER.items():
        if command.startswith(f"unmask {prefix} "):
            arguments = [replacements.get(argument, argument) for argument in arguments]
    return arguments + EXTRA.get(arguments[0], [])


def test_every_kind_of_command_is_shown() -> None:
    shown = {shlex.split(command)[1] for command in COMMANDS if command.startswith("unmask ")}
    assert shown >= {
        *("quickstart", "tokenizer", "corpus", "recipe", "pretrain"),
        *("fill", "finetune", "evaluate", "predict", "report", "runs", "compare"),
    }
    assert {command.split()[0] for command in COMMANDS} == {"make", "pip", "unmask"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("unmask ")])
def test_command(command: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the README: a command may use what those before it made."""
    assert run(small(command)) == 0, capsys.readouterr().err


def test_predictions_are_written(inside: Path) -> None:
    assert len((inside / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 20


def test_quick_start_left_a_report(inside: Path) -> None:
    assert (inside / "runs/own/report.html").stat().st_size > 10_000
    assert (inside / "runs/own/results.json").is_file()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python(inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    tiny = "".join(f', "{setting}"' for setting in [*TINY, "train.budget=3 steps"])
    for old, new in (
        ("vocabulary=8192", "vocabulary=200"),
        ('"train.budget=30m"]', f'"train.budget=30m"{tiny}]'),
        (
            'out="runs/py/finetune"',
            'overrides=["task.length=32", "train.budget=4 steps"], out="runs/py/finetune"',
        ),
    ):
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    exec(compile(code, "README.md", "exec"), {})
    assert "Evaluation(20 rows" in capsys.readouterr().out


def test_linked_files_exist() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).is_file(), link
