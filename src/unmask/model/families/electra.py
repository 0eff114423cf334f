"""ELECTRA (Clark et al. 2020): the discriminators, and generators of the same layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.model.families.family import (
    BASE,
    LARGE,
    OPTIONS,
    REQUIRES,
    Family,
    HeadStyle,
    bert_names,
    masked_names,
    size,
)


def _read(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """There is a projection only where the sizes differ."""
    return {"embedding_size": None if values["embedding_size"] == values["hidden_size"] else values["embedding_size"]}


ELECTRA = Family(
    name="electra",
    model_types=("electra",),
    prefix="electra",
    classes="Electra",
    head=HeadStyle(activation="gelu", masked_activation="gelu"),
    options={**OPTIONS, "embedding_size": ("embedding_size", 128)},
    requires={name: values for name, values in REQUIRES.items() if name != "embedding_size"},
    read=_read,
    decoder="generator_lm_head",
    names={
        **bert_names("electra"),
        "encoder.embeddings.project": "electra.embeddings_project",
        **masked_names("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
        "replaced.dense": "discriminator_predictions.dense",
        "replaced.score": "discriminator_predictions.dense_prediction",
    },
    sequence_names={"pooler": "classifier.dense", "classifier": "classifier.out_proj"},
    other_names={"classifier": "classifier"},
    sequence_marks=("pooler.weight", "classifier.weight"),
    preset_defaults={"embedding_size": None},
    presets={  # table 6
        "electra-small": size(12, 256, 4, intermediate_size=1024, embedding_size=128),
        "electra-base": BASE,
        "electra-large": LARGE,
    },
)
