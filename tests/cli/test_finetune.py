"""`unmask finetune` as people and scripts call it."""

import json
import shlex
from pathlib import Path

import pytest

from unmask.config import read_yaml
from unmask.evaluate.predictions import load_predictions
from unmask.report.results import results_of

FAST = ["task.max_length=16", "train.budget=2 epochs", "train.optimizer.lr=0.01"]


def test_finetune_and_test(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["finetune", "--model", pretrained, "--train", table, "--test", table, "--output", out, *FAST]
    done = command(*asked)
    assert done.code == 0
    assert "80 test rows" in done.out and "accuracy, % [95 %]" in done.out and "always 'stone'" in done.out
    assert f"unmask predict {out / 'model'} FILE" in done.out
    told = json.loads(command(*asked, "--json").out)
    ours, majority = told["test"]["models"]
    assert majority["accuracy"]["value"] == 0.5 and majority["macro_f1"]["value"] == pytest.approx(1 / 3)
    assert ours["accuracy"]["low"] <= ours["accuracy"]["value"] <= ours["accuracy"]["high"]
    right = sum(told["test"]["confusion"][place][place] for place in range(2))
    assert ours["accuracy"]["value"] == pytest.approx(right / 80)
    assert told["train_rows"] + told["dev_rows"] == 80


def test_a_recipe_gives_the_settings_and_options_replace_them(
    command, pretrained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        f"kind: finetune\ninit_from: {pretrained}\ntask: {{name: classify, max_length: 8}}\n"
        "data: {train: elsewhere.csv}\ntrain: {budget: 1 steps}\n"
    )
    done = command("finetune", "mine.yaml", "--train", table, "seed=3")
    assert done.code == 0 and (tmp_path / "runs" / "mine" / "model").is_dir()
    kept = (tmp_path / "runs" / "mine" / "recipe.yaml").read_text()
    assert f"train: {table}" in kept and "seed: 3" in kept and "max_length: 8" in kept
    assert "truncated" in done.out and "to 8 tokens" in done.out


def test_what_is_not_given_is_asked_for(command, table: Path) -> None:
    done = command("finetune", "--train", table)
    assert done.code == 1 and "--model FOLDER" in done.err and "--train FILE" not in done.err


def test_mistakes(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    asked = ["finetune", "--model", pretrained, "--output", tmp_path / "run", *FAST]
    column = command(*asked, "--train", table, "--label-column", "labels")
    assert column.code == 1 and "'labels'" in column.err and "label?" in column.err
    absent = command(*asked, "--train", tmp_path / "none.csv")
    assert absent.code == 1 and str(tmp_path / "none.csv") in absent.err
    test = command(*asked, "--train", table, "--test", tmp_path / "none.csv")
    assert test.code == 1 and str(tmp_path / "none.csv") in test.err
    model = command("finetune", "--model", tmp_path, "--train", table, "--output", tmp_path / "other")
    assert model.code == 1 and model.err.startswith(f"error: {tmp_path} ")
    longer = command(*asked, "--train", table, "task.max_length=64")
    assert longer.code == 1 and "task.max_length=32" in longer.err
    task = command(*asked, "--train", table, "--task", "tags")
    assert task.code == 1 and "task.name" in task.err and "tags" in task.err


def test_a_run_that_never_began_takes_the_corrected_settings(command, pretrained, table, tmp_path: Path) -> None:
    asked = ["finetune", "--model", pretrained, "--output", tmp_path / "run", *FAST]
    assert command(*asked, "--train", tmp_path / "none.csv").code == 1
    assert command(*asked, "--train", table).code == 0


def test_a_label_that_only_the_test_rows_have(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nriver,water\nbridge,stoned\n")
    asked = ["finetune", "--model", pretrained, "--train", table, "--test", test, "--output", tmp_path / "run"]
    done = command(*asked, *FAST)
    assert done.code == 1
    assert f"{test}, line 3" in done.err and '"stoned"' in done.err and "stone?" in done.err
    assert "--unknown-labels skip" in done.err and "--unknown-labels wrong" in done.err
    assert not (tmp_path / "run").exists()  # said before training, not after it
    counted = command(*asked, "--unknown-labels", "wrong", *FAST, "--json")
    tested = json.loads(counted.out)["test"]
    assert counted.code == 0 and tested["rows"] == 2
    assert all(model["accuracy"]["value"] <= 0.5 for model in tested["models"])
    assert tested["labels"][-1] == "stoned" and tested["per_label"][-1]["support"] == 1


def test_a_label_that_only_the_dev_rows_have(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text("text,label\nriver,water\nbridge,stoned\n")
    asked = [
        "finetune",
        "--model",
        pretrained,
        "--train",
        table,
        "--dev",
        dev,
        "--output",
        tmp_path / "run",
        *FAST,
    ]
    done = command(*asked)
    assert done.code == 1 and "--unknown-labels wrong" in done.err
    counted = command(*asked, "--unknown-labels", "wrong", "--json")
    told = json.loads(counted.out)
    assert counted.code == 0 and told["dev_rows"] == 2 and told["dev"]["classify.accuracy"] in (0, 0.5)


def test_files_that_are_read_again_are_no_streams(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    asked = ["finetune", "--model", pretrained, "--output", tmp_path / "run", *FAST]
    for options in (["--train", "-"], ["--train", table, "--test", "-"]):
        done = command(*asked, *options)
        assert done.code == 1 and done.err.startswith(f"error: {options[-2]} ")


def test_the_report_is_of_the_test_that_was_asked_for(
    command, pretrained: Path, table: Path, easy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = [
        "finetune",
        "--model",
        pretrained,
        "--train",
        table,
        "--test",
        easy,
        "--output",
        run,
        *FAST,
        "--json",
    ]
    tested = json.loads(command(*asked).out)["test"]
    small = tmp_path / "small.csv"
    small.write_text("text,label\nriver,water\nfire,lava\n")
    assert command("evaluate", run, easy).code == 0
    assert command("evaluate", run, small, "--unknown-labels", "skip").code == 0
    assert command("evaluate", run, small, "--unknown-labels", "wrong").code == 0
    results = results_of(run)
    assert results["evaluation"]["rows"] == 60 and results["evaluation"]["split"] == "easy.csv"
    for one, other in zip(results["evaluation"]["models"], tested["models"], strict=True):
        assert one["accuracy"] == other["accuracy"]
    assert results["evaluation"]["models"][1]["kind"] == "majority"
    again = shlex.split(results["repeat"]["commands"][0])
    assert "--test" not in again and read_yaml(Path(again[2]))["data"]["test"] == str(easy)
    assert sorted(len(kept.reference) for kept in load_predictions(run)) == [1, 2, 60]


def test_rows_that_cannot_be_read_may_be_left_out(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(table.read_text() + "a,b,c\n")
    asked = ["finetune", "--model", pretrained, "--train", bad, "--output", tmp_path / "run", *FAST]
    assert f"{bad}, line 82" in command(*asked).err
    done = command(*asked, "--on-error", "skip", "--json")
    assert done.code == 0 and json.loads(done.out)["train_rows"] + json.loads(done.out)["dev_rows"] == 80


def test_options_stand_for_recipe_keys(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    given = ["--lr", "1e-05", "--epochs", "0.5", "--batch-size", "16", "--max-length", "12", "--seed", "7"]
    started = ["finetune", "--model", pretrained, "--train", table, *given]
    assert command(*started, "--output", tmp_path / "run").code == 0
    recipe = read_yaml(tmp_path / "run" / "recipe.yaml")
    assert recipe["train"]["optimizer"]["lr"] == 1e-5 and recipe["train"]["budget"] == "0.5 epochs"
    assert (recipe["data"]["batch_size"], recipe["task"]["max_length"], recipe["seed"]) == (16, 12, 7)
    written = ["train.budget=1 steps", "seed=8", "--output", tmp_path / "other"]
    assert command(*started, *written).code == 0
    recipe = read_yaml(tmp_path / "other" / "recipe.yaml")
    assert recipe["train"]["budget"] == "1 steps" and recipe["seed"] == 8
    for option, value, key in (("--epochs", "0", "budget"), ("--batch-size", "0", "batch_size"), ("--lr", "-1", "lr")):
        done = command("finetune", "--model", pretrained, "--train", table, option, value)
        assert done.code == 1 and key in done.err
