"""What is taken over from a model, what of it learns and how fast: to the bit, against formulas, and in whole runs."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from errors import refused
from unmask import bundle, files
from unmask.bundle import export
from unmask.cli.app import run as command
from unmask.config import changed
from unmask.console import SILENT
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import Shards, build
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives import Masked
from unmask.runtime.predictor import load
from unmask.text.tokenizer import Tokenizer
from unmask.train import trainer as fit
from unmask.train.bench import run_benchmark
from unmask.train.finetune import FinetuneResult
from unmask.train.pretrain import PretrainLearner, PretrainResult, pretrain
from unmask.train.recipe import PretrainRecipe, read_recipe
from unmask.train.steps import optim
from unmask.train.steps.optim import OptimizerConfig
from unmask.train.transfer import (
    Transfer,
    architecture,
    load_pretrained,
    set_trainable,
    tile_positions,
)

LAYERS = 3
LEARNED = {
    "num_hidden_layers": LAYERS,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "position_embedding_type": "learned",
}
TABLE = "encoder.embeddings.position.weight"


def weights(model: Path) -> dict[str, torch.Tensor]:
    return dict(bundle.read(model).tensors)


def block(number: int) -> str:
    return f"encoder.blocks.{number}."


# what is taken over


@given(old=st.integers(1, 12), more=st.integers(0, 30), seed=st.integers(0, 99))
def test_positions_are_tiled_as_numpy_does(old: int, more: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(old, 3)).astype(np.float32)
    tiled = tile_positions(torch.from_numpy(table), old + more).numpy()
    np.testing.assert_array_equal(tiled, np.resize(table, (old + more, 3)))


def test_blocks_are_loaded_and_drawn_anew_to_the_bit(origin: PretrainResult) -> None:
    opened = bundle.read(origin.model)
    taken = load_pretrained(opened, Transfer(reinit_layers=1), seed=0)
    assert taken.config == opened.config
    state = taken.encoder().state_dict()
    fresh = load_pretrained(opened, Transfer(reinit_layers=1), seed=1).encoder().state_dict()
    for name, tensor in state.items():
        before = opened.tensors[f"encoder.{name}"]
        matrix = name.startswith("blocks.2.") and tensor.ndim > 1
        assert torch.equal(tensor, before) == (not name.startswith("blocks.2.")), name
        assert torch.equal(tensor, fresh[name]) == (not matrix), "another seed draws others"
        if matrix:
            assert tensor.std() == pytest.approx(opened.config.initializer_range, rel=0.15)
    everything = load_pretrained(opened, Transfer(), seed=0)
    assert everything.config == opened.config and everything.tensors == opened.tensors


def test_what_is_drawn_anew_is_not_what_the_seed_gave_to_another_run(origin: PretrainResult) -> None:
    taken = load_pretrained(bundle.read(origin.model), Transfer(reinit_layers=LAYERS), seed=0).encoder()
    torch.manual_seed(0)
    first = Encoder(taken.config)
    name = "blocks.0.attention.qkv.weight"
    assert not torch.equal(taken.state_dict()[name], first.state_dict()[name])


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "learned"])
def test_longer_texts(positions: str, recipe_for: Callable[..., PretrainRecipe], tmp_path: Path, capsys: Any) -> None:
    """Of 16 positions 32, of which the first 16 are the old ones; short texts give what they gave before."""
    model = {**LEARNED, "num_hidden_layers": 1, "max_position_embeddings": 16, "position_embedding_type": positions}
    old = pretrain(recipe_for("data.max_length=16", model=model), output=tmp_path / "old", progress=SILENT)
    none = ["train.optimizer.lr=1e-30", "train.optimizer.weight_decay=0", "train.budget=1 step"]
    recipe = recipe_for(*none, f"init_from={old.model}", "transfer.max_position_embeddings=32")
    new = pretrain(recipe, output=tmp_path / "new", progress=SILENT)
    opened = bundle.read(new.model)
    assert opened.config == changed(bundle.read(old.model).config, max_position_embeddings=32)
    fill = "river [MASK]"
    first, second = ([[p.score for p in place] for place in load(run.model).fill(fill)] for run in (old, new))
    np.testing.assert_allclose(first, second, atol=1e-6)
    facts = files.read_json(new.folder / "run.json")["init"]
    assert (facts["max_position_embeddings_of_model"], facts["max_position_embeddings"]) == (16, 32)
    with refused("data.max_length=16", "transfer.max_position_embeddings="):
        pretrain(recipe_for(f"init_from={old.model}"), output=tmp_path / "no", progress=SILENT)


def test_rows_before_the_first_position_stay(origin: PretrainResult) -> None:
    """RoBERTa counts its positions from 2."""
    opened = bundle.read(origin.model)
    config = changed(opened.config, max_position_embeddings=30, position_offset=2)
    taken = load_pretrained(dataclasses.replace(opened, config=config), Transfer(max_position_embeddings=50), seed=0)
    before, after = opened.tensors[TABLE], taken.encoder().state_dict()["embeddings.position.weight"]
    assert torch.equal(after, torch.cat([before[:2], tile_positions(before[2:], 50)])) and len(after) == 52


def test_layers_that_share_their_weights_go_together(tiny: EncoderConfig) -> None:
    """As in ALBERT: six layers, of which two in a row are one block."""
    config = changed(tiny, num_hidden_layers=6, num_hidden_groups=3)
    learner = PretrainLearner(Encoder(config), [Masked().build(config, 4, range(5, config.vocab_size))])
    set_trainable(learner, Transfer(freeze_layers=2, layerwise_lr_decay=0.5))
    frozen = {name for name, p in learner.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in learner.named_parameters() if name.startswith(block(0))}
    assert learner.lr_factors == {block(0): 0.25, block(1): 0.5, "encoder.embeddings.": 0.125}
    for name in ("freeze_layers", "reinit_layers"):
        with refused(f"transfer.{name}=3", "0, 2, 4, 6"):
            architecture(config, Transfer(**{name: 3}))


# what learns


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves(
    optimizer: str, embeddings: bool, go_on: Callable[..., PretrainResult], origin: PretrainResult
) -> None:
    """Also where weights are averaged, decayed and computed again to save memory."""
    rest = [
        "train.ema=0.5",
        "train.gradient_checkpointing=true",
        f"train.optimizer={{name: {optimizer}, weight_decay: 0.5}}",
    ]
    result = go_on(f"transfer.freeze_embeddings={embeddings}", "transfer.freeze_layers=2", *rest)
    before, after = weights(origin.model), weights(result.model)
    frozen = (block(0), block(1), *(["encoder.embeddings."] if embeddings else []))
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) == name.startswith(frozen), name
    assert files.read_json(result.folder / "run.json")["init"]["trainable_parameters"] < result.parameters


def learner_of(tiny: EncoderConfig, transfer: Transfer) -> PretrainLearner:
    torch.manual_seed(0)
    config = changed(tiny, num_hidden_layers=LAYERS)
    learner = PretrainLearner(Encoder(config), [Masked(mask_prob=0.3).build(config, 4, range(5, config.vocab_size))])
    set_trainable(learner, transfer)
    return learner.train()


def test_frozen_parameters_have_no_gradient_and_no_place_in_the_optimiser(
    tiny: EncoderConfig, make_batch: Callable[..., Batch]
) -> None:
    learner = learner_of(tiny, Transfer(freeze_embeddings=True, freeze_layers=2))
    batch = learner.prepare(make_batch([32, 20]), 0)
    learner(batch).share(batch.target_counts).backward()
    frozen = ("encoder.embeddings.", block(0), block(1))
    for name, parameter in learner.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen), name
    for settings in (OptimizerConfig(), OptimizerConfig(name="muon")):
        held = {id(p) for group in optim.build_optimizer(settings, learner).param_groups for p in group["params"]}
        assert held == {id(p) for name, p in learner.named_parameters() if not name.startswith(frozen)}


@pytest.mark.parametrize("recompute", [False, True])
def test_a_frozen_bottom_costs_no_backward_pass(
    recompute: bool, tiny: EncoderConfig, make_batch: Callable[..., Batch], reference_attention: None
) -> None:
    """The backward pass of the whole network less that of its lower two blocks, as torch counts it."""

    def backward(transfer: Transfer) -> tuple[int, int]:
        learner = learner_of(tiny, transfer)
        learner.encoder.gradient_checkpointing = recompute
        batch = learner.prepare(make_batch([32, 32]), 0)
        share = learner(batch).share(batch.target_counts)
        with FlopCounterMode(display=False) as counter:
            share.backward()
        return counter.get_total_flops(), sum(batch.output_layout.lengths)

    whole, asked = backward(Transfer())
    top, _ = backward(Transfer(freeze_embeddings=True, freeze_layers=2))
    width, tokens, length = tiny.hidden_size, 64, 32
    forward = 2 * tokens * 12 * width**2 + 4 * width * tokens * length  # of a block
    below = 2 * (asked + 2 * tokens) * width**2  # the gradient of the input of the third, for query, key and value
    assert whole - top == 2 * (2 + recompute) * forward + below


@given(layers=st.integers(1, 6), decay=st.floats(0.1, 1.0), head=st.floats(0.1, 10.0))
def test_rates_are_those_of_the_formula(layers: int, decay: float, head: float) -> None:
    """Sun et al. 2019: eta of the layer below is xi times that of the layer above."""
    config = EncoderConfig(
        vocab_size=20,
        num_hidden_layers=layers,
        hidden_size=8,
        num_attention_heads=2,
        max_position_embeddings=16,
        norm="pre",
    )
    for settings in (OptimizerConfig(lr=1.0, weight_decay=0.1), OptimizerConfig(name="muon", lr=1.0, weight_decay=0.1)):
        learner = PretrainLearner(Encoder(config), [Masked().build(config, 4, range(5, config.vocab_size))])
        plain = {p: g for g in optim.build_optimizer(settings, learner).param_groups for p in g["params"]}
        set_trainable(learner, Transfer(layerwise_lr_decay=decay, head_lr_factor=head))
        optimizer = optim.build_optimizer(settings, learner)
        optim.set_lr(optimizer, 1.0)
        groups = {p: g for g in optimizer.param_groups for p in g["params"]}
        rate, wanted = 1.0, {}
        for number in reversed(range(layers)):
            wanted[block(number)] = rate
            rate *= decay
        wanted |= {"encoder.embeddings.": rate, "encoder.norm.": 1.0, "objectives.": head}
        for name, parameter in learner.named_parameters():
            (expected,) = [r for prefix, r in wanted.items() if name.startswith(prefix)]
            before, now = plain[parameter], groups[parameter]
            assert now["lr"] == pytest.approx(expected * before["factor"]), name
            assert now["weight_decay"] == before["weight_decay"], "rates leave decay as it is"
            assert now.get("stacked") == before.get("stacked")


def test_rates_of_the_task_and_of_transfer_are_multiplied(
    tune: Callable[..., FinetuneResult], tagged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, tuple[float, float]] = {}
    right = optim.build_optimizer

    def building(settings: Any, learner: Any) -> Any:
        optimizer = right(settings, learner)
        names = {id(p): name for name, p in learner.named_parameters()}
        seen.update(
            {names[id(p)]: (g["factor"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
        )
        return optimizer

    monkeypatch.setattr(fit.optim, "build_optimizer", building)
    rates = [
        "transfer.head_lr_factor=2",
        "transfer.layerwise_lr_decay=0.5",
        "task.decoder=crf",
        "task.crf_lr_factor=7",
    ]
    tune(*rates, task="tag", train=tagged)
    assert seen["head.crf.transitions"] == (14, 0) and seen["head.classifier.weight"] == (2, 0.01)
    assert seen[f"{block(0)}attention.qkv.weight"] == (0.25, 0.01)


# going on with pretraining


def test_it_begins_at_the_loss_of_the_model(go_on: Callable[..., PretrainResult], origin: PretrainResult) -> None:
    """On the same held-out text, with both heads."""
    result = go_on(objectives=[{"name": "masked"}, {"name": "next_sentence"}])
    assert result.heldout_before == pytest.approx(origin.heldout_figures, rel=1e-6)
    assert result.heldout_figures != origin.heldout_figures
    facts = files.read_json(result.folder / "run.json")
    assert facts["init"]["heads"] == {"masked": "kept", "next_sentence": "kept"}
    assert facts["inputs"]["model"] == facts["init"]["sha256"] == bundle.read(origin.model).sha256
    lineage = bundle.read(result.model).lineage
    assert [entry["kind"] for entry in lineage] == ["pretrain", "pretrain"]
    assert lineage[:1] == bundle.read(origin.model).lineage
    assert lineage[1]["recipe"]["init_from"] == str(origin.model)


def test_a_public_checkpoint_is_a_model_too(
    go_on: Callable[..., PretrainResult],
    tune: Callable[..., FinetuneResult],
    origin: PretrainResult,
    tmp_path: Path,
) -> None:
    """The same weights in the public layout, with nothing of ours beside them."""
    export(bundle.read(origin.model), tmp_path / "public")
    assert not (tmp_path / "public" / "unmask.json").exists()
    both = ["objectives=[{name: masked}, {name: next_sentence}]"]
    result = go_on(f"init_from={tmp_path / 'public'}", "model.dropout=0", *both)
    assert result.heldout_before == pytest.approx(origin.heldout_figures, rel=1e-6)
    assert [entry["kind"] for entry in bundle.read(result.model).lineage] == ["public", "pretrain"]
    assert tune(model=tmp_path / "public").steps == 4


def test_checking_and_measuring_know_the_model(
    origin: PretrainResult,
    corpus: Shards,
    recipe_for: Callable[..., PretrainRecipe],
    tmp_path: Path,
    capsys: Any,
) -> None:
    """`recipe check` and `bench` of a recipe that goes on from a model, most of which is frozen."""
    frozen = ["transfer.freeze_embeddings=true", "transfer.freeze_layers=2", "data.max_length=32"]
    settings = [f"init_from={origin.model}", f"data.corpus={corpus.folder}", *frozen]
    assert command(["recipe", "check", "tiny", *settings]) == 0
    objective = {"masked": 16 * 16 + 3 * 16 + corpus.vocab_size}
    encoder = load(origin.model).engine.encoder.num_parameters
    assert f"{encoder + objective['masked']:,} parameters" in capsys.readouterr().out
    whole, part = (
        run_benchmark(recipe_for(*settings[: 2 + 2 * some]), corpus, 0.01, SILENT)["speed"]["flops_per_token"]
        for some in (False, True)
    )
    assert part < 0.6 * whole
    assert command(["pretrain", "tiny", "--from", str(tmp_path), "--corpus", str(corpus.folder)]) == 1
    assert f"error: {tmp_path} " in capsys.readouterr().err


def test_an_interrupted_run_ends_with_the_same_bytes_and_another_recipe_is_refused(
    go_on: Callable[..., PretrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["transfer.reinit_layers=1", "transfer.layerwise_lr_decay=0.7"]
    settings += ["transfer.freeze_embeddings=true", "train.ema=0.5", "train.optimizer.name=muon"]
    straight = go_on(*settings, out="straight")
    right = fit.train_steps

    def stopping(*given: Any) -> Any:
        for step in right(*given):
            if step.number == 6:
                raise UserError("lost")
            yield step

    with monkeypatch.context() as patched:
        patched.setattr(fit, "train_steps", stopping)
        with refused("lost"):
            go_on(*settings)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]
    with refused(tmp_path / "run", "transfer.head_lr_factor: 1.0 -> 2.0"):
        go_on(*settings, "transfer.head_lr_factor=2")
    again = go_on(*settings)
    first, second = ((run.model / "model.safetensors").read_bytes() for run in (straight, again))
    assert first == second and again.heldout_before == straight.heldout_before


def test_the_recipe_of_a_run_makes_the_run_again(go_on: Callable[..., PretrainResult]) -> None:
    settings = ("transfer.reinit_layers=1", "transfer.max_position_embeddings=48", "model.dropout=0.1")
    first = go_on(*settings, out="first")
    recipe = read_recipe(PretrainRecipe, first.folder / "recipe.yaml")
    assert (recipe.model.max_position_embeddings, recipe.model.dropout) == (48, 0.1)
    second = pretrain(recipe, output=first.folder.parent / "second", progress=SILENT)
    first_bytes, second_bytes = ((run.model / "model.safetensors").read_bytes() for run in (first, second))
    assert first_bytes == second_bytes and bundle.read(second.model).config.max_position_embeddings == 48


def test_what_does_not_suit_the_model_is_refused(
    go_on: Callable[..., PretrainResult],
    recipe_for: Callable[..., PretrainRecipe],
    stories: list[str],
    tmp_path: Path,
) -> None:
    other = build(
        [Document(text, "stories", n) for n, text in enumerate(stories)],
        Tokenizer.train(stories, vocab_size=90),
        tmp_path / "other",
    )
    with refused(other.folder, "unmask corpus build", "--tokenizer"):
        go_on(f"data.corpus={other.folder}")
    for settings, name in (
        (["model.num_hidden_layers=2"], "model.num_hidden_layers: "),
        (["model.preset=small", "model.position_embedding_type=rotary"], "model.position_embedding_type: "),
        (["init.embeddings=counts"], "init.embeddings=random"),
        (["transfer.freeze_layers=4"], "transfer.freeze_layers=4"),
        (["transfer.freeze_layers=2", "transfer.reinit_layers=2"], "transfer.reinit_layers=2"),
        (["transfer.max_position_embeddings=16"], "transfer.max_position_embeddings=16"),
        (["init_from=nowhere"], "nowhere"),
    ):
        with refused(name):
            go_on(*settings)
    with refused("transfer", "init_from=FOLDER"):
        pretrain(recipe_for("transfer.freeze_layers=1"), output=tmp_path / "run", progress=SILENT)
    assert not (tmp_path / "run").exists()


def test_a_preset_stands_back(go_on: Callable[..., PretrainResult], origin: PretrainResult) -> None:
    result = go_on("model.preset=tiny", "train.budget=1 step")
    assert bundle.read(result.model).config == bundle.read(origin.model).config


def test_fine_tuning_takes_over_what_it_is_told(tune: Callable[..., FinetuneResult], origin: PretrainResult) -> None:
    settings = ["transfer.reinit_layers=1", "transfer.freeze_layers=1", "transfer.freeze_embeddings=true"]
    run = tune(*settings, "transfer.max_position_embeddings=40", "task.max_length=40")
    opened, before = bundle.read(run.model), weights(origin.model)
    assert (opened.config.num_hidden_layers, opened.config.max_position_embeddings) == (LAYERS, 40)
    assert torch.equal(opened.tensors[TABLE], tile_positions(before[TABLE], 40))
    for name, tensor in opened.tensors.items():
        if name.startswith((block(0), "encoder.embeddings.token.")):
            assert torch.equal(tensor, before[name]), name
        elif name.startswith(block(1)):
            assert not torch.equal(tensor, before[name]), name
    config = json.loads((run.model / "config.json").read_text())
    assert (config["num_hidden_layers"], config["max_position_embeddings"]) == (LAYERS, 40)
    assert len(load(run.model).predict(["river " * 60])) == 1
    scratch = tune(*settings, "pretrained=false", out="scratch")
    assert bundle.read(scratch.model).config.num_hidden_layers == LAYERS
    assert "init" not in files.read_json(scratch.folder / "run.json")
    with refused("task.max_length=32", "transfer.max_position_embeddings=40"):
        tune("task.max_length=40", out="no")


def test_what_is_left_is_what_an_architecture_says(tiny: EncoderConfig) -> None:
    transfer = Transfer(max_position_embeddings=100)
    assert architecture(tiny, transfer) == changed(tiny, max_position_embeddings=100)
