"""Checkpoints of other libraries: a folder in a public layout as a Bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console, files
from unmask.advice import advise, flag
from unmask.bundle.bundle import Bundle
from unmask.bundle.foreign import ADAPTER, not_a_model
from unmask.bundle.layout import encoder_config, from_public
from unmask.bundle.names import by_family_names, check_encoder, family_of, layer_count
from unmask.bundle.public_heads import head_schema
from unmask.bundle.sentence_transformers import SETTINGS, embed_task, read_sentence
from unmask.bundle.weights import check_numbers, has_weights, list_some, read_tensors
from unmask.errors import UserError
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.families.family import Family
from unmask.text.public.vocabulary import place_of
from unmask.text.tokenizer import Tokenizer


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
    try:
        config = encoder_config(public, where)
    except UserError:
        _check_model_type(str(public["model_type"]), where)  # of another family its keys are missing
        raise
    if "auto_map" in public:
        console.note("{where}: code of its own (auto_map) is not run", where)
    tokenizer = Tokenizer.from_pretrained(inside)
    if sentence.get("lowercase"):
        tokenizer = tokenizer.lowercased()
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
    task = head_schema(public, architecture, tensors, config, where) or embed_task(
        sentence, config.max_position_embeddings
    )
    if prompt := sentence.get("prompt"):
        console.note(
            "{path}: {prompt!r} is put before each text"
            if task and "normalize_embeddings" in task
            else "{path}: {prompt!r} is put before texts for vectors alone: with this head, write it in them",
            folder / SETTINGS,
            prompt,
        )
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


def _check_model_type(model_type: str, where: Path) -> None:
    """Raises UserError where the weights are named as those of another family."""
    family = family_of(read_tensors(where.parent, "meta"))
    known = any(model_type in one.model_types for one in FAMILIES.values())
    if family is not None and known and model_type not in family.model_types:
        raise UserError(
            "{where}: its model_type does not fit the names of the weights",
            where,
            given=f"model_type {model_type}",
            hint=message("model_type in config.json: {types}", " / ".join(family.model_types)),
        )


def _tensors(
    public: Mapping[str, Any], config: EncoderConfig, architecture: str, allow_unused: bool, device: str, where: Path
) -> dict[str, Tensor]:
    """The weights by our names, all of them finite. public, where: the content of the config.json and its path."""
    folder, family = where.parent, FAMILIES[config.family]
    weights = by_family_names(read_tensors(folder, device), config, where)
    check_encoder(weights, config, public, where)
    tensors = _without_copies(weights.tensors, family, folder)
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
            hint=advise("{option} to leave them out all the same", flag("allow_unused")),
        )
    if left_out:
        console.note("{count:,} weights that are not used: {unused}", len(left_out), list_some(left_out))
    return {name: tensor for name, tensor in tensors.items() if name not in unused}


def _without_copies(tensors: dict[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """The weights without what they say a second time, and without heads that are not read: a masked-LM head whose
    matrix is not that of the embeddings, and what stands beside a classifier under the names of its layers, or in their
    place. tensors: by the names of the family's table."""
    masked = {name: str(theirs) for name, theirs in {**family.names, **family.sequence_names}.items()}
    bias, pooler = masked["masked.bias"], f"{family.other_names.get('pooler')}."
    differs = False
    if (copy := f"{family.decoder}.bias") != bias and copy in tensors:
        again, first = tensors.pop(copy), tensors.get(bias)
        differs = first is not None and not (again.is_meta or torch.equal(again, first))
        tensors[bias] = again  # transformers computes with the copy
    classifies = any(f"{name}.weight" in tensors for name in ("classifier", "classifier.out_proj"))
    dropped: list[str] = []
    table = tensors.get(masked["encoder.embeddings.token.weight"])
    if (name := f"{family.decoder}.weight") in tensors and table is not None:
        again = tensors.pop(name)
        if again.shape != table.shape or not (again.is_meta or torch.equal(again, table)):
            console.note("{folder}: masked-LM head left out: it has a matrix of its own ({name})", folder, name)
            shared = classifies and "masked.bias" in family.sequence_names  # the classifier needs its other layers
            parts = [bias] if shared else [theirs for ours, theirs in masked.items() if ours.startswith("masked.")]
            dropped = [name for name in tensors if name in parts or name.rpartition(".")[0] in parts]
    if classifies and "masked.bias" in family.sequence_names and bias in tensors and not dropped:
        dropped = [bias]
        console.note("{folder}: masked-LM head left out, beside a classifier that has the same layers", folder)
    if classifies and "pooler" in family.sequence_names:
        if unused := [name for name in tensors if name.startswith(pooler)]:
            console.note("{count:,} weights that are not used: {unused}", len(unused), list_some(unused))
        dropped += unused
    if differs and bias not in dropped:
        console.note("{folder}: {copy} is read, not {name}, which differs", folder, copy, bias)
    return {name: tensor for name, tensor in tensors.items() if name not in dropped}
