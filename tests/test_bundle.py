"""The model folder: exact there and back, in a public layout, and refused when it is damaged."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from errors import refused
from unmask import bundle, files
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead
from unmask.model.positions import POSITION_SCALE, sinusoidal_table
from unmask.text.tokenizer import Tokenizer

VARIANTS = {
    "house": {},
    "bert": {"position_embedding_type": "learned", "dropout": 0.1},
    "pre-norm": {"norm": "pre"},
    "no segments": {"type_vocab_size": 0},
    "no bias": {"bias": False},
    "silu": {"hidden_act": "silu"},
    "rotary": {"position_embedding_type": "rotary"},
    "gated": {"gated": True},
    "local": {"attention_pattern": "GL", "window": 3},
}
NOT_BERT = [{"norm": "pre"}, *(VARIANTS[name] for name in list(VARIANTS)[3:])]


@pytest.mark.parametrize("variant", VARIANTS)
def test_there_and_back_is_exact(
    variant: str, make_encoder: Callable[..., Encoder], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=32,
        **VARIANTS[variant],
    )
    encoder, head = make_encoder(config), MLMHead(config)
    torch.nn.init.normal_(head.bias)
    bundle.write(tmp_path / "m", config, {"encoder": encoder, "masked": head}, tokenizer, [{"kind": "test"}])
    opened = bundle.read(tmp_path / "m")
    assert opened.config == config and opened.tokenizer.sha256 == tokenizer.sha256 and opened.task is None
    assert opened.lineage == [{"kind": "test"}] and opened.has_head("masked") and not opened.has_head("classifier")
    again, its_head = opened.encoder().eval(), MLMHead(config)
    opened.load_into(its_head, "masked")
    assert again.state_dict().keys() == encoder.state_dict().keys()
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    ids, spans = torch.arange(5, 25), SequenceLayout.packed([12, 8])
    assert torch.equal(again(ids, spans), encoder(ids, spans))
    assert torch.equal(its_head(again(ids, spans), again), head(encoder(ids, spans), encoder))
    assert opened.encoder(dropout=0.5).config == dataclasses.replace(config, dropout=0.5)


def test_a_model_from_before_a_setting_was_there_has_its_default(pretrained: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained, tmp_path / "m")
    facts = files.read_json(tmp_path / "m" / "unmask.json")
    newer = "gated rope_theta local_rope_theta attention_pattern window".split()
    for name in newer:
        del facts["encoder"][name]
    files.write_json(tmp_path / "m" / "unmask.json", facts)
    assert bundle.read(tmp_path / "m").config == bundle.read(pretrained).config


def test_writing_what_was_read_gives_the_same_bytes(pretrained: Path, tmp_path: Path) -> None:
    opened = bundle.read(pretrained)
    head = MLMHead(opened.config)
    opened.load_into(head, "masked")
    modules = {"encoder": opened.encoder(), "masked": head}
    bundle.write(tmp_path / "m", opened.config, modules, opened.tokenizer, opened.lineage)
    for name in (
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "unmask.json",
        "README.md",
    ):
        assert (tmp_path / "m" / name).read_bytes() == (pretrained / name).read_bytes(), name


def test_the_public_layout_is_complete(pretrained: Path) -> None:
    """What other libraries read: BERT's names, its config.json, and the sinusoid as a table."""
    tensors = load_file(pretrained / "model.safetensors")
    config = json.loads((pretrained / "config.json").read_text())
    assert all(name.startswith(("bert.", "cls.")) for name in tensors)
    table = tensors["bert.embeddings.position_embeddings.weight"]
    ours = bundle.read(pretrained).config
    torch.testing.assert_close(table, sinusoidal_table(ours.max_position_embeddings, ours.hidden_size) * POSITION_SCALE)
    assert config["model_type"] == "bert" and config["architectures"] == ["BertForMaskedLM"]
    assert tensors["bert.embeddings.word_embeddings.weight"].shape == (
        config["vocab_size"],
        config["hidden_size"],
    )
    assert table.shape == (config["max_position_embeddings"], config["hidden_size"])
    layers = {name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layer.")}
    assert len(layers) == config["num_hidden_layers"]
    inner = tensors["bert.encoder.layer.0.intermediate.dense.weight"]
    assert inner.shape == (config["intermediate_size"], config["hidden_size"])
    assert config["hidden_act"] == "gelu" and config["pad_token_id"] == 0


@pytest.mark.parametrize("values", NOT_BERT, ids=str)
def test_what_bert_cannot_say_is_not_called_bert(
    values: dict[str, object],
    make_encoder: Callable[..., Encoder],
    tiny: EncoderConfig,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    config = dataclasses.replace(tiny, **values)  # type: ignore[arg-type]
    bundle.write(tmp_path / "m", config, {"encoder": make_encoder(config)}, tokenizer, [])
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model_type"] == "unmask"
    assert not any(name.startswith("bert.") for name in load_file(tmp_path / "m" / "model.safetensors"))


@pytest.fixture
def model(make_encoder: Callable[..., Encoder], tiny: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    bundle.write(tmp_path / "m", tiny, {"encoder": make_encoder(tiny)}, tokenizer, [])
    return tmp_path / "m"


@pytest.mark.parametrize("cut", [0, 1, 7, 100, 5000])
def test_weights_that_were_cut_short_are_refused(model: Path, cut: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with refused(path, "changed"):
        bundle.read(model)
    path.unlink()
    with refused(path, "changed"):
        bundle.read(model)


def test_any_changed_byte_is_noticed(model: Path) -> None:
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with refused(path):
        bundle.read(model)


def edit(model: Path, **facts: object) -> None:
    files.write_json(model / "unmask.json", {**files.read_json(model / "unmask.json"), **facts})


def test_another_tokenizer_is_noticed(model: Path) -> None:
    path = model / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" ")
    with refused(path, "changed"):
        bundle.read(model)


def test_whoever_reads_the_folder_reads_the_weights(model: Path) -> None:
    assert (model / "model.safetensors").stat().st_mode == (model / "config.json").stat().st_mode


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with refused(tmp_path, "not finished"):
        bundle.read(tmp_path)


def test_other_formats_and_other_shapes_are_refused(model: Path, tiny: EncoderConfig) -> None:
    edit(model, encoder={**files.read_json(model / "unmask.json")["encoder"], "hidden_size": 32})
    with refused(model, "embeddings.token.weight"):
        bundle.read(model).encoder()
    edit(model, encoder={"depth": 3})
    with refused(f"{model / 'unmask.json'}: depth"):
        bundle.read(model)
    edit(model, format=3)
    with refused(model, "format") as caught:
        bundle.read(model)
    assert caught.value.facts["given"] == "3"
    edit(model, format=1, unmask="0.1.0")
    with refused(model, "unmask 0.1.0", "unmask export"):
        bundle.read(model)


def test_what_is_no_model_is_refused(tmp_path: Path, model: Path) -> None:
    with refused(tmp_path / "absent", "OWNER/NAME") as caught:
        bundle.read(tmp_path / "absent")
    assert "config.json" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / "empty", "unmask.json", "config.json"):
        bundle.read(tmp_path / "empty")
    facts = model / "unmask.json"
    facts.write_text("{")
    with refused(facts, "line 1"):
        bundle.read(model)
    facts.write_text("[]")
    with refused(facts, "JSON", "list"):
        bundle.read(model)


def test_a_run_folder_means_its_model(pretrained: Path) -> None:
    assert bundle.read(pretrained.parent).folder == pretrained


@pytest.mark.parametrize(("pooling", "head"), [("cls", "BertForSequenceClassification"), ("mean", "BertModel")])
def test_a_head_that_others_would_read_otherwise_does_not_take_their_name(
    pooling: str, head: str, pretrained: Path, table: Path, tmp_path: Path
) -> None:
    from unmask.console import SILENT
    from unmask.train.finetune import finetune

    settings = [
        f"task.pooling={pooling}",
        "task.max_length=32",
        "train.budget=1 steps",
        "train.evaluations=1",
    ]
    run = finetune(model=pretrained, train=table, overrides=settings, output=tmp_path / "run", progress=SILENT)
    assert files.read_json(run.model / "config.json")["architectures"] == [head]


def test_the_conventions_of_other_libraries(model: Path, tmp_path: Path) -> None:
    """A padded batch of the tokenizer is the keyword arguments of the encoder, which gives what packed texts give."""
    encoder, tokenizer = Encoder.from_pretrained(model), Tokenizer.from_pretrained(model)
    texts = ["the river", "a long river runs to the sea", "the"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    with torch.inference_mode():
        hidden = encoder(**batch)
        assert hidden.shape == (*batch["input_ids"].shape, encoder.config.hidden_size)
        for row, text in enumerate(texts):
            ids = torch.tensor(tokenizer(text)["input_ids"])
            alone = encoder(ids, SequenceLayout.packed([len(ids)]))
            torch.testing.assert_close(hidden[row, : len(ids)], alone, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(encoder(ids.unsqueeze(0))[0], alone, atol=1e-5, rtol=1e-5)
    encoder.save_pretrained(tmp_path / "again", tokenizer)
    again = Encoder.from_pretrained(tmp_path / "again")
    assert not again.training and all(
        torch.equal(x, y) for x, y in zip(encoder.parameters(), again.parameters(), strict=True)
    )
