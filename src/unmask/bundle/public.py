"""Checkpoints of other libraries: a folder in a public layout as a Bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console, files
from unmask.bundle.bundle import Bundle
from unmask.bundle.layout import encoder_config, from_public
from unmask.bundle.public_heads import head_schema
from unmask.bundle.sentence_transformers import embed_task, read_sentence
from unmask.bundle.weights import check_numbers, list_some, read_tensors
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.families.family import Family
from unmask.text.tokenizer import Tokenizer

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
    if sentence.get("lowercase"):
        tokenizer = tokenizer.lowercased()
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer in {inside} does not match the weights: it has more tokens than there are embeddings",
            given=f"{tokenizer.vocab_size:,} tokens, {config.vocab_size:,} embeddings",
        )
    names = public.get("architectures") or [""]
    architecture = str(names[0]) if isinstance(names, list) else ""
    tensors = _tensors(inside, config, architecture, allow_unused, device)
    task = head_schema(public, architecture, tensors, config, where) or embed_task(
        sentence, config.max_position_embeddings
    )
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
    return _without_copies(tensors, family, folder)


def _without_copies(tensors: dict[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """Without what weights say a second time, and without heads that are not read: a masked-LM head whose matrix is not
    that of the embeddings, and what stands beside a classifier under the names of its layers, or in their place."""
    masked = {name: str(theirs) for name, theirs in {**family.names, **family.sequence_names}.items()}
    bias, pooler = masked["masked.bias"], f"{family.other_names.get('pooler')}."
    if (copy := f"{family.decoder}.bias") != bias and copy in tensors:
        again, first = tensors.pop(copy), tensors.get(bias)
        if first is not None and not (
            again.is_meta or torch.equal(again, first)
        ):  # transformers computes with the copy
            console.note("{folder}: {copy} is read, not {name}, which differs", folder, copy, bias)
        tensors[bias] = again
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
            console.note("weights that are not used: {unused}", list_some(unused))
        dropped += unused
    return {name: tensor for name, tensor in tensors.items() if name not in dropped}
