"""The commands and the Python of the page on vectors, run on small files, in both languages."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from reading import examples_of
from unmask.cli.app import run
from unmask.tasks.embed import Embed

ROOT = Path(__file__).parents[2]
PAGES = ["docs/tasks/embed.md", "docs/zh/tasks/embed.md"]
SMALLER = ["task.max_length=16", "train.budget=2 steps", "train.optimizer.lr=0.01", "data.batch_size=8"]


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def commands(page: str) -> list[str]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.mark.parametrize("page", PAGES)
def test_commands(
    page: str,
    pretrained: Path,
    pairs: Path,
    numbers: Path,
    stories: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "zh/" in page:
        monkeypatch.setenv("UNMASK_LANG", "zh")
    shutil.copytree(pretrained.parent, "runs/tiny")
    for name in ("pairs.jsonl", "testpairs.jsonl"):
        shutil.copy(pairs, name)
    shutil.copy(numbers, "scored.csv")
    for name in ("texts.txt", "new.txt"):
        Path(name).write_text("\n".join(stories[:30]) + "\n", encoding="utf-8")
    for command in commands(page):
        arguments = shlex.split(command)[1:]
        assert run([*arguments, *(SMALLER if arguments[0] == "finetune" else [])]) == 0, capsys.readouterr().err
    for code in blocks(page, "python"):
        capsys.readouterr()
        exec(compile(code, page, "exec"), {})
        assert len(capsys.readouterr().out.splitlines()) == 2


def test_both_languages_show_the_same_commands() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])


@pytest.mark.parametrize("page", PAGES)
def test_examples_settings_and_links(page: str, tmp_path: Path) -> None:
    for block in blocks(page, "json"):
        (tmp_path / "x.jsonl").write_text(block, encoding="utf-8")
        found = examples_of(tmp_path / "x.jsonl", "pairs")
        assert [json.loads(line).get("negative") for line in block.splitlines()] == [e.negative for e in found]
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`task\.(\w+)", text):
        assert name in vars(Embed()), name
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / link).is_file(), link
