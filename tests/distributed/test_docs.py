"""The commands of docs/distributed.md in both languages: those for one machine are run, the others looked at."""

import random
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed.run as torchrun

from unmask.cli.app import command_line, run
from unmask.data.corpus.shards import Shards

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("docs/distributed.md", "docs/zh/distributed.md")}
COMMANDS = re.findall(r"^\$ (.*)$", PAGES["docs/distributed.md"], re.MULTILINE)
TINY = [
    "model.num_hidden_layers=1",
    "model.hidden_size=16",
    "model.num_attention_heads=2",
    "data.max_length=32",
    "data.tokens_per_step=256",
]
SMALLER = {
    "pretrain": [*TINY, "train.budget=3 steps"],
    "finetune": ["task.max_length=32", "train.budget=3 steps"],
}


def test_both_languages_show_the_same_commands() -> None:
    assert re.findall(r"^\$ (.*)$", PAGES["docs/zh/distributed.md"], re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("name", PAGES)
def test_linked_files_exist(name: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGES[name]):
        assert ((ROOT / name).parent / link).is_file(), link


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("torchrun")])
def test_torchrun_takes_the_options(command: str) -> None:
    given = torchrun.get_args_parser().parse_args(shlex.split(command)[1:])
    assert given.module and given.training_script == "unmask"
    assert given.training_script_args[0] in command_line().commands


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("torchrun")])
def test_what_others_are_asked_for_exists(command: str) -> None:
    program, first, *_ = shlex.split(command)
    if program == "sbatch":
        assert (ROOT / first).is_file()
    else:
        assert subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True).returncode == 0


def test_the_commands_for_one_machine(
    corpus: Shards,
    table: Path,
    together: Callable[[int, Callable[[], object]], list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after another: a command may use what those before it made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").symlink_to(corpus.folder)
    rows = table.read_text(encoding="utf-8").splitlines()
    for name, chosen in (("train", rows[1:61]), ("test", rows[61:])):
        random.Random(0).shuffle(chosen)
        (tmp_path / f"{name}.csv").write_text("\n".join([rows[0], *chosen]) + "\n", encoding="utf-8")
    told = [command for command in COMMANDS if command.startswith("torchrun") and "--nnodes" not in command]
    assert len(told) == 3
    for command in told:
        given = torchrun.get_args_parser().parse_args(shlex.split(command)[1:])
        arguments = given.training_script_args
        arguments += SMALLER[arguments[0]]
        count = int(given.nproc_per_node)
        assert together(count, lambda arguments=arguments: run(arguments)) == [0] * count, [
            path.read_text() for path in tmp_path.glob("err-*")
        ]
    assert (tmp_path / "runs" / "again" / "model" / "model.safetensors").is_file()
    assert (tmp_path / "err-1").read_text() == ""  # one speaks for all
