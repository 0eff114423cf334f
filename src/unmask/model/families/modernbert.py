"""ModernBERT (Warner et al. 2024): rotary positions, local layers between global ones, pre-norm, gated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.families.family import MAX_SIZE, Family, HeadStyle, block_names, read_integer

_LAYER_TYPES = {"full_attention": "G", "sliding_attention": "L"}
_BASES = {  # of rotary positions: the older key, and its default
    "full_attention": ("global_rope_theta", 160_000.0),
    "sliding_attention": ("local_rope_theta", 10_000.0),
}


def _read(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    layers = values["num_hidden_layers"]
    kinds = public.get("layer_types")
    if kinds is None:
        every = read_integer(public, "global_attn_every_n_layers", where, default=3, low=1, high=MAX_SIZE)
        kinds = ["sliding_attention" if n % every else "full_attention" for n in range(layers)]
    if not isinstance(kinds, list) or len(kinds) != layers or not all(str(kind) in _LAYER_TYPES for kind in kinds):
        raise UserError(f"{where}: layer_types cannot be used", given=kinds, allowed=", ".join(_LAYER_TYPES))
    whole = "".join(_LAYER_TYPES[kind] for kind in kinds)
    window = read_integer(public, "local_attention", where, default=128, low=2, high=MAX_SIZE)
    base, local_base = (_base(public, kind, where) for kind in _LAYER_TYPES)
    return {
        # the shortest pattern that, repeated, gives the kinds of the layers
        "attention_pattern": next(whole[:n] for n in range(1, layers + 1) if (whole[:n] * layers)[:layers] == whole),
        "window": window // 2 if "L" in whole else None,
        "rope_theta": base,
        "local_rope_theta": local_base if "L" in whole and local_base != base else None,
    }


def _base(public: Mapping[str, Any], kind: str, where: Path) -> float:
    """The base of rotary positions, under its newer name or its older one."""
    older, default = _BASES[kind]
    newer = (public.get("rope_parameters") or {}).get(kind) or {}
    if newer.get("rope_type", "default") != "default":
        raise UserError(f"{where}: rope_parameters cannot be used", given=newer.get("rope_type"), allowed="default")
    return float(newer.get("rope_theta") or public.get(older) or default)


def _write(config: EncoderConfig) -> dict[str, Any]:
    """Under the names of transformers 5, and those of 4 that they replaced."""
    kinds = ["sliding_attention" if config.is_local(n) else "full_attention" for n in range(config.num_hidden_layers)]
    bases = {"full_attention": config.rope_theta, "sliding_attention": config.local_rope_theta or config.rope_theta}
    every = len(config.attention_pattern)
    return {
        "mlp_bias": config.bias,
        "attention_dropout": config.dropout,
        "embedding_dropout": config.dropout,
        "layer_types": kinds,
        **({"global_attn_every_n_layers": every} if config.attention_pattern == "G" + "L" * (every - 1) else {}),
        "local_attention": 2 * (config.window or 64),
        **{_BASES[kind][0]: base for kind, base in bases.items()},
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
    }


MODERNBERT = Family(
    name="modernbert",
    model_types=("modernbert",),
    prefix="model",
    classes="ModernBert",
    head=HeadStyle("gelu", False, True, use_before_tagging=True, masked_activation="gelu", poolings=("cls", "mean")),
    options={
        "hidden_act": ("hidden_activation", "gelu"),
        "dropout": ("mlp_dropout", 0.0),
        "type_vocab_size": None,
        "norm_eps": ("norm_eps", 1e-5),
        "norm_bias": ("norm_bias", False),
        "bias": ("attention_bias", False),
    },
    requires={
        "norm": ("pre",),
        "embedding_norm": (True,),
        "first_norm": (False,),
        "gated": (True,),
        "position_embedding_type": ("rotary",),
        "type_vocab_size": (0,),
    },
    free=("attention_pattern", "window", "rope_theta", "local_rope_theta"),
    constants={"decoder_bias": True, "classifier_bias": False, "classifier_activation": "gelu"},
    special_tokens=("pad", "bos", "eos", "cls", "sep"),
    read=_read,
    write=_write,
    decoder="decoder",
    names={
        "encoder.embeddings.token.weight": "model.embeddings.tok_embeddings.weight",
        "encoder.embeddings.norm": "model.embeddings.norm",
        **block_names("model.layers.{}", ("attn.Wqkv",), "attn.Wo", "attn_norm", "mlp.Wi", "mlp.Wo", "mlp_norm"),
        "encoder.norm": "model.final_norm",
    },
    # the masked-LM head and the dense layer before the last one of all other heads have the same names
    sequence_names={"masked.dense": "head.dense", "masked.norm": "head.norm", "masked.bias": "decoder.bias"},
    other_names={
        "pooler": "head.dense",
        "pooler_norm": "head.norm",
        "classifier": "classifier",
        "qa_outputs": "classifier",
    },
    preset_defaults={
        "rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0,
        "max_position_embeddings": 8192,
        "attention_pattern": "GLL",
        "window": 64,
    },
    base=(22, 768, 12, 1152),  # table 4
)
