"""What is known of a model without computing with it, as plain values: for `unmask inspect` and the model card."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unmask import files
from unmask.bundle.own import Bundle, public_family, why_not_public
from unmask.bundle.weights import SINGLE_FILE
from unmask.config import dump
from unmask.model.config import EncoderConfig
from unmask.model.cost import activation_numbers, forward_flops
from unmask.text.tokenizer import Tokenizer

LENGTHS = (128, 512)  # tokens, of the sequences whose cost is told, beside the longest
MAX_INFINITE_LENGTH = 8  # pieces shown

# settings that say nothing of what is computed, and those that do only beside another
_OUTSIDE = (
    "vocab_size",
    "intermediate_size",
    "attn_implementation",
    "initializer_range",
    "family",
    "embedding_norm",
)
_WITH_ROTARY = ("rope_theta", "local_rope_theta")
_WITH_WINDOW = ("attention_pattern", "window", "local_rope_theta")
_PARTS = (  # of the names of an encoder's weights, the first that fits
    ("norms", ("norm.",)),
    ("tokens", ("embeddings.token.",)),
    ("positions", ("embeddings.position.",)),
    ("token_types", ("embeddings.segment.",)),
    ("projection", ("embeddings.project.",)),
    ("attention", (".attention.",)),
    ("feed_forward", (".feed_forward.",)),
)


def bundle_facts(opened: Bundle) -> dict[str, Any]:
    """Architecture, parameters, memory (bytes), FLOPs, vocabulary, heads, task, lineage and checksums of a model.

    Reads no weights: it may have been opened without them.
    """
    config = opened.config
    parameters = _parameters(opened.tensors)
    whole = sum(parameters["encoder"].values()) + sum(parameters["heads"].values())
    lengths = sorted(
        {length for length in LENGTHS if length < config.max_position_embeddings} | {config.max_position_embeddings}
    )
    kept = activation_numbers(config)
    return {
        "architecture": _architecture(opened),
        "parameters": {"total": whole, **parameters},
        "memory": {
            "stored": sum(t.numel() * t.element_size() for t in opened.tensors.values()),
            "float32": 4 * whole,
            "bfloat16": 2 * whole,
            "training": 16 * whole,  # weights, gradients and the two moments of Adam in float32
            "activations_per_token": {"float32": 4 * kept, "bfloat16": 2 * kept},
        },
        "flops_per_token": {str(length): forward_flops(config, length) for length in lengths},
        "vocabulary": _vocabulary(opened.tokenizer, config),
        "heads": list(parameters["heads"]),
        "task": None if opened.task is None else dict(opened.task),
        "lineage": opened.lineage,
        "sha256": {SINGLE_FILE: opened.sha256, "tokenizer.json": opened.tokenizer.sha256},
    }


def _architecture(opened: Bundle) -> dict[str, Any]:
    """The settings that matter, and whether a public layout can say them."""
    config = opened.config
    left_out = set(_OUTSIDE)
    left_out |= {*_WITH_ROTARY} if config.position_embedding_type != "rotary" else set()
    left_out |= {*_WITH_WINDOW} if config.window is None else set()
    left_out |= {"norm_bias"} if config.norm_type == "rms" else set()
    left_out |= {"first_norm"} if config.norm == "post" else set()
    settings = {name: value for name, value in dump(config).items() if name not in left_out and value is not None}
    layout = public_family(config, opened.tokenizer)
    said = files.read_json(opened.folder / "config.json").get("architectures") if layout else None
    return {
        "family": config.family,
        "layout": None if layout is None else layout.name,
        "not_in_layout": why_not_public(config, opened.tokenizer),
        "class": str(said[0]) if isinstance(said, list) and said else None,
        **settings,
        "intermediate_size": config.resolved_intermediate_size,
        "embedding_norm": config.has_embedding_norm,
    }


def _parameters(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, int]]:
    """Numbers by part of the encoder, and by head: the table of pieces counts once, though a head reads it too."""
    encoder: Counter[str] = Counter({part: 0 for part, _ in _PARTS})
    heads: Counter[str] = Counter()
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix != "encoder":
            heads[prefix] += tensor.numel()
            continue
        part = next((part for part, marks in _PARTS if any(mark in rest for mark in marks)), "others")
        encoder[part] += tensor.numel()
    return {
        "encoder": {part: count for part, count in encoder.items() if count},
        "heads": dict(sorted(heads.items())),
    }


def _vocabulary(tokenizer: Tokenizer, config: EncoderConfig) -> dict[str, Any]:
    ordinary = tokenizer.text_token_ids.tolist()
    longest = sorted(ordinary, key=lambda number: (-len(tokenizer.token_text(number).strip()), number))[
        :MAX_INFINITE_LENGTH
    ]
    return {
        "size": tokenizer.vocab_size,
        "embeddings": config.vocab_size,
        "kind": tokenizer.kind,
        "cased": not tokenizer.lowercase,
        "special_tokens": {tokenizer.id_to_token(number): number for number in tokenizer.all_special_ids},
        "reserved": tokenizer.vocab_size - len(ordinary) - len(tokenizer.all_special_ids),
        "longest": [tokenizer.display_token(number) for number in longest],
    }
