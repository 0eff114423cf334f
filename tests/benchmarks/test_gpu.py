"""The GPU benchmark in miniature on a CPU: our side whole, the peer's batches. The peer itself needs transformers."""

import argparse
import json
import sys

import pytest
import torch

from benchmarks import gpu
from unmask.data.corpus.shards import Shards
from unmask.data.encoded import IGNORE_INDEX
from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus

TINY = argparse.Namespace(tiny=True, architecture="bert")


def settings_for(corpus: Shards, name: str = "base, 512") -> dict[str, object]:
    return gpu.settings_of(argparse.Namespace(**vars(TINY), corpus=corpus.folder), name)


@pytest.mark.parametrize("case", gpu.CASES)
def test_our_side_of_every_case(
    case: str, corpus: Shards, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(corpus.folder), "--tiny", "--seconds", "0.1", "--sides", "ours", "--cases", case]
    monkeypatch.setattr(sys, "argv", ["gpu", *given, "--ends", "1e12"])
    gpu.main()
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert "error" not in told, told
    assert (told["side"], told["case"], told["fill"]) == ("ours", case, 1.0)
    assert told["tokens_per_second"] > told["sequences_per_second"] > 0 and told["gemm_share"] > 0


def test_a_case_without_time_is_left_out(
    corpus: Shards, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(corpus.folder), "--tiny", "--sides", "ours", "--cases", "base, 128", "--ends", "1"]
    monkeypatch.setattr(sys, "argv", ["gpu", *given])
    gpu.main()
    assert "left_out" in json.loads(capsys.readouterr().out)


def test_the_peer_reads_the_same_masked_examples(corpus: Shards) -> None:
    settings = settings_for(corpus)
    recipe = fit_to_corpus(gpu.recipe_for(settings), corpus.tokenizer)
    learner, batches = build_learner(recipe, corpus.tokenizer), build_batches(recipe, corpus)
    shapes = set()
    for number in range(3):
        (batch,) = gpu.prepared(learner, batches, number)
        padded = gpu.padded(batch, settings["length"])
        shapes.add(padded["input_ids"].shape)
        kept = padded["attention_mask"].bool()
        assert torch.equal(padded["input_ids"][kept], batch.input_ids)
        labels = padded["labels"][kept]
        assert torch.equal(labels[batch.output_layout.token_indices], batch.targets["masked"])
        assert (labels != IGNORE_INDEX).sum() == batch.target_counts["masked"]
        assert kept.sum(1).tolist() == list(batch.layout.lengths)
        assert not padded["input_ids"][~kept].any() and (padded["labels"][~kept] == -100).all()
        assert corpus.tokenizer.id_to_token(0) == "[PAD]"
    assert len(shapes) == 1, "one shape is compiled"
