"""A family of public encoders: what its configuration can express, how its parameters are named, its heads and sizes.

A family is a value of `EncoderConfig`; one Encoder and one Block serve them all. What a family does not list is as in
BERT.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from unmask.errors import UserError
from unmask.model.config import EncoderConfig, FamilyName

Names = Mapping[str, str | tuple[str, ...]]
MAX_SIZE = 1 << 24  # of any dimension; a table of more would be a mistake or an attack


@dataclass(frozen=True)
class HeadStyle:
    """The dense layer before the last layer of a head.

    activation, bias: of it; norm: whether a norm follows; use_before_tagging: whether heads that read each token (tags,
    answers) have it as well; masked_activation: of the masked-LM head, that of the encoder if None; poolings: of its
    class for sequences, which config.json names where there are several.
    """

    activation: Literal["tanh", "relu", "gelu"] = "tanh"
    bias: bool = True
    norm: bool = False
    use_before_tagging: bool = False
    masked_activation: Literal["gelu"] | None = None
    poolings: tuple[str, ...] = ("cls",)


BERT_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
}
BERT_OPTIONS = {
    "hidden_act": ("hidden_act", "gelu"),
    "dropout": ("hidden_dropout_prob", 0.1),
    "type_vocab_size": ("type_vocab_size", 2),
    "initializer_range": ("initializer_range", 0.02),
    "norm_eps": ("layer_norm_eps", 1e-12),
}
BERT_REQUIRES: dict[str, tuple[Any, ...]] = {
    "embedding_norm": (None, True),
    "hidden_act": ("gelu", "gelu_tanh", "relu"),
    "position_embedding_type": ("learned", "sinusoidal"),
    "type_vocab_size": (2, 1),
}


@dataclass(frozen=True)
class Family:
    """The data of a family.

    model_types: `model_type` in config.json, the first is what is written; prefix: of the encoder's parameters;
    classes: how the names of its classes begin.

    config.json, as differences from BERT, None for what BERT alone has. sizes: our settings under its keys, which a
    file must have; options: those that it may leave out, with their defaults; requires: the values that the layout can
    express, the first of them being those of every config.json; free: settings that `read` and `write` treat. All other
    settings have their defaults. never_none: settings without which there is no such layout; constants: keys with one
    value, checked and written; special_tokens: those whose ids are written; read, write: what tables cannot express.

    Parameters. names: ours under the public names, several where their tensors are stacked in ours; `{}` is the number
    of a block. A name without .weight or .bias stands for both. Some layouts give one name to two heads:
    sequence_names are of models that have all of them, other_names are of all others. decoder: the layer of the
    masked-LM head whose weight is the table of the embeddings, where a file has it a second time.

    Its preset. base: published size (layers, hidden size, heads, intermediate size); preset_defaults: settings where
    they are not the defaults of config.json.
    """

    name: FamilyName
    model_types: tuple[str, ...]
    prefix: str
    classes: str
    names: Names
    decoder: str
    base: tuple[int, ...] = (12, 768, 12)
    preset_defaults: Mapping[str, Any] = field(default_factory=dict)
    head: HeadStyle = field(default_factory=HeadStyle)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    never_none: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    special_tokens: tuple[str, ...] = ("pad",)
    read: Callable[[Mapping[str, Any], Mapping[str, Any], Path], dict[str, Any]] = lambda public, values, where: {}
    # BERT has two rates of dropout, which are one here
    write: Callable[[EncoderConfig], dict[str, Any]] = lambda config: {"attention_probs_dropout_prob": config.dropout}
    sequence_names: Names = field(default_factory=dict)
    other_names: Names = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, of_bert in (("sizes", BERT_SIZES), ("options", BERT_OPTIONS), ("requires", BERT_REQUIRES)):
            merged = {**of_bert, **getattr(self, name)}
            object.__setattr__(self, name, {key: value for key, value in merged.items() if value is not None})

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of a config.json that has no key but its sizes."""
        fixed = {setting: values[0] for setting, values in self.requires.items()}
        return {"family": self.name, **fixed, **{ours: default for ours, (_, default) in self.options.items()}}

    def why_not(self, config: EncoderConfig) -> list[str]:
        """The settings that the layout cannot express, with their values."""
        defaults, free = EncoderConfig(), {"family", *self.sizes, *self.options, *self.free} - self.requires.keys()
        wrong = []
        for name in (each.name for each in fields(config)):
            allowed, value = self.requires.get(name, (getattr(defaults, name),)), getattr(config, name)
            if (name not in free and value not in allowed) or (name in self.never_none and value is None):
                wrong.append(f"{name} {value}")
        return wrong

    def parameter_names(
        self, present: Collection[str], blocks: int, *, public: bool
    ) -> Iterator[tuple[str, list[str]]]:
        """Pair each of our names with the public ones. present: the names of a model, ours or (`public`) its own."""
        yield from _expand(self.names, blocks)
        marks = [str(theirs) if public else ours for ours, theirs in self.sequence_names.items()]
        complete = all(mark in present or f"{mark}.weight" in present for mark in marks)
        yield from _expand(self.sequence_names if complete else self.other_names, blocks)


def _expand(names: Names, blocks: int) -> Iterator[tuple[str, list[str]]]:
    for ours, theirs in names.items():
        listed = (theirs,) if isinstance(theirs, str) else theirs
        for kind in ("",) if ours.endswith((".weight", ".bias")) else (".weight", ".bias"):
            for number in range(blocks) if "{}" in ours else (0,):
                yield ours.format(number) + kind, [name.format(number) + kind for name in listed]


def embedding_names(prefix: str) -> dict[str, str]:
    """BERT's embeddings."""
    return {
        "encoder.embeddings.token.weight": f"{prefix}.word_embeddings.weight",
        "encoder.embeddings.position.weight": f"{prefix}.position_embeddings.weight",
        "encoder.embeddings.segment.weight": f"{prefix}.token_type_embeddings.weight",
        "encoder.embeddings.norm": f"{prefix}.LayerNorm",
    }


def block_names(layer: str, qkv: tuple[str, ...], *others: str) -> dict[str, str | tuple[str, ...]]:
    """The parts of a block below the name of the layer: query, key and value, then the output of attention and its
    norm, both layers of the feed-forward and its norm."""
    parts = ("attention.output", "attention_norm", "feed_forward.inner", "feed_forward.output", "feed_forward_norm")
    return {
        "encoder.blocks.{}.attention.qkv": tuple(f"{layer}.{part}" for part in qkv),
        **{f"encoder.blocks.{{}}.{part}": f"{layer}.{name}" for part, name in zip(parts, others, strict=True)},
    }


def bert_names(prefix: str) -> dict[str, str | tuple[str, ...]]:
    """The encoder as BERT has it, and RoBERTa and ELECTRA."""
    qkv = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))
    attention = ("attention.output.dense", "attention.output.LayerNorm")
    feed_forward = ("intermediate.dense", "output.dense", "output.LayerNorm")
    return {
        **embedding_names(f"{prefix}.embeddings"),
        **block_names(f"{prefix}.encoder.layer.{{}}", qkv, *attention, *feed_forward),
    }


def masked_names(dense: str, norm: str, bias: str) -> dict[str, str]:
    """The masked-LM head, and the head for answers, whose name is the same in most families."""
    return {"masked.dense": dense, "masked.norm": norm, "masked.bias": bias, "qa_outputs": "qa_outputs"}


def read_integer(public: Mapping[str, Any], key: str, where: Path, *, default: Any = None, low: int, high: int) -> int:
    """Read a whole number of a config.json. Raises UserError for anything else."""
    value = public.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise UserError(f"{where}: {key} cannot be used", given=value, allowed=f"a whole number, {low:,} to {high:,}")
    return value
