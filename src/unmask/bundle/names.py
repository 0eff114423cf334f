"""The weights of a public file under the names of their family, and whether the encoder of config.json has all of them.

What wrapped the model when it was saved is left out of the names, older names are made new; errors name a weight as
the file does.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask import console
from unmask.bundle.layout import to_public
from unmask.bundle.weights import list_some
from unmask.config import changed
from unmask.errors import UserError
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.families.family import Family

_OLDER_NAMES = ((".gamma", ".weight"), (".beta", ".bias"))  # of the parameters of LayerNorm
_COUNTERS = (".position_ids", ".token_type_ids")  # no weights: 0, 1, 2, ... and zeros
# what torch and others put before the names of a model, or of a part of it, that they wrap
_WRAPPER = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_SHAPING = (  # settings that are sizes of weights
    *("vocab_size", "max_position_embeddings", "type_vocab_size", "embedding_size"),
    *("hidden_size", "intermediate_size"),
)
_LISTED = 3  # weights of a wrong shape


@dataclass(frozen=True)
class PublicWeights:
    """Weights by the names of their family's table.

    file_names: those names as the file has them; outside: names in the file that do not belong to the model of the
    encoder; prefix: what the file has before the names of the parts of the encoder.
    """

    tensors: dict[str, Tensor]
    file_names: dict[str, str]
    outside: list[str]
    prefix: str


def by_family_names(tensors: Mapping[str, Tensor], config: EncoderConfig, where: Path) -> PublicWeights:
    """Name the weights of a file as the table of the family does. where: the config.json beside it.

    Raises UserError where they are those of another family or of several encoders.
    """
    family = FAMILIES[config.family]
    start, inner = f"{family.prefix}.", _inner_names(family, config.num_blocks)
    plain = {name: _plain(name) for name, t in tensors.items() if not name.endswith(_COUNTERS) or t.is_floating_point()}
    chosen = _encoder_prefix(list(plain.values()), inner, family, where)
    native = chosen == start or chosen.endswith(f".{start}")
    outer = chosen.removesuffix(start) if native else chosen
    parts = {name.partition(".")[0] for name in inner}
    file_names: dict[str, str] = {}
    outside = []
    for name, new in plain.items():
        short = new.removeprefix(outer)
        if not native and short.partition(".")[0] in parts:
            short = start + short
        if new.startswith(outer) and short not in file_names:
            file_names[short] = name
        else:
            outside.append(name)
    wrappers = {name: "".join(_WRAPPER.findall(name)) for name in file_names.values()}
    if outer or any(wrappers.values()):
        prefixes = [text for text in dict.fromkeys([*sorted(wrappers.values()), outer]) if text]
        count = sum(bool(outer or wrapper) for wrapper in wrappers.values())
        text = "{folder}: {prefix} left out of the names of {count:,} weights"
        console.note(text, where.parent, ", ".join(prefixes), count)
    named = {name: tensors[theirs] for name, theirs in file_names.items()}
    ends = ((theirs, name.removeprefix(start)) for name, theirs in file_names.items() if name.startswith(start))
    prefix = next((theirs.removesuffix(end) for theirs, end in ends if theirs.endswith(end)), start)
    return PublicWeights(named, file_names, outside, prefix)


def _plain(name: str) -> str:
    """A name without wrappers, in its newer form."""
    name = _WRAPPER.sub("", name)
    return next((name.removesuffix(old) + new for old, new in _OLDER_NAMES if name.endswith(old)), name)


def _inner_names(family: Family, blocks: int) -> set[str]:
    """The public names of an encoder's weights, without the prefix of the family."""
    rows = family.parameter_names((), blocks, public=True)
    public = (name for ours, names in rows if ours.startswith("encoder.") for name in names)
    return {name.removeprefix(f"{family.prefix}.") for name in public}


def _prefixes(names: Iterable[str], inner: Collection[str]) -> Counter[str]:
    """What stands before the names of an encoder's weights, with its count."""
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        place = next((n for n in range(len(parts)) if ".".join(parts[n:]) in inner), None)
        if place is not None:
            found[".".join([*parts[:place], ""])] += 1
    return found


def family_of(names: Iterable[str]) -> Family | None:
    """The family whose prefix the names of the weights have; None where they have none, or several."""
    plain = [_plain(name) for name in names]
    fits = []
    for family in FAMILIES.values():
        before = _prefixes(plain, _inner_names(family, 1))
        if any(f".{prefix}".endswith(f".{family.prefix}.") for prefix in before):
            fits.append(family)
    return fits[0] if len(fits) == 1 else None


def _encoder_prefix(names: Collection[str], inner: Collection[str], family: Family, where: Path) -> str:
    """What stands before the names of the encoder's weights. Raises UserError where that is not one prefix."""
    found = _prefixes(names, inner)
    most = max(found.values(), default=0)
    best = [prefix for prefix, count in found.items() if count == most]
    usual = [prefix for prefix in (f"{family.prefix}.", "") if prefix in best]
    others = [other for other in FAMILIES.values() if other is not family]
    if best:
        first = (usual or best)[0]
        last = first.removesuffix(".").rpartition(".")[2]
        alike = [other for other in others if other.prefix == last]
        fits = [other for other in alike if _prefixes(names, _inner_names(other, len(names)))[first] >= most]
    else:
        fits = [other for other in others if _prefixes(names, _inner_names(other, 1))]
    if fits or not best:
        types = [model_type for other in fits for model_type in other.model_types]
        raise UserError(
            "{where}: its model_type does not fit the names of the weights",
            where,
            given=list_some([name for name in names if name.startswith(tuple(best))] or names, 3),
            allowed=message("names that begin with {prefix}, for {family}", f"{family.prefix}.", family.name),
            hint=message("model_type in config.json: {types}", " / ".join(types)) if types else None,
        )
    if len(best) > 1 and not usual:
        raise UserError(
            "{folder} contains the weights of {count} encoders",
            where.parent,
            len(best),
            given=message("names that begin with {prefixes}", ", ".join(sorted(best))),
            hint="save the one that you need by itself",
        )
    return (usual or best)[0]


def check_encoder(weights: PublicWeights, config: EncoderConfig, public: Mapping[str, Any], where: Path) -> None:
    """Raises UserError unless the encoder that a config.json describes has all of its weights, with its shapes.

    public, where: the content of the config.json and its path.
    """
    family, expected = FAMILIES[config.family], _shapes(config)
    key, layers = layer_count(weights.tensors, family)
    if layers < config.num_blocks:
        raise UserError(
            "{where}: {key} does not fit the weights",
            where,
            key,
            given=[f"{key}: {config.num_blocks}", message("{count} layers in the file of weights", layers)],
            hint=message("a file with all weights, or {key}: {count} in config.json", key, layers),
        )
    start = f"{family.prefix}."
    missing = [weights.prefix + name.removeprefix(start) for name in expected if name not in weights.tensors]
    if missing:
        raise UserError(
            "{folder} lacks {count:,} weights of the encoder",
            where.parent,
            len(missing),
            given=f"missing: {list_some(missing)}",
            allowed=f"{where}: {len(expected):,} weights of the encoder",
        )
    wrong = [name for name, shape in expected.items() if tuple(weights.tensors[name].shape) != shape]
    if not wrong:
        return
    given, allowed = [], []
    fits: dict[str, int] = {}
    for name in wrong[:_LISTED]:
        shape, ours = tuple(weights.tensors[name].shape), expected[name]
        keys = _deciding(config, name, shape)
        given.append(f"{weights.file_names[name]} {shape}")
        allowed.append(f"{ours}, {', '.join(f'{key}: {public.get(key)}' for key in keys)}")
        if len(shape) == len(ours):
            sizes = [size for size, our in zip(shape, ours, strict=True) if size != our]
            fits |= {key: sizes[0] for key in keys if len(sizes) == len(keys) == 1 and public.get(key) in ours}
    more = [message("and {count:,} more", len(wrong) - _LISTED)] if len(wrong) > _LISTED else []
    raise UserError(
        "{where} and the weights beside it are of different sizes",
        where,
        given=[*given, *more],
        allowed=allowed,
        hint=[message("the config.json of these weights has {key}: {size}", *pair) for pair in fits.items()] or None,
    )


def layer_count(names: Iterable[str], family: Family) -> tuple[str, int]:
    """The key of config.json for the number of blocks with weights of their own, and that number in these names."""
    before = str(family.names["encoder.blocks.{}.feed_forward.output"]).partition("{}")[0]
    numbers = (name.removeprefix(before).partition(".")[0] for name in names if name.startswith(before))
    key = "num_hidden_groups" if "num_hidden_groups" in family.options else family.sizes["num_hidden_layers"]
    return key, 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)


def _shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """The weights of an encoder by their public names, with their shapes."""
    with torch.device("meta"):
        state = Encoder(config).state_dict()
    public = to_public({f"encoder.{name}": tensor for name, tensor in state.items()}, config)
    return {name: tuple(tensor.shape) for name, tensor in public.items()}


def _deciding(config: EncoderConfig, name: str, shape: tuple[int, ...]) -> list[str]:
    """The keys of config.json that decide about the sizes in which a weight differs from a shape."""
    family, ours, keys = FAMILIES[config.family], _shapes(config)[name], []
    for setting in _SHAPING:
        value = getattr(config, setting)
        if not value:
            continue
        another = 3 - value if setting == "type_vocab_size" else 2 * value  # which is 1 or 2
        other = _shapes(changed(config, **{setting: another})).get(name, ours)
        axes = [axis for axis, size in enumerate(ours) if other[axis] != size]
        if any(len(shape) != len(ours) or shape[axis] != ours[axis] for axis in axes):
            keys.append(family.sizes[setting] if setting in family.sizes else family.options[setting][0])
    return keys
