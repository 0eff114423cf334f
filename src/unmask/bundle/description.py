"""A model described without computing with it, as plain values: for `unmask inspect` and the model card."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unmask import files
from unmask.bundle.bundle import Bundle
from unmask.bundle.layout import why_not_public
from unmask.bundle.weights import SINGLE_FILE
from unmask.config import dump
from unmask.model.config import EncoderConfig
from unmask.model.cost import activation_numbers, forward_flops
from unmask.text.tokenizer import Tokenizer

LENGTHS = (128, 512)  # tokens, of the sequences whose cost is given, beside the longest
LONGEST_TOKENS = 8  # displayed
_PARTS = (  # what the names of an encoder's weights contain, the first that fits
    ("norms", "norm."),
    ("tokens", "embeddings.token."),
    ("positions", "embeddings.position."),
    ("token_types", "embeddings.segment."),
    ("projection", "embeddings.project."),
    ("attention", ".attention."),
    ("feed_forward", ".feed_forward."),
)


def describe(bundle: Bundle) -> dict[str, Any]:
    """Architecture, parameters, memory (bytes), FLOPs, vocabulary, heads, task, lineage and checksums of a model.

    Reads no weights: it may have been opened without them.
    """
    config = bundle.config
    parameters = _parameters(bundle.tensors)
    total = sum(parameters["encoder"].values()) + sum(parameters["heads"].values())
    longest, activations = config.max_position_embeddings, activation_numbers(config)
    lengths = [*(length for length in LENGTHS if length < longest), longest]
    return {
        "architecture": _architecture(bundle),
        "parameters": {"total": total, **parameters},
        "memory": {
            "stored": sum(t.numel() * t.element_size() for t in bundle.tensors.values()),
            "float32": 4 * total,
            "bfloat16": 2 * total,
            "training": 16 * total,  # weights, gradients and the two moments of Adam in float32
            "activations_per_token": {"float32": 4 * activations, "bfloat16": 2 * activations},
        },
        "flops_per_token": {str(length): forward_flops(config, length) for length in lengths},
        "vocabulary": _vocabulary(bundle.tokenizer, config),
        "heads": list(parameters["heads"]),
        "task": None if bundle.task is None else dict(bundle.task),
        "lineage": bundle.lineage,
        "sha256": {SINGLE_FILE: bundle.sha256, "tokenizer.json": bundle.tokenizer.sha256},
    }


def _architecture(bundle: Bundle) -> dict[str, Any]:
    """The settings, and whether a public layout can say them."""
    config, lacking = bundle.config, why_not_public(bundle.config, bundle.tokenizer)
    classes = [] if lacking else files.read_object(bundle.folder / "config.json").get("architectures")
    return {
        "family": config.family,
        "layout": None if lacking else config.family,
        "not_in_layout": lacking,
        "class": str(classes[0]) if isinstance(classes, list) and classes else None,
        **{name: value for name, value in dump(config).items() if value is not None},
        "intermediate_size": config.resolved_intermediate_size,
        "embedding_norm": config.has_embedding_norm,
    }


def _parameters(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, int]]:
    """Numbers by part of the encoder, and by head: the table of tokens counts once, though a head reads it too."""
    encoder = dict.fromkeys([*(part for part, _ in _PARTS), "others"], 0)
    heads: Counter[str] = Counter()
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix == "encoder":
            encoder[next((part for part, mark in _PARTS if mark in rest), "others")] += tensor.numel()
        else:
            heads[prefix] += tensor.numel()
    return {
        "encoder": {part: count for part, count in encoder.items() if count},
        "heads": dict(sorted(heads.items())),
    }


def _vocabulary(tokenizer: Tokenizer, config: EncoderConfig) -> dict[str, Any]:
    ordinary = tokenizer.text_token_ids.tolist()
    longest = sorted(ordinary, key=lambda number: (-len(tokenizer.token_text(number).strip()), number))
    return {
        "size": tokenizer.vocab_size,
        "embeddings": config.vocab_size,
        "kind": tokenizer.kind,
        "cased": not tokenizer.lowercase,
        "special_tokens": {tokenizer.id_to_token(number): number for number in tokenizer.all_special_ids},
        "reserved": tokenizer.vocab_size - len(ordinary) - len(tokenizer.all_special_ids),
        "longest": [tokenizer.display_token(number) for number in longest[:LONGEST_TOKENS]],
    }
