"""The Slurm job file, with stand-ins for Slurm's commands and for torchrun."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm.sh"

# what each command does, beside leaving its arguments in a file of its name
STANDINS = {
    "scontrol": "if [ $1 = show ]; then printf 'first\\nsecond\\n'; fi",
    "srun": 'echo $$ > pid; shift; exec "$@"',
    "scancel": "kill -TERM $(cat pid)",
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job; commands come from its folder first."""
    for name, body in STANDINS.items():
        command(tmp_path, name, body)
    slurm = {"NODELIST": "first,second", "NUM_NODES": "2", "ID": "7"}
    return {
        **os.environ,
        **{f"SLURM_JOB_{name}": value for name, value in slurm.items()},
        "SLURM_GPUS_ON_NODE": "4",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }


def command(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f'#!/usr/bin/env bash\necho "$@" >> {name}.said\n{body}\n')
    path.chmod(0o755)


@pytest.mark.parametrize("code", [0, 3])
def test_what_ends_by_itself_is_not_put_back(job: dict[str, str], tmp_path: Path, code: int) -> None:
    command(tmp_path, "torchrun", f"exit {code}")
    assert subprocess.run([SCRIPT], env=job, cwd=tmp_path).returncode == code
    told = (tmp_path / "torchrun.said").read_text()
    assert "--nnodes 2 --nproc-per-node 4" in told and "--rdzv-endpoint first:29500 --rdzv-id 7-0" in told
    assert "-m unmask pretrain base" in told
    assert "requeue" not in (tmp_path / "scontrol.said").read_text()


def test_what_is_stopped_before_its_time_is_over_is_put_back(job: dict[str, str], tmp_path: Path) -> None:
    command(
        tmp_path,
        "torchrun",
        "trap 'sleep 0.2; touch saved; exit 1' TERM; touch ready; while :; do sleep 0.05; done",
    )
    running = subprocess.Popen([SCRIPT], env=job, cwd=tmp_path)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    running.send_signal(signal.SIGUSR1)
    assert running.wait(30) == 75
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "scancel.said").read_text().split() == ["--signal=TERM", "7.0"]
    assert "requeue 7" in (tmp_path / "scontrol.said").read_text()
