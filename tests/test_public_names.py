"""Public weights under names of all kinds: wrappers are left out, and what does not fit is named as the file does.

The weights are those of tests/test_public.py, which computes what transformers recorded for them; here each tensor must
be the very same one.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from errors import refused
from unmask import bundle

BERT, ROBERTA, MODERN = "bert ForSequenceClassification", "roberta ForMaskedLM", "modernbert ForTokenClassification"
DISTIL, ALBERT, ELECTRA = "distilbert ForMaskedLM", "albert ForSequenceClassification", "electra ForTokenClassification"
Publish = Callable[..., Path]


def rename(folder: Path, new: Callable[[str], str], *left_out: str) -> None:
    """Rename all weights of a folder, without those whose names begin with one of `left_out`."""
    tensors = load_file(folder / "model.safetensors")
    save_file({new(n): t for n, t in tensors.items() if not n.startswith(left_out)}, folder / "model.safetensors")


def before(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name


@pytest.mark.parametrize("name", [BERT, ROBERTA, MODERN, DISTIL, ALBERT, ELECTRA])
@pytest.mark.parametrize(
    "prefix",
    [
        *("_orig_mod.", "module.", "module._orig_mod.", "module.module.", "_forward_module."),
        *("model.", "net.", "encoder.model.", "bert_model.", "model._orig_mod.", "0.auto_model."),
    ],
)
def test_what_wrapped_a_model_is_left_out(
    name: str, prefix: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish(name)
    expected = bundle.read(folder)
    rename(folder, before(prefix))
    capsys.readouterr()
    opened = bundle.read(folder)
    (note,) = capsys.readouterr().err.splitlines()
    assert str(folder) in note and prefix.removesuffix("_orig_mod.") in note
    assert f" {len(load_file(folder / 'model.safetensors'))} " in note
    assert opened.task == expected.task and opened.tensors.keys() == expected.tensors.keys()
    for key, tensor in expected.tensors.items():
        assert torch.equal(opened.tensors[key], tensor), key


@pytest.mark.parametrize(
    "new",
    [
        lambda name: name.replace("bert.", "bert._orig_mod.", 1),  # the encoder alone was compiled
        lambda name: re.sub(r"layer\.(\d)\.", r"layer.\1._checkpoint_wrapped_module.", name),
        lambda name: "_fsdp_wrapped_module." + name.replace("layer.0.", "layer.0._fsdp_wrapped_module."),
        lambda name: "module." + name.replace("LayerNorm.weight", "LayerNorm.gamma"),
    ],
)
def test_what_wrapped_a_part_of_a_model_is_left_out(new: Callable[[str], str], publish: Publish) -> None:
    folder = publish(BERT)
    expected = bundle.read(folder)
    rename(folder, new)
    opened = bundle.read(folder)
    assert opened.task == expected.task
    assert all(torch.equal(opened.tensors[key], tensor) for key, tensor in expected.tensors.items())


@pytest.mark.parametrize(
    ("new", "unused"),
    [
        (lambda name: name if name.startswith("classifier") else f"model.{name}", "classifier.bias, classifier.weight"),
        (lambda name: f"head.{name}" if name.startswith("classifier") else f"net.{name}", "head.classifier.bias"),
        (lambda name: name.replace("classifier", "fc") if "classifier" in name else f"encoder.{name}", "fc.weight"),
        (lambda name: name.replace("bert.", "model.", 1), "classifier.weight"),  # a bare encoder beside an own head
    ],
)
def test_a_head_beside_the_prefix_is_not_that_of_the_model(
    new: Callable[[str], str], unused: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish(BERT)
    expected = bundle.read(folder)
    rename(folder, new)
    with refused(folder, unused, "--allow-unused"):
        bundle.read(folder)
    capsys.readouterr()
    opened = bundle.read(folder, allow_unused=True)
    assert unused in capsys.readouterr().err
    assert opened.task is None and not opened.has_head("classifier")
    encoder = {key: tensor for key, tensor in expected.tensors.items() if key.startswith("encoder.")}
    assert all(torch.equal(opened.tensors[key], tensor) for key, tensor in encoder.items())


def test_one_of_two_encoders_is_not_chosen_silently(publish: Publish) -> None:
    folder = publish(BERT)
    tensors = load_file(folder / "model.safetensors")
    for first, second, names in (
        ("query.", "document.", ["2 encoders", "query.bert.", "document.bert."]),
        ("", "teacher.", ["teacher.bert.embeddings", "--allow-unused"]),
        ("a.model.", "b.model.", ["2 encoders", "a.model.bert."]),
    ):
        both = {f"{prefix}{n}": t.clone() for prefix in (first, second) for n, t in tensors.items()}
        save_file(both, folder / "model.safetensors")
        with refused(folder, *names):
            bundle.read(folder)


@pytest.mark.parametrize(
    ("name", "model_type", "names"),
    [
        (BERT, "roberta", ("config.json", "bert.embeddings", "roberta.", "model_type in config.json: bert")),
        (ROBERTA, "bert", ("config.json", "roberta.embeddings", "bert.", "roberta / xlm-roberta / camembert")),
        (ELECTRA, "bert", ("config.json", "electra.embeddings", "model_type in config.json: electra")),
        (BERT, "electra", ("config.json", "electra.", "model_type in config.json: bert")),
    ],
)
def test_names_of_another_family_are_refused(
    name: str, model_type: str, names: tuple[str, ...], publish: Publish
) -> None:
    for prefix in ("", "module."):
        folder = publish(name, model_type=model_type, embedding_size=32)
        rename(folder, before(prefix))
        with refused(folder, *names):
            bundle.read(folder)


def test_names_of_no_family_are_refused(publish: Publish) -> None:
    folder = publish(BERT)
    save_file({"transformer.h.0.attn.c_attn.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    with refused(folder / "config.json", "transformer.h.0.attn.c_attn.weight", "bert."):
        bundle.read(folder)
    save_file({"distilbert.transformer.layer.0.ffn.lin1.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    with refused(folder / "config.json", "distilbert.transformer", "model_type in config.json: distilbert"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(BERT, "bert"), (ROBERTA, "roberta"), (DISTIL, "distilbert"), (ALBERT, "albert"), (ELECTRA, "electra")],
)
def test_a_model_type_that_is_missing_is_told_by_the_names(
    name: str, expected: str, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish(name)
    known = bundle.read(folder)
    rename(publish(name, model_type=None), before("module."))
    capsys.readouterr()
    opened = bundle.read(folder)
    assert f"config.json has no model_type: read as {expected}" in capsys.readouterr().err
    assert opened.config == known.config and opened.lineage[0]["model_type"] == expected
    rename(folder, lambda name: name.removeprefix("module.").partition(".")[2])
    with refused(folder / "config.json", "model_type", "albert, bert, camembert"):
        bundle.read(folder)


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "model."])
@pytest.mark.parametrize(
    ("name", "weight"),
    [
        (BERT, "bert.encoder.layer.0.attention.self.key.weight"),
        (ROBERTA, "roberta.embeddings.LayerNorm.bias"),
        (DISTIL, "distilbert.transformer.layer.1.ffn.lin2.weight"),
        (MODERN, "model.layers.0.mlp.Wi.weight"),
    ],
)
def test_a_missing_weight_is_named_as_in_the_file(name: str, weight: str, prefix: str, publish: Publish) -> None:
    folder = publish(name)
    rename(folder, before(prefix), weight)
    with refused(folder, f"missing: {prefix}{weight}"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("name", "changes", "names"),
    [
        (
            BERT,
            {"vocab_size": 70},
            ["bert.embeddings.word_embeddings.weight (64, 32)", "(70, 32), vocab_size: 70", ": 64"],
        ),
        (BERT, {"hidden_size": 64}, ["hidden_size: 64", "has hidden_size: 32", "and 47 more"]),
        (BERT, {"intermediate_size": 56}, ["intermediate.dense.weight (", "intermediate_size: 56"]),
        (BERT, {"max_position_embeddings": 100}, ["position_embeddings.weight (", "max_position_embeddings: 100"]),
        (BERT, {"type_vocab_size": 1}, ["token_type_embeddings.weight (2, 32)", "has type_vocab_size: 2"]),
        (ROBERTA, {"max_position_embeddings": 99}, ["roberta.embeddings.position", "max_position_embeddings: 99"]),
        (DISTIL, {"hidden_dim": 40}, ["distilbert.transformer.layer.0.ffn.lin1.weight (", "hidden_dim: 40"]),
        (ALBERT, {"embedding_size": 24}, ["albert.embeddings.word_embeddings.weight (", "embedding_size: 24"]),
        (MODERN, {"intermediate_size": 30}, ["model.layers.0.mlp.Wi.weight (", "intermediate_size: 30"]),
    ],
)
def test_a_size_that_does_not_fit_names_the_key_that_decides(
    name: str, changes: dict[str, int], names: list[str], publish: Publish
) -> None:
    folder = publish(name, **changes)
    with refused(folder / "config.json", *names):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("name", "key"),
    [(BERT, "num_hidden_layers"), (DISTIL, "n_layers"), (ELECTRA, "num_hidden_layers"), (ROBERTA, "num_hidden_layers")],
)
def test_another_number_of_layers_names_its_key(name: str, key: str, publish: Publish) -> None:
    folder = publish(name)
    layers = json.loads((folder / "config.json").read_text())[key]
    with refused(publish(name, **{key: 12}) / "config.json", f"{key}: 12", f"{layers} layers", f"{key}: {layers}"):
        bundle.read(folder)
    with refused(publish(name, **{key: 1}), f"{layers} layers", f"{key}: 1", "--allow-unused"):
        bundle.read(folder)
    assert bundle.read(folder, allow_unused=True).config.num_hidden_layers == 1


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"model_type": "xlnet"}, ("model_type xlnet", "distilbert")),
        ({"model_type": "nomic_bert"}, ("model_type nomic_bert", "modernbert")),
        ({"is_decoder": True}, ("is_decoder", "True")),
        ({"add_cross_attention": True}, ("add_cross_attention", "True")),
        ({"is_encoder_decoder": True}, ("is_encoder_decoder", "True")),
        (
            {"position_embedding_type": "relative_key_query"},
            ("position_embedding_type", "relative_key_query", "absolute"),
        ),
        ({"quantization_config": {"load_in_8bit": True}}, ("quantization_config", "load_in_8bit")),
        ({"pruned_heads": {"0": [1]}}, ("pruned_heads", "[1]")),
    ],
)
def test_what_a_config_asks_for_and_is_not_computed_is_refused_by_its_key(
    changes: dict[str, object], names: tuple[str, ...], publish: Publish
) -> None:
    with refused("config.json", *names):
        bundle.read(publish(BERT, **changes))
    harmless = {"is_decoder": False, "quantization_config": None, "pruned_heads": {}, "use_cache": True}
    bundle.read(publish(BERT, **harmless))


def test_code_of_a_model_is_said_not_to_run(publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    bundle.read(publish(BERT, auto_map={"AutoModel": "modeling.Own"}))
    assert "auto_map" in capsys.readouterr().err


def test_wrappers_in_a_file_of_torch_are_left_out_too(publish: Publish) -> None:
    folder = publish(BERT)
    expected = bundle.read(folder).tensors
    tensors: dict[str, Tensor] = {f"module.{n}": t for n, t in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    opened = bundle.read(folder)
    assert all(torch.equal(opened.tensors[key], tensor) for key, tensor in expected.items())
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "pytorch_model.bin")
    with refused(folder / "pytorch_model.bin", "state_dict", "epoch"):
        bundle.read(folder)
