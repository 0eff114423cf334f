"""Paths that are no model which can be read: what their files are, and the line that makes a model of them."""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from unmask import files
from unmask.bundle.weights import FILES, SINGLE_FILE, has_weights, list_some
from unmask.errors import UserError
from unmask.messages import message

ADAPTER = "adapter_config.json"
ALLOWED = "a folder that `unmask pretrain` or `unmask finetune` wrote, a public checkpoint, or OWNER/NAME of one"
_TASKS = {  # of an adapter, with the class that its base is opened as
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
_CLASSIFIERS = ("classifier.weight", "classifier.out_proj.weight", "score.weight")
_UNMERGED = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT")
_OF_TRAINING = ("training_args.bin", "optimizer.*", "scheduler.*", "rng_state*", "scaler.pt", "adapter_model.*")
_TENSORFLOW = 'python -c "from transformers import {name} as M; M.from_pretrained({source!r}, from_{kind}=True)'
_TENSORFLOW += '.save_pretrained({target!r})"'
_TORCH = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "t = torch.load({source!r}, map_location='cpu', weights_only=True); t = t.get('state_dict', t); "
    'save_file({{k: v.clone() for k, v in t.items()}}, {target!r})"'
)
_CONVERT = (
    "$ transformers-cli convert --model_type bert --tf_checkpoint {source} --config {folder}/bert_config.json "
    "--pytorch_dump_output {folder}/pytorch_model.bin"
)
_EXPORTED = "it is for prediction by another engine: use the model that it was exported from"
# patterns of file names, what they are, what helps
_FORMATS: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = (
    (("tf_model*.h5",), "weights of TensorFlow", ("with transformers 4 and TensorFlow:", _TENSORFLOW)),
    (
        ("*.ckpt.index", "*.ckpt.meta", "*.ckpt.data-*", "*.ckpt-*.index"),
        "a checkpoint of TensorFlow",
        ("with transformers 4 and TensorFlow:", _CONVERT, "then rename bert_config.json to config.json"),
    ),
    (("saved_model.pb",), "a SavedModel of TensorFlow", (_EXPORTED,)),
    (("flax_model*.msgpack",), "weights of Flax", ("with transformers 4 and Flax:", _TENSORFLOW)),
    (("*.onnx", "onnx/*.onnx"), "a model in ONNX", (_EXPORTED,)),
    (("openvino_model.xml", "openvino/*.xml"), "a model of OpenVINO", (_EXPORTED,)),
    (("*.gguf",), "a model in GGUF", (_EXPORTED,)),
    (
        ("dataset_info.json", "dataset_dict.json"),
        "a data set",
        ("to train on its rows: write jsonl, csv or Parquet",),
    ),
    (("*-?????-of-?????.safetensors",), "parts of a model", (f"copy {SINGLE_FILE}.index.json as well",)),
    (("*.safetensors",), "weights under another name", (f"rename the file to {SINGLE_FILE}",)),
    (("*.pt", "*.pth", "*.ckpt", "*.bin"), "a file of torch", ("write its weights as safetensors:", _TORCH)),
)
_TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def not_a_model(path: Path) -> UserError:
    """The error for a path that is no model folder, which says what it is as far as its files tell."""
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        return _error(path, message("no such folder"))
    if (path / ADAPTER).is_file():
        return _of_adapter(path, files.read_object(path / ADAPTER))
    if has_weights(path):
        older = (path / "bert_config.json").is_file()
        hint = "rename bert_config.json to config.json" if older else "copy the config.json of the model as well"
        return _error(path, message("weights without config.json"), hint)
    inside = _models_inside(path)
    for patterns, what, hints in () if inside else _FORMATS:
        names = sorted(str(file.relative_to(path)) for pattern in patterns for file in path.glob(pattern))
        if names := [name for name in names if not any(fnmatch(name, other) for other in _OF_TRAINING)]:
            return _error(
                path,
                message("{what}: {names}", message(what), list_some(names)),
                [_line(hint, path, names[0]) for hint in hints],
            )
    if inside:
        return _of_parent(path, inside)
    has_config, names = (path / "config.json").is_file(), sorted(file.name for file in path.iterdir())
    tokenizers = [name for name in names if any(fnmatch(name, pattern) for pattern in _TOKENIZER)]
    if has_config:
        hint = message("put the weights of the model beside config.json: {names}", f"{FILES[0]} / {FILES[2]}")
        return _error(path, message("config.json without weights"), hint)
    if tokenizers:
        lines = [
            "put config.json and the weights of its model beside it, or pretrain a new one:",
            f"unmask corpus build FILES --tokenizer {path} --output CORPUS",
            "unmask pretrain RECIPE --corpus CORPUS",
        ]
        return _error(path, message("a tokenizer alone: {names}", list_some(tokenizers)), lines)
    return _error(path, message("no unmask.json and no config.json in it"))


def _error(path: Path, given: object, hint: object = None) -> UserError:
    return UserError("{folder} is not a model", path, given=given, allowed=ALLOWED, hint=hint)


def _line(hint: str, folder: Path, name: str) -> str:
    """A hint for the file of this name in the folder."""
    if "{" not in hint:
        return message(hint)
    source, target = f"{folder / name}", f"{folder}-torch"
    if hint is _TORCH:
        return hint.format(source=source, target=str(folder / SINGLE_FILE))
    if hint is _CONVERT:
        return hint.format(source=re.sub(r"\.(?:index|meta|data-.*)$", "", source), folder=folder)
    path = folder / "config.json"
    names = files.read_object(path).get("architectures") if path.is_file() else None
    kind = "flax" if name.startswith("flax") else "tf"
    return hint.format(name=names[0] if names else "AutoModel", source=str(folder), kind=kind, target=target)


def _of_file(path: Path) -> UserError:
    whole = any((path.parent / name).is_file() for name in ("config.json", "unmask.json"))
    given = message("a file; a model is the folder that holds it")
    return _error(path, given, message("{folder} is the model", path.parent) if whole else None)


def _models_inside(path: Path) -> list[Path]:
    """Folders below that look like models; checkpoints of a training in the order of their steps."""
    names = (*FILES, "unmask.json", ADAPTER)
    found = {file.parent for name in names for depth in ("*", "*/*") for file in path.glob(f"{depth}/{name}")}
    return sorted(found, key=lambda folder: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", str(folder))])


def _of_parent(path: Path, inside: list[Path]) -> UserError:
    """Of a folder that holds models, such as the checkpoints of a training."""
    steps = [folder for folder in inside if re.fullmatch(r"checkpoint-\d+", folder.name)]
    hints: list[str] = []
    if steps:
        hints.append(message("the last checkpoint: {folder}", steps[-1]))
        state = steps[-1] / "trainer_state.json"
        best = files.read_object(state).get("best_model_checkpoint") if state.is_file() else None
        if best and (path / Path(best).name).is_dir():
            hints.insert(0, message("the best checkpoint: {folder}", path / Path(best).name))
    names = ", ".join(str(folder.relative_to(path)) for folder in inside[:6])
    if len(inside) == 1:
        return _error(path, message("a folder around a model"), message("{folder} is the model", inside[0]))
    given = message("a folder of {count} models: {names}", len(inside), names)
    return _error(path, given, hints or message("choose one of them: {folder}", inside[0]))


def _of_adapter(path: Path, adapter: Mapping[str, Any]) -> UserError:
    """Of what peft, or the library adapters, saved without its base."""
    kind = str(adapter.get("peft_type") or "adapters")
    base = str(adapter.get("base_model_name_or_path") or adapter.get("model_name") or "BASE")
    hint: object = message("this kind cannot be merged into its base: use the base, or another kind of adapter")
    if "peft_type" not in adapter:
        hint = message("merge it into its base with the library adapters (merge_adapter) and save the whole model")
    elif kind not in _UNMERGED:
        name = _TASKS.get(str(adapter.get("task_type")), "AutoModelForMaskedLM")
        labels = _labels(path)
        arguments = f"{base!r}, num_labels={labels}" if labels else f"{base!r}"
        merge = f"PeftModel.from_pretrained(M.from_pretrained({arguments}), {str(path)!r}).merge_and_unload()"
        target = f"{path}-merged"
        hint = [
            message("merge it into its base and save the whole model, with the tokenizer:"),
            f'python -c "from transformers import {name} as M, AutoTokenizer as T; from peft import PeftModel; '
            f'{merge}.save_pretrained({target!r}); T.from_pretrained({str(path)!r}).save_pretrained({target!r})"',
        ]
    return UserError(
        "{folder} is an adapter ({kind}) for {base}, not a whole model", path, kind, base, allowed=ALLOWED, hint=hint
    )


def _labels(path: Path) -> int | None:
    """The outputs of the classifier that an adapter holds, where it does."""
    try:
        with safe_open(path / "adapter_model.safetensors", "numpy") as file:
            names = [name for name in file.keys() if name.endswith(_CLASSIFIERS)]  # noqa: SIM118 (no mapping)
            return int(file.get_slice(names[0]).get_shape()[0]) if names else None
    except (OSError, SafetensorError):
        return None
