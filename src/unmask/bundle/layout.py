"""config.json: what it says of an encoder in the public layouts, read and written from the same tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.config import dump, from_mapping
from unmask.errors import UserError, did_you_mean, suggest
from unmask.model.encoder import EncoderConfig
from unmask.model.families import FAMILIES, Family, FamilyName, family_of_type

LONGEST = 1 << 20  # positions; a table for more would be a mistake or an attack
MAX_SIZE = 1 << 24  # pieces, and any size


@dataclass(frozen=True)
class Keys:
    """sizes: our settings under the names of a layout, which a file must say; others: those that it may leave out;
    only: what must be so where it is said, because we have nothing else; written: what we add.
    """

    sizes: Mapping[str, str]
    others: Mapping[str, tuple[str, Any]]
    required: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)


_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
}
_OTHERS = {
    "hidden_act": ("hidden_act", "gelu"),
    "dropout": ("hidden_dropout_prob", 0.1),
    "type_vocab_size": ("type_vocab_size", 2),
    "initializer_range": ("initializer_range", 0.02),
    "norm_eps": ("layer_norm_eps", 1e-12),
}
_ONLY: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
_CLASSIC = Keys(_SIZES, _OTHERS, _ONLY)

KEYS: dict[FamilyName, Keys] = {
    "bert": _CLASSIC,
    "roberta": _CLASSIC,
    "albert": Keys(
        {**_SIZES, "embedding_size": "embedding_size"},
        {
            **_OTHERS,
            "hidden_act": ("hidden_act", "gelu_new"),
            "dropout": ("hidden_dropout_prob", 0.0),
            "num_hidden_groups": ("num_hidden_groups", 1),
        },
        {**_ONLY, "inner_group_num": (1,)},
        {"inner_group_num": 1},
    ),
    "distilbert": Keys(
        {
            "vocab_size": "vocab_size",
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "max_position_embeddings": "max_position_embeddings",
        },
        {
            "hidden_act": ("activation", "gelu"),
            "dropout": ("dropout", 0.1),
            "initializer_range": ("initializer_range", 0.02),
        },
        {},
        {"sinusoidal_pos_embds": False},
    ),
    "electra": Keys(_SIZES, {**_OTHERS, "embedding_size": ("embedding_size", 128)}, _ONLY),
    "modernbert": Keys(
        _SIZES,
        {
            "hidden_act": ("hidden_activation", "gelu"),
            "dropout": ("mlp_dropout", 0.0),
            "initializer_range": ("initializer_range", 0.02),
            "norm_eps": ("norm_eps", 1e-5),
            "norm_bias": ("norm_bias", False),
            "bias": ("attention_bias", False),
        },
        {"decoder_bias": (True,), "classifier_bias": (False,), "classifier_activation": ("gelu",)},
        {"decoder_bias": True, "classifier_bias": False, "classifier_activation": "gelu"},
    ),
}

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
    """The family that a config.json is of. Raises UserError for others."""
    known = sorted(name for family in FAMILIES.values() for name in family.model_types)
    model_type = public.get("model_type")
    family = family_of_type(str(model_type))
    if family is None:
        raise UserError(
            f"{where}: this kind of model cannot be read",
            given=f"model_type {model_type}",
            allowed=", ".join(known),
            hint=did_you_mean(suggest(str(model_type), known)),
        )
    return family


def encoder_config(public: Mapping[str, Any], where: Path) -> EncoderConfig:
    """The architecture that a config.json describes. Raises UserError for what is missing, absurd or not known here."""
    family = family_of(public, where)
    keys = KEYS[family.name]
    missing = [theirs for theirs in keys.sizes.values() if public.get(theirs) is None]
    if missing:
        raise UserError(f"{where} does not say how large the model is", given=f"missing: {', '.join(missing)}")
    for name, allowed in keys.required.items():
        if name in public and public[name] not in allowed:
            raise UserError(
                f"{where}: {name} cannot be used", given=public[name], allowed=" or ".join(map(str, allowed))
            )
    values = {ours: public[theirs] for ours, theirs in keys.sizes.items()}
    values |= {ours: public.get(theirs, default) for ours, (theirs, default) in keys.others.items()}
    for ours, theirs in keys.sizes.items():
        most = LONGEST if ours == "max_position_embeddings" else MAX_SIZE
        if type(values[ours]) is not int or not 1 <= values[ours] <= most:
            raise UserError(
                f"{where}: {theirs} cannot be used", given=values[ours], allowed=f"a whole number, 1 to {most:,}"
            )
    if values["hidden_act"] not in ACTIVATIONS:
        raise UserError(
            f"{where}: the activation is not known", given=values["hidden_act"], allowed=", ".join(ACTIVATIONS)
        )
    values["hidden_act"] = ACTIVATIONS[values["hidden_act"]]
    values |= {"family": family.name, "position_embedding_type": "learned"}
    special = _SPECIAL.get(family.name)
    if special is not None:
        values |= special(public, values, where)
    return from_mapping(EncoderConfig, values, str(where))


def _roberta(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Positions are counted from the one after the padding's id."""
    pad = public.get("pad_token_id", 1)
    if type(pad) is not int or not 0 <= pad < values["max_position_embeddings"] - 8:
        raise UserError(f"{where}: pad_token_id cannot be used", given=pad)
    return {"position_offset": pad + 1, "max_position_embeddings": values["max_position_embeddings"] - pad - 1}


def _distilbert(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    return {"type_vocab_size": 0, "norm_eps": 1e-12}


def _electra(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """There is a projection only where the sizes differ."""
    return {"embedding_size": None if values["embedding_size"] == values["hidden_size"] else values["embedding_size"]}


def _modernbert(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    if public.get("mlp_bias", values["bias"]) != values["bias"]:
        raise UserError(f"{where}: mlp_bias and attention_bias must be alike", given=public["mlp_bias"])
    kinds = public.get("layer_types")
    if kinds is None:
        every = public.get("global_attn_every_n_layers", 3)
        if type(every) is not int or every < 1:
            raise UserError(f"{where}: global_attn_every_n_layers cannot be used", given=every)
        pattern = ("G" + "L" * (every - 1))[: values["num_hidden_layers"]]
    else:
        letters = {"full_attention": "G", "sliding_attention": "L"}
        if (
            not isinstance(kinds, list)
            or len(kinds) != values["num_hidden_layers"]
            or not all(isinstance(kind, str) and kind in letters for kind in kinds)
        ):
            raise UserError(f"{where}: layer_types cannot be used", given=kinds, allowed=", ".join(letters))
        pattern = _shortest("".join(letters[kind] for kind in kinds))
    local = "L" in pattern
    window = public.get("local_attention", 128)
    if type(window) is not int or window < 2:
        raise UserError(f"{where}: local_attention cannot be used", given=window)
    bases = [_base(public, kind, where) for kind in ("full_attention", "sliding_attention")]
    return {
        "norm": "pre",
        "embedding_norm": True,
        "first_norm": False,
        "gated": True,
        "position_embedding_type": "rotary",
        "type_vocab_size": 0,
        "attention_pattern": pattern,
        "window": window // 2 if local else None,
        "rope_theta": bases[0],
        "local_rope_theta": bases[1] if local and bases[1] != bases[0] else None,
    }


_SPECIAL: dict[FamilyName, Callable[[Mapping[str, Any], Mapping[str, Any], Path], dict[str, Any]]] = {
    "roberta": _roberta,
    "distilbert": _distilbert,
    "electra": _electra,
    "modernbert": _modernbert,
}


def _base(public: Mapping[str, Any], kind: str, where: Path) -> float:
    """The base of rotary positions, under its newer name or its older one."""
    older, default = {
        "full_attention": ("global_rope_theta", 160_000.0),
        "sliding_attention": ("local_rope_theta", 10_000.0),
    }[kind]
    newer = (public.get("rope_parameters") or {}).get(kind) or {}
    if newer.get("rope_type", "default") != "default":
        raise UserError(f"{where}: rope_parameters cannot be used", given=newer.get("rope_type"), allowed="default")
    return float(newer.get("rope_theta") or public.get(older) or default)


def _shortest(pattern: str) -> str:
    """The shortest pattern that, repeated, begins like this one."""
    sizes = range(1, len(pattern) + 1)
    return next(pattern[:n] for n in sizes if (pattern[:n] * len(pattern))[: len(pattern)] == pattern)


def config_json(config: EncoderConfig, family: Family, architecture: str, special: Mapping[str, int]) -> dict[str, Any]:
    """The config.json of an encoder in the layout of its family. special: ids of pieces, by their public names."""
    keys = KEYS[family.name]
    values: dict[str, Any] = {**dump(config), "intermediate_size": config.resolved_intermediate_size}
    values["hidden_act"] = _WRITTEN_ACTIVATIONS.get(config.hidden_act, config.hidden_act)
    values["max_position_embeddings"] = config.max_position_embeddings + config.position_offset
    values["embedding_size"] = config.resolved_embedding_size
    values["num_hidden_groups"] = config.num_hidden_groups or config.num_hidden_layers
    written = {theirs: values[ours] for ours, theirs in keys.sizes.items()}
    written |= {theirs: values[ours] for ours, (theirs, _) in keys.others.items()}
    if "hidden_dropout_prob" in written:
        written["attention_probs_dropout_prob"] = config.dropout
    if family.name == "modernbert":
        written |= _modern_json(config)
    return {
        "architectures": [architecture],
        "model_type": family.model_types[0],
        **written,
        **keys.written,
        **special,
    }


def _modern_json(config: EncoderConfig) -> dict[str, Any]:
    """Under the names of transformers 5, and those of 4 that they replaced."""
    kinds = ["sliding_attention" if config.is_local(n) else "full_attention" for n in range(config.num_hidden_layers)]
    local_base = config.local_rope_theta or config.rope_theta
    regular = config.attention_pattern == "G" + "L" * (len(config.attention_pattern) - 1)
    return {
        "mlp_bias": config.bias,
        "attention_dropout": config.dropout,
        "embedding_dropout": config.dropout,
        "layer_types": kinds,
        **({"global_attn_every_n_layers": len(config.attention_pattern)} if regular else {}),
        "local_attention": 2 * (config.window or 64),
        "global_rope_theta": config.rope_theta,
        "local_rope_theta": local_base,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": config.rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": local_base},
        },
    }
