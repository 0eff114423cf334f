"""config.json: what it says of an encoder in the public layouts, read and written by the tables of the families."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.config import dump, from_mapping
from unmask.errors import UserError, did_you_mean, suggest
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES, Family, family_of_type
from unmask.text.tokenizer import Tokenizer

LONGEST = 1 << 20  # positions; a table for more would be a mistake or an attack
MAX_SIZE = 1 << 24  # tokens, and any size

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
_WRITTEN_ACTIVATIONS = {"gelu_tanh": "gelu_new"}


def family_of(public: Mapping[str, Any], where: Path) -> Family:
    """Look up the family that a config.json is of. Raises UserError for others."""
    model_type = str(public.get("model_type"))
    family = family_of_type(model_type)
    if family is None:
        known = sorted(name for family in FAMILIES.values() for name in family.model_types)
        raise UserError(
            f"{where}: this kind of model cannot be read",
            given=f"model_type {model_type}",
            allowed=", ".join(known),
            hint=did_you_mean(suggest(model_type, known)),
        )
    return family


def encoder_config(public: Mapping[str, Any], where: Path) -> EncoderConfig:
    """Read the architecture that a config.json describes. Raises UserError for what is missing, absurd or unknown."""
    family = family_of(public, where)
    missing = [theirs for theirs in family.sizes.values() if public.get(theirs) is None]
    if missing:
        raise UserError(f"{where} does not say how large the model is", given=f"missing: {', '.join(missing)}")
    for name, allowed in {**family.allowed, **{name: (value,) for name, value in family.constants.items()}}.items():
        if name in public and public[name] not in allowed:
            raise UserError(
                f"{where}: {name} cannot be used", given=public[name], allowed=" or ".join(map(str, allowed))
            )
    values = family.defaults
    for ours, theirs in family.sizes.items():
        values[ours] = public[theirs]
        most = LONGEST if ours == "max_position_embeddings" else MAX_SIZE
        if type(values[ours]) is not int or not 1 <= values[ours] <= most:
            raise UserError(
                f"{where}: {theirs} cannot be used", given=values[ours], allowed=f"a whole number, 1 to {most:,}"
            )
    values |= {ours: public[theirs] for ours, (theirs, _) in family.options.items() if theirs in public}
    if (activation := family.options["hidden_act"][0]) in public:
        if public[activation] not in ACTIVATIONS:
            raise UserError(
                f"{where}: the activation is not known", given=public[activation], allowed=", ".join(ACTIVATIONS)
            )
        values["hidden_act"] = ACTIVATIONS[public[activation]]
    return from_mapping(EncoderConfig, {**values, **family.read(public, values, where)}, str(where))


def config_json(config: EncoderConfig, family: Family, architecture: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """Describe an encoder as the config.json of its family does."""
    pad, cls, sep = tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = {"pad": pad, "cls": cls, "sep": sep, "bos": cls, "eos": sep}
    values = {
        **dump(config),
        "intermediate_size": config.resolved_intermediate_size,
        "hidden_act": _WRITTEN_ACTIVATIONS.get(config.hidden_act, config.hidden_act),
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
