"""The lower half works where neither torch nor transformers can be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract_kinds import KINDS
from recorded_outputs import file_of

HERE = Path(__file__).parent


def run(script: str, *arguments: str, cwd: Path = HERE) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "COLUMNS": "200"}
    command = [sys.executable, str(HERE / script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, check=False)


def test_every_kind_of_task_is_decoded_from_recorded_outputs() -> None:
    done = run("recorded_outputs.py")
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) == {file_of(kind).stem for kind in KINDS}


@pytest.mark.parametrize("arguments", ["--help", "data check --help", "predict --help", "quickstart --help"])
def test_help_needs_no_torch(arguments: str) -> None:
    done = run("without_torch.py", *arguments.split())
    assert done.returncode == 0, done.stderr[-2000:]


def test_data_is_checked_and_a_tokenizer_trained_without_torch(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"river {n} stone,{'ab'[n % 2]}\n" for n in range(40)))
    done = run("without_torch.py", "data", "check", "--train", "rows.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (tmp_path / "texts.txt").write_text("".join(f"river stone {n} winter captain\n" for n in range(200)))
    arguments = ["tokenizer", "train", "texts.txt", "--vocab-size", "60", "--output", "tokenizer"]
    done = run("without_torch.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "tokenizer" / "tokenizer.json").is_file(), done.stderr[-2000:]


@pytest.mark.parametrize("command", ["predict model rows.csv", "finetune --model model --train rows.csv"])
def test_the_error_names_the_extra_and_the_build_for_a_cpu(command: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nriver,a\nstone,b\n")
    done = run("without_torch.py", *command.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert "unmask[train]" in done.stderr and "download.pytorch.org/whl/cpu" in done.stderr
