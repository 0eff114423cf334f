"""Folders that are no model which is read: each is named for what it is, with what helps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from errors import refused
from unmask import bundle
from unmask.errors import UserError

BERT = "bert ForSequenceClassification"
Publish = Callable[..., Path]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["tf_model.h5"], ["TensorFlow", "tf_model.h5", "BertForSequenceClassification", "from_tf=True"]),
        (["flax_model.msgpack"], ["Flax", "flax_model.msgpack", "from_flax=True"]),
        (["bert_model.ckpt.index", "bert_model.ckpt.meta"], ["bert_model.ckpt.index", "convert", "/bert_model.ckpt "]),
        (["saved_model.pb"], ["SavedModel", "exported"]),
        (["model.onnx"], ["ONNX", "model.onnx", "exported"]),
        (["onnx/model_quantized.onnx"], ["ONNX", "onnx/model_quantized.onnx"]),
        (["openvino_model.xml", "openvino_model.bin"], ["OpenVINO", "openvino_model.xml"]),
        (["bert.Q4_K_M.gguf"], ["GGUF", "bert.Q4_K_M.gguf"]),
        (["last.ckpt"], ["torch", "last.ckpt", "weights_only=True", "model.safetensors"]),
        (["model.pt", "optimizer.pt"], ["torch: model.pt", "save_file"]),
        (["model.fp16.safetensors"], ["another name", "model.fp16.safetensors", "rename"]),
        (["model-00001-of-00002.safetensors"], ["parts", "model.safetensors.index.json"]),
        (["training_args.bin", "optimizer.pt"], ["config.json without weights"]),
    ],
)
def test_weights_of_other_kinds(files: list[str], names: list[str], publish: Publish) -> None:
    folder = without(publish(BERT), "model.safetensors")
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    with refused(folder, *names):
        bundle.read(folder)
    (folder / "config.json").rename(folder / "bert_config.json")
    if "config.json without weights" not in names:
        with refused(folder, names[0]):
            bundle.read(folder)


@pytest.mark.parametrize(
    ("adapter", "weights", "names"),
    [
        (
            {"peft_type": "LORA", "base_model_name_or_path": "org/base", "task_type": "SEQ_CLS"},
            {"base_model.model.classifier.weight": (3, 8)},
            ["LORA", "org/base", "AutoModelForSequenceClassification", "num_labels=3", "merge_and_unload"],
        ),
        (
            {"peft_type": "IA3", "base_model_name_or_path": "../base", "task_type": "TOKEN_CLS"},
            {"base_model.model.classifier.modules_to_save.bias": (5,)},
            ["IA3", "../base", "AutoModelForTokenClassification", "from_pretrained('../base')"],
        ),
        ({"peft_type": "PREFIX_TUNING", "base_model_name_or_path": "b"}, {}, ["PREFIX_TUNING", "cannot be merged"]),
        ({"config": {"r": 1}, "model_name": "roberta-base"}, {}, ["roberta-base", "merge_adapter"]),
        ({"peft_type": "LORA"}, {}, ["BASE", "AutoModelForMaskedLM"]),
    ],
)
def test_adapters(
    adapter: dict[str, object], weights: dict[str, tuple[int, ...]], names: list[str], publish: Publish
) -> None:
    folder = without(publish(BERT), "model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    for _ in ("with a config.json", "without"):
        with refused(folder, "adapter", *names):
            bundle.read(folder)
        (folder / "config.json").unlink(missing_ok=True)


def test_an_adapter_beside_whole_weights_is_not_used_and_that_is_said(
    publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = publish(BERT)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert bundle.read(folder).has_head("classifier")
    assert str(folder / "adapter_config.json") in capsys.readouterr().err


def test_a_folder_of_checkpoints_names_the_last_and_the_best(publish: Publish, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for step in (90, 500, 1000):
        publish(BERT, folder / f"checkpoint-{step}")
        (folder / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"x")
    (folder / "training_args.bin").write_bytes(b"x")
    with refused(folder, "3 models", "last checkpoint", folder / "checkpoint-1000"):
        bundle.read(folder)
    state = {"best_model_checkpoint": "elsewhere/out/checkpoint-500"}
    (folder / "checkpoint-1000" / "trainer_state.json").write_text(json.dumps(state))
    with refused("best checkpoint", folder / "checkpoint-500", folder / "checkpoint-1000"):
        bundle.read(folder)
    assert bundle.read(folder / "checkpoint-500").has_head("classifier"), "with an optimizer beside it"


def test_a_folder_around_a_model_names_it(publish: Publish, tmp_path: Path) -> None:
    for number, inside in enumerate(("model", "snapshots/0123abc", "a b")):
        folder = tmp_path / str(number)
        publish(BERT, folder / inside)
        with refused(folder, folder / inside):
            bundle.read(folder)


def test_other_folders_and_files(publish: Publish, tmp_path: Path) -> None:
    whole = publish(BERT)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        with refused(whole / name, "a file", f"{whole} is the model"):
            bundle.read(whole / name)
    data, tokenizer, empty = (tmp_path / name for name in ("data", "tokenizer", "empty"))
    for folder in (data, tokenizer, empty):
        folder.mkdir()
    (data / "dataset_info.json").write_text("{}")
    shutil.copy(whole / "tokenizer.json", tokenizer)
    for folder, names in (
        (data, ["data set", "--train"]),
        (tokenizer, ["tokenizer alone", "unmask corpus build", "unmask pretrain"]),
        (empty, ["no unmask.json and no config.json"]),
        (tmp_path / "none", ["no such folder"]),
        (without(whole, "config.json"), ["weights without config.json", "copy"]),
    ):
        with refused(folder, *names):
            bundle.read(folder)
    (whole / "bert_config.json").write_text("{}")
    with refused(whole, "rename bert_config.json"):
        bundle.read(whole)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_pointer_of_git_lfs(name: str, publish: Publish) -> None:
    folder = publish(BERT)
    (folder / name).write_text(POINTER)
    with refused(folder / name, "Git LFS", "git lfs pull"):
        bundle.read(folder)


def test_a_pointer_in_place_of_a_vocabulary_or_a_file_of_torch(publish: Publish) -> None:
    folder = without(publish(BERT), "tokenizer.json")
    (folder / "vocab.txt").write_text(POINTER)
    with refused(folder / "vocab.txt", "git lfs pull"):
        bundle.read(folder)
    folder = without(publish(BERT), "model.safetensors")
    (folder / "pytorch_model.bin").write_text(POINTER)
    with refused(folder / "pytorch_model.bin", "git lfs pull"):
        bundle.read(folder)


def test_an_index_names_all_files_that_are_not_there(publish: Publish) -> None:
    folder = publish(BERT)
    names = sorted(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    where = {name: f"{'abc'[number % 3]}.safetensors" for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with refused(
        folder / "model.safetensors.index.json", "missing: ", folder / "b.safetensors", folder / "c.safetensors"
    ):
        bundle.read(folder)
    with pytest.raises(UserError) as caught:
        bundle.read(folder)
    assert str(folder / "a.safetensors") not in str(caught.value)
