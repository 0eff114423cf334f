"""Names for architectures: `model.preset: small` in a recipe; single settings may override it."""

from typing import Any

from unmask.config import from_mapping
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.families.family import BASE, size

PRESETS: dict[str, dict[str, Any]] = {
    # our own: sinusoidal positions, six layers
    "tiny": size(6, 128, 2),
    "small": size(6, 256, 4),
    "medium": size(6, 512, 8),
    "base": BASE,
    **{
        name: {**family.defaults, **family.preset_defaults, **sizes}
        for family in FAMILIES.values()
        for name, sizes in family.presets.items()
    },
}


def preset(name: str, **settings: Any) -> EncoderConfig:
    """The named architecture with some settings replaced."""
    return from_mapping(EncoderConfig, {**PRESETS[name], **settings}, where=f"the preset {name}")
