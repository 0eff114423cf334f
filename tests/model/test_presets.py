"""Presets against the published figures."""

import pytest
import torch

from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES, PRESETS

# vocabulary, parameters of transformers' base model of that size (with a pooler where it has one), and how the size
# differs from the preset: layers, hidden size, heads, intermediate size, embedding size
SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "embedding_size")
PUBLISHED: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "bert-tiny": (30522, 4_385_920, (2, 128, 2)),
    "bert-mini": (30522, 11_170_560, (4, 256, 4)),
    "bert-small": (30522, 28_763_648, (4, 512, 8)),
    "bert-medium": (30522, 41_373_184, (8, 512, 8)),
    "bert-base": (30522, 109_482_240, ()),
    "bert-large": (30522, 335_141_888, (24, 1024, 16)),
    "bert-rbt3": (21128, 38_476_800, (3, 768, 12)),
    "bert-rbtl3": (21128, 61_001_728, (3, 1024, 16)),
    "roberta-base": (50265, 124_645_632, ()),
    "roberta-large": (50265, 355_359_744, (24, 1024, 16)),
    "albert-base": (30000, 11_683_584, ()),
    "albert-large": (30000, 17_683_968, (24, 1024, 16)),
    "albert-xlarge": (30000, 58_724_864, (24, 2048, 16)),
    "albert-xxlarge": (30000, 222_595_584, (12, 4096, 64)),
    "distilbert-base": (30522, 66_362_880, ()),
    "electra-small": (30522, 13_483_008, (12, 256, 4, 1024, 128)),
    "electra-base": (30522, 108_891_648, ()),
    "electra-large": (30522, 334_092_288, (24, 1024, 16)),
    "modernbert-base": (50368, 149_014_272, ()),
    "modernbert-large": (50368, 394_781_696, (28, 1024, 16, 2624)),
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
    vocabulary, published, sizes = PUBLISHED[name]
    settings = {**PRESETS[f"{name.partition('-')[0]}-base"], **dict(zip(SIZES, sizes, strict=False))}
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(**settings, vocab_size=vocabulary))
    width = encoder.config.hidden_size
    pooler = 0 if name.startswith(WITHOUT_POOLER) else width * width + width
    assert encoder.num_parameters + pooler == published


def test_every_family_has_a_preset() -> None:
    assert PRESETS.keys() - {"tiny", "small", "medium", "base"} == {f"{name}-base" for name in FAMILIES}
