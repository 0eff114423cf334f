"""`unmask recipe` as people and scripts call it."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from unmask.config import from_mapping
from unmask.data.corpus.shards import Shards
from unmask.model.config import EncoderConfig
from unmask.train.explain import explain
from unmask.train.recipe import KINDS, PretrainRecipe


def test_show_is_complete_and_reads_back(command) -> None:
    done = command("recipe", "show", "tiny", "model.num_hidden_layers=3", "seed=9")
    values = yaml.safe_load(done.out)
    assert done.code == 0 and (values["model"]["num_hidden_layers"], values["seed"]) == (3, 9)
    assert set(values["model"]) == {field.name for field in dataclasses.fields(EncoderConfig)}
    assert from_mapping(PretrainRecipe, values, "shown") == from_mapping(
        PretrainRecipe,
        json.loads(command("recipe", "show", "tiny", "model.num_hidden_layers=3", "seed=9", "--json").out),
        "json",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_explained_and_its_default_is_true(command, kind) -> None:
    groups = explain("", kind)
    for group in groups:
        for setting in group.settings:
            assert setting.description, f"{group.key}.{setting.name} has no description"
            assert setting.allowed and "<" not in setting.allowed, (group.key, setting)
    written = {(group.key, group.choice): {one.name: one.default for one in group.settings} for group in groups}
    base = {"pretrain": {"data": {"corpus": "c"}}, "finetune": {"init_from": "m", "data": {"train": "t"}}}[kind]
    recipe = from_mapping(KINDS[kind], base, "the test")
    assert written["train", None]["budget"] == recipe.train.budget
    assert written["train.optimizer", None]["beta2"] == str(recipe.train.optimizer.beta2)
    assert written["train.optimizer", None]["lr"] == "" and recipe.train.optimizer.lr is None
    assert written["train", None]["evaluations"] == str(recipe.train.evaluations)


def test_explain_what_an_error_names(command) -> None:
    done = command("recipe", "explain", "model.num_hidden_layers")
    assert done.code == 0 and "whole number, at least 1" in done.out and "heads" not in done.out
    assert "preset" in command("recipe", "explain", "model").out
    schedules = command("recipe", "explain", "train.schedule").out
    assert "pretrain, finetune" in schedules and "name: warmup_stable_decay" in schedules and "decay_ratio" in schedules
    masked = json.loads(command("recipe", "explain", "objectives.0.masked", "--json").out)
    assert [group["choice"] for group in masked] == ["masked"]
    assert "task (name: classify)" in command("recipe", "explain", "task").out
    wrong = command("recipe", "explain", "model.num_hidden_layerz")
    assert wrong.code == 1 and "model.num_hidden_layers?" in wrong.err
    other = command("recipe", "explain", "task", "--kind", "pretrain")
    assert other.code == 1 and other.err.startswith("error: task ")


def test_check_opens_what_a_recipe_names(command, corpus: Shards, pretrained: Path, table: Path) -> None:
    done = command("recipe", "check", "tiny", f"data.corpus={corpus.folder}", "--json")
    told = json.loads(done.out)
    assert done.code == 0 and told["ok"] and told["documents"] == 120 and told["tokens"] == corpus.tokens
    rows = command(
        "recipe", "check", "classify", f"data.train={table}", f"init_from={pretrained}", "task.max_length=16"
    )
    assert rows.code == 0 and "ok: classify" in rows.out and "2 labels" in rows.out


def test_check_finds_what_would_stop_a_run(command, corpus: Shards, pretrained: Path, table: Path, tmp_path) -> None:
    folder = f"data.corpus={corpus.folder}"
    assert str(tmp_path / "none") in command("recipe", "check", "tiny", f"data.corpus={tmp_path / 'none'}").err
    assert "data.max_length=64" in command("recipe", "check", "tiny", folder, "model.max_position_embeddings=64").err
    rows = ["recipe", "check", "classify", f"init_from={pretrained}"]
    assert "none.csv" in command(*rows, "data.train=none.csv", "task.max_length=16").err
    assert "task.max_length=32" in command(*rows, f"data.train={table}").err
