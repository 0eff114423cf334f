"""Public checkpoints: what transformers computed with them (recorded by parity/record.py), and what must be refused."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from errors import refused
from public_weights import MODELS, RECORDED
from unmask import bundle
from unmask.bundle import export
from unmask.bundle.layout import encoder_config
from unmask.bundle.weights import check_numbers
from unmask.data.rows.example import Example
from unmask.files import read_json, write_json
from unmask.heads import build_head
from unmask.learner.batch import pack
from unmask.learner.head import run_head
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.layout import SequenceLayout
from unmask.model.mlm_head import MLMHead
from unmask.runtime.predictor import load
from unmask.text.tokenizer import Tokenizer

IDS = torch.tensor(RECORDED["ids"])


def logits(folder: Path) -> Tensor:
    """Ours, in the order in which the peer gave them."""
    opened = bundle.read(folder)
    encoder = opened.encoder().eval()
    with torch.inference_mode():
        if opened.task is None:
            head = MLMHead(opened.config)
            opened.load_into(head, "masked")
            return head(encoder(IDS, SequenceLayout.packed([len(IDS)])), encoder)
        task = load(folder).task
        (row,) = task.encode([Example("the quick", None, None, "0", 1, "here")])[0]
        head = build_head(task, opened.config)
        for part, module in head.saved_modules().items():
            opened.load_into(module, part)
        every = None if row.positions is None else np.arange(len(IDS))
        none = np.zeros_like(IDS.numpy())
        row = replace(row, input_ids=IDS.numpy(), token_type_ids=none, flags=none, targets={}, positions=every)
        found = run_head(encoder, head.eval(), pack([row]))
        names = list(json.loads((folder / "config.json").read_text())["id2label"].values())
        own = type(head).public_architecture(task, opened.config.family)[1]
        assert sorted(own) == sorted(names)
        return found[:, [own.index(name) for name in names]]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", MODELS)
def test_every_family_computes_what_was_recorded(name: str, publish: Callable[..., Path]) -> None:
    ours = logits(publish(name))[:, :6]
    torch.testing.assert_close(ours, torch.tensor(MODELS[name]["outputs"]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_written_again_it_has_the_same_tensors(name: str, publish: Callable[..., Path], tmp_path: Path) -> None:
    folder = publish(name)
    opened = bundle.read(folder)
    said = export(opened, tmp_path / "again")
    kind = name.partition(" ")[2]
    assert said == FAMILIES[opened.config.family].classes + kind
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "again"))
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        if not (kind == "ForTokenClassification" and key.startswith("classifier")):  # in our order of the tags
            assert torch.equal(tensor, after[key]), key
    torch.testing.assert_close(logits(tmp_path / "again").shape, logits(folder).shape)
    public = json.loads((tmp_path / "again" / "config.json").read_text())
    assert encoder_config(public, Path("again")) == opened.config


def test_every_family_is_recorded() -> None:
    types = {model["config"]["model_type"] for model in MODELS.values()}
    assert types == {name for family in FAMILIES.values() for name in family.model_types}


BERT = "bert ForMaskedLM"


def test_parts_and_older_forms_are_the_same_model(publish: Callable[..., Path], tmp_path: Path) -> None:
    """Sharded safetensors, torch's own files, names of before, and names without the prefix of the encoder."""
    whole = publish(BERT)
    wanted = bundle.read(whole)
    tensors = load_file(whole / "model.safetensors")

    def check(folder: Path) -> None:
        found = bundle.read(folder)
        for key, tensor in wanted.tensors.items():
            assert torch.equal(found.tensors[key], tensor), key

    parts = publish(BERT, tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{1 + (n % 2)}-of-00002.safetensors" for n, name in enumerate(names)}
    for file in set(files.values()):
        save_file({n: tensors[n] for n in names if files[n] == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    check(parts)

    older = publish(BERT, tmp_path / "older")
    (older / "model.safetensors").unlink()
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in tensors.items()
    }
    renamed["bert.embeddings.position_ids"] = torch.arange(64).unsqueeze(0)
    renamed["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    renamed["cls.predictions.decoder.bias"] = renamed.pop("cls.predictions.bias")
    for archive in (True, False):  # before torch 1.6 files were no archives
        torch.save(renamed, older / "pytorch_model.bin", _use_new_zipfile_serialization=archive)
        check(older)

    bare = publish(BERT, tmp_path / "bare", architectures=["BertModel"])
    encoder = {n.removeprefix("bert."): t for n, t in tensors.items() if n.startswith("bert.")}
    save_file(encoder, bare / "model.safetensors")
    found = bundle.read(bare)
    assert not found.has_head("masked") and found.tensors.keys() < wanted.tensors.keys()


def test_half_precision_is_computed_in_single(publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    half = {name: t.half() for name, t in load_file(folder / "model.safetensors").items()}
    save_file(half, folder / "model.safetensors")
    opened = bundle.read(folder)
    assert {p.dtype for p in opened.encoder().parameters()} == {torch.float32}
    assert torch.equal(opened.encoder().embeddings.token.weight, half["bert.embeddings.word_embeddings.weight"].float())


def test_training_does_not_change_what_was_read(publish: Callable[..., Path]) -> None:
    opened = bundle.read(publish(BERT))
    first = opened.encoder()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert opened.encoder().embeddings.token.weight.abs().sum() > 0


def pooler() -> dict[str, Tensor]:
    return {"bert.pooler.dense.weight": torch.ones(32, 32), "bert.pooler.dense.bias": torch.ones(32)}


def test_a_folder_of_sentence_transformers(
    publish: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sentence"
    publish(BERT, folder / "0_Transformer")
    modules = [
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    said = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    (folder / "0_Transformer" / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'
    )
    capsys.readouterr()
    opened = bundle.read(folder)
    assert "'query: '" in capsys.readouterr().err
    assert opened.task == {
        "name": "embed",
        "max_length": 24,
        "pooling": "mean",
        "normalize_embeddings": True,
        "labels": [],
        "prompt": "query: ",
    }
    change(folder / "0_Transformer", lambda tensors: tensors.update(pooler()))
    write_json(folder / "0_Transformer" / "tokenizer_config.json", {"model_max_length": 48})
    assert export(bundle.read(folder), tmp_path / "again", sentences=True) == "BertModel"
    before = load_file(folder / "0_Transformer" / "model.safetensors")
    after = load_file(tmp_path / "again" / "model.safetensors")
    assert {name for name in before if name.startswith("bert.")} == set(after), "its pooler, too"
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert read_json(tmp_path / "again" / "tokenizer_config.json")["model_max_length"] == 48
    newer = {"embedding_dimension": 32, "pooling_mode": "max"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(newer))
    task = bundle.read(folder).task
    assert task is not None and task["pooling"] == "max"
    modules[0]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with refused(folder / "modules.json", "../elsewhere"):
        bundle.read(folder)
    modules[0] = {"path": "", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps(modules))
    with refused(folder / "modules.json", "Dense", "Transformer, Pooling, Normalize"):
        bundle.read(folder)


def test_a_name_of_the_hub_is_read_from_its_cache(publish: Callable[..., Path], tmp_path: Path) -> None:
    """In the layout of the hub's own cache, offline, by name, with and without a revision."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--some--model"
    publish(BERT, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    script = (
        "from unmask import bundle, UserError\n"
        f"for given in (None, 'main', '{revision}'):\n"
        "    opened = bundle.read('some/model', revision=given)\n"
        "    print(opened.config.hidden_size, opened.lineage[0]['source'], opened.lineage[0]['revision'])\n"
        "try:\n    bundle.read('some/other')\nexcept UserError as error:\n    print(str(error).splitlines()[0])\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        cwd=tmp_path,
    )
    *read, error = done.stdout.splitlines()
    assert read == ["32 some/model None", "32 some/model main", f"32 some/model {revision}"]
    assert "some/other" in error and "hub" in error


class Bomb:
    """What runs when it is unpickled by those who let it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def change(folder: Path, alter: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    alter(tensors)
    save_file(tensors, folder / "model.safetensors")


WORDS = "bert.embeddings.word_embeddings.weight"


def _nan(tensors: dict[str, Tensor]) -> None:
    tensors[WORDS][3, 3] = float("nan")


def _integers(tensors: dict[str, Tensor]) -> None:
    tensors[WORDS] = tensors[WORDS].long()


def _eighths(tensors: dict[str, Tensor]) -> None:
    tensors[WORDS] = tensors[WORDS].to(torch.float8_e4m3fn)


def _another_size(tensors: dict[str, Tensor]) -> None:
    tensors[WORDS] = tensors[WORDS][:, :31].contiguous()


def _missing(tensors: dict[str, Tensor]) -> None:
    del tensors["bert.encoder.layer.1.output.dense.bias"]


def _unknown(tensors: dict[str, Tensor]) -> None:
    tensors["bert.encoder.layer.0.adapter.weight"] = torch.ones(3)


@pytest.mark.parametrize(
    ("alter", "names"),
    [
        (_nan, (f"model.safetensors: {WORDS}", "NaN")),
        (_integers, (WORDS, "torch.int64", "float32")),
        (_eighths, (WORDS, "torch.float8_e4m3fn", "float32")),
        (_another_size, (WORDS, "(64, 31)", "(64, 32)", "hidden_size: 32")),
        (_missing, ("bert.encoder.layer.1.output.dense.bias",)),
        (_unknown, ("adapter", "--allow-unused")),
    ],
)
def test_wrong_weights_are_refused(
    alter: Callable[[dict[str, Tensor]], None], names: tuple[str, ...], publish: Callable[..., Path]
) -> None:
    folder = publish(BERT)
    change(folder, alter)
    with refused(folder, *names):
        bundle.read(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("place", [0, 40_000, -1])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(
    dtype: torch.dtype, value: str, place: int, tmp_path: Path
) -> None:
    table = torch.full((70, 1001), 3e4, dtype=dtype)  # more than is read at a time; sums of it are no small numbers
    tensors = {"first": torch.ones(5, dtype=dtype), "table": table, "last": torch.arange(7)}
    save_file(tensors, tmp_path / "model.safetensors")
    check_numbers({}, tmp_path)
    table.view(-1)[place] = float(value)
    save_file(tensors, tmp_path / "model.safetensors")
    with refused(f"{tmp_path / 'model.safetensors'}: table", "NaN"):
        check_numbers({}, tmp_path)


def test_numbers_whose_sum_overflows_are_finite(tmp_path: Path) -> None:
    save_file({"table": torch.full((9,), 3e38)}, tmp_path / "model.safetensors")
    check_numbers({}, tmp_path)


def test_every_file_of_weights_in_parts_is_looked_at(publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    last = sorted(tensors)[-1]
    tensors[last].view(-1)[0] = float("nan")
    save_file({name: x for name, x in tensors.items() if name != last}, folder / "a.safetensors")
    save_file({last: tensors[last]}, folder / "b.safetensors")
    where = {name: "b.safetensors" if name == last else "a.safetensors" for name in tensors}
    write_json(folder / "model.safetensors.index.json", {"weight_map": where})
    with refused(folder / "b.safetensors", last, "NaN"):
        bundle.read(folder)


def test_unknown_weights_may_be_left_out(publish: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = publish(BERT)
    change(folder, _unknown)
    opened = bundle.read(folder, allow_unused=True)
    assert "adapter" in capsys.readouterr().err and not any("adapter" in name for name in opened.tensors)


def test_a_pointer_of_git_lfs_is_told(publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with refused(folder / "model.safetensors", "git lfs pull"):
        bundle.read(folder)


def test_code_in_a_file_of_weights_is_refused_and_not_run(publish: Callable[..., Path], tmp_path: Path) -> None:
    folder, trace = publish(BERT), tmp_path / "trace"
    weights = folder / "pytorch_model.bin"
    (folder / "model.safetensors").unlink()
    for archive in (True, False):
        given = {"weights": Bomb(trace)}
        torch.save(given, weights, _use_new_zipfile_serialization=archive)
        with refused(weights, "model.safetensors") as caught:
            bundle.read(folder)
        assert "weights_only" not in str(caught.value), "it does not say how to run the code all the same"
    weights.write_bytes(pickle.dumps(Bomb(trace)))
    with refused(weights, "model.safetensors"):
        bundle.read(folder)
    torch.save([1, 2], weights)
    with refused(weights, "names and tensors"):
        bundle.read(folder)
    assert not trace.exists()


@pytest.mark.parametrize("cut", [0, 5, 9, 400, 20_000])
def test_files_that_were_cut_short_are_refused(cut: int, publish: Callable[..., Path]) -> None:
    path = publish(BERT) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with refused(path, "cut short"):
        bundle.read(path.parent)


@pytest.mark.parametrize("file", ["../other.safetensors", "/etc/passwd", "..", "sub/part.safetensors"])
def test_an_index_that_points_elsewhere_is_refused(file: str, publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {WORDS: file}}))
    with refused(index, file):
        bundle.read(folder)


def test_parts_that_are_missing_or_do_not_hold_what_is_said(publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    index = folder / "model.safetensors.index.json"
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    for weight_map, names in (
        ({WORDS: "b.safetensors"}, (folder / "b.safetensors",)),
        ({"bert.nothing": "a.safetensors"}, (folder, "bert.nothing")),
        ([], (index, "weight_map")),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with refused(*names):
            bundle.read(folder)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"model_type": "llama"}, ("model_type llama", "bert")),
        ({"model_type": "deberta-v2"}, ("model_type deberta-v2", "roberta")),
        ({"hidden_size": None}, ("config.json: hidden_size", "1 to 16,777,216")),
        ({"hidden_size": "32"}, ("config.json: hidden_size", "32")),
        ({"hidden_size": -32}, ("config.json: hidden_size", "-32")),
        ({"vocab_size": 10**12}, ("config.json: vocab_size", 10**12)),
        ({"max_position_embeddings": 10**9}, ("config.json: max_position_embeddings", 10**9)),
        ({"num_attention_heads": 5}, ("hidden_size 32", "num_attention_heads 5")),
        ({"hidden_act": "mish"}, ("config.json: hidden_act", "mish", "gelu")),
        (
            {"position_embedding_type": "relative_key"},
            ("config.json: position_embedding_type", "relative_key", "absolute"),
        ),
        ({"is_decoder": True}, ("config.json: is_decoder", "True", "False")),
        ({"layer_norm_eps": "small"}, ("config.json: norm_eps", "small")),
        ({"num_hidden_layers": 4}, ("num_hidden_layers: 4", "3 layers")),
        ({"num_hidden_layers": 2}, ("layer.2.", "3 layers", "num_hidden_layers: 2", "--allow-unused")),
    ],
)
def test_configurations_that_cannot_be_are_refused(
    changes: dict[str, object], names: tuple[object, ...], publish: Callable[..., Path]
) -> None:
    folder = publish(BERT, **changes)
    with refused(folder, *names):
        bundle.read(folder)


@pytest.mark.parametrize("content", ["[]", "{", '"bert"'])
def test_a_config_that_is_no_object_is_refused(content: str, publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    (folder / "config.json").write_text(content)
    with refused(folder / "config.json"):
        bundle.read(folder)


def test_a_tokenizer_of_another_model_is_refused(publish: Callable[..., Path]) -> None:
    folder = publish(BERT)
    alphabet = " ".join(chr(code) for code in range(0x4E00, 0x4E00 + 90))
    other = Tokenizer.train([alphabet] * 9, vocab_size=99, allow_fewer=True)
    assert other.vocab_size > RECORDED["pieces"]
    other.save_pretrained(folder)
    with refused(folder, f"{other.vocab_size} tokens", f"{RECORDED['pieces']} embeddings"):
        bundle.read(folder)


def test_labels_that_do_not_fit_the_head_are_refused(publish: Callable[..., Path]) -> None:
    for labels in ({"0": "a"}, {"0": "a", "1": "a", "2": "b"}, {"x": "a"}):
        with refused("config.json: id2label", labels):
            bundle.read(publish("bert ForSequenceClassification", id2label=labels))


def test_a_head_whose_weights_are_missing_is_never_random(
    publish: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish("bert ForSequenceClassification")
    change(folder, lambda tensors: [tensors.pop(n) for n in list(tensors) if n.startswith("classifier")] and None)
    predictor = load(folder)
    assert "BertForSequenceClassification" in capsys.readouterr().err
    with refused(folder, "unmask finetune"):
        predictor("the quick fox")


def test_what_no_public_layout_can_say_is_said(
    small_tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tmp_path: Path
) -> None:
    config = EncoderConfig(
        vocab_size=small_tokenizer.vocab_size,
        num_hidden_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=32,
        norm="pre",
        gated=True,
    )
    bundle.write(tmp_path / "m", config, {"encoder": make_encoder(config)}, small_tokenizer, [])
    with refused(tmp_path / "m", "gated True", "norm pre"):
        export(bundle.read(tmp_path / "m"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
