"""Printing results: as JSON for programs, else as tables for people."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from unmask import console
from unmask.messages import message, translate

T = TypeVar("T")


def print_result(as_json: bool, result: T, show: Callable[[T], object]) -> None:
    """Print the result of a command: JSON with --json, else what `show` makes of it."""
    if as_json:
        console.print_json(result)
    else:
        show(result)


def scores_table(evaluation: Mapping[str, Any]) -> None:
    """The figures of several models on the same test rows, as `Comparison.to_dict` has them."""
    from unmask.metrics import Interval, figure_of

    models = evaluation["models"]
    names = [name for name in models[0] if name not in ("name", "kind")]
    units = {name: ", % [95 %]" if figure_of(name).percent else " [95 %]" for name in names}
    heads = [message("{metric}{unit}", message(figure_of(name).title), unit) for name, unit in units.items()]
    scores = [(translate(model["name"]), *(Interval(**model[name]).format(name) for name in names)) for model in models]
    rows, unit, split = evaluation["rows"], message(f"{evaluation['unit']}s"), evaluation.get("split", "test")
    first = message("{rows:,} test {unit}", rows, unit)
    if split != "test":  # the name of a file
        first = message("{examples:,} {unit} of {test}", rows, unit, split)
    console.table((first, *heads), scores)
