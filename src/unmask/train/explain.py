"""What each setting of a recipe is: read off the classes that check recipes, so that it is never out of date."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from unmask.config import config_classes
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import join, message
from unmask.model.config import EncoderConfig
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


def explain(key: str = "", kind: Kind | None = None) -> list[Group]:
    """The groups of settings at a dotted key and below it; of one setting, a group of that alone.

    The index of a list is optional: objectives.mask_prob is objectives.0.mask_prob. Without `kind` of both kinds of
    recipe, those that are alike once. Raises UserError where no recipe has such a key.
    """
    parts = [part for part in key.split(".") if part and not part.isdigit()]
    groups = {of: list(_groups(KINDS[of])) for of in ([kind] if kind else KINDS)}
    found: dict[Group, tuple[Kind, ...]] = {}
    for of, every in groups.items():
        for group in _matching(every, parts):
            found[group] = (*found.get(group, ()), of)
    if not found:
        raise _unknown(parts, [group for every in groups.values() for group in every], kind)
    return [dataclasses.replace(group, kinds=kinds) for group, kinds in found.items()]


def _groups(cls: type[Any], key: str = "", values: Any = None) -> Iterator[Group]:
    """A class of settings and all below it, in the order of the recipe. values: the defaults at this key, which may
    differ from those of the class."""
    fields: dict[str, FieldInfo] = cls.__pydantic_fields__
    settings, below, choice = [], [], _choice(cls)
    for name, field in fields.items():
        default = getattr(values, name) if isinstance(values, cls) else field.get_default(call_default_factory=True)
        classes = config_classes(field.annotation)
        below += [(inner, f"{key}.{name}".lstrip("."), default) for inner in classes]
        if name != "name" or choice is None:
            shown = _format_value(default)
            settings.append(Setting(name, _allowed(field, classes), shown, field.description or "", bool(classes)))
    if cls is EncoderConfig:
        settings.insert(0, Setting("preset", ", ".join(PRESETS), "", "a name for several of the settings below"))
    description = (cls.__doc__ or "").partition("\n")[0]
    yield Group((), key, choice, description, tuple(settings))
    for inner in below:
        yield from _groups(*inner)


def _choice(cls: type[Any]) -> str | None:
    """The name by which a recipe chooses this class among others, if it does."""
    field = cls.__pydantic_fields__.get("name")
    return field.default if field is not None and len(typing.get_args(field.annotation)) == 1 else None


def _matching(groups: list[Group], parts: list[str]) -> Iterator[Group]:
    wanted, above = ".".join(parts), ".".join(parts[:-1])
    for group in groups:
        chosen = f"{group.key}.{group.choice}"  # objectives.masked is what errors call objectives of that name
        if not parts or wanted in (group.key, chosen) or group.key.startswith(f"{wanted}."):
            yield group
        elif above in (group.key, chosen):
            settings = tuple(one for one in group.settings if one.name == parts[-1] and not one.is_group)
            if settings:
                yield dataclasses.replace(group, settings=settings)


def _unknown(parts: list[str], groups: list[Group], kind: Kind | None) -> UserError:
    """The error for a key that no recipe has: names the settings at the last key that exists."""
    depth = next(n for n in range(len(parts) - 1, -1, -1) if any(g.key == ".".join(parts[:n]) for g in groups))
    known = [one.name for group in groups if group.key == ".".join(parts[:depth]) for one in group.settings]
    meant = suggest(parts[depth], known)
    where = message("a recipe for {kind}", kind) if kind else message("a recipe")
    return UserError(
        "{key} is not a setting of {where}",
        ".".join(parts),
        where,
        allowed=", ".join(dict.fromkeys(known)),
        hint=did_you_mean(".".join([*parts[:depth], meant]) if meant else None),
    )


def _allowed(field: FieldInfo, classes: list[type[Any]]) -> str:
    """What a setting may be, in words: `whole number, at least 1`. classes: of groups of settings that it may be."""
    kinds = _members(field.annotation)
    if classes:
        names = [choice for inner in classes if (choice := _choice(inner)) is not None]
        group = message("list of groups") if typing.get_origin(kinds[0]) is list else message("group")
        return message("{group}; name: {names}", group, ", ".join(names)) if names else group
    words = [
        ", ".join(map(str, typing.get_args(part)))
        if typing.get_origin(part) is Literal
        else _PLAIN.get(part, str(part))
        for part in kinds
    ]
    limits = [
        message(template, f"{getattr(limit, name):g}")
        for limit in field.metadata
        for name, template in _LIMITS.items()
        if getattr(limit, name, None) is not None
    ]
    return join([join(words, " or "), *limits], ", ")


def _members(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation alone."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [annotation]


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
