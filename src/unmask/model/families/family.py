"""A family of public encoders: what its configuration can express, how its parameters are named, its heads and sizes.

A family is a value of `EncoderConfig`; one Encoder and one Block serve them all.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unmask.model.config import EncoderConfig, FamilyName

Names = Mapping[str, str | tuple[str, ...]]


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


# config.json as BERT has it
SIZES = {
    name: name
    for name in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    )
}
OPTIONS: dict[str, tuple[str, Any]] = {
    "hidden_act": ("hidden_act", "gelu"),
    "dropout": ("hidden_dropout_prob", 0.1),
    "type_vocab_size": ("type_vocab_size", 2),
    "initializer_range": ("initializer_range", 0.02),
    "norm_eps": ("layer_norm_eps", 1e-12),
}
ALLOWED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
REQUIRES: dict[str, tuple[Any, ...]] = {
    "norm": ("post",),
    "norm_type": ("layer",),
    "norm_bias": (True,),
    "embedding_norm": (None, True),
    "first_norm": (True,),
    "bias": (True,),
    "qk_norm": (False,),
    "gated": (False,),
    "hidden_act": ("gelu", "gelu_tanh", "relu"),
    "position_embedding_type": ("learned", "sinusoidal"),
    "position_offset": (0,),
    "type_vocab_size": (2, 1),
    "embedding_size": (None,),
    "num_hidden_groups": (None,),
    "attention_pattern": ("G",),
}


def bert_write(config: EncoderConfig) -> dict[str, Any]:
    """BERT has two rates of dropout, which are one here."""
    return {"attention_probs_dropout_prob": config.dropout}


def _nothing(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """The data of a family. What it leaves out is as in BERT.

    model_types: `model_type` in config.json, the first is what is written; prefix: of the encoder's parameters;
    classes: how the names of its classes begin.

    config.json. sizes: our settings under its keys, which a file must have; options: those that it may leave out, with
    their defaults; requires: the values of other settings that the layout can express, the first of them being those of
    every config.json; never_none: settings without which there is no such layout; constants: keys with one value,
    checked and written; allowed: keys that are checked where they are there; special_tokens: those
    whose ids are written; read, write: what tables cannot express.

    Parameters. names: ours under the public names, several where their tensors are stacked in ours; `{}` is the number
    of a block. A name without .weight or .bias stands for both. Some layouts give one name to two heads:
    sequence_names are of models that have all of sequence_marks, other_names are of all others. decoder: the layer of
    the masked-LM head whose weight is the table of the embeddings, where a file has it a second time.

    presets: published sizes; preset_defaults: their common settings where they are not the defaults of config.json.
    """

    name: FamilyName
    model_types: tuple[str, ...]
    prefix: str
    classes: str
    names: Names
    decoder: str
    presets: Mapping[str, Mapping[str, Any]]
    preset_defaults: Mapping[str, Any] = field(default_factory=dict)
    head: HeadStyle = field(default_factory=HeadStyle)
    sizes: Mapping[str, str] = field(default_factory=lambda: SIZES)
    options: Mapping[str, tuple[str, Any]] = field(default_factory=lambda: OPTIONS)
    requires: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: REQUIRES)
    never_none: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    allowed: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: ALLOWED)
    special_tokens: tuple[str, ...] = ("pad",)
    read: Callable[[Mapping[str, Any], Mapping[str, Any], Path], dict[str, Any]] = _nothing
    write: Callable[[EncoderConfig], dict[str, Any]] = bert_write
    sequence_names: Names = field(default_factory=dict)
    other_names: Names = field(default_factory=dict)
    sequence_marks: tuple[str, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of a config.json that has no key but its sizes."""
        fixed = {setting: values[0] for setting, values in self.requires.items()}
        return {"family": self.name, **fixed, **{ours: default for ours, (_, default) in self.options.items()}}

    def why_not(self, config: EncoderConfig) -> list[str]:
        """The settings that the layout cannot express, with their values."""
        wrong = [name for name, values in self.requires.items() if getattr(config, name) not in values]
        wrong += [name for name in self.never_none if getattr(config, name) is None]
        return [f"{name} {getattr(config, name)}" for name in wrong]

    @property
    def heads(self) -> set[str]:
        """Our modules besides the encoder that have a name in the layout."""
        names = (*self.names, *self.sequence_names, *self.other_names)
        return {name.partition(".")[0] for name in names} - {"encoder"}

    def parameter_names(
        self, present: Collection[str], blocks: int, *, public: bool
    ) -> Iterator[tuple[str, list[str]]]:
        """Pair each of our names with the public ones. present: the names of a model, ours or (`public`) its own."""
        sequence = dict(_expand(self.sequence_names, blocks))
        marks = [sequence[mark][0] if public else mark for mark in self.sequence_marks]
        yield from _expand(self.names, blocks)
        yield from sequence.items() if all(mark in present for mark in marks) else _expand(self.other_names, blocks)


def _expand(names: Names, blocks: int) -> Iterator[tuple[str, list[str]]]:
    for ours, theirs in names.items():
        listed = (theirs,) if isinstance(theirs, str) else theirs
        for kind in ("",) if ours.endswith((".weight", ".bias")) else (".weight", ".bias"):
            for number in range(blocks) if "{}" in ours else (0,):
                yield ours.format(number) + kind, [name.format(number) + kind for name in listed]


def size(layers: int, hidden: int, heads: int, **more: Any) -> dict[str, Any]:
    """A published size."""
    return {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, **more}


BASE, LARGE = size(12, 768, 12), size(24, 1024, 16)


def embedding_names(prefix: str) -> dict[str, str]:
    """BERT's embeddings."""
    return {
        "encoder.embeddings.token.weight": f"{prefix}.word_embeddings.weight",
        "encoder.embeddings.position.weight": f"{prefix}.position_embeddings.weight",
        "encoder.embeddings.segment.weight": f"{prefix}.token_type_embeddings.weight",
        "encoder.embeddings.norm": f"{prefix}.LayerNorm",
    }


def block_names(
    layer: str, qkv: tuple[str, ...], output: str, norm: str, inner: str, ffn_output: str, ffn_norm: str
) -> dict[str, str | tuple[str, ...]]:
    """The parts of a block of attention and feed-forward, below the name of the layer."""
    block = "encoder.blocks.{}."
    return {
        f"{block}attention.qkv": tuple(f"{layer}.{part}" for part in qkv),
        f"{block}attention.output": f"{layer}.{output}",
        f"{block}attention_norm": f"{layer}.{norm}",
        f"{block}feed_forward.inner": f"{layer}.{inner}",
        f"{block}feed_forward.output": f"{layer}.{ffn_output}",
        f"{block}feed_forward_norm": f"{layer}.{ffn_norm}",
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
