"""A grown model: what is new, what stays, and what is measured on held-out text."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from errors import refused
from unmask import bundle, files
from unmask.bundle import export
from unmask.bundle.grow import BIAS, TABLE, GrowResult, grow
from unmask.data.public.split import share
from unmask.model.encoder import Encoder
from unmask.runtime.predictor import load
from unmask.text.usage import count_usage

DOMAIN = [
    "kubernetes clusters restart the gateway",
    "the gateways restart 国 kubernetes",
    "clustering 国 lanterns",
] * 20
TEXTS = [" ".join([text, *["a"] * place]) for place, text in enumerate(DOMAIN)]


@pytest.fixture(scope="module")
def grown(
    pretrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bundle.Bundle, bundle.Bundle, GrowResult]:
    out = tmp_path_factory.mktemp("vocab") / "grown"
    found = grow(bundle.read(pretrained), TEXTS, out, add=8)
    return bundle.read(pretrained), bundle.read(out), found


def test_new_pieces_follow_the_old_ones_and_are_used(
    grown: tuple[bundle.Bundle, bundle.Bundle, GrowResult],
) -> None:
    old, new, found = grown
    assert new.tokenizer.tokens == [*old.tokenizer.tokens, *(one.token for one in found.chosen)]
    assert len(found.chosen) == 8 and new.config == replace(old.config, vocab_size=new.tokenizer.vocab_size)
    (first, *_), before = found.chosen, old.tokenizer
    assert first.token == "kubernetes" and new.tokenizer.encode("kubernetes").input_ids[1:-1] == [before.vocab_size]
    assert "国" in [one.token for one in found.chosen], "what was unknown is told apart"
    kept = [text for text in TEXTS if text.count("kubernetes")]
    assert first.count < len(kept), "a part of the documents is held out"


def test_all_that_is_no_row_of_a_new_piece_stays(
    grown: tuple[bundle.Bundle, bundle.Bundle, GrowResult],
) -> None:
    old, new, found = grown
    assert old.tensors.keys() == new.tensors.keys()
    size = old.tokenizer.vocab_size
    for name, tensor in old.tensors.items():
        same = new.tensors[name][:size] if name in (TABLE, BIAS) else new.tensors[name]
        assert torch.equal(same, tensor), name
    for name in (TABLE, BIAS):
        for number, one in enumerate(found.chosen, start=size):
            ids = old.tokenizer.encode(one.token).input_ids[1:-1]
            if one.token.startswith("##"):
                continue
            if ids == [old.tokenizer.unk_token_id]:
                ids = old.tokenizer.text_token_ids.tolist()
            torch.testing.assert_close(new.tensors[name][number], old.tensors[name][ids].mean(0))


def test_what_was_measured(grown: tuple[bundle.Bundle, bundle.Bundle, GrowResult]) -> None:
    old, new, found = grown
    held = [text for text in TEXTS if share(hashlib.sha256(text.encode()).hexdigest(), 0) < 0.1]
    assert found.held_out == len(held) and found.documents == len(TEXTS) - len(held)
    for model, fit in ((old, found.before), (new, found.after)):
        counted = count_usage(model.tokenizer, held).total
        assert fit.characters_per_token == counted.characters_per_token
        assert fit.unknown_rate == counted.unknown_rate
    assert found.before.unknown_rate > found.after.unknown_rate == 0
    entry = new.lineage[-1]
    assert entry["kind"] == "grow" and entry["tokens_added"] == 8 and entry["documents"] == found.documents
    assert new.lineage[:-1] == old.lineage
    assert "Its newest tokens were never trained" in (new.folder / "README.md").read_text()


def test_a_grown_model_is_a_model(grown: tuple[bundle.Bundle, bundle.Bundle, GrowResult]) -> None:
    _, new, _ = grown
    assert len(load(new.folder).fill("the [MASK] river", top_k=3)[0]) == 3
    assert files.read_json(new.folder / "config.json")["vocab_size"] == new.config.vocab_size


def test_the_same_text_gives_the_same_model(pretrained: Path, tmp_path: Path) -> None:
    opened = bundle.read(pretrained)
    for name in ("a", "b"):
        grow(opened, iter(TEXTS), tmp_path / name, add=5, seed=3)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


def test_rows_of_a_public_table_that_no_piece_had_are_used_first(
    pretrained: Path, tmp_path: Path, make_encoder: Callable[..., Encoder]
) -> None:
    """Public tables are often filled up to a round number; a model without a head has no bias."""
    opened = bundle.read(pretrained)
    config = replace(opened.config, vocab_size=opened.tokenizer.vocab_size + 3)
    bundle.write(tmp_path / "wide", config, {"encoder": make_encoder(config)}, opened.tokenizer, [])
    export(bundle.read(tmp_path / "wide"), tmp_path / "public")
    for add, size in ((2, config.vocab_size), (5, opened.tokenizer.vocab_size + 5)):
        found = grow(bundle.read(tmp_path / "public"), TEXTS, tmp_path / str(add), add=add)
        new = bundle.read(tmp_path / str(add))
        assert len(found.chosen) == add and new.config.vocab_size == len(new.tensors[TABLE]) == size
        assert new.lineage[0]["kind"] == "public"


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["one document"], ("1 documents", "--split line")),
        ([f"{number} the river" for number in range(40)], ("tokens", "99 times")),
    ],
)
def test_texts_that_are_no_help(texts: list[str], names: tuple[str, ...], pretrained: Path, tmp_path: Path) -> None:
    with refused(*names):
        grow(bundle.read(pretrained), texts, tmp_path / "out", min_frequency=99)
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_there_is_replaced(pretrained: Path) -> None:
    with refused(pretrained.parent, "--output"):
        grow(bundle.read(pretrained), TEXTS, pretrained.parent)
    assert (pretrained / "unmask.json").is_file()
