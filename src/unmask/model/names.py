"""Parameters in the public layouts: renamed there and back by the tables of the families.

Sinusoidal positions are written as the table that BERT would have learnt.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.positions import POSITION_SCALE, sinusoidal_table

_POSITIONS = "encoder.embeddings.position.weight"


def to_public(tensors: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename our tensors to the layout of the family. Names that are not in its tables stay."""
    result, left = {}, dict(tensors)
    if config.position_embedding_type == "sinusoidal":
        table = sinusoidal_table(config.max_position_embeddings, config.resolved_embedding_size)
        left[_POSITIONS] = table * POSITION_SCALE
    for ours, public in FAMILIES[config.family].parameter_names(tensors, config.num_blocks, public=False):
        if ours in left:
            parts = left.pop(ours).chunk(len(public))
            result.update({name: part.contiguous() for name, part in zip(public, parts, strict=True)})
    return result | left


def from_public(tensors: Mapping[str, Tensor], config: EncoderConfig, *, answers: bool = False) -> dict[str, Tensor]:
    """Invert `to_public` exactly. answers: the head is for answers, whatever the layout calls it."""
    result, left = {}, dict(tensors)
    for ours, public in FAMILIES[config.family].parameter_names(tensors, config.num_blocks, public=True):
        if all(name in left for name in public):
            parts = [left.pop(name) for name in public]
            name = ours.replace("classifier.", "qa_outputs.") if answers else ours
            result[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if config.position_embedding_type == "sinusoidal":
        result.pop(_POSITIONS)
    return result | left
