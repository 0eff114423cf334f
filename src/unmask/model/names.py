"""Reversible tables between our parameter names and the public checkpoint layouts, read and written by the same lines.

A row pairs one of our names with the public names whose tensors stand one below another in it (our one
matrix for query, key and value is three in BERT's layout). `{}` is the number of a block.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Rows = list[tuple[str, list[str]]]


def _both(ours: str, public: str | list[str]) -> Rows:
    names = [public] if isinstance(public, str) else public
    return [(f"{ours}.{kind}", [f"{name}.{kind}" for name in names]) for kind in ("weight", "bias")]


_LAYER = "bert.encoder.layer.{}."
_SELF = [f"{_LAYER}attention.self.{part}" for part in ("query", "key", "value")]

BERT: Rows = [
    ("encoder.embeddings.token.weight", ["bert.embeddings.word_embeddings.weight"]),
    ("encoder.embeddings.position.weight", ["bert.embeddings.position_embeddings.weight"]),
    ("encoder.embeddings.segment.weight", ["bert.embeddings.token_type_embeddings.weight"]),
    *_both("encoder.embeddings.norm", "bert.embeddings.LayerNorm"),
    *_both("encoder.blocks.{}.attention.qkv", _SELF),
    *_both("encoder.blocks.{}.attention.output", f"{_LAYER}attention.output.dense"),
    *_both("encoder.blocks.{}.attention_norm", f"{_LAYER}attention.output.LayerNorm"),
    *_both("encoder.blocks.{}.feed_forward.inner", f"{_LAYER}intermediate.dense"),
    *_both("encoder.blocks.{}.feed_forward.output", f"{_LAYER}output.dense"),
    *_both("encoder.blocks.{}.feed_forward_norm", f"{_LAYER}output.LayerNorm"),
    *_both("masked.dense", "cls.predictions.transform.dense"),
    *_both("masked.norm", "cls.predictions.transform.LayerNorm"),
    ("masked.bias", ["cls.predictions.bias"]),
    *_both("pooler", "bert.pooler.dense"),
    *_both("next_sentence", "cls.seq_relationship"),
    *_both("classifier", "classifier"),
    *_both("qa_outputs", "qa_outputs"),
]


def _expand(rows: Rows, layers: int) -> Iterable[tuple[str, list[str]]]:
    for ours, public in rows:
        for number in range(layers) if "{}" in ours else [0]:
            yield ours.format(number), [name.format(number) for name in public]


def to_public(tensors: Mapping[str, Tensor], rows: Rows, layers: int) -> dict[str, Tensor]:
    """Rename our tensors to the public layout. Names without a row keep theirs."""
    result, left = {}, dict(tensors)
    for ours, public in _expand(rows, layers):
        if ours in left:
            parts = left.pop(ours).chunk(len(public))
            result.update({name: part.contiguous() for name, part in zip(public, parts, strict=True)})
    return result | left


def from_public(tensors: Mapping[str, Tensor], rows: Rows, layers: int) -> dict[str, Tensor]:
    """The exact inverse of `to_public`."""
    result, left = {}, dict(tensors)
    for ours, public in _expand(rows, layers):
        if all(name in left for name in public):
            parts = [left.pop(name) for name in public]
            result[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return result | left
