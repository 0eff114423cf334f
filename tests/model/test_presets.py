"""Presets against the published figures."""

import pytest
import torch

from unmask.errors import UserError
from unmask.model.encoder import Encoder
from unmask.model.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_an_architecture(name: str) -> None:
    config = preset(name)
    assert config.width % config.heads == 0 and config.width // config.heads == 64
    assert config.length == 512 and config.norm == "post"


def test_bert_has_the_published_number_of_parameters() -> None:
    """109.48 M and 335.14 M with the pooler (transformers' BertModel, vocabulary 30,522)."""
    for name, published, width in (("bert-base", 109_482_240, 768), ("bert-large", 335_141_888, 1024)):
        with torch.device("meta"):
            encoder = Encoder(preset(name, vocabulary=30522))
        assert encoder.parameters_count + width * width + width == published


def test_settings_override_a_preset_and_are_checked() -> None:
    assert preset("tiny", layers=2).layers == 2
    with pytest.raises(UserError, match="the preset tiny: depth is not a setting"):
        preset("tiny", depth=2)
