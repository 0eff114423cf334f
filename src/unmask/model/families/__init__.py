"""Families of public encoders: one file each, listed here, and the names of architectures for `model.preset`."""

from typing import Any

from unmask.model.families.albert import ALBERT
from unmask.model.families.bert import BERT
from unmask.model.families.distilbert import DISTILBERT
from unmask.model.families.electra import ELECTRA
from unmask.model.families.family import Family
from unmask.model.families.modernbert import MODERNBERT
from unmask.model.families.roberta import ROBERTA

FAMILIES: dict[str, Family] = {
    family.name: family for family in (BERT, ROBERTA, ALBERT, DISTILBERT, ELECTRA, MODERNBERT)
}
_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
_OUR_SIZES = {"tiny": (6, 128, 2), "small": (6, 256, 4), "medium": (6, 512, 8), "base": (12, 768, 12)}
PRESETS: dict[str, dict[str, Any]] = {
    # our own: sinusoidal positions, six layers
    **{name: dict(zip(_SIZES, sizes, strict=False)) for name, sizes in _OUR_SIZES.items()},
    **{
        f"{name}-base": {**family.defaults, **family.preset_defaults, **dict(zip(_SIZES, family.base, strict=False))}
        for name, family in FAMILIES.items()
    },
}
"""Settings of the named architectures; single settings of a recipe override them."""
