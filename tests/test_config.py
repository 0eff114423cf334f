"""Settings: what is refused and in which words, overrides, files, differences."""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.config import (
    changed,
    config,
    difference,
    discriminator_with_default,
    dump,
    from_mapping,
    override,
    read_yaml,
    setting,
    tagged,
    to_yaml,
)
from unmask.errors import UserError


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


def refused(values: dict[str, Any]) -> list[str]:
    """The lines of the error, white space made one."""
    with pytest.raises(UserError) as caught:
        from_mapping(Drawing, values, "d.yaml")
    return [" ".join(line.split()) for line in str(caught.value).splitlines()]


def test_defaults_and_values() -> None:
    drawing = from_mapping(Drawing, {"title": "t", "shapes": [{"name": "circle", "radius": 3}]}, "d.yaml")
    assert drawing == Drawing(title="t", shapes=[Circle(radius=3)])
    assert drawing.paint.colour == "red"
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawing.title = "u"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"titel": "x"},
            ["d.yaml: titel is not a setting", "hint did you mean title?", "allowed title, paint, shapes"],
        ),
        (
            {"title": "t", "paint": {"color": "red"}},
            ["d.yaml: paint.color is not a setting", "given color: red", "hint did you mean colour?"],
        ),
        (
            {"title": "t", "shapes": [{"name": "square"}, {"name": "circle", "raduis": 3}]},
            ["d.yaml: shapes.1.raduis is not a setting", "hint did you mean radius?", "allowed name, radius"],
        ),
        (
            {"title": "t", "paint": {"layers": "many"}},
            ["d.yaml: paint.layers cannot be used", "given 'many'"],
        ),
        ({"title": "t", "paint": {"layers": 0}}, ["d.yaml: paint.layers cannot be used", "given 0"]),
        ({"title": "t", "paint": {"colour": "green"}}, ["given 'green'", "allowed 'red' or 'blue'"]),
        (
            {"title": "t", "shapes": [{"name": "square", "side": -1}]},
            ["d.yaml: shapes.0.side cannot be used", "given -1", "allowed above 0"],
        ),
        (
            {"title": "t", "shapes": [{"name": "cirle"}]},
            ["d.yaml: shapes.0.name cannot be used", "given 'cirle'", "hint did you mean circle?"],
        ),
        (
            {"title": "t", "shapes": [{"radius": 3}]},
            ["d.yaml: shapes.0.name is missing"],
        ),
        (
            {"title": "t", "shapes": {"name": "circle"}},
            ["d.yaml: shapes cannot be used", "allowed a list"],
        ),
        ({}, ["d.yaml: title is missing"]),
        ({"title": None}, ["d.yaml: title cannot be used", "given None"]),
        ({"title": "t", 5: "x"}, ["d.yaml: 5 cannot be used", "given 5"]),
        ({"title": "t", "paint": 7}, ["d.yaml: paint cannot be used", "given 7"]),
    ],
)
def test_what_cannot_be_used_is_named_with_its_dotted_key(values: dict[str, Any], told: list[str]) -> None:
    lines = refused(values)
    for line in told:
        assert any(found.startswith(line) for found in lines), (line, lines)


def test_a_check_over_several_settings_is_told_in_its_own_words() -> None:
    assert any("a drawing needs a title" in line for line in refused({"title": "untitled"}))


def test_a_misspelt_key_is_told_before_everything_else() -> None:
    assert refused({"title": 3, "paint": {"layrs": 3}})[0] == "d.yaml: paint.layrs is not a setting"


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
    ("text", "told"),
    [
        ("title", "'title' is not a setting"),
        ("=3", "'=3' is not a setting"),
        ("shapes.1.side=3", r"shapes\.1\.side is not a setting"),
        ("shapes.first.side=3", r"shapes\.first\.side is not a setting"),
        ("title=[1", "title cannot be used"),
    ],
)
def test_overrides_that_are_none(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        override({"title": "t", "shapes": [{"name": "square"}]}, [text])


def test_yaml_files(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("title: Brücke\npaint: {layers: 2}\n", encoding="utf-8")
    assert read_yaml(path) == {"title": "Brücke", "paint": {"layers": 2}}
    path.write_text("")
    assert read_yaml(path) == {}
    for content, told in (
        (b"title: x\npaint: [1\n", "line 3 is not valid YAML"),
        (b"title: x\n\tpaint: 3\n", "line 2 is not valid YAML"),
        (b"- a\n", "is not a recipe"),
        (b"\xff\xfe\x00", "is not a recipe"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=told):
            read_yaml(path)
    with pytest.raises(UserError, match="does not exist"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="is not a recipe"):
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
    with pytest.raises(UserError, match=r"Paint: layers cannot be used") as caught:
        changed(Paint(), layers=10)
    assert "10" in str(caught.value) and "at most 9" in str(caught.value)


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


AnyTile = Annotated[
    Annotated[Square, tagged("square")] | Annotated[Circle, tagged("circle")],
    setting(discriminator=discriminator_with_default("square")),
]


@config
class Floor:
    tile: AnyTile = setting(default_factory=Square, description="what lies there")
    others: list[AnyTile] = setting(default_factory=list, description="and beside it")


@pytest.mark.parametrize(
    ("tile", "wanted"),
    [
        ({}, Square()),
        ({"side": 3}, Square(side=3)),
        ({"name": "square", "side": 3}, Square(side=3)),
        ({"name": "circle", "radius": 3}, Circle(radius=3)),
        (Circle(radius=4), Circle(radius=4)),
    ],
)
def test_a_union_may_have_a_member_for_those_without_a_name(tile: Any, wanted: Square | Circle) -> None:
    floor = from_mapping(Floor, {"tile": tile, "others": [tile]}, "f.yaml")
    assert floor == Floor(tile=wanted, others=[wanted])
    assert from_mapping(Floor, dump(floor), "f.yaml") == floor
    assert changed(Floor(), tile=wanted).tile == wanted


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"tile": {"name": "cirle"}},
            [
                "f.yaml: tile.name cannot be used",
                "given 'cirle'",
                "hint did you mean circle?",
                "allowed square, circle",
            ],
        ),
        (
            {"tile": {"name": "circle", "raduis": 1}},
            ["f.yaml: tile.raduis is not a setting", "hint did you mean radius?", "allowed name, radius"],
        ),
        (
            {"tile": {"sid": 1}},
            ["f.yaml: tile.sid is not a setting", "hint did you mean side?", "allowed name, side"],
        ),
        (
            {"others": [{}, {"side": -1}]},
            ["f.yaml: others.1.side cannot be used", "given -1", "allowed above 0"],
        ),
        (
            {"tile": {"radius": 3}},  # of the other kind, which was not named
            ["f.yaml: tile.radius is not a setting", "allowed name, side"],
        ),
    ],
)
def test_errors_in_such_a_union_name_the_key_and_what_is_allowed(values: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        from_mapping(Floor, values, "f.yaml")
    lines = [" ".join(line.split()) for line in str(caught.value).splitlines()]
    for line in told:
        assert line in lines, (line, lines)
