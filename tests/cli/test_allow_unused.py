"""--allow-unused: the advice of an error, which works with every command that gives it."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import refused
from unmask import finetune, load, pretrain
from unmask.cli.app import run
from unmask.config import read_yaml

CLASSIFY, MASKED = "bert ForSequenceClassification", "bert ForMaskedLM"
Publish = Callable[..., Path]


def with_a_head_of_its_own(folder: Path) -> Path:
    tensors = load_file(folder / "model.safetensors")
    more = {"fc.weight": torch.ones(3, 32), "lstm.weight_ih_l0": torch.ones(2)}
    save_file({**tensors, **more}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (CLASSIFY, "predict {model} {rows}"),
        (CLASSIFY, "evaluate {model} {labelled}"),
        (MASKED, "fill {model} 'the [MASK] fox'"),
        (CLASSIFY, "export {model} --output {folder}/exported"),
        (MASKED, "vocab grow {model} {rows} --min-frequency 1 --split line --output {folder}/grown"),
        (
            CLASSIFY,
            "finetune --model {model} --train {labelled} --output {folder}/run --max-length 32 'train.budget=1 steps'",
        ),
        (
            CLASSIFY,
            "finetune --model {model} --train {labelled} --output {folder}/f --max-length 9 --epochs 1",
        ),
    ],
)
def test_the_advice_works_with_the_command_that_gives_it(
    name: str, command: str, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rows, labelled = with_a_head_of_its_own(publish(name)), tmp_path / "rows.txt", tmp_path / "rows.csv"
    texts = [f"the quick fox {number} otters" for number in range(60)]
    rows.write_text("".join(f"{text}\n" for text in texts))
    labelled.write_text("text,label\n" + "".join(f"{text},{('no', 'yes')[n % 2]}\n" for n, text in enumerate(texts)))
    words = shlex.split(command.format(model=model, rows=rows, labelled=labelled, folder=tmp_path))
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "fc.weight, lstm.weight_ih_l0" in said and "--allow-unused" in said
    assert run([*words, "--allow-unused"]) == 0
    assert "2 weights that are not used: fc.weight, lstm.weight_ih_l0" in capsys.readouterr().err


def test_what_is_left_out_changes_nothing(publish: Publish) -> None:
    expected = load(publish(CLASSIFY)).predict(["the quick fox", "lazy"])
    model = with_a_head_of_its_own(publish(CLASSIFY))
    with refused(model, "fc.weight", "allow_unused=True"):
        load(model)
    assert list(load(model, allow_unused=True).predict(["the quick fox", "lazy"])) == list(expected)


def test_a_run_keeps_it_and_needs_it_once(
    publish: Publish, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, folder = with_a_head_of_its_own(publish(CLASSIFY)), tmp_path / "run"
    words = [
        "finetune",
        "--model",
        str(model),
        "--train",
        str(table),
        "--output",
        str(folder),
        "--max-length=32",
        "train.budget=2 steps",
    ]
    assert run([*words, "--allow-unused"]) == 0
    assert read_yaml(folder / "recipe.yaml")["transfer"]["allow_unused"] is True
    assert run([*words, "--json"]) == 0, "finished: nothing is opened again"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == 2
    assert run(["predict", str(folder), str(table)]) == 0, "its model has no such weights"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text((folder / "recipe.yaml").read_text())
    assert run(["recipe", "check", str(recipe)]) == 0
    assert run(["finetune", str(recipe), "--output", str(tmp_path / "again")]) == 0


def test_programs_say_it_by_an_argument(publish: Publish, table: Path, tmp_path: Path) -> None:
    model = with_a_head_of_its_own(publish(CLASSIFY))
    settings = {"model": model, "train": table, "overrides": ["train.budget=1 steps", "task.max_length=32"]}
    with refused(model, "fc.weight"):
        finetune(**settings, output=tmp_path / "a")  # type: ignore[arg-type]
    assert finetune(**settings, output=tmp_path / "b", allow_unused=True).steps == 1  # type: ignore[arg-type]


def test_pretraining_goes_on_from_such_a_model(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, text = with_a_head_of_its_own(publish(MASKED)), tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n\n" * 60)
    corpus = tmp_path / "corpus"
    assert run(["corpus", "build", str(text), "--tokenizer", str(model), "--output", str(corpus)]) == 0
    words = ["pretrain", "tiny", "--from", str(model), "--corpus", str(corpus), "--output", str(tmp_path / "run")]
    words += ["train.budget=2 steps", "train.evaluations=1", "data.max_length=32", "data.tokens_per_step=128"]
    assert run(words) == 1
    assert "--allow-unused" in capsys.readouterr().err
    assert run([*words, "--allow-unused", "data.heldout_share=0.3"]) == 0
    recipe = tmp_path / "mine.yaml"
    recipe.write_text((tmp_path / "run" / "recipe.yaml").read_text())
    assert pretrain(recipe, output=tmp_path / "again", budget="1 steps").steps == 1
