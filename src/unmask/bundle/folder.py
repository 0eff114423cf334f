"""Model folders, read and written: weights, configuration and tokenizer in a public layout, and what that cannot say.

model.safetensors, config.json, tokenizer.json, vocab.txt, tokenizer_config.json   as other libraries read them
unmask.json                                                                        ours: task, lineage, checksums
README.md                                                                          the model card, made of the others
modules.json, 1_Pooling/, ...                  of a model for vectors of texts: as sentence-transformers reads it

An encoder is written in the layout of its family (model/families/), a sinusoid as the table that BERT would have
learnt. What that layout cannot express (pre-norm in BERT's, ...) is written under our own names, and `model_type` says
so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unmask import files
from unmask.bundle.bundle import Bundle
from unmask.bundle.card import model_card
from unmask.bundle.description import describe
from unmask.bundle.foreign import not_a_model
from unmask.bundle.layout import config_json, from_public, to_public, why_not_public
from unmask.bundle.public import read_public
from unmask.bundle.public_heads import PROBLEMS, SIGMOID
from unmask.bundle.sentence_transformers import MODULES, fits_sentence_transformers, write_sentence
from unmask.bundle.weights import SINGLE_FILE, read_tensors, save_tensors
from unmask.config import dump, from_mapping
from unmask.errors import UserError
from unmask.heads import head_class
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.runtime.manifest import FACTS, FORMAT, model_folder, read_facts
from unmask.tasks import restore
from unmask.text.tokenizer import Tokenizer
from unmask.version import __version__

VERIFIED = (SINGLE_FILE, "tokenizer.json")  # whose checksums unmask.json holds
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")
# what is read of a repository, the weights in the best form that it has
_DESCRIPTIONS = ["*.json", "*.txt", "*.model", "1_Pooling/*.json"]
_WEIGHTS = (["*.safetensors"], ["pytorch_model*.bin"])


def read(
    source: Path | str, *, revision: str | None = None, allow_unused: bool = False, weights: bool = True
) -> Bundle:
    """Open a model: a folder that unmask wrote, or the run that it is of; a folder in the public layout of a family
    (config.json, weights, tokenizer; also of sentence-transformers); or the id of a repository on the model hub, also
    OWNER/NAME@REVISION, as it is in its cache or fetched there.

    revision: of a repository on the hub; allow_unused: leave out weights that no layer here has; weights: False for
    their shapes alone, which takes no memory.
    Raises UserError for anything that is no model, or that is damaged.
    """
    folder, device = Path(source), "cpu" if weights else "meta"
    hub_id = _HUB_ID.fullmatch(str(source))
    # where the first part is a folder here, the second is one that is not there
    if hub_id and not folder.exists() and not folder.parent.exists():
        name, revision = hub_id[1], revision or hub_id[2]
        origin = {"source": name, "hub": True, "revision": revision}
        return read_public(_fetch(name, revision), origin, allow_unused, device)
    folder = model_folder(folder)
    if (folder / FACTS).is_file():
        return _read_own(folder, device)
    if (folder / "config.json").is_file() or (folder / MODULES).is_file():
        return read_public(folder, {"source": str(source), "hub": False, "revision": None}, allow_unused, device)
    if (folder / "run.json").is_file():
        raise UserError(
            "{folder} is a run that is not finished: it has no model yet",
            folder,
            hint="repeat the command that started it; it resumes where it stopped",
        )
    raise not_a_model(folder)


def _fetch(name: str, revision: str | None) -> Path:
    """The folder of a repository in the cache of the hub, whose environment variables are respected (HF_HOME,
    HF_HUB_OFFLINE, HF_ENDPOINT)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_DESCRIPTIONS))
        for pattern in _WEIGHTS:
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=pattern))
            if any(folder.glob(pattern[0])):
                break
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{name} is not a folder here and cannot be fetched from the model hub",
            given=f"{type(error).__name__}: {error}".strip().partition("\n")[0],
            hint="check the name and the network, or download the files and use their folder",
        ) from None
    return folder


def _read_own(folder: Path, device: str) -> Bundle:
    """Open a folder that `write` wrote. Raises UserError where it is damaged, or was written by another version."""
    facts = read_facts(folder)
    if facts.get("networks") and not (folder / SINGLE_FILE).is_file():
        raise UserError(
            "{folder} holds exported networks alone, without the weights that torch reads",
            folder,
            allowed="prediction and evaluation",
            hint="use the model that it was exported from",
        )
    config = from_mapping(EncoderConfig, facts["encoder"], where=str(folder / FACTS))
    task, tensors = facts.get("task"), read_tensors(folder, device)
    if facts["layout"] != "unmask":
        tensors = from_public(tensors, config, answers="has_unanswerable" in (task or {}))
    reading, lineage, checksum = facts.get("reading") or {}, facts.get("lineage", []), facts["sha256"].get(SINGLE_FILE)
    return Bundle(folder, config, Tokenizer.from_pretrained(folder), tensors, task, reading, lineage, checksum)


def write(
    folder: Path,
    config: EncoderConfig,
    modules: Mapping[str, nn.Module],
    tokenizer: Tokenizer,
    lineage: list[dict[str, Any]],
    task: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder. modules: encoder and heads, by the prefix of their names; the others: as in `Bundle`."""
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    write_bundle(Bundle(folder, config, tokenizer, tensors, task, reading or {}, lineage))


def write_bundle(bundle: Bundle) -> None:
    """Write a model into its folder atomically: the old one or the new one is there, never a part of it."""
    public = not why_not_public(bundle.config, bundle.tokenizer)
    with files.atomic(bundle.folder) as temporary:
        temporary.mkdir()
        _write_files(temporary, bundle, *_architecture(bundle))
        sums = {name: files.sha256(temporary / name) for name in VERIFIED}
        facts = {
            "format": FORMAT,
            "unmask": __version__,
            "layout": bundle.config.family if public else "unmask",
            "encoder": dump(bundle.config),
            "task": bundle.task,
            **({"reading": bundle.reading} if bundle.reading else {}),
            "lineage": bundle.lineage,
            "sha256": sums,
        }
        files.write_json(temporary / "unmask.json", facts)
        card = model_card(describe(replace(bundle, folder=temporary, checksum=sums[SINGLE_FILE])))
        files.write_text(temporary / "README.md", card)


def export(bundle: Bundle, folder: Path, sentences: bool = False) -> str:
    """Write a model as other libraries read it, with nothing of ours; return the name of the class that it is of.

    sentences: as sentence-transformers reads it. Raises UserError where the public layouts cannot say what it computes.
    """
    lacking, task = why_not_public(bundle.config, bundle.tokenizer), bundle.task or {}
    if sentences and not fits_sentence_transformers(task):  # only embed with pooling mean, cls or max
        lacking.append(f"task {task.get('name')} with pooling {task.get('pooling')} in sentence-transformers")
    if lacking:
        raise UserError(f"{bundle.folder} cannot be written for other libraries", given=", ".join(lacking))
    architecture, labels = _architecture(bundle)
    if architecture is None and bundle.task is not None:  # a head that no other library has
        shared = {name: t for name, t in bundle.tensors.items() if name.startswith(("encoder.", "pooler."))}
        bundle = replace(bundle, tensors=shared)
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        _write_files(temporary, bundle, architecture, labels)
        return str(files.read_json(temporary / "config.json")["architectures"][0])


def _architecture(bundle: Bundle) -> tuple[str | None, list[str]]:
    """BERT's class that computes the same as the head, if there is one, and what its outputs are called."""
    if bundle.task is not None:
        task = restore(bundle.task, bundle.tokenizer, str(bundle.folder))
        return head_class(task).public_architecture(task, bundle.config.family)
    # a head of a public checkpoint that no task of ours is for
    newest: dict[str, Any] = next((entry for entry in reversed(bundle.lineage) if entry.get("kind") != "grow"), {})
    kind = str(newest.get("architecture") or "").partition("For")[2]
    return (f"BertFor{kind}" if newest.get("kind") == "public" and kind else None), []


def _write_files(folder: Path, bundle: Bundle, architecture: str | None, labels: Sequence[str]) -> None:
    """Write weights, configuration and tokenizer in the layout of the family where that can express them, and under
    our own names elsewhere."""
    config, tokenizer, tensors, task = bundle.config, bundle.tokenizer, dict(bundle.tensors), bundle.task or {}
    family = FAMILIES[config.family]
    settings: dict[str, Any] = {"model_type": "unmask", **dump(config)}
    if public := not why_not_public(config, tokenizer):
        name = architecture or ("BertForMaskedLM" if bundle.has_head("masked") else "BertModel")
        settings = config_json(config, name.replace("Bert", family.classes, 1), tokenizer)
        if len(family.head.poolings) > 1 and task.get("pooling") in family.head.poolings:
            settings["classifier_pooling"] = task["pooling"]
        if architecture is not None and task.get("name") in PROBLEMS:
            settings["problem_type"] = PROBLEMS[task["name"]]
        if task.get("activation"):
            settings["sentence_transformers"] = {"activation_fn": SIGMOID}
        if labels:
            settings["id2label"] = dict(enumerate(labels))
            settings["label2id"] = {label: number for number, label in enumerate(labels)}
        tensors = to_public(tensors, config)
    save_tensors(tensors, folder / SINGLE_FILE, {"format": "pt"})
    tokenizer.save_pretrained(folder, config.max_position_embeddings)
    files.write_json(folder / "config.json", settings)
    if public and fits_sentence_transformers(task):
        write_sentence(folder, task, config.hidden_size, tokenizer.lowercase)
