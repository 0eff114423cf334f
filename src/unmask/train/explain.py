"""What each setting of a recipe is: read off the classes that check recipes, so that it is never out of date."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from unmask.config import ALLOWED, config_classes
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import join, message
from unmask.model.config import EncoderConfig
from unmask.model.families import PRESETS
from unmask.train.recipe import KINDS, Kind

_PLAIN = {
    int: message("whole number"),
    float: message("number"),
    str: message("text"),
    bool: "true, false",
    type(None): "null",
}


@dataclass(frozen=True)
class Setting:
    """One setting: the values allowed, the default, and what it does."""

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

    def select(self, key: str) -> "Group | None":
        """The group if it stands at the key or below it; if the key is one of its settings, a group of that alone."""
        own = (self.key, f"{self.key}.{self.choice}")  # objectives.masked is what errors call objectives of that name
        if not key or key in own or self.key.startswith(f"{key}."):
            return self
        above, _, name = key.rpartition(".")
        settings = tuple(one for one in self.settings if one.name == name and not one.is_group)
        return dataclasses.replace(self, settings=settings) if settings and above in own else None


def explain(key: str = "", kind: Kind | None = None) -> list[Group]:
    """The groups of settings at a dotted key and below it; of one setting, a group of that alone.

    The index of a list is optional: objectives.mask_prob is objectives.0.mask_prob. Without `kind` of both kinds of
    recipe, those that are alike once. Raises UserError where no recipe has such a key.
    """
    key = ".".join(part for part in key.split(".") if not part.isdigit())
    found: dict[Group, tuple[Kind, ...]] = {}
    names = []
    for name in [kind] if kind else KINDS:
        for group in _groups(KINDS[name]):
            names += [f"{group.key}.{setting.name}".lstrip(".") for setting in group.settings]
            if (selected := group.select(key)) is not None:
                found[selected] = (*found.get(selected, ()), name)
    if not found:
        hint = did_you_mean(suggest(key, names))
        raise UserError("{key} is not a setting of these recipes", key, hint=hint, see="unmask recipe explain")
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
        settings.insert(0, Setting("preset", ", ".join(PRESETS), "", "name that sets several settings below"))
    description = (cls.__doc__ or "").partition("\n")[0]
    yield Group((), key, choice, description, tuple(settings))
    for inner in below:
        yield from _groups(*inner)


def _choice(cls: type[Any]) -> str | None:
    """The name by which a recipe chooses this class among others, if it does."""
    field = cls.__pydantic_fields__.get("name")
    return field.default if field is not None and len(typing.get_args(field.annotation)) == 1 else None


def _allowed(field: FieldInfo, classes: list[type[Any]]) -> str:
    """The values of a setting, in words: `whole number, at least 1`. classes: of groups of settings that it may be."""
    if classes:
        names = [choice for inner in classes if (choice := _choice(inner)) is not None]
        group = message("list of groups") if typing.get_origin(field.annotation) is list else message("group")
        return message("{group}; name: {names}", group, ", ".join(names)) if names else group
    limits = [
        message(template, f"{value:g}")
        for limit in field.metadata
        for template in ALLOWED.values()
        for name in re.findall(r"\{(\w+)\}", template)
        if (value := getattr(limit, name, None)) is not None
    ]
    return join([join(_kinds(field.annotation), " or "), *limits], ", ")


def _kinds(annotation: Any) -> list[str]:
    """Words for the members of a union, or for the annotation alone."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return [", ".join(map(str, arguments))]
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        members = arguments[:1] if origin is typing.Annotated else arguments
        return [word for member in members for word in _kinds(member)]
    return [_PLAIN.get(annotation, str(annotation))]


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
