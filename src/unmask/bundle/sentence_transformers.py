"""The files of sentence-transformers beside a model: what makes a vector of its hidden states, read and written.

modules.json                       the parts: the network, pooling, the length 1
1_Pooling/config.json              which pooling
sentence_bert_config.json          the longest text in tokens
config_sentence_transformers.json  that vectors are compared by their cosine
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.bundle.weights import list_some
from unmask.errors import UserError

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
LONGEST = 512  # tokens of a text, where no file says it
_LENGTHS = {"sentence_bert_config.json": "max_seq_length", "tokenizer_config.json": "model_max_length"}  # older, newer


def read_sentence(folder: Path) -> dict[str, Any]:
    """How a sentence-transformers folder makes a vector: pooling, normalize_embeddings, max_length; path: of the
    model. Empty for other folders."""
    path = folder / MODULES
    if not path.is_file():
        return {}
    modules = files.read_json(path)
    sentence: dict[str, Any] = {"normalize_embeddings": False, "max_length": LONGEST}
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        inside = Path(str(module.get("path", "")))
        if inside.is_absolute() or ".." in inside.parts:
            raise UserError(f"{path} points outside of its folder", given=str(inside))
        if kind == "Transformer":
            lengths = (_read(folder / inside / name).get(key) for name, key in _LENGTHS.items())
            sentence["max_length"] = next((n for n in lengths if type(n) is int and n >= 8), LONGEST)
            sentence["path"] = str(inside)
        elif kind == "Pooling":
            sentence["pooling"] = _pooling(folder / inside / "config.json")
        elif kind == "Normalize":
            sentence["normalize_embeddings"] = True
        else:
            raise UserError(
                f"{path}: this part of a sentence-transformers model cannot be read",
                given=kind or module,
                allowed="Transformer, Pooling, Normalize",
            )
    settings = _read(folder / SETTINGS)
    if prompt := (settings.get("prompts") or {}).get(settings.get("default_prompt_name")):
        console.note(
            "{path}: sentence-transformers puts {prompt!r} before each text; here it must be in the text",
            folder / SETTINGS,
            prompt,
        )
    return sentence


def _read(path: Path) -> dict[str, Any]:
    values = files.read_json(path) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def _pooling(path: Path) -> str:
    settings = files.read_object(path)
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    if isinstance(settings.get("pooling_mode"), str):  # as newer versions write it
        modes = [POOLINGS.get(settings["pooling_mode"], settings["pooling_mode"])]
    ours = [name for name, theirs in POOLINGS.items() if modes == [theirs]]
    if not ours:
        raise UserError(
            f"{path}: this pooling cannot be read", given=list_some(modes), allowed=", ".join(POOLINGS.values())
        )
    return ours[0]


def embed_task(sentence: Mapping[str, Any], positions: int) -> dict[str, Any] | None:
    """The schema of the task that makes the same vectors; None for a folder without pooling."""
    if "pooling" not in sentence:
        return None
    return {
        "name": "embed",
        "max_length": min(sentence["max_length"], positions),
        "pooling": sentence["pooling"],
        "normalize_embeddings": sentence["normalize_embeddings"],
        "labels": [],
    }


def fits_sentence_transformers(task: Mapping[str, Any] | None) -> bool:
    """Whether these files can say how the vectors of a task come about."""
    return task is not None and "normalize_embeddings" in task and task["pooling"] in POOLINGS


def write_sentence(folder: Path, task: Mapping[str, Any], hidden_size: int) -> None:
    """Write them beside the model in the folder. task: a schema that `fits_sentence_transformers`."""
    parts = {"Transformer": "", "Pooling": "1_Pooling"}
    if task["normalize_embeddings"]:
        parts["Normalize"] = "2_Normalize"
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(parts.items())
    ]
    modes = {theirs: ours == task["pooling"] for ours, theirs in POOLINGS.items()}
    contents: dict[str, Any] = {
        MODULES: modules,
        "1_Pooling/config.json": {"word_embedding_dimension": hidden_size, **modes},
        "sentence_bert_config.json": {"max_seq_length": task["max_length"], "do_lower_case": False},
        SETTINGS: {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    }
    for path in parts.values():
        (folder / path).mkdir(exist_ok=True)
    for name, content in contents.items():
        files.write_json(folder / name, content)
