"""What is known of a model without computing with it, as plain values: for `unmask inspect` and the model card."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unmask import files
from unmask.bundle.own import Bundle, lacking, layout_of
from unmask.bundle.weights import WHOLE
from unmask.config import dump
from unmask.model.cost import forward_flops, kept_numbers
from unmask.model.encoder import EncoderConfig
from unmask.text.tokenizer import Tokenizer

LENGTHS = (128, 512)  # tokens, of the sequences whose cost is told, beside the longest
LONGEST = 8  # pieces shown

# settings that say nothing of what is computed, and those that do only beside another
_OUTSIDE = ("vocabulary", "inner", "attention", "init_std", "family", "embedding_norm")
_WITH_ROTARY = ("rotary_base", "rotary_base_local")
_WITH_WINDOW = ("pattern", "window", "rotary_base_local")
_PARTS = (  # of the names of an encoder's weights, the first that fits
    ("norms", ("norm.",)),
    ("tokens", ("embeddings.token.",)),
    ("positions", ("embeddings.position.",)),
    ("segments", ("embeddings.segment.",)),
    ("projection", ("embeddings.project.",)),
    ("attention", (".attention.",)),
    ("feed_forward", (".feed_forward.",)),
)


def facts_of(opened: Bundle) -> dict[str, Any]:
    """Architecture, parameters, memory (bytes), FLOPs, vocabulary, heads, task, lineage and checksums of a model.

    Reads no weights: it may have been opened without them.
    """
    config = opened.config
    parameters = _parameters(opened.tensors)
    whole = sum(parameters["encoder"].values()) + sum(parameters["heads"].values())
    lengths = sorted({length for length in LENGTHS if length < config.length} | {config.length})
    kept = kept_numbers(config)
    return {
        "architecture": _architecture(opened),
        "parameters": {"all": whole, **parameters},
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
        "sentence": opened.facts.get("sentence"),
        "lineage": opened.lineage,
        "sha256": {WHOLE: opened.sha256, "tokenizer.json": opened.tokenizer.sha256},
    }


def _architecture(opened: Bundle) -> dict[str, Any]:
    """The settings that matter, and whether a public layout can say them."""
    config = opened.config
    left_out = set(_OUTSIDE)
    left_out |= {*_WITH_ROTARY} if config.positions != "rotary" else set()
    left_out |= {*_WITH_WINDOW} if config.window is None else set()
    left_out |= {"norm_bias"} if config.norm_kind == "rms" else set()
    left_out |= {"first_norm"} if config.norm == "post" else set()
    settings = {
        name: value for name, value in dump(config).items() if name not in left_out and value is not None
    }
    layout = layout_of(config, opened.tokenizer)
    said = files.read_json(opened.folder / "config.json").get("architectures") if layout else None
    return {
        "family": config.family,
        "layout": None if layout is None else layout.name,
        "lacking": lacking(config, opened.tokenizer),
        "class": str(said[0]) if isinstance(said, list) and said else None,
        **settings,
        "feed_forward": config.feed_forward,
        "embedding_norm": config.normalises_embeddings,
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
    ordinary = tokenizer.ordinary_ids.tolist()
    longest = sorted(ordinary, key=lambda number: (-len(tokenizer.spelled(number).strip()), number))[:LONGEST]
    return {
        "pieces": tokenizer.vocabulary,
        "embeddings": config.vocabulary,
        "kind": tokenizer.kind,
        "cased": not tokenizer.lowercase,
        "special": {tokenizer.piece_of(number): number for number in tokenizer.special_ids},
        "reserved": tokenizer.vocabulary - len(ordinary) - len(tokenizer.special_ids),
        "longest": [tokenizer.shown(number) for number in longest],
    }
