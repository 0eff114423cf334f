"""Names for architectures: data, not code. `model.preset: small` in a recipe; single settings may override it."""

from typing import Any

from unmask.config import from_mapping
from unmask.model.encoder import EncoderConfig

PRESETS: dict[str, dict[str, Any]] = {
    # the house models: sinusoidal positions, six layers
    "tiny": {"layers": 6, "width": 128, "heads": 2},
    "small": {"layers": 6, "width": 256, "heads": 4},
    "medium": {"layers": 6, "width": 512, "heads": 8},
    "base": {"layers": 12, "width": 768, "heads": 12},
    # Devlin et al. 2019, section 3; dropout as published
    "bert-base": {"layers": 12, "width": 768, "heads": 12, "positions": "learned", "dropout": 0.1},
    "bert-large": {"layers": 24, "width": 1024, "heads": 16, "positions": "learned", "dropout": 0.1},
}


def preset(name: str, **settings: Any) -> EncoderConfig:
    """The named architecture with some settings replaced."""
    return from_mapping(EncoderConfig, {**PRESETS[name], **settings}, where=f"the preset {name}")
