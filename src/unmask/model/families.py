"""Families of public encoders: what their heads are like, and what their layouts can say. Data, not classes.

A family is a value of `EncoderConfig`; one Encoder and one Block serve them all. The names of their parameters are
in `names.py`, their published sizes in `presets.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from unmask.model.encoder import EncoderConfig

FamilyName = Literal["bert", "roberta", "albert", "distilbert", "electra", "modernbert"]


@dataclass(frozen=True)
class HeadStyle:
    """The dense layer that stands before the last one of a head.

    activation, bias: of it; norm: whether a norm follows; everywhere: whether heads that read each token (tags,
    answers) have it as well; masked_activation: of the masked-LM head, that of the encoder if None.
    """

    activation: Literal["tanh", "relu", "gelu"] = "tanh"
    bias: bool = True
    norm: bool = False
    use_before_tagging: bool = False
    masked_activation: Literal["gelu"] | None = None


@dataclass(frozen=True)
class Family:
    """name; model_types: as config.json calls it, the first is what we write; prefix: of the encoder's parameters;
    classes: how the names of its classes begin; head: what its heads have in common; says: what its layout can say,
    for each setting that it does not leave free.
    """

    name: FamilyName
    model_types: tuple[str, ...]
    prefix: str
    classes: str
    head: HeadStyle = field(default_factory=HeadStyle)
    requires: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def why_not(self, config: "EncoderConfig") -> list[str]:
        """The settings that the layout cannot say, with their values."""
        wrong = [name for name, values in self.requires.items() if getattr(config, name) not in values]
        if self.name == "albert":
            wrong += [name for name in ("embedding_size", "num_hidden_groups") if getattr(config, name) is None]
        if self.name != "modernbert" and any(map(config.is_local, range(config.num_hidden_layers))):
            wrong.append("attention_pattern")
        if self.name == "modernbert" and not _is_modern_pattern(config):
            wrong.append("attention_pattern")
        return [f"{name} {getattr(config, name)}" for name in wrong]


def _is_modern_pattern(config: "EncoderConfig") -> bool:
    """Both of its kinds of layers, or all of them global."""
    return config.attention_pattern == "G" or config.window is not None


# activations that other libraries know under a name
_ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
_CLASSIC = {
    "norm": ("post",),
    "norm_type": ("layer",),
    "norm_bias": (True,),
    "embedding_norm": (None, True),
    "first_norm": (True,),
    "bias": (True,),
    "qk_norm": (False,),
    "gated": (False,),
    "hidden_act": _ACTIVATIONS,
    "position_embedding_type": ("sinusoidal", "learned"),
    "position_offset": (0,),
    "type_vocab_size": (1, 2),
    "embedding_size": (None,),
    "num_hidden_groups": (None,),
}

FAMILIES: dict[FamilyName, Family] = {
    family.name: family
    for family in (
        Family("bert", ("bert",), "bert", "Bert", requires=_CLASSIC),
        Family(
            "roberta",
            ("roberta", "xlm-roberta", "camembert"),
            "roberta",
            "Roberta",
            HeadStyle(masked_activation="gelu"),
            {**_CLASSIC, "position_embedding_type": ("learned",), "position_offset": tuple(range(1, 100))},
        ),
        Family(
            "albert",
            ("albert",),
            "albert",
            "Albert",
            requires={
                name: values for name, values in _CLASSIC.items() if name not in ("embedding_size", "num_hidden_groups")
            },
        ),
        Family(
            "distilbert",
            ("distilbert",),
            "distilbert",
            "DistilBert",
            HeadStyle(activation="relu"),
            {**_CLASSIC, "type_vocab_size": (0,), "norm_eps": (1e-12,), "hidden_act": ("gelu", "relu")},
        ),
        Family(
            "electra",
            ("electra",),
            "electra",
            "Electra",
            HeadStyle(activation="gelu", masked_activation="gelu"),
            {name: values for name, values in _CLASSIC.items() if name != "embedding_size"},
        ),
        Family(
            "modernbert",
            ("modernbert",),
            "model",
            "ModernBert",
            HeadStyle(activation="gelu", bias=False, norm=True, use_before_tagging=True, masked_activation="gelu"),
            {
                "norm": ("pre",),
                "norm_type": ("layer",),
                "embedding_norm": (True,),
                "first_norm": (False,),
                "qk_norm": (False,),
                "gated": (True,),
                "hidden_act": _ACTIVATIONS,
                "position_embedding_type": ("rotary",),
                "type_vocab_size": (0,),
                "embedding_size": (None,),
                "num_hidden_groups": (None,),
            },
        ),
    )
}


def family_of_type(model_type: str) -> Family | None:
    """The family that a config.json means by its `model_type`."""
    return next((family for family in FAMILIES.values() if model_type in family.model_types), None)
