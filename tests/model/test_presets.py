"""Presets against the published figures."""

import pytest
import torch

from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES, PRESETS

# vocabulary, and parameters of transformers' base model of that size (with a pooler where it has one)
PUBLISHED = {
    "bert-tiny": (30522, 4_385_920),
    "bert-mini": (30522, 11_170_560),
    "bert-small": (30522, 28_763_648),
    "bert-medium": (30522, 41_373_184),
    "bert-base": (30522, 109_482_240),
    "bert-large": (30522, 335_141_888),
    "rbt3": (21128, 38_476_800),
    "rbtl3": (21128, 61_001_728),
    "roberta-base": (50265, 124_645_632),
    "roberta-large": (50265, 355_359_744),
    "albert-base": (30000, 11_683_584),
    "albert-large": (30000, 17_683_968),
    "albert-xlarge": (30000, 58_724_864),
    "albert-xxlarge": (30000, 222_595_584),
    "distilbert": (30522, 66_362_880),
    "electra-small": (30522, 13_483_008),
    "electra-base": (30522, 108_891_648),
    "electra-large": (30522, 334_092_288),
    "modernbert-base": (50368, 149_014_272),
    "modernbert-large": (50368, 394_781_696),
}
WITHOUT_POOLER = ("distilbert", "electra", "modernbert")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_an_architecture(name: str) -> None:
    config = EncoderConfig(**PRESETS[name])
    assert (
        config.hidden_size % config.num_attention_heads == 0
        and config.hidden_size // config.num_attention_heads in (64, 128)
    )
    assert not FAMILIES[config.family].why_not(config), "it can be written in its family's layout"


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_published_number_of_parameters(name: str) -> None:
    vocabulary, published = PUBLISHED[name]
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(**PRESETS[name], vocab_size=vocabulary))
    width = encoder.config.hidden_size
    pooler = 0 if name.startswith(WITHOUT_POOLER) else width * width + width
    assert encoder.num_parameters + pooler == published


def test_every_published_size_is_checked() -> None:
    assert PUBLISHED.keys() == PRESETS.keys() - {"tiny", "small", "medium", "base"}
