"""Whole runs by several processes: another number of them goes on exactly, and whatever ends one ends all."""

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from errors import refused
from unmask import files
from unmask.cli.app import RESTART, run
from unmask.console import SILENT
from unmask.errors import UserError
from unmask.train import checkpoint
from unmask.train import trainer as fit
from unmask.train.finetune import finetune
from unmask.train.pretrain import pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, parse_recipe
from unmask.train.steps.parallel import SharedError, World, join_world

Together = Callable[[int, Callable[[], object]], list[int]]


def pretraining(corpus: Path, **train: Any) -> PretrainRecipe:
    values = {
        "data": {"corpus": str(corpus), "max_length": 32, "tokens_per_step": 256, "heldout_share": 0.1},
        "model": {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 32},
        "init": {"neighbour_layers": 1, "embeddings": "counts"},
        "train": {
            "budget": "20 steps",
            "evaluations": 4,
            "precision": "float64",
            "ema": 0.3,
            "optimizer": {"name": "muon", "lr": 0.01},
            **train,
        },
    }
    return parse_recipe(PretrainRecipe, values, (), "the test")


def at_step(number: int, act: Callable[[], object]) -> None:
    """From now on, in this process, `act` happens after this step."""
    original = fit.train_steps

    def stepping(*given: Any) -> Generator[Any]:
        for step in original(*given):
            if step.number == number:
                act()
            yield step

    fit.train_steps = stepping  # type: ignore[assignment]


def command(recipe: Any, out: Path) -> Callable[[], int]:
    """What the command line does with a recipe, and its exit code."""
    path = out.parent / f"{out.name}.yaml"
    from unmask.config import to_yaml

    path.write_text(to_yaml(recipe))
    kind = "pretrain" if isinstance(recipe, PretrainRecipe) else "finetune"
    return lambda: run([kind, str(path), "--output", str(out)])


def log(out: Path) -> list[int]:
    return [row["step"] for row in files.read_jsonl(out / "metrics.jsonl") if "evaluation" in row]


def test_two_processes_then_four_then_one(corpus: Any, together: Together, tmp_path: Path) -> None:
    """Lost after 11 steps, stopped by a signal after 14, and each time taken up by others, in another way."""
    straight, out = tmp_path / "straight", tmp_path / "run"
    pretrain(pretraining(corpus.folder), output=straight, progress=SILENT)
    rank = lambda: int(os.environ["RANK"])  # noqa: E731

    def lost() -> int:
        if rank() == 1:
            at_step(11, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return command(pretraining(corpus.folder), out)()

    assert together(2, lost) == [1, -signal.SIGKILL]
    assert "another process of this run has ended" in (tmp_path / "err-0").read_text()

    def stopped() -> int:
        if rank() == 2:
            at_step(14, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        return command(pretraining(corpus.folder, parallel="fsdp"), out)()

    assert together(4, stopped) == [RESTART] * 4
    assert [(tmp_path / f"err-{n}").read_text().count("stopped by SIGUSR1") for n in range(4)] == [1, 0, 0, 0]
    newest = max(out.glob("checkpoints/step-*"))
    assert files.read_json(newest / "state.json")["step"] == 14
    pretrain(pretraining(corpus.folder), output=out, progress=SILENT)
    found, wanted = (load_file(each / "model" / "model.safetensors") for each in (out, straight))
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-9, atol=1e-9)
    assert log(out) == log(straight) == [5, 10, 15, 20]
    figures = [files.read_json(each / "run.json")["finished"] for each in (out, straight)]
    assert figures[0]["heldout_figures"] == pytest.approx(figures[1]["heldout_figures"], rel=1e-9)
    assert figures[0]["tokens"] == figures[1]["tokens"]


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_finetuning_keeps_the_best_checkpoint(
    how: str, pretrained: Path, tagged: Path, together: Together, tmp_path: Path
) -> None:
    """With a CRF, whose parameters have a rate of their own."""
    values = {
        "init_from": str(pretrained),
        "task": {"name": "tag", "max_length": 16, "decoder": "crf", "classifier_dropout": 0.0},
        "data": {"train": str(tagged), "batch_size": 24},
        "dropout": 0.0,
        "train": {
            "budget": "6 steps",
            "evaluations": 6,
            "precision": "float64",
            "parallel": how,
            "optimizer": {"lr": 0.02},
        },
    }
    recipe = parse_recipe(FinetuneRecipe, values, (), "the test")
    alone = finetune(recipe, output=tmp_path / "alone", progress=SILENT)
    codes = together(2, command(recipe, tmp_path / "run"))
    assert codes == [0, 0], (tmp_path / "err-0").read_text()
    beside = files.read_json(tmp_path / "run" / "run.json")
    assert beside["finished"]["best_step"] == alone.best_step and beside["finished"]["steps"] == alone.steps
    assert beside["finished"]["dev"] == pytest.approx(alone.dev) and beside["environment"]["processes"] == 2
    found, wanted = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("run", "alone"))
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-9, atol=1e-9)


def test_an_error_of_the_main_process_ends_all_with_one_message(
    corpus: Any, together: Together, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    pretrain(pretraining(corpus.folder, budget="1 step"), output=out, progress=SILENT)
    other = pretraining(corpus.folder, budget="2 steps", tensorboard=True)
    assert together(2, command(other, out)) == [1, 1]
    said = [(tmp_path / f"err-{rank}").read_text() for rank in range(2)]
    assert said[0].count("belongs to a run with another recipe") == 1 and said[1] == ""


def test_what_one_process_alone_cannot_read_is_told_once(corpus: Any, together: Together, tmp_path: Path) -> None:
    from unmask.train import pretrain as module

    def broken() -> int:
        if os.environ["RANK"] == "1":

            def refuse(*_: Any, **__: Any) -> Any:
                raise UserError("the corpus is gone", given="disk 7")

            module.Shards.open = refuse  # type: ignore[method-assign]
        return command(pretraining(corpus.folder), tmp_path / "run")()

    assert together(2, broken) == [1, 1]
    said = [(tmp_path / f"err-{rank}").read_text() for rank in range(2)]
    assert said[0].count("the corpus is gone") == 1 and "disk 7" in said[0] and said[1] == ""
    assert not (tmp_path / "run").exists()


def test_a_full_disk_ends_all(corpus: Any, together: Together, tmp_path: Path) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise UserError("the disk is full: x could not be written")

    def work() -> int:
        checkpoint.save_tensors = full  # type: ignore[assignment]
        return command(pretraining(corpus.folder), tmp_path / "run")()

    assert together(2, work) == [1, 1]
    said = [(tmp_path / f"err-{rank}").read_text() for rank in range(2)]
    assert said[0].count("the disk is full") == 1 and said[1].count("error") == 0


def test_what_processes_tell_each_other(together: Together, tmp_path: Path) -> None:
    def work() -> int:
        with join_world() as world:
            mine = [float(world.rank), 1.0]
            assert world.sum(mine) == [3.0, 3.0] and world.max(mine) == [2.0, 1.0]
            told = world.run_on_rank0(lambda: {"rank": world.rank, "text": "ä" * 300, "x": [0.1, None]})
            assert told == {"rank": 0, "text": "ä" * 300, "x": [0.1, None]}
            parts = {"a": {"x": torch.arange(3), "y": torch.ones(2, 2).double()}, "b": {}}
            shared = world.broadcast(parts if world.is_main else None)
            assert torch.equal(shared["a"]["x"], torch.arange(3)) and shared["a"]["y"].dtype == torch.float64
            # one fails early, while the others are at something that is agreed on further inside
            try:
                with world.sync_errors():
                    if world.rank == 1:
                        raise UserError("one", given="2")
                    world.run_on_rank0(lambda: 5)
            except SharedError as error:
                assert error.message == "one" and error.facts == {"given": "2"}
                assert error.shown_elsewhere == (world.rank > 0)
            else:
                return 7
            with world.sync_errors():
                pass
        return 0

    codes = together(3, work)
    assert codes == [0, 0, 0], (tmp_path / "err-0").read_text()


def test_a_world_of_one_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with join_world() as world:
        assert type(world) is World and world.is_main and world.sum([2.0]) == [2.0]
    with join_world(world) as again:
        assert again is world


def test_a_world_without_torchrun_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with refused("torchrun", "WORLD_SIZE=2", "MASTER_ADDR"), join_world():
        pass
