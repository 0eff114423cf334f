"""The commands and the Python of the pages on answering and on long texts, run on small files."""

import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest

from reading import questions_of
from unmask.cli.app import run

ROOT = Path(__file__).parents[2]
PAGES = [f"docs/{language}tasks/{name}.md" for name in ("answer", "long") for language in ("", "zh/")]
SMALLER = {"finetune": ["train.budget=3 steps", "train.optimizer.lr=0.01"]}


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def commands(page: str) -> list[str]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pretrained: Path, doubtful_questions: Path) -> Path:
    """The files that the pages speak of."""
    made = tmp_path_factory.mktemp("pages")
    shutil.copytree(pretrained.parent, made / "runs" / "tiny")
    for name in ("questions.json", "test.json"):
        shutil.copy(doubtful_questions, made / name)
    rows = [{"question": "river what?", "context": "winter river stone."}] * 2
    (made / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    draw = random.Random(0)
    for name in ("long.csv", "longtest.csv"):
        texts = [f"{'winter harbour captain ' * draw.randint(1, 8)}{mark},{mark}" for mark in ("river", "stone") * 12]
        (made / name).write_text("\n".join(["text,label", *texts]) + "\n", encoding="utf-8")
    return made


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page: a command may use what those before it made."""
    monkeypatch.chdir(folder)
    if "zh/" in page:
        monkeypatch.setenv("UNMASK_LANG", "zh")
    for name in ("answer", "cut", "windows"):
        shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    for command in commands(page):
        arguments = shlex.split(command)[1:]
        short = [] if "task.max_length" in command else ["task.max_length=32"]
        more = [*short, *SMALLER[arguments[0]]] if arguments[0] in SMALLER else []
        assert run([*arguments, *more]) == 0, capsys.readouterr().err
    for code in blocks(page, "python"):
        capsys.readouterr()
        exec(compile(code, page, "exec"), {})
        assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES[::2])
def test_both_languages_show_the_same_commands(page: str) -> None:
    assert commands(page) == commands(page.replace("docs/", "docs/zh/"))


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_data_are_read_as_they_stand(page: str, tmp_path: Path) -> None:

    for number, block in enumerate(blocks(page, "json")):
        path = tmp_path / ("x.json" if "paragraphs" in block else "x.jsonl")
        path.write_text(block.replace("a lantern ...", "a lantern."), encoding="utf-8")
        first, *_ = questions_of(path)
        assert first.answers and first.pair[first.answers[0].start :].startswith(first.answers[0].text), number


@pytest.mark.parametrize("page", PAGES)
def test_links_and_settings_exist(page: str) -> None:
    from unmask.tasks.answer import Answer
    from unmask.tasks.classify import Classify
    from unmask.tasks.embed import Embed

    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / link).is_file(), link
    known = {**vars(Answer()), **vars(Classify()), **vars(Embed())}
    for name in re.findall(r"`task\.(\w+)", text):
        assert name in known, name
