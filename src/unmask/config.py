"""Typed settings: YAML or keyword overrides in, frozen dataclasses out, with errors that name the key.

Every component keeps its own `@config` class beside itself; a recipe composes them. A setting is declared as
`layers: int = setting(default=6, ge=1, description="Transformer blocks")`.
"""

import copy
import dataclasses
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import pydantic
import yaml
from pydantic.dataclasses import dataclass as _pydantic_dataclass

from unmask import advice
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import Message, message

T = TypeVar("T")

MAX_ALLOWED_SHOWN = 16
ALLOWED = {  # by the type of pydantic's finding
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
    "list_type": "a list",
    "dataclass_type": "a group of settings",
}


def setting(**facts: Any) -> Any:
    """One setting: `default` or `default_factory` (neither: it is required), description, bounds (`ge`, `lt`, ...)."""
    return pydantic.Field(**facts)


def by_name() -> pydantic.BeforeValidator:
    """A name alone stands for the member of a tagged union that has it, with all its defaults."""
    return pydantic.BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def config(cls: type[T]) -> type[T]:
    """Make a frozen, keyword-only dataclass whose fields are checked when it is made."""
    rules = pydantic.ConfigDict(
        extra="forbid", coerce_numbers_to_str=True, defer_build=True
    )  # YAML reads a folder 2024 as a number
    return _pydantic_dataclass(frozen=True, kw_only=True, config=rules)(cls)  # type: ignore[return-value]


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file of keys and values. Raises UserError naming the file and the line."""
    path = Path(path)
    values = None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = {} if values is None else values
    except FileNotFoundError:
        raise UserError("{path} does not exist", path) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = message("{path}, line {line}", path, mark.line + 1) if mark else path
        raise UserError("{place} is not valid YAML", place, given=getattr(error, "problem", error)) from None
    except (IsADirectoryError, UnicodeDecodeError):
        pass
    if not isinstance(values, dict):
        raise UserError("{path} is not a recipe", path, allowed="keys and values, as YAML in UTF-8")
    return values


def override(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of nested `values` with `key.sub=value` applied; values are read as YAML. A number indexes a list."""
    result = copy.deepcopy(dict(values))
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            example = advice.setting("train.budget=5m") or "data.on_error=skip"
            allowed = message("key.sub=value, for example {example}", example)
            raise UserError("{text!r} is not a setting", text, allowed=allowed)
        try:
            read = yaml.safe_load(value) if value else ""
        except yaml.YAMLError:
            raise UserError("{key} cannot be used", key, given=value, allowed="a value as in YAML") from None
        _assign(result, key.strip().split("."), read, key)
    return result


def _assign(node: Any, parts: list[str], value: Any, key: str) -> None:
    head, *rest = parts
    if isinstance(node, list):
        if not head.isdigit() or int(head) >= len(node):
            raise UserError("{key} is not a setting", key, given=head, allowed=f"0 to {len(node) - 1}")
        head = int(head)  # type: ignore[assignment]
    elif not isinstance(node, dict):
        raise UserError("{key} is not a setting", key, given=f"{head} below a plain value")
    if not rest:
        node[head] = value
        return
    if isinstance(node, dict) and not isinstance(node.get(head), dict | list):
        node[head] = {}
    _assign(node[head], rest, value, key)


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Check nested `values` against `cls`. `where` names their origin in errors."""
    try:
        return pydantic.TypeAdapter(cls).validate_python(dict(values))
    except pydantic.ValidationError as error:
        raise _explain(cls, values, error, where) from None


def _as_written(values: Any, location: Iterable[Any], kind: str) -> list[str]:
    """A place in pydantic's words as the keys that the user wrote: without the tags of tagged unions.

    kind: of the finding; where something else stands for a group of settings, the place ends with its tag.
    """
    *parts, last = location
    keys = []
    for part in parts:
        if (isinstance(values, Mapping) and part in values) or isinstance(values, list):
            keys.append(str(part))
            values = values[part]
    is_tag = kind == "dataclass_type" and not (isinstance(values, Mapping) and last in values)
    return keys if is_tag else [*keys, str(last)]


def _explain(cls: type[Any], values: Mapping[str, Any], error: pydantic.ValidationError, where: str) -> UserError:
    """Pydantic's first finding (a misspelt key before all others) as a UserError."""
    findings = error.errors(include_url=False)
    first = next((f for f in findings if f["type"] == "unexpected_keyword_argument"), findings[0])
    kind, given, context = first["type"], first["input"], first.get("ctx", {})
    location = [str(part) for part in first["loc"]]
    key = ".".join(_as_written(values, first["loc"], kind)) if location else message("the recipe")
    if kind.startswith("union_tag"):  # a wrong or missing `name`, which tells the members of a union apart
        key += "." + context["discriminator"].strip("'()")
    place = message("{where}: {key}", where, key)
    if kind == "unexpected_keyword_argument":
        names = _settings_at(cls, location[:-1])
        return UserError(
            "{place} is not a setting",
            place,
            given=f"{location[-1]}: {given}",
            allowed=", ".join([*names[:MAX_ALLOWED_SHOWN], "..."][: len(names)]),
            hint=did_you_mean(suggest(location[-1], names)),
            see=f"unmask recipe explain {'.'.join(location[:-1])}".rstrip(),
        )
    if kind in ("missing", "union_tag_not_found"):
        return UserError("{place} is missing", place, see=f"unmask recipe explain {key}")
    if kind == "value_error":  # from a __post_init__: its message says what was given and is allowed
        reason = context["error"].args[0]
        return UserError("{place}: {reason}", place, reason if isinstance(reason, Message) else message(str(reason)))
    hint = None
    if kind == "union_tag_invalid":
        given, allowed = context["tag"], context["expected_tags"].replace("'", "")
        hint = did_you_mean(suggest(given, allowed.split(", ")))
    else:
        allowed = allowed_by(first)
    shown = message("a group of settings") if isinstance(given, Mapping) and len(given) > 4 else repr(given)
    return UserError("{place} cannot be used", place, given=shown, allowed=allowed, hint=hint)


def allowed_by(finding: Mapping[str, Any]) -> Message:
    """What may stand in place of a value that pydantic refused."""
    template = ALLOWED.get(finding["type"], finding["msg"])
    limits = [f"{limit:g}" if isinstance(limit, float) else limit for limit in finding.get("ctx", {}).values()]
    return message(template, *(limits if "{" in template else ()))


def _settings_at(cls: type[Any], location: list[str]) -> list[str]:
    """The names allowed at a dotted key, of all members of tagged unions on the way."""
    candidates = [cls]
    for part in location:
        following = [each for each in candidates if getattr(each, "name", None) == part]
        for each in candidates:
            if part in each.__pydantic_fields__:
                following += config_classes(each.__pydantic_fields__[part].annotation)
        candidates = following or candidates
    return list(dict.fromkeys(name for each in candidates for name in each.__pydantic_fields__))


def config_classes(annotation: Any) -> list[type[Any]]:
    """The config classes that an annotation may hold, through unions, lists and Annotated."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return [annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        arguments = arguments[:1]
    return [found for argument in arguments for found in config_classes(argument)]


def dump(value: Any) -> dict[str, Any]:
    """A config as plain nested values, complete: every default is written out."""
    return pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")  # type: ignore[no-any-return]


def to_yaml(value: Any) -> str:
    return yaml.safe_dump(dump(value), sort_keys=False, allow_unicode=True)


def changed(value: T, **settings: Any) -> T:
    """A copy with some settings replaced, checked again. Raises UserError where they cannot be used."""
    try:
        return dataclasses.replace(value, **settings)  # type: ignore[type-var]
    except pydantic.ValidationError as error:
        raise _explain(type(value), settings, error, type(value).__name__) from None


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two nested mappings differ, as `key: old -> new`."""
    lines = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += difference(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines
