"""Checkpoints of other libraries: a folder in a public layout as a Bundle."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console, files
from unmask.bundle.bundle import Bundle
from unmask.bundle.foreign import ADAPTER, not_a_model
from unmask.bundle.layout import encoder_config, from_public
from unmask.bundle.names import by_family_names, check_encoder, family_of, layer_count
from unmask.bundle.sentence_transformers import embed_task, read_sentence
from unmask.bundle.weights import check_numbers, has_weights, list_some, read_tensors
from unmask.errors import UserError
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.families.family import Family
from unmask.text.public.vocabulary import place_of
from unmask.text.tokenizer import Tokenizer

PROBLEMS = {  # what other libraries call the tasks on whole texts
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}
_OUTPUTS = {"classify": (2, math.inf), "multilabel": (1, math.inf), "regress": (1, 1)}  # at least and at most


def read_public(folder: Path, origin: Mapping[str, Any], allow_unused: bool, device: str) -> Bundle:
    """Open a public checkpoint. origin: what its lineage says of its source; device: meta for shapes alone.

    Raises UserError for what is missing, damaged or of no layout here, and for weights that would not be used, unless
    they are allowed.
    """
    sentence = read_sentence(folder)
    inside = folder / sentence.pop("path", "")
    where = inside / "config.json"
    if not where.is_file() or not has_weights(inside):
        raise not_a_model(inside)
    if (inside / ADAPTER).is_file():
        console.note("{path} is not used: the weights beside it are read as they are", inside / ADAPTER)
    public = _with_model_type(files.read_object(where), where)
    config = encoder_config(public, where)
    if "auto_map" in public:
        console.note("{where}: code of its own (auto_map) is not run", where)
    tokenizer = Tokenizer.from_pretrained(inside)
    if tokenizer.vocab_size > config.vocab_size:
        first = tokenizer.tokens[config.vocab_size]
        text = "the first without an embedding: {token} ({place})"
        raise UserError(
            "the tokenizer in {folder} does not match the weights: it has more tokens than there are embeddings",
            inside,
            given=[
                message("{tokens:,} tokens, {count:,} embeddings", tokenizer.vocab_size, config.vocab_size),
                message(text, first, place_of(inside, config.vocab_size)),
            ],
            hint="use the tokenizer of this model, or the weights that were trained with this one",
        )
    names = public.get("architectures") or [""]
    architecture = str(names[0]) if isinstance(names, list) else ""
    tensors = _tensors(public, config, architecture, allow_unused, device, where)
    task = _task(public, architecture, tensors, config, where) or embed_task(sentence, config.max_position_embeddings)
    lineage = {"kind": "public", **origin, "model_type": public["model_type"], "architecture": architecture or None}
    return Bundle(inside, config, tokenizer, tensors, task, lineage=[lineage])


def _with_model_type(public: dict[str, Any], where: Path) -> dict[str, Any]:
    """The content of a config.json; where older ones have no model_type, with that of the names of its weights."""
    if public.get("model_type") is not None:
        return public
    if (family := family_of(read_tensors(where.parent, "meta"))) is None:
        types = sorted(model_type for family in FAMILIES.values() for model_type in family.model_types)
        raise UserError(
            "{where} has no model_type, and no names of weights that tell it", where, allowed=", ".join(types)
        )
    model_type = family.model_types[0]
    console.note("{where} has no model_type: read as {model_type}, as the weights are named", where, model_type)
    return {**public, "model_type": model_type}


def _tensors(
    public: Mapping[str, Any], config: EncoderConfig, architecture: str, allow_unused: bool, device: str, where: Path
) -> dict[str, Tensor]:
    """The weights by our names, all of them finite. public, where: the content of the config.json and its path."""
    folder, family = where.parent, FAMILIES[config.family]
    weights = by_family_names(read_tensors(folder, device), config, where)
    check_encoder(weights, config, public, where)
    tensors = _by_public_names(weights.tensors, family, folder)
    if device != "meta":
        check_numbers({weights.file_names.get(name, name): tensor for name, tensor in tensors.items()}, folder)
    tensors = from_public(tensors, config, answers=architecture.endswith("ForQuestionAnswering"))
    if not config.type_vocab_size:
        tensors.pop("encoder.embeddings.segment.weight", None)
    ours = {name.partition(".")[0] for name in (*family.names, *family.sequence_names, *family.other_names)}
    unused = {name for name in tensors if name.partition(".")[0] not in ours}
    left_out = [*(weights.file_names.get(name, name) for name in unused), *weights.outside]
    if left_out and not allow_unused:
        key, layers = layer_count(weights.tensors, family)
        more = message("{count} layers, but {key}: {number} in config.json", layers, key, config.num_blocks)
        raise UserError(
            "{folder} contains weights that unmask would ignore, so the model would compute something else",
            folder,
            given=[list_some(left_out), more if layers > config.num_blocks else None],
            hint="--allow-unused (allow_unused=True, transfer.allow_unused=true) to leave them out all the same",
        )
    if left_out:
        console.note("{count:,} weights that are not used: {unused}", len(left_out), list_some(left_out))
    return {name: tensor for name, tensor in tensors.items() if name not in unused}


def _by_public_names(tensors: dict[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """The weights without what is in the file twice. tensors: by the names of the family's table."""
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
