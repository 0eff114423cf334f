"""The files of sentence-transformers beside a model: what makes a vector of its hidden states, read and written.

modules.json                       the parts: the network, pooling, the length 1
1_Pooling/config.json              which pooling
sentence_bert_config.json          the longest text in tokens, and whether it is made lower case
config_sentence_transformers.json  what is put before each text, how many numbers of a vector are kept, and how two
                                   vectors are compared
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.bundle.weights import list_some
from unmask.errors import UserError
from unmask.tasks import EMBED_FACTS

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
# older names of the file beside the network; what else it may hold: keys, with the values that change no vector
_NETWORK = tuple(
    f"sentence_{name}_config.json" for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
_NETWORK_KEYS: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("feature-extraction", "sequence-classification"),
    "module_output_name": ("token_embeddings", "scores"),
    "processing_kwargs": ({},),
    "query_length": (),
    "document_length": (),
    "query_expansion": (),
}


def read_sentence(folder: Path) -> dict[str, Any]:
    """How a sentence-transformers folder makes a vector: pooling, normalize_embeddings, max_length, lowercase, and the
    facts of `EmbedTask` that its settings name; path: of the model. Empty for other folders.

    Raises UserError for what would make other vectors here."""
    path = folder / MODULES
    if not path.is_file():
        return {}
    modules = files.read_json(path)
    sentence: dict[str, Any] = {"normalize_embeddings": False}
    kinds = []
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        inside = Path(str(module.get("path", "")))
        if inside.is_absolute() or ".." in inside.parts:
            raise UserError(f"{path} points outside of its folder", given=str(inside))
        kinds.append(kind)
        if kind == "Transformer":
            sentence |= {"path": str(inside), **_network(folder / inside)}
        elif kind == "Pooling":
            sentence |= _pooling(folder / inside / "config.json")
        elif kind == "Normalize":
            sentence["normalize_embeddings"] = True
        elif kind != "Dropout":  # which acts in training alone
            raise UserError(
                f"{path}: this part of a sentence-transformers model cannot be read",
                given=kind or module,
                allowed="Transformer, Pooling, Normalize",
            )
    order = [kind for kind in kinds if kind != "Dropout"]
    if order not in (["Transformer", "Pooling", "Normalize"][:length] for length in (1, 2, 3)):
        raise UserError(
            f"{path}: its parts cannot be read in this order",
            given=", ".join(kinds),
            allowed="Transformer, Pooling, Normalize",
        )
    return sentence | _settings(folder / SETTINGS, sentence.pop("include_prompt", True), folder)


def _network(folder: Path) -> dict[str, Any]:
    """max_length and lowercase of the network in this folder, as the files beside it say."""
    path = next((folder / name for name in _NETWORK if (folder / name).is_file()), folder / _NETWORK[0])
    values = _read(path)
    for key, allowed in _NETWORK_KEYS.items():
        if values.get(key) is not None and values[key] not in allowed:
            raise UserError(
                f"{path}: {key} cannot be used", given=values[key], allowed=" or ".join(map(str, allowed)) or "null"
            )
    lengths = values.get("max_seq_length"), _read(folder / "tokenizer_config.json").get("model_max_length")
    longest = next((length for length in lengths if type(length) is int), None)
    if longest is not None and longest < 8:
        raise UserError(f"{path}: max_seq_length cannot be used", given=longest, allowed="8 or more")
    return {"max_length": longest, "lowercase": values.get("do_lower_case") is True}


def _settings(path: Path, include_prompt: bool, folder: Path) -> dict[str, Any]:
    """The facts of `EmbedTask` in the file of settings, where they are not the default."""
    values = _read(path)
    prompts, default = values.get("prompts") or {}, values.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise UserError(f"{path}: default_prompt_name names no prompt", given=default, allowed=", ".join(prompts))
    prompt = prompts.get(default) or ""
    if prompt and not include_prompt:
        raise UserError(
            f"{path}: a default prompt that pooling leaves out cannot be used",
            given=f"default_prompt_name {default}, and include_prompt false of the pooling",
        )
    if others := [f"{name} {text!r}" for name, text in prompts.items() if text and name != default]:
        console.note("{path}: other prompts must be in the texts: {prompts}", path, ", ".join(others))
    similarity, dimension = values.get("similarity_fn_name") or "cosine", values.get("truncate_dim")
    if similarity not in SIMILARITIES:
        raise UserError(f"{path}: similarity_fn_name cannot be used", given=similarity, allowed=", ".join(SIMILARITIES))
    if dimension is not None and (type(dimension) is not int or dimension < 1):
        raise UserError(f"{path}: truncate_dim cannot be used", given=dimension, allowed="a whole number, 1 or more")
    facts = {"prompt": prompt, "truncate_dim": dimension, "similarity": similarity if similarity != "cosine" else None}
    return {name: value for name, value in facts.items() if value}


def _read(path: Path) -> dict[str, Any]:
    values = files.read_json(path) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def _pooling(path: Path) -> dict[str, Any]:
    settings = files.read_object(path)
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    if (newer := settings.get("pooling_mode")) is not None:
        listed = newer if isinstance(newer, list) else [newer]
        modes = [POOLINGS.get(str(mode), str(mode)) for mode in listed]
    ours = [name for name, theirs in POOLINGS.items() if (modes or [POOLINGS["mean"]]) == [theirs]]
    if not ours:
        raise UserError(
            f"{path}: this pooling cannot be read",
            given=list_some(modes),
            allowed=f"one of {', '.join(POOLINGS.values())}",
        )
    return {"pooling": ours[0], "include_prompt": settings.get("include_prompt") is not False}


def embed_task(sentence: Mapping[str, Any], positions: int) -> dict[str, Any] | None:
    """The schema of the task that makes the same vectors; None for a folder without pooling."""
    if "pooling" not in sentence:
        return None
    return {
        "name": "embed",
        "max_length": min(sentence["max_length"] or positions, positions),
        "pooling": sentence["pooling"],
        "normalize_embeddings": sentence["normalize_embeddings"],
        "labels": [],
        **{name: sentence[name] for name in EMBED_FACTS if name in sentence},
    }


def fits_sentence_transformers(task: Mapping[str, Any] | None) -> bool:
    """Whether these files can say how the vectors of a task come about."""
    return task is not None and "normalize_embeddings" in task and task["pooling"] in POOLINGS


def write_sentence(folder: Path, task: Mapping[str, Any], hidden_size: int, lowercase: bool) -> None:
    """Write them beside the model in the folder. task: a schema that `fits_sentence_transformers`; lowercase: whether
    its tokenizer makes no difference between capital and small letters."""
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
        "sentence_bert_config.json": {"max_seq_length": task["max_length"], "do_lower_case": lowercase},
        SETTINGS: {
            "prompts": {"default": prompt} if (prompt := task.get("prompt")) else {},
            "default_prompt_name": "default" if prompt else None,
            "similarity_fn_name": task.get("similarity") or "cosine",
            **({"truncate_dim": dimension} if (dimension := task.get("truncate_dim")) else {}),
        },
    }
    for path in parts.values():
        (folder / path).mkdir(exist_ok=True)
    for name, content in contents.items():
        files.write_json(folder / name, content)
