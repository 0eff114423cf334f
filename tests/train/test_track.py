"""The mirror for TensorBoard: what was written is read back with TensorBoard's own reader."""

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from errors import refused
from unmask import files
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.train.pretrain import pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.run import Run


def open_run(folder: Path, tensorboard: bool = True) -> Run:
    train = {"budget": "7 steps", "tensorboard": tensorboard}
    recipe = parse_recipe(PretrainRecipe, {"data": {"corpus": "c"}, "train": train}, (), "the test")
    return Run(folder, recipe, "pretrain")


def read_back(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_every_figure_of_the_log_is_read_back_at_its_step(tmp_path: Path) -> None:
    row = {"step": 3, "progress": 0.25, "seconds": 1.5, "tokens": 96, "loss": 2.5, "lr": 0.125}
    row |= {"grad_norm": 4.0, "tokens_per_second": 64, "data_wait": 0.5}
    norms = {"gradient": [0.5, 0.25, 0.125], "activation": [1.0, 2.0, 4.0]}
    with open_run(tmp_path) as run:
        run.truncate_log(0)
        run.append(**row)
        run.append(**row | {"step": 4, "loss": 2.0, "norms": norms})
        run.append(step=4, progress=0.5, seconds=2, tokens=128, evaluation={"masked.loss": 1.75})
    found = read_back(tmp_path)
    assert found["training/loss"] == [(3, 2.5), (4, 2.0)]
    assert found["evaluation/masked.loss"] == [(4, 1.75)]
    assert found["training/tokens"] == [(3, 96.0), (4, 96.0)], "once for a step that was evaluated, too"
    assert found["training/tokens_per_second"][0] == (3, 64.0) and found["training/lr"][0] == (3, 0.125)
    for name, values in norms.items():
        layers = [found[f"{name}/{layer}"] for layer in ("embeddings", "block 01", "block 02")]
        assert layers == [[(4, value)] for value in values]
    assert len(found) == 8 + 1 + 6
    assert len(files.read_jsonl(tmp_path / "metrics.jsonl")) == 3, "the log itself is the same"


def test_steps_that_are_done_again_after_a_resume_stand_there_once(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.truncate_log(0)
        for step in range(1, 7):
            run.append(step=step, loss=1.0)
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    with open_run(tmp_path) as run:
        run.truncate_log(4)
        for step in range(5, 9):
            run.append(step=step, loss=2.0)
    steps = [(row["step"], row["loss"]) for row in files.read_jsonl(tmp_path / "metrics.jsonl")]
    assert read_back(tmp_path)["training/loss"] == steps
    assert steps == [(step, 1.0 if step < 5 else 2.0) for step in range(1, 9)]


def test_it_is_written_only_where_the_recipe_asks_for_it(tmp_path: Path) -> None:
    with open_run(tmp_path, tensorboard=False) as run:
        run.append(step=1, loss=1.0)
    assert not (tmp_path / "tensorboard").exists()


def test_without_the_package_the_run_says_so_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with refused("tensorboard", "unmask[track]"), open_run(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_run_tells_tensorboard_what_its_log_says(corpus: Shards, tmp_path: Path) -> None:
    small = [
        "model.num_hidden_layers=2",
        "model.hidden_size=16",
        "model.num_attention_heads=2",
        "data.max_length=32",
        "data.tokens_per_step=256",
    ]
    settings = [*small, f"data.corpus={corpus.folder}", "train.budget=3 steps", "train.tensorboard=true"]
    pretrain("tiny", settings, output=tmp_path / "run", progress=SILENT)
    found, log = read_back(tmp_path / "run"), files.read_jsonl(tmp_path / "run" / "metrics.jsonl")
    losses = [(row["step"], pytest.approx(row["loss"])) for row in log if "loss" in row]
    assert losses and found["training/loss"] == losses
    heldout = [(row["step"], row["evaluation"]["masked.loss"]) for row in log if "evaluation" in row]
    assert [step for step, _ in heldout] == [step for step, _ in found["evaluation/masked.loss"]]
    assert {"gradient/embeddings", "gradient/block 02", "activation/block 01"} <= found.keys()
