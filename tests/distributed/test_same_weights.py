"""The same recipe trains the same network, whatever the number of processes and however they share the work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask.data.corpus.shards import Shards
from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus
from unmask.train.recipe import PretrainRecipe, parse_recipe
from unmask.train.steps import optim
from unmask.train.steps.loop import LoopState, train_steps
from unmask.train.steps.parallel import World, join_world

# each number of processes with every optimiser, way and number of micro-batches; all pairs of these occur
RUNS = {
    2: [("adamw", "ddp", 1), ("adamw", "fsdp", 2), ("muon", "ddp", 2), ("muon", "fsdp", 1)],
    4: [("adamw", "ddp", 2), ("adamw", "fsdp", 1), ("muon", "ddp", 1), ("muon", "fsdp", 2)],
}


LAYERS = {2: 2, 4: 1}  # four processes take turns on few cores


def recipe(corpus: Shards, optimizer: str, accumulate: int, layers: int = 1) -> PretrainRecipe:
    values = {
        "data": {"corpus": str(corpus.folder), "max_length": 32, "tokens_per_step": 300, "heldout_share": 0.1},
        "model": {
            "num_hidden_layers": layers,
            "hidden_size": 8,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
        },
        "objectives": [{"name": "masked"}, {"name": "next_sentence", "weight": 0.5}],
        "train": {
            "budget": "50 steps",
            "precision": "float64",
            "max_grad_norm": 0.5,
            "gradient_accumulation_steps": accumulate,
            "optimizer": {"name": optimizer, "lr": 0.01},
        },
    }
    return fit_to_corpus(parse_recipe(PretrainRecipe, values, (), "the test"), corpus.tokenizer)


def trained(
    corpus: Shards, world: World, layers: int, optimizer: str, how: Any, accumulate: int
) -> dict[str, torch.Tensor]:
    """The weights after 50 steps, and the losses and gradient norms on the way."""
    settings = recipe(corpus, optimizer, accumulate, layers)
    torch.manual_seed(world.rank)  # the weights of the main process count
    learner = build_learner(settings, corpus.tokenizer).double()
    wrapped = world.wrap(learner, how).train()
    rule = optim.build_optimizer(settings.train.optimizer, world.unwrap(wrapped))
    batches = build_batches(settings, corpus, world)
    told = list(train_steps(wrapped, rule, batches, settings.train, LoopState(), 0, world))
    world.gather(wrapped, learner)
    return {
        **learner.state_dict(),
        "losses": torch.tensor([[s.loss, *s.losses.values()] for s in told], dtype=torch.float64),
        "gradient norms": torch.tensor([s.grad_norm for s in told], dtype=torch.float64),
        "norms by layer": torch.tensor([s.norms["gradient"] for s in told if s.norms], dtype=torch.float64),
    }


@pytest.mark.parametrize("count", RUNS)
def test_one_process_or_several(
    count: int,
    corpus: Shards,
    together: Callable[..., list[int]],
    tmp_path: Path,
) -> None:
    layers = LAYERS[count]
    alone = {name: trained(corpus, World("cpu"), layers, name, "ddp", 1) for name in ("adamw", "muon")}
    assert all((told["gradient norms"] > 0.5).any() for told in alone.values()), "gradients must be clipped"

    def work() -> None:
        with join_world() as world:
            for run in RUNS[count]:
                weights = trained(corpus, world, layers, *run)
                if world.is_main:
                    save_file(weights, tmp_path / ("-".join(map(str, run)) + ".safetensors"))

    assert together(count, work) == [0] * count, (tmp_path / "err-0").read_text()
    for run in RUNS[count]:
        found = load_file(tmp_path / ("-".join(map(str, run)) + ".safetensors"))
        wanted = alone[run[0]]
        assert found.keys() == wanted.keys()
        for name in wanted:
            torch.testing.assert_close(
                found[name], wanted[name], rtol=1e-9, atol=1e-9, msg=lambda m, n=name, r=run: f"{r}, {n}: {m}"
            )


def test_processes_read_unequal_shares(corpus: Shards) -> None:
    """Otherwise the test above would not see a mean of means."""
    settings = recipe(corpus, "adamw", 2)
    worlds = [World("cpu") for _ in range(4)]
    for rank, world in enumerate(worlds):
        world.rank, world.size = rank, 4  # type: ignore[misc]
    learner = build_learner(settings, corpus.tokenizer)
    shares = [
        [learner.prepare(batch, 0) for batch in build_batches(settings, corpus, world).step(0)] for world in worlds
    ]
    assert {len(share) for share in shares} == {2}
    assert len({sum(batch.num_tokens for batch in share) for share in shares}) > 1
    assert len({batch.target_counts["masked"] for share in shares for batch in share}) > 1
    read = sorted(int(n) for share in shares for batch in share for n in batch.example)
    whole = build_batches(settings, corpus, World("cpu")).step(0)
    assert read == sorted(int(n) for batch in whole for n in batch.example)
