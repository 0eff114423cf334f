"""The public layouts of encoders, by the tables of the families: what config.json says, and the names of parameters.

Sinusoidal positions are written as the table that BERT would have learnt.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask.config import dump, from_mapping
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.families.family import MAX_SIZE, read_integer
from unmask.model.positions import POSITION_SCALE, sinusoidal_table
from unmask.text.tokenizer import Tokenizer

LONGEST = 1 << 20  # positions; a table for more would be a mistake or an attack
ACTIVATIONS = {  # of other libraries: several names for one formula
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_ALLOWED: dict[str, tuple[Any, ...]] = {  # where a config.json has these keys
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "is_encoder_decoder": (False, None),
    "quantization_config": (None,),
    "pruned_heads": ({}, None),
}
_WHY_NOT = {
    "is_decoder": "a decoder reads to the left only; a model that was trained as an encoder has false",
    "quantization_config": "save the model without quantisation, in float32, float16 or bfloat16",
    "pruned_heads": "layers with different numbers of heads are not read: use the model before pruning",
}
_POSITIONS = "encoder.embeddings.position.weight"


def why_not_public(config: EncoderConfig, tokenizer: Tokenizer) -> list[str]:
    """List what the layout of the family cannot express, as settings with their values."""
    wrong = FAMILIES[config.family].why_not(config)
    if not wrong and config.position_offset not in (0, tokenizer.pad_token_id + 1):
        # elsewhere, positions are counted from the id of the padding
        wrong = [f"position_offset {config.position_offset}"]
    return wrong


def encoder_config(public: Mapping[str, Any], where: Path) -> EncoderConfig:
    """Read the architecture that a config.json describes. Raises UserError for what is missing, absurd or unknown."""
    families = {model_type: family for family in FAMILIES.values() for model_type in family.model_types}
    model_type = str(public.get("model_type"))
    if model_type not in families:
        raise UserError(
            f"{where}: this kind of model cannot be read",
            given=f"model_type {model_type}",
            allowed=", ".join(sorted(families)),
        )
    family = families[model_type]
    activation = family.options["hidden_act"][0]
    constants = {name: (value,) for name, value in family.constants.items()}
    for name, allowed in {**_ALLOWED, **constants, activation: tuple(ACTIVATIONS)}.items():
        if name in public and public[name] not in allowed:
            names = " or ".join(str(value) for value in allowed if value not in (None, {})) or "no such key"
            hint = _WHY_NOT.get(name)
            raise UserError("{where}: {key} cannot be used", where, name, given=public[name], allowed=names, hint=hint)
    values = family.defaults
    for ours, theirs in family.sizes.items():
        most = LONGEST if ours == "max_position_embeddings" else MAX_SIZE
        values[ours] = read_integer(public, theirs, where, low=1, high=most)
    values |= {ours: public[theirs] for ours, (theirs, _) in family.options.items() if theirs in public}
    values["hidden_act"] = ACTIVATIONS.get(values["hidden_act"], values["hidden_act"])
    if values.get("embedding_size") == values["hidden_size"] and "embedding_size" not in family.never_none:
        values["embedding_size"] = None  # ELECTRA has a projection only where the sizes differ
    return from_mapping(EncoderConfig, {**values, **family.read(public, values, where)}, str(where))


def config_json(config: EncoderConfig, architecture: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """Describe an encoder as the config.json of its family does."""
    family = FAMILIES[config.family]
    pad, cls, sep = tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = {"pad": pad, "cls": cls, "sep": sep, "bos": cls, "eos": sep}
    values = {
        **dump(config),
        "intermediate_size": config.resolved_intermediate_size,
        "hidden_act": "gelu_new" if config.hidden_act == "gelu_tanh" else config.hidden_act,
        "max_position_embeddings": config.max_position_embeddings + config.position_offset,
        "embedding_size": config.resolved_embedding_size,
    }
    return {
        "architectures": [architecture],
        "model_type": family.model_types[0],
        **{theirs: values[ours] for ours, theirs in family.sizes.items()},
        **{theirs: values[ours] for ours, (theirs, _) in family.options.items()},
        **family.write(config),
        **family.constants,
        **{f"{name}_token_id": ids[name] for name in family.special_tokens},
    }


def to_public(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename our tensors to the layout of the family. Names that are not in its tables stay."""
    result, left = {}, dict(tensors)
    if config.position_embedding_type == "sinusoidal":
        table = sinusoidal_table(config.max_position_embeddings, config.resolved_embedding_size)
        left[_POSITIONS] = table * POSITION_SCALE
    for ours, public in FAMILIES[config.family].parameter_names(tensors, config.num_blocks, public=False):
        if ours in left:
            parts = left.pop(ours).chunk(len(public))
            result.update({name: part.contiguous() for name, part in zip(public, parts, strict=True)})
    return result | left


def from_public(tensors: Mapping[str, Tensor], config: EncoderConfig, *, answers: bool = False) -> dict[str, Tensor]:
    """Invert `to_public` exactly. answers: the head is for answers, whatever the layout calls it."""
    result, left = {}, dict(tensors)
    for ours, public in FAMILIES[config.family].parameter_names(tensors, config.num_blocks, public=True):
        if all(name in left for name in public):
            parts = [left.pop(name) for name in public]
            name = ours.replace("classifier.", "qa_outputs.") if answers else ours
            result[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if config.position_embedding_type == "sinusoidal":
        result.pop(_POSITIONS)
    return result | left
