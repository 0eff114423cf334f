"""Reversible tables between our parameter names and the public checkpoint layouts, read and written by the same lines.

A row pairs one of our names with the public names whose tensors stand one below another in it (our one
matrix for query, key and value is three in BERT's layout). `{}` is the number of a block.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unmask.model.families import FamilyName

Rows = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Table:
    """The names of a family. rows: of every model; sequence, other: further ones of models that classify sequences, and
    of all others, because some layouts call two heads by one name. Which they are is told by the presence of a name:
    `public` among theirs, all of `ours` among ours.
    """

    rows: Rows
    sequence: Rows = ()  # type: ignore[assignment]
    other: Rows = ()  # type: ignore[assignment]
    public: str = ""
    ours: tuple[str, ...] = ()

    def rows_for(self, names: Collection[str], public: bool) -> Rows:
        if not self.ours:
            return self.rows
        found = self.public in names if public else all(name in names for name in self.ours)
        return [*self.rows, *(self.sequence if found else self.other)]


def _both(ours: str, public: str | list[str]) -> Rows:
    names = [public] if isinstance(public, str) else public
    return [(f"{ours}.{kind}", [f"{name}.{kind}" for name in names]) for kind in ("weight", "bias")]


def _embeddings(prefix: str) -> Rows:
    return [
        ("encoder.embeddings.token.weight", [f"{prefix}word_embeddings.weight"]),
        ("encoder.embeddings.position.weight", [f"{prefix}position_embeddings.weight"]),
        ("encoder.embeddings.segment.weight", [f"{prefix}token_type_embeddings.weight"]),
        *_both("encoder.embeddings.norm", f"{prefix}LayerNorm"),
    ]


def _encoder(prefix: str) -> Rows:
    """As BERT has it, and what was written after it."""
    layer = f"{prefix}.encoder.layer.{{}}."
    return [
        *_embeddings(f"{prefix}.embeddings."),
        *_block([f"{layer}attention.self.{part}" for part in ("query", "key", "value")], layer),
    ]


def _block(qkv: list[str], layer: str) -> Rows:
    return [
        *_both("encoder.blocks.{}.attention.qkv", qkv),
        *_both("encoder.blocks.{}.attention.output", f"{layer}attention.output.dense"),
        *_both("encoder.blocks.{}.attention_norm", f"{layer}attention.output.LayerNorm"),
        *_both("encoder.blocks.{}.feed_forward.inner", f"{layer}intermediate.dense"),
        *_both("encoder.blocks.{}.feed_forward.output", f"{layer}output.dense"),
        *_both("encoder.blocks.{}.feed_forward_norm", f"{layer}output.LayerNorm"),
    ]


_CLASSIFIED = ("pooler.weight", "classifier.weight")
_ANSWER = _both("qa_outputs", "qa_outputs")

BERT = Table(
    [
        *_encoder("bert"),
        *_both("masked.dense", "cls.predictions.transform.dense"),
        *_both("masked.norm", "cls.predictions.transform.LayerNorm"),
        ("masked.bias", ["cls.predictions.bias"]),
        *_both("pooler", "bert.pooler.dense"),
        *_both("next_sentence", "cls.seq_relationship"),
        *_both("classifier", "classifier"),
        *_ANSWER,
    ]
)

ROBERTA = Table(
    [
        *_encoder("roberta"),
        *_both("masked.dense", "lm_head.dense"),
        *_both("masked.norm", "lm_head.layer_norm"),
        ("masked.bias", ["lm_head.bias"]),
        *_ANSWER,
    ],
    sequence=[*_both("pooler", "classifier.dense"), *_both("classifier", "classifier.out_proj")],
    other=[*_both("pooler", "roberta.pooler.dense"), *_both("classifier", "classifier")],
    public="classifier.dense.weight",
    ours=_CLASSIFIED,
)

_ALBERT_LAYER = "albert.encoder.albert_layer_groups.{}.albert_layers.0."

ALBERT = Table(
    [
        *_embeddings("albert.embeddings."),
        *_both("encoder.embeddings.project", "albert.encoder.embedding_hidden_mapping_in"),
        *_both(
            "encoder.blocks.{}.attention.qkv",
            [f"{_ALBERT_LAYER}attention.{part}" for part in ("query", "key", "value")],
        ),
        *_both("encoder.blocks.{}.attention.output", f"{_ALBERT_LAYER}attention.dense"),
        *_both("encoder.blocks.{}.attention_norm", f"{_ALBERT_LAYER}attention.LayerNorm"),
        *_both("encoder.blocks.{}.feed_forward.inner", f"{_ALBERT_LAYER}ffn"),
        *_both("encoder.blocks.{}.feed_forward.output", f"{_ALBERT_LAYER}ffn_output"),
        *_both("encoder.blocks.{}.feed_forward_norm", f"{_ALBERT_LAYER}full_layer_layer_norm"),
        *_both("masked.dense", "predictions.dense"),
        *_both("masked.norm", "predictions.LayerNorm"),
        ("masked.bias", ["predictions.bias"]),
        *_both("pooler", "albert.pooler"),
        *_both("sentence_order", "sop_classifier.classifier"),
        *_both("classifier", "classifier"),
        *_ANSWER,
    ]
)

_DISTILBERT_LAYER = "distilbert.transformer.layer.{}."

DISTILBERT = Table(
    [
        *_embeddings("distilbert.embeddings."),
        *_both(
            "encoder.blocks.{}.attention.qkv",
            [f"{_DISTILBERT_LAYER}attention.{part}_lin" for part in ("q", "k", "v")],
        ),
        *_both("encoder.blocks.{}.attention.output", f"{_DISTILBERT_LAYER}attention.out_lin"),
        *_both("encoder.blocks.{}.attention_norm", f"{_DISTILBERT_LAYER}sa_layer_norm"),
        *_both("encoder.blocks.{}.feed_forward.inner", f"{_DISTILBERT_LAYER}ffn.lin1"),
        *_both("encoder.blocks.{}.feed_forward.output", f"{_DISTILBERT_LAYER}ffn.lin2"),
        *_both("encoder.blocks.{}.feed_forward_norm", f"{_DISTILBERT_LAYER}output_layer_norm"),
        *_both("masked.dense", "vocab_transform"),
        *_both("masked.norm", "vocab_layer_norm"),
        ("masked.bias", ["vocab_projector.bias"]),
        *_both("pooler", "pre_classifier"),
        *_both("classifier", "classifier"),
        *_ANSWER,
    ]
)

ELECTRA = Table(
    [
        *_encoder("electra"),
        *_both("encoder.embeddings.project", "electra.embeddings_project"),
        *_both("masked.dense", "generator_predictions.dense"),
        *_both("masked.norm", "generator_predictions.LayerNorm"),
        ("masked.bias", ["generator_lm_head.bias"]),
        *_both("replaced.dense", "discriminator_predictions.dense"),
        *_both("replaced.score", "discriminator_predictions.dense_prediction"),
        *_ANSWER,
    ],
    sequence=[*_both("pooler", "classifier.dense"), *_both("classifier", "classifier.out_proj")],
    other=_both("classifier", "classifier"),
    public="classifier.dense.weight",
    ours=_CLASSIFIED,
)

# the head for masks and the dense layer before the last one of all other heads have the same names
MODERNBERT = Table(
    [
        ("encoder.embeddings.token.weight", ["model.embeddings.tok_embeddings.weight"]),
        *_both("encoder.embeddings.norm", "model.embeddings.norm"),
        *_both("encoder.blocks.{}.attention_norm", "model.layers.{}.attn_norm"),
        *_both("encoder.blocks.{}.attention.qkv", "model.layers.{}.attn.Wqkv"),
        *_both("encoder.blocks.{}.attention.output", "model.layers.{}.attn.Wo"),
        *_both("encoder.blocks.{}.feed_forward_norm", "model.layers.{}.mlp_norm"),
        *_both("encoder.blocks.{}.feed_forward.inner", "model.layers.{}.mlp.Wi"),
        *_both("encoder.blocks.{}.feed_forward.output", "model.layers.{}.mlp.Wo"),
        *_both("encoder.norm", "model.final_norm"),
    ],
    sequence=[
        *_both("masked.dense", "head.dense"),
        *_both("masked.norm", "head.norm"),
        ("masked.bias", ["decoder.bias"]),
    ],
    other=[
        *_both("pooler", "head.dense"),
        *_both("pooler_norm", "head.norm"),
        *_both("classifier", "classifier"),
    ],
    public="decoder.bias",
    ours=("masked.bias",),
)

TABLES: dict[FamilyName, Table] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "albert": ALBERT,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "modernbert": MODERNBERT,
}


def _expand(rows: Rows, blocks: int) -> Iterable[tuple[str, list[str]]]:
    for ours, public in rows:
        for number in range(blocks) if "{}" in ours else [0]:
            yield ours.format(number), [name.format(number) for name in public]


def to_public(tensors: Mapping[str, Tensor], table: Table, blocks: int) -> dict[str, Tensor]:
    """Rename our tensors to the public layout. Names without a row keep theirs."""
    result, left = {}, dict(tensors)
    for ours, public in _expand(table.rows_for(tensors, public=False), blocks):
        if ours in left:
            parts = left.pop(ours).chunk(len(public))
            result.update({name: part.contiguous() for name, part in zip(public, parts, strict=True)})
    return result | left


def from_public(tensors: Mapping[str, Tensor], table: Table, blocks: int) -> dict[str, Tensor]:
    """The exact inverse of `to_public`."""
    result, left = {}, dict(tensors)
    for ours, public in _expand(table.rows_for(tensors, public=True), blocks):
        if all(name in left for name in public):
            parts = [left.pop(name) for name in public]
            result[ours] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return result | left
