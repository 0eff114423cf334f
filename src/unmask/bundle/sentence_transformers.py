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
LONGEST = 512  # tokens of a text, where nothing is said
_PARTS = "sentence_transformers.models"


def read_sentence(folder: Path) -> dict[str, Any]:
    """What a sentence-transformers folder says of how a vector comes about: pooling, normalise, and length where that
    is said; path: of the model. Empty for other folders."""
    path = folder / MODULES
    if not path.is_file():
        return {}
    modules = files.read_json(path)
    found: dict[str, Any] = {"normalize_embeddings": False}
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        inside = Path(str(module.get("path", "")))
        if inside.is_absolute() or ".." in inside.parts:
            raise UserError(f"{path} points outside of its folder", given=str(inside))
        if kind == "Transformer":
            found["path"] = str(inside)
            found |= _length(folder / inside)
        elif kind == "Pooling":
            found["pooling"] = _pooling(folder / inside / "config.json")
        elif kind == "Normalize":
            found["normalize_embeddings"] = True
        else:
            raise UserError(
                f"{path}: this part of a sentence-transformers model cannot be read",
                given=kind or module,
                allowed="Transformer, Pooling, Normalize",
            )
    _report_prompts(folder / SETTINGS)
    return found


def _report_prompts(path: Path) -> None:
    """Says where that library would put something before each text, which is not done here."""
    said = files.read_json(path) if path.is_file() else {}
    prompt = (said.get("prompts") or {}).get(said.get("default_prompt_name"))
    if prompt:
        console.note(
            "{path}: sentence-transformers puts {prompt!r} before each text; here it must be in the text", path, prompt
        )


def _length(folder: Path) -> dict[str, int]:
    """The longest text: with its own name, or, as newer versions write it, as that of the tokenizer."""
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        said = files.read_json(folder / name).get(key) if (folder / name).is_file() else None
        if type(said) is int and said >= 8:
            return {"max_length": said}
    return {}


def _pooling(path: Path) -> str:
    said = files.read_json(path)
    names = {theirs: ours for ours, theirs in POOLINGS.items()}
    modes = [name for name, on in said.items() if name.startswith("pooling_mode_") and on is True]
    if isinstance(said.get("pooling_mode"), str):  # as newer versions write it
        modes = [f"pooling_mode_{said['pooling_mode']}{'_token' if said['pooling_mode'] == 'cls' else '_tokens'}"]
    if len(modes) != 1 or modes[0] not in names:
        raise UserError(f"{path}: this pooling cannot be read", given=list_some(modes), allowed=", ".join(names))
    return names[modes[0]]


def embed_task(sentence: Mapping[str, Any], positions: int) -> dict[str, Any] | None:
    """The schema of the task that makes the same vectors; None where a folder says nothing of them."""
    if "pooling" not in sentence:
        return None
    length = min(sentence.get("max_length", LONGEST), positions)
    return {
        "name": "embed",
        "max_length": length,
        "pooling": sentence["pooling"],
        "normalize_embeddings": sentence["normalize_embeddings"],
        "labels": [],
    }


def describe_modules(task: Mapping[str, Any] | None) -> bool:
    """Whether these files can say how the vectors of a task come about."""
    return task is not None and "normalize_embeddings" in task and task["pooling"] in POOLINGS


def write_sentence(folder: Path, task: Mapping[str, Any], hidden_size: int) -> None:
    """Write them beside the model that is in the folder. task: a schema of which `says` is true."""
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    if task["normalize_embeddings"]:
        parts.append(("Normalize", "2_Normalize"))
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_PARTS}.{kind}"}
        for number, (kind, path) in enumerate(parts)
    ]
    for _, path in parts[1:]:
        (folder / path).mkdir()
    modes = {theirs: ours == task["pooling"] for ours, theirs in POOLINGS.items()}
    files.write_json(folder / MODULES, modules)
    files.write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden_size, **modes})
    files.write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": task["max_length"], "do_lower_case": False}
    )
    files.write_json(
        folder / SETTINGS,
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
