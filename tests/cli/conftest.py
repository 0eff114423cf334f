"""What the tests of the command line share: calling a command in this process, and small models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from unmask.cli.app import run

SMALL = [
    "model.num_hidden_layers=1",
    "model.hidden_size=16",
    "model.num_attention_heads=2",
    "model.max_position_embeddings=32",
    "data.max_length=32",
]
SMALL += ["data.tokens_per_step=256", "data.heldout_share=0.1"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return Outcome(code, shown.out, shown.err)

    return call


@pytest.fixture
def small() -> list[str]:
    """Settings that make any shipped pretraining recipe fit a test."""
    return SMALL


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows of four short texts, so that a tiny model tells them apart for certain."""
    path = tmp_path_factory.mktemp("easy") / "easy.csv"
    texts = [
        ("the river", "water"),
        ("a mountain", "stone"),
        ("the river the river", "water"),
        ("mountain", "stone"),
    ]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in texts * 15), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def classifier(pretrained: Path, easy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a fine-tuning run that has learnt its two labels."""
    from unmask.console import SILENT
    from unmask.train.finetune import finetune

    settings = ["task.max_length=16", "train.budget=60 steps", "train.optimizer.lr=0.01", "dropout=0"]
    out = tmp_path_factory.mktemp("runs") / "finetune"
    return finetune(None, settings, model=pretrained, train=easy, dev=easy, output=out, progress=SILENT).model
