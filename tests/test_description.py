"""What inspect and the card say: against the modules themselves, without weights, without a machine's paths."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from unmask import bundle
from unmask.bundle import export
from unmask.bundle.card import model_card, strip_paths
from unmask.bundle.description import describe
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.text.tokenizer import Tokenizer

Make = Callable[..., Encoder]
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"position_embedding_type": "learned"},
    "albert": {"family": "albert", "embedding_size": 8, "num_hidden_groups": 1},
    "modernbert": {
        "family": "modernbert",
        "norm": "pre",
        "embedding_norm": True,
        "first_norm": False,
        "gated": True,
        "position_embedding_type": "rotary",
        "type_vocab_size": 0,
        "norm_bias": False,
        "bias": False,
    },
}


@pytest.fixture
def write(make_encoder: Make, tiny: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Path]:
    def made(lineage: list[dict[str, Any]] | None = None, **settings: Any) -> Path:
        config = replace(tiny, **settings)
        modules = {"encoder": make_encoder(config), "masked": MLMHead(config)}
        bundle.write(tmp_path / "m", config, modules, tokenizer, lineage or [])
        return tmp_path / "m"

    return made


def test_every_number_has_its_part(write: Callable[..., Path], tiny: EncoderConfig) -> None:
    facts = describe(bundle.read(write(position_embedding_type="learned")))
    width, layers = tiny.hidden_size, tiny.num_hidden_layers
    assert facts["parameters"]["encoder"] == {
        "norms": 2 * width * (1 + 2 * layers),
        "tokens": tiny.vocab_size * width,
        "positions": tiny.max_position_embeddings * width,
        "token_types": 2 * width,
        "attention": layers * 4 * (width**2 + width),
        "feed_forward": layers * (8 * width**2 + 5 * width),
    }
    assert facts["parameters"]["heads"] == {"masked": width**2 + width + 2 * width + tiny.vocab_size}
    whole = sum(p.numel() for p in Encoder(replace(tiny, position_embedding_type="learned")).parameters())
    assert facts["parameters"]["total"] == whole + facts["parameters"]["heads"]["masked"]
    assert facts["memory"]["float32"] == facts["memory"]["stored"] == 4 * facts["parameters"]["total"]
    assert list(facts["flops_per_token"]) == ["64"], "nothing longer than it can read"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("public", [False, True])
def test_weights_are_not_needed(family: str, public: bool, write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(**FAMILIES[family])
    if public:
        export(bundle.read(folder), tmp_path / "public")
        folder = tmp_path / "public"
    bare = bundle.read(folder, weights=False)
    assert all(tensor.is_meta for tensor in bare.tensors.values())
    facts = describe(bare)
    assert facts == describe(bundle.read(folder))
    assert facts["architecture"]["layout"] == family and facts["architecture"]["not_in_layout"] == []
    json.dumps(facts)


def test_files_of_torch_and_tied_copies_are_read_without_weights(write: Callable[..., Path], tmp_path: Path) -> None:
    export(bundle.read(write(position_embedding_type="learned")), tmp_path / "public")
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "public" / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    torch.save(tensors, tmp_path / "public" / "pytorch_model.bin")
    (tmp_path / "public" / "model.safetensors").unlink()
    bare = bundle.read(tmp_path / "public", weights=False)
    assert describe(bare) == describe(bundle.read(tmp_path / "public"))


def test_what_no_layout_can_say_is_said(write: Callable[..., Path]) -> None:
    facts = describe(bundle.read(write(norm="pre")))
    assert facts["architecture"]["layout"] is None and facts["architecture"]["class"] is None
    assert facts["architecture"]["not_in_layout"] == ["norm pre"]
    text = (bundle.read(write(norm="pre")).folder / "README.md").read_text()
    assert "(norm pre), so unmask alone reads it" in text and "transformers" not in text


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_the_card_says_where_a_model_comes_from(write: Callable[..., Path]) -> None:
    public = {"kind": "public", "source": "owner/name", "hub": True, "model_type": "bert"}
    own = {"kind": "pretrain", "recipe": {"data": {"corpus": "/home/me/corpus"}}, "corpus_sha256": "ab12"}
    folder = write([public, own])
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert front(text) == {
        "library_name": "transformers",
        "tags": ["unmask", "bert"],
        "pipeline_tag": "fill-mask",
        "base_model": "owner/name",
    }
    assert "corpus: corpus" in text and "/home" not in text and "ab12" in text and "source: owner/name" in text
    assert "as `BertForMaskedLM`" in text and 'load(".")' in text and str(folder) not in text
    local = write([{**public, "source": "/models/name", "hub": False}])
    said = (local / "README.md").read_text(encoding="utf-8")
    assert "base_model" not in front(said) and "/models" not in said


def test_the_card_of_a_task_names_its_labels(write: Callable[..., Path]) -> None:
    opened = bundle.read(write())
    schema = {"name": "classify", "labels": ["first label", "second label"], "parameters": {"scale": [0.25]}}
    text = model_card({**describe(opened), "task": schema, "heads": ["classifier"]})
    assert "first label" in text and "unmask evaluate" in text and "0.25" not in text
    assert front(text)["tags"] == ["unmask", "bert", "classify"]


def test_only_the_last_name_of_a_path_is_kept() -> None:
    given = {"a": ["/x/y.txt", r"C:\data\z.csv"], "b": {"c": "plain", "d": 3, "e": None}}
    assert strip_paths(given) == {"a": ["y.txt", "z.csv"], "b": {"c": "plain", "d": 3, "e": None}}
