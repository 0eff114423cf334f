"""Our model folder: weights, configuration and tokenizer in a public layout, and what that layout cannot say.

model.safetensors, config.json, tokenizer.json, vocab.txt, tokenizer_config.json   as other libraries read them
unmask.json                                                                        ours: task, lineage, checksums
README.md                                                                          the model card, made of the others
modules.json, 1_Pooling/, ...                  of a model for vectors of texts: as sentence-transformers reads it

An encoder is written in the layout of its family (model/families.py), a sinusoid as the table that BERT would have
learnt. What that layout cannot express (pre-norm in BERT's, ...) is written under our own names, and `model_type` says
so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask import files
from unmask.bundle.layout import config_json
from unmask.bundle.sentence_transformers import describe_modules, write_sentence
from unmask.bundle.weights import SINGLE_FILE, read_tensors, save_tensors, weights_file
from unmask.config import changed, dump, from_mapping
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES, Family
from unmask.model.names import from_public, to_public
from unmask.text.tokenizer import Tokenizer

FORMAT = 2  # of unmask.json
PROBLEMS = {  # what other libraries call the tasks on whole texts
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}


@dataclass(frozen=True)
class Bundle:
    """What a model folder holds. tensors: by our names, `encoder.` and one prefix per head."""

    folder: Path
    config: EncoderConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def task(self) -> Mapping[str, Any] | None:
        """The label schema and settings of the task it was fine-tuned for, or None."""
        return self.facts.get("task")

    @property
    def reading(self) -> Mapping[str, Any]:
        """How the rows were read that it was trained on, and whether they are `pairs`."""
        return self.facts.get("reading") or {}

    @cached_property
    def sha256(self) -> str:
        """The checksum of the weights: of the file that holds them, or that says which do."""
        known = self.facts.get("sha256", {}).get(SINGLE_FILE)
        if known is not None:
            return str(known)
        return files.sha256(weights_file(self.folder))

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """How it came about, oldest first."""
        return list(self.facts.get("lineage", []))

    def has_head(self, head: str) -> bool:
        return any(name.startswith(f"{head}.") for name in self.tensors)

    def encoder(self, dropout: float | None = None, *, shared: bool = False) -> Encoder:
        """The encoder with its weights; `dropout` replaces the configured rate.

        shared: it computes with the very tensors of this bundle, which takes no memory; not for training.
        """
        with torch.device("meta"):  # initial weights would be drawn for nothing
            encoder = Encoder(self.config if dropout is None else changed(self.config, dropout=dropout))
        self.load_into(encoder, "encoder", assign=True, copy=not shared)
        return encoder

    def load_into(self, module: nn.Module, prefix: str, *, assign: bool = False, copy: bool = False) -> None:
        """Copy the weights below `prefix.` into a module; every one must be there, with its shape.

        assign: put them in the place of the module's own, as they are or as copies.
        """
        own = {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }
        if assign:  # half precision is for storage: on a CPU nothing computes in it
            own = {
                name: tensor.clone() if copy and tensor.dtype == torch.float32 else tensor.float()
                for name, tensor in own.items()
            }
        try:
            module.load_state_dict(own, assign=assign)
        except RuntimeError as error:
            raise UserError(f"the weights in {self.folder} do not fit its configuration", given=error) from None


def read_own(folder: Path, device: str = "cpu") -> Bundle:
    """Open a folder that `write` wrote; device: meta for shapes alone. Raises UserError where it is damaged, or was
    written by another version."""
    facts = files.read_json(folder / "unmask.json")
    if facts.get("format") == 1:
        raise UserError(
            f"{folder} was written by unmask 0.1.0, whose models this version does not read",
            given=f"unmask {facts.get('unmask')}",
            hint="train it again, or export it with unmask 0.1.0 (unmask export) and use what that writes",
        )
    if facts.get("format") != FORMAT:
        raise UserError(f"{folder} has another format", given=facts.get("format"), allowed=FORMAT)
    config = from_mapping(EncoderConfig, facts["encoder"], where=str(folder / "unmask.json"))
    for name, digest in facts["sha256"].items():
        path = folder / Path(name).name
        if not path.is_file() or files.sha256(path) != digest:
            raise UserError(
                f"{path} is missing, cut short or changed", hint="copy the whole folder again, or train again"
            )
    tensors = read_tensors(folder, device)
    if facts["layout"] != "unmask":
        tensors = from_public(tensors, config, answers="has_unanswerable" in (facts.get("task") or {}))
    return Bundle(folder, config, Tokenizer.from_pretrained(folder), tensors, facts)


def public_family(config: EncoderConfig, tokenizer: Tokenizer) -> Family | None:
    """The family in whose layout an encoder with this tokenizer is written; None: under our own names."""
    return None if why_not_public(config, tokenizer) else FAMILIES[config.family]


def why_not_public(config: EncoderConfig, tokenizer: Tokenizer) -> list[str]:
    """List what the layout of the family cannot express, as settings with their values."""
    found = FAMILIES[config.family].why_not(config)
    if not found and config.position_offset not in (0, tokenizer.pad_token_id + 1):
        # elsewhere, positions are counted from the id of the padding
        found = [f"position_offset {config.position_offset}"]
    return found


def write_public(folder: Path, bundle: Bundle, architecture: str | None = None, labels: Sequence[str] = ()) -> None:
    """Write weights, configuration and tokenizer as other libraries read them where the layout of the family can
    express them, and under our own names elsewhere.

    architecture: BERT's class that computes the same, if the head has one; labels: of its outputs.
    """
    config, tokenizer, tensors, task = bundle.config, bundle.tokenizer, dict(bundle.tensors), bundle.task or {}
    family = public_family(config, tokenizer)
    settings: dict[str, Any] = {"model_type": "unmask", **dump(config)}
    if family is not None:
        problem = PROBLEMS.get(task.get("name", "")) if architecture is not None else None
        name = architecture or ("BertForMaskedLM" if bundle.has_head("masked") else "BertModel")
        settings = config_json(config, family, name.replace("Bert", family.classes, 1), tokenizer)
        if len(family.head.poolings) > 1 and task.get("pooling") in family.head.poolings:
            settings["classifier_pooling"] = task["pooling"]
        if problem is not None:
            settings["problem_type"] = problem
        if labels:
            settings["id2label"] = dict(enumerate(labels))
            settings["label2id"] = {label: number for number, label in enumerate(labels)}
        tensors = to_public(tensors, config)
    save_tensors(tensors, folder / SINGLE_FILE, {"format": "pt"})
    tokenizer.save_pretrained(folder, config.max_position_embeddings)
    files.write_json(folder / "config.json", settings)
    if family is not None and describe_modules(task):
        write_sentence(folder, task, config.hidden_size)
