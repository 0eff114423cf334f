"""`unmask pretrain` as people and scripts call it."""

import json
import os
import signal
from pathlib import Path

import pytest

from unmask.config import read_yaml
from unmask.data.corpus.shards import Shards


def test_pretrain_says_what_came_out_and_what_to_do_next(command, small, corpus: Shards, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["pretrain", "tiny", "--corpus", corpus.folder, "--output", out, "train.budget=3 steps", *small]
    done = command(*asked)
    assert done.code == 0
    assert "held-out loss" in done.out and f"unigram {corpus.unigram_entropy():.2f}" in done.out
    assert f"unmask fill {out / 'model'}" in done.out
    assert "3 steps" in done.err  # progress and summary are no results
    assert (out / "model" / "model.safetensors").is_file()
    again = command(*asked, "--json")
    told = json.loads(again.out)
    assert again.code == 0 and told["steps"] == 3 and told["model"] == str(out / "model")
    assert told["heldout_figures"]["masked.loss"] > 0 and told["tokens"] > 0


def test_the_run_folder_is_named_after_the_recipe(command, small, corpus: Shards, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("pretrain", "pairs", f"data.corpus={corpus.folder}", "train.budget=1 steps", *small)
    assert done.code == 0 and (tmp_path / "runs" / "pairs" / "model").is_dir()
    assert "next sentence" in done.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_same_command_goes_on(
    command, small, corpus: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number, code
) -> None:
    asked = ["pretrain", "tiny", "--corpus", corpus.folder, "--output", tmp_path / "run", "train.budget=4 steps"]
    with monkeypatch.context() as patch:
        patch.setattr("unmask.console.StepProgress.advance", lambda *_: os.kill(os.getpid(), number))
        stopped = command(*asked, *small)
    assert stopped.code == code
    assert number.name in stopped.err and "same command" in stopped.err
    assert not (tmp_path / "run" / "model").exists()
    done = command(*asked, *small, "--json")
    assert done.code == 0 and json.loads(done.out)["steps"] == 4
    assert "resuming after step 1" in done.err


MISTAKES = {
    "misspelt key": (["model.layerz=6"], ["tiny: model.layerz ", "layerz: 6", "num_hidden_layers"]),
    "misspelt key of an objective": (
        ["objectives.0.ratioo=0.2"],
        ["objectives.0.ratioo ", "allowed"],
    ),
    "wrong type": (["model.num_hidden_layers=many"], ["model.num_hidden_layers", "'many'"]),
    "unknown preset": (["model.preset=tinny"], ["model.preset", "tiny?"]),
    "no setting": (["faster"], ["'faster'", "key.sub=value"]),
    "no YAML": (["train.threads=[1"], ["train.threads", "[1"]),
    "no budget": (["train.budget=fast"], ["'fast'", "10M tokens"]),
    "a number as budget": (["train.budget=300"], ["'300'", "10M tokens"]),
    "heads": (["model.num_attention_heads=3"], ["tiny: model: ", "num_attention_heads 3"]),
    "too long": (
        ["data.max_length=64", "model.max_position_embeddings=32"],
        ["data.max_length=32", "model.max_position_embeddings=64"],
    ),
    "no corpus": (["data.corpus=nowhere"], ["nowhere"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_error_with_a_way_out(command, corpus: Shards, tmp_path: Path, mistake: str) -> None:
    settings, said = MISTAKES[mistake]
    done = command("pretrain", "tiny", "--corpus", corpus.folder, "--output", tmp_path / "run", *settings)
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("error: ")
    assert all(part in done.err for part in said), done.err
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_none_or_of_the_other_kind(command, tmp_path: Path) -> None:
    unknown = command("pretrain", "tinny")
    assert unknown.code == 1 and "tinny" in unknown.err and "tiny?" in unknown.err
    forgotten = command("pretrain", "train.budget=5m")
    assert forgotten.code == 1 and forgotten.err.startswith("error: train.budget=5m ")
    (tmp_path / "mine.yaml").write_text("model: {preset: tiny}\n")
    near = command("pretrain", tmp_path / "mime.yaml")
    assert near.code == 1 and f"{tmp_path / 'mine.yaml'}?" in near.err
    other = command("pretrain", "classify")
    assert other.code == 1 and "unmask finetune classify" in other.err
    (tmp_path / "broken.yaml").write_text("model: {preset: tiny\ntrain: x: y\n")
    broken = command("pretrain", tmp_path / "broken.yaml")
    assert broken.code == 1 and f"{tmp_path / 'broken.yaml'}, line 2" in broken.err


def test_missing_key_is_named(command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: pretrain\ndata: {max_length: 64}\n")
    done = command("pretrain", tmp_path / "mine.yaml")
    assert done.code == 1 and f"{tmp_path / 'mine.yaml'}: data.corpus" in done.err


def test_a_run_folder_of_another_recipe_is_refused(command, small, corpus: Shards, tmp_path: Path) -> None:
    asked = ["pretrain", "tiny", "--corpus", corpus.folder, "--output", tmp_path / "run", "train.budget=1 steps"]
    assert command(*asked, *small).code == 0
    other = command(*asked, *small, "seed=7")
    assert other.code == 1 and str(tmp_path / "run") in other.err and "seed: 0 -> 7" in other.err


def test_options_stand_for_recipe_keys(command, small, corpus: Shards, tmp_path: Path) -> None:
    given = ["--lr", "0.002", "--epochs", "1", "--max-length", "24", "--seed", "7"]
    settings = [setting for setting in small if not setting.startswith("data.max_length")]
    done = command("pretrain", "tiny", "--corpus", corpus.folder, *given, "--output", tmp_path / "run", *settings)
    assert done.code == 0
    recipe = read_yaml(tmp_path / "run" / "recipe.yaml")
    assert recipe["train"]["optimizer"]["lr"] == 0.002 and recipe["train"]["budget"] == "1 epochs"
    assert (recipe["data"]["max_length"], recipe["seed"]) == (24, 7)
