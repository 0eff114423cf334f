"""What each setting of a recipe is: read off the classes that check recipes, so that it is never out of date."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import join, message
from unmask.model.encoder import EncoderConfig
from unmask.model.presets import PRESETS
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe

Kind = Literal["pretrain", "finetune"]
KINDS: dict[Kind, type[Any]] = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}

_PLAIN = {
    int: message("whole number"),
    float: message("number"),
    str: message("text"),
    bool: "true, false",
    type(None): "null",
}
_LIMITS = {
    "ge": "at least {ge}",
    "gt": "above {gt}",
    "le": "at most {le}",
    "lt": "below {lt}",
    "min_length": "at least {ge}",
    "multiple_of": "a multiple of {multiple_of}",
}


@dataclass(frozen=True)
class Setting:
    """One setting: what it may be, what it is if not given, what it does."""

    name: str
    allowed: str
    default: str
    description: str
    is_group: bool = False


@dataclass(frozen=True)
class Group:
    """The settings at a dotted key. `choice` is the `name` that chooses them, where there are several."""

    kinds: tuple[Kind, ...]  # of recipe that have these settings, alike
    key: str
    choice: str | None
    description: str
    settings: tuple[Setting, ...]

    @property
    def title(self) -> str:
        return self.key + (f" (name: {self.choice})" if self.choice else "")


@dataclass(frozen=True)
class _Node:
    """A class of settings at a key; `values` are the defaults there, which may differ from those of the class."""

    key: str
    cls: type[Any]
    values: Any

    def default(self, name: str, field: FieldInfo) -> Any:
        if isinstance(self.values, self.cls):
            return getattr(self.values, name)
        return field.get_default(call_default_factory=True)


def explain(key: str = "", kind: Kind | None = None) -> list[Group]:
    """The groups of settings at a dotted key and below it; of one setting, a group of that alone.

    A place of a list may be given or left out: objectives.ratio is objectives.0.mask_prob. Without `kind` of both
    kinds of recipe, those that are alike once. Raises UserError where no recipe has such a key.
    """
    parts = [part for part in key.split(".") if part and not part.isdigit()]
    found: dict[Group, tuple[Kind, ...]] = {}
    for of in [kind] if kind else KINDS:
        for group in _matching(KINDS[of], parts):
            found[group] = (*found.get(group, ()), of)
    if not found:
        raise _unknown(parts, kind)
    return [dataclasses.replace(group, kinds=kinds) for group, kinds in found.items()]


def _matching(cls: type[Any], parts: list[str]) -> Iterator[Group]:
    wanted = ".".join(parts)
    for node in _nodes(_Node("", cls, None)):
        group = _group(node)
        chosen = f"{node.key}.{group.choice}"  # objectives.masked is what errors call objectives of that name
        if not parts or wanted in (node.key, chosen) or node.key.startswith(f"{wanted}."):
            yield group
        elif ".".join(parts[:-1]) in (node.key, chosen):
            settings = tuple(one for one in group.settings if one.name == parts[-1] and not one.is_group)
            if settings:
                yield dataclasses.replace(group, settings=settings)


def _unknown(parts: list[str], kind: Kind | None) -> UserError:
    """The error for a key that no recipe has: names what there is at the last place that exists."""
    known: list[str] = []
    for depth in range(len(parts) - 1, -1, -1):
        above = ".".join(parts[:depth])
        nodes = [node for of in ([kind] if kind else KINDS) for node in _nodes(_Node("", KINDS[of], None))]
        known = list(dict.fromkeys(name for node in nodes if node.key == above for name in _fields(node.cls)))
        if known:
            break
    meant = suggest(parts[depth], known)
    where = message("a recipe for {kind}", kind) if kind else message("a recipe")
    return UserError(
        "{key} is not a setting of {where}",
        ".".join(parts),
        where,
        allowed=", ".join(known),
        hint=did_you_mean(".".join([*parts[:depth], meant]) if meant else None),
    )


def _nodes(node: _Node) -> Iterator[_Node]:
    """A class of settings and all below it, in the order of the recipe."""
    yield node
    for name, field in _fields(node.cls).items():
        key = f"{node.key}.{name}".lstrip(".")
        for cls in _classes(field.annotation):
            yield from _nodes(_Node(key, cls, node.default(name, field)))


def _group(node: _Node) -> Group:
    fields = _fields(node.cls)
    settings = [
        Setting(
            name,
            _allowed(field),
            _format_value(node.default(name, field)),
            field.description or "",
            is_group=bool(_classes(field.annotation)),
        )
        for name, field in fields.items()
        if name != "name"
    ]
    if node.cls is EncoderConfig:
        names = ", ".join(PRESETS)
        settings.insert(0, Setting("preset", names, "", "a name for several of the settings below"))
    description = (node.cls.__doc__ or "").partition("\n")[0]
    choice = fields["name"].default if "name" in fields else None
    return Group((), node.key, choice, description, tuple(settings))


def _fields(cls: type[Any]) -> dict[str, FieldInfo]:
    return dict(cls.__pydantic_fields__)


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation alone."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _parts(member)]
    return [annotation]


def _classes(annotation: Any) -> list[type[Any]]:
    """The classes of settings that a value may be, or a list may hold."""
    found = []
    for part in _parts(annotation):
        if typing.get_origin(part) is list:
            found += _classes(typing.get_args(part)[0])
        elif dataclasses.is_dataclass(part) and isinstance(part, type):
            found.append(part)
    return found


def _allowed(field: FieldInfo) -> str:
    """What a setting may be, in words: `whole number, at least 1`."""
    classes = _classes(field.annotation)
    if classes:
        names = [fields["name"].default for fields in map(_fields, classes) if "name" in fields]
        is_list = typing.get_origin(_parts(field.annotation)[0]) is list
        group = message("list of groups") if is_list else message("group")
        return message("{group}; name: {names}", group, ", ".join(names)) if names else group
    words = []
    for part in _parts(field.annotation):
        if typing.get_origin(part) is Literal:
            words.append(", ".join(map(str, typing.get_args(part))))
        else:
            words.append(_PLAIN.get(part, str(part)))
    limits = [
        message(template, f"{getattr(limit, name):g}")
        for limit in field.metadata
        for name, template in _LIMITS.items()
        if getattr(limit, name, None) is not None
    ]
    return join([join(words, " or "), *limits], ", ")


def _format_value(value: Any) -> str:
    """A default as one would write it in YAML; of a group, the name that chooses it."""
    if value is PydanticUndefined:
        return message("must be given")
    if isinstance(value, list):
        return ", ".join(map(_format_value, value))
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", ""))
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
