"""Frozen parts, rates by layer and a taken-over model give the same network whatever the number of processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unmask import bundle
from unmask.console import SILENT
from unmask.data.corpus.shards import Shards
from unmask.train.pretrain import pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.steps.parallel import join_world

TRANSFER = {"freeze_embeddings": True, "freeze_layers": 1, "reinit_layers": 1, "layerwise_lr_decay": 0.5}


def recipe(corpus: Shards, **values: Any) -> PretrainRecipe:
    train = {"budget": "12 steps", "precision": "float64", "evaluations": 2, "ema": 0.3, "gradient_checkpointing": True}
    own = {
        "data": {"corpus": str(corpus.folder), "max_length": 32, "tokens_per_step": 300, "heldout_share": 0.1},
        "train": {**train, "optimizer": {"name": "muon", "lr": 0.01}, **values.pop("train", {})},
    }
    return parse_recipe(PretrainRecipe, {**own, **values}, (), "the test")


@pytest.fixture(scope="module")
def origin(corpus: Shards, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 32}
    out = tmp_path_factory.mktemp("runs") / "origin"
    return pretrain(recipe(corpus, model=model), output=out, progress=SILENT).model


def test_one_process_or_two(corpus: Shards, origin: Path, together: Callable[..., list[int]], tmp_path: Path) -> None:
    def go_on(how: str, world: Any = None) -> Path:
        values = {"init_from": str(origin), "transfer": TRANSFER, "train": {"parallel": how}}
        return pretrain(recipe(corpus, **values), output=tmp_path / how, progress=SILENT, world=world).model

    def work() -> None:
        with join_world() as world:
            for how in ("ddp", "fsdp"):
                go_on(how, world)

    assert together(2, work) == [0, 0], (tmp_path / "err-0").read_text() + (tmp_path / "err-1").read_text()
    several = [load_file(tmp_path / how / "model" / "model.safetensors") for how in ("ddp", "fsdp")]
    (tmp_path / "ddp").rename(tmp_path / "two")
    alone = load_file(go_on("ddp") / "model.safetensors")
    for found in several:
        assert found.keys() == alone.keys()
        for name in alone:
            torch.testing.assert_close(found[name], alone[name], rtol=1e-9, atol=1e-9, msg=name)
    before = bundle.read(origin).tensors
    for name, tensor in bundle.read(tmp_path / "two").tensors.items():
        frozen = name.startswith(("encoder.embeddings.", "encoder.blocks.0."))
        assert torch.equal(tensor.float(), before[name].float()) == frozen, name
