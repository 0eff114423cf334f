"""Names for architectures: data, not code. `model.preset: small` in a recipe; single settings may override it."""

from typing import Any

from unmask.config import from_mapping
from unmask.model.encoder import EncoderConfig

_BASE = {"layers": 12, "width": 768, "heads": 12}
_LARGE = {"layers": 24, "width": 1024, "heads": 16}
_BERT = {"positions": "learned", "dropout": 0.1}
_ROBERTA = {**_BERT, "segments": 1, "norm_eps": 1e-5, "position_offset": 2, "family": "roberta"}
_ALBERT = {
    "positions": "learned",
    "embedding": 128,
    "blocks": 1,
    "activation": "gelu_tanh",
    "family": "albert",
}
_ELECTRA = {**_BERT, "family": "electra"}
_MODERNBERT = {
    "positions": "rotary",
    "rotary_base": 160_000.0,
    "rotary_base_local": 10_000.0,
    "length": 8192,
    "pattern": "GLL",
    "window": 64,
    "norm": "pre",
    "norm_eps": 1e-5,
    "norm_bias": False,
    "bias": False,
    "gated": True,
    "embedding_norm": True,
    "first_norm": False,
    "segments": 0,
    "family": "modernbert",
}

PRESETS: dict[str, dict[str, Any]] = {
    # the house models: sinusoidal positions, six layers
    "tiny": {"layers": 6, "width": 128, "heads": 2},
    "small": {"layers": 6, "width": 256, "heads": 4},
    "medium": {"layers": 6, "width": 512, "heads": 8},
    "base": {"layers": 12, "width": 768, "heads": 12},
    # Devlin et al. 2019, section 3, and Turc et al. 2019, table 1; dropout as published
    "bert-tiny": {**_BERT, "layers": 2, "width": 128, "heads": 2},
    "bert-mini": {**_BERT, "layers": 4, "width": 256, "heads": 4},
    "bert-small": {**_BERT, "layers": 4, "width": 512, "heads": 8},
    "bert-medium": {**_BERT, "layers": 8, "width": 512, "heads": 8},
    "bert-base": {**_BERT, **_BASE},
    "bert-large": {**_BERT, **_LARGE},
    # Cui et al. 2021: Chinese models of three layers, beside those of BERT's sizes
    "rbt3": {**_BERT, "layers": 3, "width": 768, "heads": 12},
    "rbtl3": {**_BERT, "layers": 3, "width": 1024, "heads": 16},
    # Liu et al. 2019; the first position is the one after the id of the padding
    "roberta-base": {**_ROBERTA, **_BASE},
    "roberta-large": {**_ROBERTA, **_LARGE},
    # Lan et al. 2020, table 1, as version 2 was published: without dropout
    "albert-base": {**_ALBERT, **_BASE},
    "albert-large": {**_ALBERT, **_LARGE},
    "albert-xlarge": {**_ALBERT, "layers": 24, "width": 2048, "heads": 16},
    "albert-xxlarge": {**_ALBERT, "layers": 12, "width": 4096, "heads": 64},
    # Sanh et al. 2019
    "distilbert": {**_BERT, "layers": 6, "width": 768, "heads": 12, "segments": 0, "family": "distilbert"},
    # Clark et al. 2020, table 6: the discriminators
    "electra-small": {**_ELECTRA, "layers": 12, "width": 256, "heads": 4, "inner": 1024, "embedding": 128},
    "electra-base": {**_ELECTRA, **_BASE},
    "electra-large": {**_ELECTRA, **_LARGE},
    # Warner et al. 2024, table 4
    "modernbert-base": {**_MODERNBERT, "layers": 22, "width": 768, "heads": 12, "inner": 1152},
    "modernbert-large": {**_MODERNBERT, "layers": 28, "width": 1024, "heads": 16, "inner": 2624},
}


def preset(name: str, **settings: Any) -> EncoderConfig:
    """The named architecture with some settings replaced."""
    return from_mapping(EncoderConfig, {**PRESETS[name], **settings}, where=f"the preset {name}")
