"""Checkpoints of other libraries: a folder in a public layout as a Bundle."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console, files
from unmask.bundle.bundle import Bundle
from unmask.bundle.layout import encoder_config, from_public
from unmask.bundle.sentence_transformers import embed_task, read_sentence
from unmask.bundle.weights import check_numbers, list_some, read_tensors
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.families.family import Family
from unmask.text.tokenizer import Tokenizer

PROBLEMS = {  # what other libraries call the tasks on whole texts
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}
_OUTPUTS = {"classify": (2, math.inf), "multilabel": (1, math.inf), "regress": (1, 1)}  # at least and at most
_OLDER_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))  # of the parameters of LayerNorm


def read_public(folder: Path, origin: Mapping[str, Any], allow_unused: bool, device: str) -> Bundle:
    """Open a public checkpoint. origin: what its lineage says of its source; device: meta for shapes alone.

    Raises UserError for what is missing, damaged or of no layout here, and for weights that would not be used, unless
    they are allowed.
    """
    sentence = read_sentence(folder)
    inside = folder / sentence.pop("path", "")
    where = inside / "config.json"
    public = files.read_json(where) if where.is_file() else None
    if not isinstance(public, dict):
        raise UserError("{folder} is not a model", folder, allowed=f"a JSON object in {where}")
    config = encoder_config(public, where)
    tokenizer = Tokenizer.from_pretrained(inside)
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer in {inside} does not match the weights: it has more tokens than there are embeddings",
            given=f"{tokenizer.vocab_size:,} tokens, {config.vocab_size:,} embeddings",
        )
    names = public.get("architectures") or [""]
    architecture = str(names[0]) if isinstance(names, list) else ""
    tensors = _tensors(inside, config, architecture, allow_unused, device)
    task = _task(public, architecture, tensors, config, where) or embed_task(sentence, config.max_position_embeddings)
    lineage = {"kind": "public", **origin, "model_type": public["model_type"], "architecture": architecture or None}
    bundle = Bundle(inside, config, tokenizer, tensors, task, lineage=[lineage])
    with torch.device("meta"):
        encoder = Encoder(config)
    bundle.load_into(encoder, "encoder", assign=True)  # whether all weights are there, with their sizes
    return bundle


def _tensors(
    folder: Path, config: EncoderConfig, architecture: str, allow_unused: bool, device: str
) -> dict[str, Tensor]:
    """The weights by our names, all of them finite."""
    family = FAMILIES[config.family]
    public = _by_public_names(read_tensors(folder, device), family, folder)
    if device != "meta":
        check_numbers(public, folder)
    tensors = from_public(public, config, answers=architecture.endswith("ForQuestionAnswering"))
    if not config.type_vocab_size:
        tensors.pop("encoder.embeddings.segment.weight", None)
    ours = {name.partition(".")[0] for name in (*family.names, *family.sequence_names, *family.other_names)}
    unused = {name for name in tensors if name.partition(".")[0] not in ours}
    if unused and not allow_unused:
        raise UserError(
            f"{folder} contains weights that unmask would ignore, so the model would compute something else",
            given=list_some(unused),
            hint="--allow-unused (allow_unused=True) to leave them out all the same",
        )
    if unused:
        console.note("weights that are not used: {unused}", list_some(unused))
    return {name: tensor for name, tensor in tensors.items() if name not in unused}


def _by_public_names(tensors: dict[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """The weights under the names of the family's table: older names made new, copies and counters left out."""
    for old, new in _OLDER_NAMES:
        tensors = {name.removesuffix(old) + new if name.endswith(old) else name: t for name, t in tensors.items()}
    counters = (".position_ids", ".token_type_ids")
    tensors = {name: t for name, t in tensors.items() if not name.endswith(counters) or t.is_floating_point()}
    prefix = f"{family.prefix}."
    if not any(name.startswith(prefix) for name in tensors):  # of the encoder alone
        rows = family.parameter_names((), 1, public=True)
        parts = {name.split(".")[1] for _, names in rows for name in names if name.startswith(prefix)}
        tensors = {prefix + name if name.partition(".")[0] in parts else name: t for name, t in tensors.items()}
    bias = str({**family.names, **family.sequence_names}["masked.bias"])
    if (copy := f"{family.decoder}.bias") in tensors:
        tensors.setdefault(bias, tensors.pop(copy))
    table = tensors.get(str(family.names["encoder.embeddings.token.weight"]))
    if (name := f"{family.decoder}.weight") in tensors and table is not None:
        again = tensors.pop(name)
        if again.shape != table.shape or not (again.is_meta or torch.equal(again, table)):
            raise UserError(
                f"{folder}: the masked-LM head has its own matrix, but unmask shares the embeddings",
                given=name,
            )
    return tensors


def _task(
    public: Mapping[str, Any],
    architecture: str,
    tensors: dict[str, Tensor],
    config: EncoderConfig,
    where: Path,
) -> dict[str, Any] | None:
    """The schema of the task that a head was trained for, as our own bundles have it; None where there is none."""
    kind = architecture.partition("For")[2]
    heads = {"SequenceClassification": "classifier.weight", "TokenClassification": "classifier.weight"}
    if not FAMILIES[config.family].head.use_before_tagging:  # a head for answers with one layer more is not read
        heads["QuestionAnswering"] = "qa_outputs.weight"
    if kind not in heads:
        return None
    if heads[kind] not in tensors:
        console.note("{where} names a head ({architecture}) without weights: head ignored", where, architecture)
        return None
    length = min(config.max_position_embeddings, 512)
    if kind == "QuestionAnswering":  # nothing says whether it learnt that there may be no answer
        return {"name": "answer", "max_length": min(length, 384), "labels": [], "has_unanswerable": False}
    labels = _labels(public, tensors[heads[kind]].shape[0], where)
    if kind == "TokenClassification":
        return _tagging(labels, tensors, length)
    problem = public.get("problem_type") or PROBLEMS["classify"]
    name = {its: name for name, its in PROBLEMS.items()}.get(problem)
    least, most = _OUTPUTS.get(name or "", (0, -1))
    if not least <= len(labels) <= most:
        return None
    pooling = public.get("classifier_pooling", "cls")
    return {"name": name, "max_length": length, "pooling": pooling, "labels": [] if most == 1 else labels}


def _labels(public: Mapping[str, Any], count: int, where: Path) -> list[str]:
    """The names of the outputs, in order."""
    given = public.get("id2label") or {number: f"LABEL_{number}" for number in range(count)}
    numbers = {str(number) for number in range(count)}
    if not isinstance(given, dict) or set(map(str, given)) != numbers or len(set(map(str, given.values()))) < count:
        raise UserError(f"{where}: id2label does not fit the head", given=given, allowed=f"{count:,} different labels")
    return [str(label) for _, label in sorted(given.items(), key=lambda item: int(item[0]))]


def _tagging(names: Sequence[str], tensors: dict[str, Tensor], length: int) -> dict[str, Any] | None:
    """Tags of the scheme BIO, in the order in which our head has them: its rows are put into that order."""
    labels = list(dict.fromkeys(name[2:] for name in names if name[:2] in ("B-", "I-")))
    ours = ["O", *(f"{letter}-{label}" for label in labels for letter in "BI")]
    if sorted(ours) != sorted(names):
        console.note("head ignored, because its tags are not in BIO: {names}", list_some(names))
        return None
    order = torch.tensor([names.index(name) for name in ours])
    for kind in ("weight", "bias"):
        tensors[f"classifier.{kind}"] = tensors[f"classifier.{kind}"][order]
    return {"name": "tag", "max_length": length, "decoder": "softmax", "labels": labels, "scheme": "BIO"}
