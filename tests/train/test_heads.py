"""Heads when a model is trained again: taken over where they mean the same, else new, and it is said."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from errors import refused
from unmask import bundle, files
from unmask.runtime.predictor import load
from unmask.train.finetune import FinetuneResult
from unmask.train.pretrain import PretrainResult


def weights(model: Path) -> dict[str, torch.Tensor]:
    return dict(bundle.read(model).tensors)


def heads_of(run: FinetuneResult | PretrainResult) -> dict[str, str]:
    found: dict[str, str] = files.read_json(run.folder / "run.json")["init"]["heads"]
    return found


def test_a_head_for_the_same_labels_is_kept(
    tune: Callable[..., FinetuneResult], table: Path, tagged: Path, tmp_path: Path, capsys: Any
) -> None:
    still = ["train.optimizer.lr=1e-30", "train.optimizer.weight_decay=0"]
    first = tune("train.optimizer.lr=0.01", out="first")
    assert heads_of(first) == {"classify": "new"}
    capsys.readouterr()
    again = tune(*still, model=first.model, out="again")
    assert f"head for classify loaded from {first.model}" in " ".join(capsys.readouterr().err.split())
    assert heads_of(again) == {"classify": "kept"}
    assert again.dev == first.dev
    kept = weights(again.model)
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights(first.model).items())
    labels = tmp_path / "other.csv"
    labels.write_text(table.read_text().replace(",stone", ",rock"))
    for name, settings, other, because in (
        ("anew", ["transfer.new_head=true"], {}, "transfer.new_head"),
        ("drawn", ["transfer.reinit_layers=1"], {}, "the blocks below it are re-initialised"),
        ("labels", [], {"train": labels}, "is for other labels"),
        ("pooling", ["task.pooling=mean"], {}, "reads in another way"),
        ("task", [], {"train": tagged, "task": "tag"}, "is for another task"),
    ):
        run = tune(*still, *settings, model=first.model, out=name, **other)
        said = " ".join(capsys.readouterr().err.split())
        assert set(heads_of(run).values()) == {"new"} and because in said, name
        assert not torch.equal(weights(run.model)["classifier.weight"], kept["classifier.weight"])


def test_a_head_of_another_make_is_not_taken(tune: Callable[..., FinetuneResult], tagged: Path) -> None:
    """With a CRF there is more to a head than without."""
    plain = tune(train=tagged, task="tag", out="plain")
    run = tune("task.decoder=crf", model=plain.model, train=tagged, task="tag", out="crf")
    assert heads_of(run) == {"tag": "new"}
    for name, settings, head in (("back", [], "new"), ("same", ["task.decoder=crf"], "kept")):
        again = tune(*settings, model=run.model, train=tagged, task="tag", out=name)
        assert heads_of(again) == {"tag": head}


def test_the_pooler_of_pretraining_goes_into_a_new_head(
    tune: Callable[..., FinetuneResult], origin: PretrainResult, capsys: Any
) -> None:
    still = ["train.optimizer.lr=1e-30", "train.optimizer.weight_decay=0"]
    pooler = weights(origin.model)["pooler.weight"]
    assert torch.equal(weights(tune(*still).model)["pooler.weight"], pooler)
    assert f"pooler loaded from {origin.model}" in " ".join(capsys.readouterr().err.split())
    for number, setting in enumerate(("task.pooling=mean", "transfer.new_head=true", "pretrained=false")):
        run = tune(*still, setting, out=str(number))
        assert not torch.equal(weights(run.model)["pooler.weight"], pooler), setting


def test_a_head_that_is_missing_is_made_new_and_said(
    go_on: Callable[..., PretrainResult],
    tune: Callable[..., FinetuneResult],
    origin: PretrainResult,
    capsys: Any,
) -> None:
    """A fine-tuned model has no head for masked pieces: it is new, and begins with how frequent pieces are."""
    tuned = tune()
    capsys.readouterr()
    result = go_on(f"init_from={tuned.model}", out="again")
    said = " ".join(capsys.readouterr().err.split())
    assert f"new head for masked: {tuned.model} has none" in said
    start = files.read_json(result.folder / "run.json")["init"]
    assert start["heads"] == {"masked": "new"}
    assert start["heldout_figures"]["masked.loss"] == pytest.approx(origin.unigram_loss, rel=0.1)
    assert [entry["kind"] for entry in bundle.read(result.model).lineage] == [
        "pretrain",
        "finetune",
        "pretrain",
    ]
    drawn = go_on("transfer.reinit_layers=1", out="drawn")
    assert heads_of(drawn) == {"masked": "new"}


def test_a_head_that_was_never_trained_is_not_served(tune: Callable[..., FinetuneResult], tmp_path: Path) -> None:
    """A model folder whose classifier is gone predicts nothing, and is not evaluated."""
    folder = tmp_path / "without"
    shutil.copytree(tune().model, folder)
    tensors = load_file(folder / "model.safetensors")
    left = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(left, folder / "model.safetensors", {"format": "pt"})
    facts = files.read_json(folder / "unmask.json")
    facts["sha256"]["model.safetensors"] = files.sha256(folder / "model.safetensors")
    files.write_json(folder / "unmask.json", facts)
    with refused(folder, "classifier", "--task classify"):
        load(folder).predict(["river"])
