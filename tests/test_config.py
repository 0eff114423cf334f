"""Settings: what is refused and what the error names, overrides, files, differences."""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask.config import (
    changed,
    config,
    difference,
    dump,
    from_mapping,
    override,
    read_yaml,
    setting,
    to_yaml,
)


@config
class Square:
    name: Literal["square"] = "square"
    side: float = setting(default=1.0, gt=0, description="in metres")


@config
class Circle:
    name: Literal["circle"] = "circle"
    radius: int = setting(default=2, ge=1, description="in metres")


AnyShape = Annotated[Square | Circle, setting(discriminator="name")]


@config
class Paint:
    colour: Literal["red", "blue"] = "red"
    layers: int = setting(default=1, ge=1, le=9, description="coats")


@config
class Drawing:
    title: str
    paint: Paint = setting(default_factory=Paint, description="of the lines")
    shapes: list[AnyShape] = setting(default_factory=lambda: [Square()], description="what is drawn")

    def __post_init__(self) -> None:
        if self.title == "untitled":
            raise ValueError("a drawing needs a title")


def check_refused(cls: type, values: dict[str, Any], key: str, facts: dict[str, str]) -> None:
    """The error names the file, the dotted key, and in each fact what stands there."""
    with refused(f"x.yaml: {key} ") as caught:
        from_mapping(cls, values, "x.yaml")
    assert facts.keys() <= caught.value.facts.keys()
    for fact, name in facts.items():
        assert name in caught.value.facts[fact], (fact, str(caught.value))


def test_defaults_and_values() -> None:
    drawing = from_mapping(Drawing, {"title": "t", "shapes": [{"name": "circle", "radius": 3}]}, "d.yaml")
    assert drawing == Drawing(title="t", shapes=[Circle(radius=3)])
    assert drawing.paint.colour == "red"
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawing.title = "u"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "key", "facts"),
    [
        ({"titel": "x"}, "titel", {"hint": "title", "allowed": "title, paint, shapes"}),
        ({"title": "t", "paint": {"color": "red"}}, "paint.color", {"given": "color: red", "hint": "colour"}),
        (
            {"title": "t", "shapes": [{"name": "square"}, {"name": "circle", "raduis": 3}]},
            "shapes.1.raduis",
            {"hint": "radius", "allowed": "name, radius"},
        ),
        ({"title": "t", "paint": {"layers": "many"}}, "paint.layers", {"given": "'many'"}),
        ({"title": "t", "paint": {"layers": 0}}, "paint.layers", {"given": "0", "allowed": "1"}),
        (
            {"title": "t", "paint": {"colour": "green"}},
            "paint.colour",
            {"given": "'green'", "allowed": "'red' or 'blue'"},
        ),
        (
            {"title": "t", "shapes": [{"name": "square", "side": -1}]},
            "shapes.0.side",
            {"given": "-1", "allowed": "above 0"},
        ),
        ({"title": "t", "shapes": [{"name": "cirle"}]}, "shapes.0.name", {"given": "'cirle'", "hint": "circle"}),
        ({"title": "t", "shapes": [{"radius": 3}]}, "shapes.0.name", {"see": "unmask recipe explain shapes.0.name"}),
        ({"title": "t", "shapes": {"name": "circle"}}, "shapes", {"given": "circle", "allowed": "list"}),
        ({}, "title", {"see": "unmask recipe explain title"}),
        ({"title": None}, "title", {"given": "None"}),
        ({"title": "t", 5: "x"}, "5", {"given": "5"}),
        ({"title": "t", "paint": 7}, "paint", {"given": "7"}),
    ],
)
def test_what_cannot_be_used_is_named_with_its_dotted_key(
    values: dict[str, Any], key: str, facts: dict[str, str]
) -> None:
    check_refused(Drawing, values, key, facts)


def test_a_check_over_several_settings_is_told_in_its_own_words() -> None:
    with refused("d.yaml", "a drawing needs a title"):
        from_mapping(Drawing, {"title": "untitled"}, "d.yaml")


def test_a_misspelt_key_is_told_before_everything_else() -> None:
    check_refused(Drawing, {"title": 3, "paint": {"layrs": 3}}, "paint.layrs", {"hint": "layers"})


def test_overrides() -> None:
    values = {"title": "t", "shapes": [{"name": "square"}]}
    new = override(
        values, ["title=a=b", "paint.layers=3", "shapes.0.side=2.5", "paint.colour=blue", "title2=", "n=null"]
    )
    assert new == {
        "title": "a=b",
        "paint": {"layers": 3, "colour": "blue"},
        "shapes": [{"name": "square", "side": 2.5}],
        "title2": "",
        "n": None,
    }
    assert values == {"title": "t", "shapes": [{"name": "square"}]}, "the original stays"
    assert override(values, ["shapes=[{name: circle}]"])["shapes"] == [{"name": "circle"}]
    assert override({"day": datetime.date(2020, 1, 1)}, ["a=1"])["day"].year == 2020


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("title", ("'title'", "key.sub=value")),
        ("=3", ("'=3'", "key.sub=value")),
        ("shapes.1.side=3", ("shapes.1.side", "0 to 0")),
        ("shapes.first.side=3", ("shapes.first.side", "0 to 0")),
        ("title=[1", ("title", "[1")),
    ],
)
def test_overrides_that_are_none(text: str, names: tuple[str, ...]) -> None:
    with refused(*names):
        override({"title": "t", "shapes": [{"name": "square"}]}, [text])


def test_yaml_files(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("title: Brücke\npaint: {layers: 2}\n", encoding="utf-8")
    assert read_yaml(path) == {"title": "Brücke", "paint": {"layers": 2}}
    path.write_text("")
    assert read_yaml(path) == {}
    for content, names in (
        (b"title: x\npaint: [1\n", (f"{path}, line 3",)),
        (b"title: x\n\tpaint: 3\n", (f"{path}, line 2",)),
        (b"- a\n", (path, "UTF-8")),
        (b"\xff\xfe\x00", (path, "UTF-8")),
    ):
        path.write_bytes(content)
        with refused(*names):
            read_yaml(path)
    with refused(tmp_path / "absent.yaml", "exist"):
        read_yaml(tmp_path / "absent.yaml")
    with refused(tmp_path, "UTF-8"):
        read_yaml(tmp_path)


@given(
    title=st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20).filter(lambda t: t != "untitled"),
    layers=st.integers(1, 9),
    side=st.floats(0.001, 1e6),
)
def test_what_is_written_down_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, title: str, layers: int, side: float
) -> None:
    drawing = Drawing(title=title, paint=Paint(layers=layers), shapes=[Square(side=side), Circle()])
    path = tmp_path_factory.mktemp("d") / "d.yaml"
    path.write_text(to_yaml(drawing), encoding="utf-8")
    assert from_mapping(Drawing, read_yaml(path), "d.yaml") == drawing
    assert set(dump(drawing)) == {"title", "paint", "shapes"}


def test_a_changed_copy_is_checked_again() -> None:
    assert changed(Paint(layers=2), colour="blue") == Paint(layers=2, colour="blue")
    with refused("Paint: layers", "10", "at most 9"):
        changed(Paint(), layers=10)


def test_differences_are_dotted() -> None:
    old = {"a": 1, "b": {"c": 2, "d": [1]}, "gone": 0}
    new = {"a": 1, "b": {"c": 3, "d": [1, 2]}, "new": 5}
    assert difference(old, new) == [
        "b.c: 2 -> 3",
        "b.d: [1] -> [1, 2]",
        "gone: 0 -> None",
        "new: None -> 5",
    ]
    assert difference(old, old) == []
