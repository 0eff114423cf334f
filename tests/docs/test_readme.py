"""The commands and the Python of both READMEs and of the guides, run on small files; their make targets exist."""

import json
import random
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import unmask
from unmask.cli.app import run

ROOT = Path(__file__).parents[2]
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/zh/README.md")}
# guides whose commands go on where those of a README ended
GUIDES = {
    f"docs/{folder}{guide}": f"docs/{folder}README.md" if folder else "README.md"
    for guide in (
        *("training.md", "data.md", "transfer.md", "models.md", "runtime.md"),
        *("tasks/improve.md", "tasks/tag.md", "tasks/classify.md"),
    )
    for folder in ("", "zh/")
}
PAGES = [
    *READMES.items(),
    *((of, (ROOT / guide).read_text(encoding="utf-8")) for guide, of in GUIDES.items()),
]
COMMANDS = [
    (name, line.removeprefix("$ "))
    for name, page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]

# what makes a command small enough for a test: other settings, the same command
SMALLER = {
    "tokenizer train": {"8192": "200", "5000": "60"},
    "quickstart": {"10m": "2s"},
    "pretrain": {"train.budget=30m": "train.budget=3 steps"},
    "finetune": {
        "transfer.freeze_layers=2": "transfer.freeze_layers=1",
    },
    "bench pretrain": {"20": "1"},
    "bench predict": {"60": "1"},
}
TINY = [
    "model.num_hidden_layers=1",
    "model.hidden_size=16",
    "model.num_attention_heads=2",
    "data.max_length=32",
    "data.tokens_per_step=256",
]
EXTRA: dict[str, list[str]] = {
    "pretrain": TINY,
    "bench pretrain": TINY,
    "finetune": ["task.max_length=32", "train.budget=4 steps"],
}


def write_files(folder: Path, chinese: bool) -> None:
    """The files that a README speaks of, in its language."""
    draw = random.Random(0)
    if chinese:
        blank, stop, syllables = "", "。", [chr(0x4E00 + number) for number in range(300)]
    else:
        blank, stop, syllables = " ", ".", ["ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(400)]
    (folder / "corpus").mkdir()
    for name in ("first", "second"):
        documents = [blank.join(draw.choices(words, k=40)) + stop for _ in range(150)]
        (folder / "corpus" / f"{name}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (folder / "domain").mkdir()
    documents = [blank.join(draw.choices(words[:100], k=40)) + stop for _ in range(60)]
    (folder / "domain" / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    for name, count in (("train", 60), ("test", 20)):
        rows = [f"{blank.join(draw.choices(words, k=8))},{draw.choice(['left', 'right'])}" for _ in range(count)]
        text = "\n".join(["text,label", *rows])
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
        tags = ["O", "B-PER", "B-LOC"]
        sentences = ["".join(f"{draw.choice(words)}\t{tags[place % 3]}\n" for place in range(6)) for _ in range(count)]
        (folder / f"{name}.conll").write_text("\n".join(sentences), encoding="utf-8")
    tasks = [
        {
            "id": number,
            "data": {"text": text},
            "annotations": [{"result": [{"from_name": "ner", "type": "labels", "value": span}]}],
        }
        for number in range(40)
        for some in [draw.choices(words, k=6)]
        for text in [blank.join(some)]
        for span in [{"start": 0, "end": len(blank.join(some[:3])), "labels": [draw.choice(["PER", "LOC"])]}]
    ]
    (folder / "export.json").write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    for name, count in (("nested", 60), ("nested-test", 20)):
        rows = []
        for _ in range(count):
            some = draw.choices(words, k=5)
            first, second = len(blank.join(some[:2])), len(blank.join(some[:3]))
            spans = [[0, first, "PER"], [0, second, "ORG"], [0, len(some[0]), "LOC"]]
            rows.append(json.dumps({"text": blank.join(some), "spans": spans}))
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    write_tables(folder, lambda: blank.join(draw.choices(words, k=6)), draw)
    (folder / "zh").mkdir()
    some = ["".join(chr(0x4E00 + draw.randrange(300)) for _ in range(draw.randint(1, 3))) for _ in range(300)]
    documents = ["".join(draw.choices(some, k=60)) + "。" for _ in range(60)]
    (folder / "zh" / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")


def write_tables(folder: Path, text: Callable[[], str], draw: random.Random) -> None:
    """The files of the guide to classification: pairs, several labels, numbers."""
    for part, count in (("", 40), ("-test", 20)):
        pairs = [f"{text()},{text()},{draw.choice(['yes', 'no'])}" for _ in range(count)]
        several = [f"{text()},{'|'.join(draw.sample(['a', 'b', 'c'], n % 3))}" for n in range(count)]
        numbers = [f"{text()},{text()},{draw.randint(0, 50) / 10}" for _ in range(count)]
        for name, header, rows in (
            ("pairs", "premise,hypothesis,label", pairs),
            ("labels", "text,label", several),
            ("similar", "sentence1,sentence2,label", numbers),
        ):
            (folder / f"{name}{part}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each README."""
    made = {name: tmp_path_factory.mktemp("readme") for name in READMES}
    for name, folder in made.items():
        write_files(folder, chinese="zh" in name)
    return made


Inside = Callable[[str], Path]


@pytest.fixture
def inside(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Go to the folder of a README, and speak its language."""

    def enter(name: str) -> Path:
        monkeypatch.chdir(folders[name])
        if "zh" in name:
            monkeypatch.setenv("UNMASK_LANG", "zh")
        return folders[name]

    return enter


def small(command: str) -> list[str]:
    arguments = shlex.split(command)[1:]
    for prefix, replacements in SMALLER.items():
        if command.startswith(f"unmask {prefix} "):
            arguments = [replacements.get(argument, argument) for argument in arguments]
    return arguments + EXTRA.get(arguments[0], []) + EXTRA.get(" ".join(arguments[:2]), [])


@pytest.mark.parametrize("name", READMES)
def test_every_kind_of_command_is_shown(name: str) -> None:
    commands = [command for readme, command in COMMANDS if readme == name]
    shown = {shlex.split(command)[1] for command in commands if command.startswith("unmask ")}
    assert shown >= {
        *("quickstart", "tokenizer", "corpus", "recipe", "pretrain"),
        *("fill", "finetune", "evaluate", "predict", "report", "runs", "compare"),
    }
    assert {command.split()[0] for command in commands} == {"make", "pip", "unmask"}


@pytest.mark.parametrize(("name", "command"), [c for c in COMMANDS if c[1].startswith("unmask ")])
def test_command(name: str, command: str, inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the README: a command may use what those before it made."""
    inside(name)
    assert run(small(command)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", READMES)
def test_predictions_are_written(name: str, inside: Inside) -> None:
    assert len((inside(name) / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 20


@pytest.mark.parametrize("name", READMES)
def test_quick_start_left_a_report(name: str, inside: Inside) -> None:
    folder = inside(name)
    report = (folder / "runs/own/report.html").read_text(encoding="utf-8")
    assert len(report) > 10_000 and f'<html lang="{"zh-Hans" if "zh" in name else "en"}"' in report
    assert (folder / "runs/own/results.json").is_file()


@pytest.mark.parametrize("command", [command for _, command in COMMANDS if command.startswith("make ")])
def test_make_target_exists(command: str) -> None:
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", READMES)
def test_python(name: str, inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    inside(name)
    (code,) = re.findall(r"```python\n(.*?)```", READMES[name], re.DOTALL)
    tiny = "".join(f', "{setting}"' for setting in [*TINY, "train.budget=3 steps"])
    for old, new in (
        ("vocab_size=8192", "vocab_size=200"),
        ('"train.budget=30m"]', f'"train.budget=30m"{tiny}]'),
        (
            'output="runs/py/finetune"',
            'overrides=["task.max_length=32", "train.budget=4 steps"], output="runs/py/finetune"',
        ),
    ):
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    exec(compile(code, name, "exec"), {})
    assert "Scores(20 rows" in capsys.readouterr().out


@pytest.mark.parametrize("guide", [guide for guide in GUIDES if guide.endswith("runtime.md")])
def test_python_without_unmask(guide: str, inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    """It predicts as the model does, of the folder that the commands of the guide have written; so does a stream."""
    inside(GUIDES[guide])
    stream, code = re.findall(r"```python\n(.*?)```", (ROOT / guide).read_text(encoding="utf-8"), re.DOTALL)
    Path("texts.txt").write_text("Shares rose.\nThe team won.\n")
    exec(compile(stream, guide, "exec"), {})
    streamed = [
        f"{n} {one.label}" for n, one in enumerate(unmask.load("engines")(["Shares rose.", "The team won."]), 1)
    ]
    assert capsys.readouterr().out.splitlines() == streamed
    assert "unmask" not in code.replace("unmask.json", "")
    exec(compile(code, guide, "exec"), {})
    texts = re.search(r"encode_batch\((.*?)\)", code)
    assert texts is not None
    expected = unmask.load("runs/mine/finetune")(json.loads(texts[1]))
    assert capsys.readouterr().out.strip() == str([one.label for one in expected])


@pytest.mark.parametrize("guide", [guide for guide in GUIDES if guide.endswith("data.md")])
def test_python_of_the_guide_to_data(
    guide: str, inside: Inside, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside(GUIDES[guide])
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / guide).read_text(encoding="utf-8"), re.DOTALL)
    tiny = code.replace(
        'output="runs/py/rows"', 'overrides=["task.max_length=32", "train.budget=2 steps"], output="runs/py/rows"'
    )
    assert tiny != code and "runs/mine/pretrain" in code
    tiny = tiny.replace("runs/mine/pretrain", str(pretrained))
    exec(compile(tiny, guide, "exec"), {})
    assert "Scores(10 rows" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*READMES, *GUIDES])
def test_linked_files_exist(name: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert ((ROOT / name).parent / link).is_file(), link


def test_both_say_the_same_of_what_can_be_typed() -> None:
    """Commands, whatever their options: no step is shown in one language only."""
    kinds = [{" ".join(shlex.split(command)[:2]) for readme, command in COMMANDS if readme == name} for name in READMES]
    assert kinds[0] == kinds[1]
