"""Pretraining from end to end on a corpus made in code: it learns, resumes, stops and reports truthfully."""

import itertools
import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import refused
from unmask import bundle, files
from unmask.console import SILENT, Progress
from unmask.data.corpus.documents import Document
from unmask.data.corpus.shards import Shards, build
from unmask.learner.loss import Loss, LossTerm
from unmask.runtime.predictor import load
from unmask.text.tokenizer import Tokenizer
from unmask.train.pretrain import PretrainLearner, pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe


def recipe(values: dict[str, Any], *overrides: str) -> PretrainRecipe:
    return parse_recipe(PretrainRecipe, values, overrides, "the test")


def test_a_recipe_by_name_with_keywords(recipe_values: dict[str, Any], corpus: Shards, tmp_path: Path) -> None:
    values = [(f"{part}.{name}", value) for part in ("data", "model") for name, value in recipe_values[part].items()]
    small = [f"{key}={value}" for key, value in values if key != "data.corpus"]
    result = pretrain("tiny", small, tmp_path / "run", SILENT, corpus=corpus.folder, budget="2 steps")
    assert result.steps == 2
    assert result.predictor().manifest.folder == result.model
    written = pretrain(
        "tiny", [*small, "train.budget=1 steps"], tmp_path / "b", SILENT, corpus=corpus.folder, budget="9"
    )
    assert written.steps == 1, "settings written out stand above keywords"
    with refused(tmp_path / "*.txt", "unmask corpus build"):
        pretrain("tiny", small, tmp_path / "c", SILENT, corpus=tmp_path / "*.txt")
    assert not (tmp_path / "c").exists()


def test_a_run_says_what_it_did(recipe_values: dict[str, Any], corpus: Shards, tmp_path: Path) -> None:
    result = pretrain(recipe(recipe_values), output=tmp_path / "run", progress=SILENT)
    assert result.steps == 12 and result.folder == tmp_path / "run"
    assert result.tokens == pytest.approx(12 * 256, rel=0.1)
    assert result.uniform_loss == pytest.approx(math.log(corpus.vocab_size))
    counts = corpus.token_counts / corpus.token_counts.sum()
    assert result.unigram_loss == pytest.approx(-sum(p * math.log(p) for p in counts if p))
    rows = files.read_jsonl(tmp_path / "run" / "metrics.jsonl")
    evaluations = [row for row in rows if "evaluation" in row]
    assert [row["step"] for row in evaluations] == [4, 8, 12]
    assert evaluations[-1]["evaluation"] == result.heldout_figures
    assert rows[-2]["step"] == 12 and rows[-2]["tokens"] == result.tokens
    predictor = load(result.model)
    assert result.parameters == sum(p.numel() for p in predictor.engine.encoder.parameters()) + 16 * 16 + 3 * 16 + 96


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    sums = [
        files.sha256(
            pretrain(recipe(recipe_values, f"seed={seed}"), output=tmp_path / name, progress=SILENT).model
            / "model.safetensors"
        )
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert sums[0] == sums[1] != sums[2]


def test_a_jump_of_the_wall_clock_changes_nothing(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the machine is set back and forth while time is what a run is counted in."""
    jumps = itertools.cycle([0.0, 1e9, -1e9, 5e8])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    settings = ("train.budget=1s", "train.save_minutes=0.003")
    result = pretrain(recipe(recipe_values, *settings), output=tmp_path / "run", progress=SILENT)
    assert 1 <= result.seconds < 100 and result.steps >= 1
    rows = [row for row in files.read_jsonl(tmp_path / "run" / "metrics.jsonl") if "evaluation" in row]
    for figure in ("progress", "seconds"):
        shown = [row[figure] for row in rows]
        assert shown == sorted(shown) and 0 < shown[0] <= shown[-1] < 100


def test_micro_batches_give_the_same_run(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    losses = []
    for accumulate in (1, 3):
        settings = ("model.dropout=0", f"train.gradient_accumulation_steps={accumulate}")
        result = pretrain(recipe(recipe_values, *settings), output=tmp_path / str(accumulate), progress=SILENT)
        losses.append(result.heldout_figures["masked.loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


PATTERNS = {  # which of a document's two words stands at a place
    "learned": lambda place: place % 2,  # "a b a b ..."
    "sinusoidal": lambda place: int(place >= 15),  # "a a a ... b b b"
}


@pytest.mark.parametrize("positions", PATTERNS)
def test_it_learns_what_can_be_learnt(positions: str, tmp_path: Path) -> None:
    """Far below the unigram entropy ln 12, and below ln 2, which neighbours without positions would reach."""
    words = "north east south west spring summer autumn winter red green blue grey".split()
    texts = [" ".join(words[2 * (n % 6) + PATTERNS[positions](k)] for k in range(30)) for n in range(120)]
    tokenizer = Tokenizer.train(texts, vocab_size=80)  # whole words
    corpus = build([Document(text, "words", n) for n, text in enumerate(texts)], tokenizer, tmp_path / "corpus")
    values = {
        "data": {"corpus": str(corpus.folder), "max_length": 34, "tokens_per_step": 512, "heldout_share": 0.1},
        "model": {
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "max_position_embeddings": 34,
            "position_embedding_type": positions,
        },
        "train": {"budget": "150 steps", "optimizer": {"lr": 0.01}, "evaluations": 1},
    }
    result = pretrain(recipe(values), output=tmp_path / "run", progress=SILENT)
    assert result.unigram_loss == pytest.approx(math.log(12))
    assert result.heldout_figures["masked.loss"] < 0.1 * result.unigram_loss
    assert result.heldout_figures["masked.accuracy"] > 0.95


def test_both_objectives_of_bert_learn_together(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    settings = ("objectives=[{name: masked}, {name: next_sentence}]",)
    result = pretrain(recipe(recipe_values, *settings), output=tmp_path / "run", progress=SILENT)
    assert {"masked.loss", "next_sentence.loss", "next_sentence.accuracy"} <= set(result.heldout_figures)
    assert bundle.read(result.model).has_head("next_sentence")


def test_a_loss_that_explodes_leaves_the_last_good_checkpoint(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = PretrainLearner.forward
    calls = [0]

    def explode(self: PretrainLearner, batch: Any) -> Loss:
        loss = right(self, batch)
        calls[0] += self.training
        if calls[0] < 7:
            return loss
        return Loss({n: LossTerm(p.sum * math.inf, p.count, p.weight, p.correct) for n, p in loss.terms.items()})

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(PretrainLearner, "forward", explode)
        with refused("step 10", "train.optimizer.lr"):
            pretrain(recipe(recipe_values), output=out, progress=SILENT)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000004"]
    assert not (out / "model").exists()
    straight = pretrain(recipe(recipe_values), output=tmp_path / "straight", progress=SILENT)
    assert pretrain(recipe(recipe_values), output=out, progress=SILENT).heldout_figures == straight.heldout_figures


def test_what_no_single_setting_can_see_is_refused(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    for overrides, told in (
        (["data.max_length=64"], ["data.max_length", "model.max_position_embeddings=64"]),
        (["objectives=[{name: masked}, {name: masked}]"], ["masked, masked"]),
        (["objectives=[{name: next_sentence}]", "model.type_vocab_size=0"], ["next_sentence", "type_vocab_size=0"]),
        (["data.corpus=nowhere"], ["nowhere"]),
    ):
        with refused(*told):
            pretrain(recipe(recipe_values, *overrides), output=tmp_path / "run", progress=SILENT)
        assert not (tmp_path / "run").exists()
    with refused("overrides", "PretrainRecipe"):
        pretrain(recipe(recipe_values), ["seed=1"], output=tmp_path / "run")


def test_a_corpus_changed_at_the_same_length_is_not_trained_on(
    recipe_values: dict[str, Any], corpus: Shards, tmp_path: Path
) -> None:
    shutil.copytree(corpus.folder, tmp_path / "corpus")
    (path,) = (tmp_path / "corpus").glob("*.tokens.npy")
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    with refused(path, "sha256"):
        pretrain(recipe(recipe_values, f"data.corpus={tmp_path / 'corpus'}"), output=tmp_path / "run", progress=SILENT)


def test_heldout_masks_do_not_depend_on_the_recipe(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    """Losses are to be compared over recipes: with the same weights they must be the same."""
    figures = []
    for name, settings in (("a", ()), ("b", ("objectives=[{name: masked, mask_prob: 0.4, unit: word}]",))):
        none = ("train.optimizer.lr=1e-30", "train.optimizer.weight_decay=0", *settings)
        figures.append(pretrain(recipe(recipe_values, *none), output=tmp_path / name, progress=SILENT).heldout_figures)
    assert figures[0] == figures[1]


def test_progress_is_told_from_nought_to_one(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    told: list[float] = []

    class Listening(Progress):
        def start(self, total: float | None, unit: str) -> None:
            assert total == 1.0

        def advance(self, amount: float) -> None:
            told.append(amount)

        def show(self, text: str) -> None:
            assert "tokens/s" in text and "loss" in text

    pretrain(recipe(recipe_values), output=tmp_path / "run", progress=Listening())
    assert len(told) == 12 and sum(told) == pytest.approx(1.0)


def test_training_leaves_the_number_of_threads_alone(pretrained: Path) -> None:
    assert torch.get_num_threads() == 1 and (pretrained / "unmask.json").is_file()
