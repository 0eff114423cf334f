"""Names for architectures: data, not code. `model.preset: small` in a recipe; single settings may override it."""

from typing import Any

from unmask.config import from_mapping
from unmask.model.encoder import EncoderConfig

_BASE = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
_LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16}
_BERT = {"position_embedding_type": "learned", "dropout": 0.1}
_ROBERTA = {**_BERT, "type_vocab_size": 1, "norm_eps": 1e-5, "position_offset": 2, "family": "roberta"}
_ALBERT = {
    "position_embedding_type": "learned",
    "embedding_size": 128,
    "num_hidden_groups": 1,
    "hidden_act": "gelu_tanh",
    "family": "albert",
}
_ELECTRA = {**_BERT, "family": "electra"}
_MODERNBERT = {
    "position_embedding_type": "rotary",
    "rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
    "max_position_embeddings": 8192,
    "attention_pattern": "GLL",
    "window": 64,
    "norm": "pre",
    "norm_eps": 1e-5,
    "norm_bias": False,
    "bias": False,
    "gated": True,
    "embedding_norm": True,
    "first_norm": False,
    "type_vocab_size": 0,
    "family": "modernbert",
}

PRESETS: dict[str, dict[str, Any]] = {
    # the house models: sinusoidal positions, six layers
    "tiny": {"num_hidden_layers": 6, "hidden_size": 128, "num_attention_heads": 2},
    "small": {"num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 4},
    "medium": {"num_hidden_layers": 6, "hidden_size": 512, "num_attention_heads": 8},
    "base": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12},
    # Devlin et al. 2019, section 3, and Turc et al. 2019, table 1; dropout as published
    "bert-tiny": {**_BERT, "num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2},
    "bert-mini": {**_BERT, "num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
    "bert-small": {**_BERT, "num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8},
    "bert-medium": {**_BERT, "num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8},
    "bert-base": {**_BERT, **_BASE},
    "bert-large": {**_BERT, **_LARGE},
    # Cui et al. 2021: Chinese models of three layers, beside those of BERT's sizes
    "rbt3": {**_BERT, "num_hidden_layers": 3, "hidden_size": 768, "num_attention_heads": 12},
    "rbtl3": {**_BERT, "num_hidden_layers": 3, "hidden_size": 1024, "num_attention_heads": 16},
    # Liu et al. 2019; the first position is the one after the id of the padding
    "roberta-base": {**_ROBERTA, **_BASE},
    "roberta-large": {**_ROBERTA, **_LARGE},
    # Lan et al. 2020, table 1, as version 2 was published: without dropout
    "albert-base": {**_ALBERT, **_BASE},
    "albert-large": {**_ALBERT, **_LARGE},
    "albert-xlarge": {**_ALBERT, "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 16},
    "albert-xxlarge": {**_ALBERT, "num_hidden_layers": 12, "hidden_size": 4096, "num_attention_heads": 64},
    # Sanh et al. 2019
    "distilbert": {
        **_BERT,
        "num_hidden_layers": 6,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "type_vocab_size": 0,
        "family": "distilbert",
    },
    # Clark et al. 2020, table 6: the discriminators
    "electra-small": {
        **_ELECTRA,
        "num_hidden_layers": 12,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "embedding_size": 128,
    },
    "electra-base": {**_ELECTRA, **_BASE},
    "electra-large": {**_ELECTRA, **_LARGE},
    # Warner et al. 2024, table 4
    "modernbert-base": {
        **_MODERNBERT,
        "num_hidden_layers": 22,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
    },
    "modernbert-large": {
        **_MODERNBERT,
        "num_hidden_layers": 28,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "intermediate_size": 2624,
    },
}


def preset(name: str, **settings: Any) -> EncoderConfig:
    """The named architecture with some settings replaced."""
    return from_mapping(EncoderConfig, {**PRESETS[name], **settings}, where=f"the preset {name}")
