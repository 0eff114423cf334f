"""Plots: round ticks, curves of many points, dots and the matrix inside their frame."""

import itertools
import re

import pytest

from unmask.report import chart


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (5.1, 9.01), (0.4947, 0.96), (-3, 7), (0, 1_210_000), (2.0, 2.0), (0, 0), (1e-5, 3e-5)],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float) -> None:
    found = chart.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 8
    steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in itertools.pairwise(found)}
    assert steps == {1.0}


@pytest.mark.parametrize(
    ("low", "high"),
    [(1.0, 1.0), (0.3, 0.4), (2e-7, 0.9), (0.02, 30.0), (1e-30, 1e10), (5.0, 1000.0), (1, 10)],
)
def test_ticks_of_a_logarithmic_axis_enclose_the_values_and_are_few(low: float, high: float) -> None:
    found = chart.log_ticks(low, high)
    assert found[0] <= low * 1.001 and high <= found[-1] * 1.001 and found == sorted(set(found))
    assert 2 <= len(found) <= 9
    assert all(f"{value:.0e}"[0] in "125" for value in found)
    assert len({chart.power(value) for value in found}) == len(found)


def test_numbers_of_a_logarithmic_axis() -> None:
    shown = [chart.power(value) for value in (0.001, 0.5, 20.0, 1e-7, 5e-6, 2e12, 1e5)]
    assert shown == ["0.001", "0.5", "20", "10⁻⁷", "5·10⁻⁶", "2·10¹²", "10⁵"]


def test_thinning_keeps_the_mean_and_the_end() -> None:
    points = [(float(x), float(x % 10)) for x in range(5000)]
    found = chart.thinned(points)
    assert len(found) == chart.MAX_POINTS and found[-1] == points[-1]
    assert sum(y for _, y in found) / len(found) == pytest.approx(4.5, abs=0.1)
    assert chart.thinned(points[:50]) == points[:50]


@pytest.mark.parametrize("size", [2, 12, 20])
def test_the_matrix_and_its_texts_lie_within_the_frame(size: int) -> None:
    labels = [f"a rather long label {number}" for number in range(size)]
    svg = chart.Matrix([[1] * size] * size, labels, "Predicted", "True").svg("counts")
    _, _, width, height = map(float, re.findall(r'viewBox="([^"]+)"', svg)[0].split())
    squares = re.findall(r'<rect class="cell" x="([\d.]+)" y="([\d.]+)" width="(\d+)"', svg)
    assert len(squares) == size * size
    for x, y, side in squares:
        assert float(x) > 0 and float(x) + float(side) <= width
        assert float(y) > 0 and float(y) + float(side) <= height


@pytest.mark.parametrize("unit", [1.0, 1e4, 1e-3])
def test_a_scatter_has_one_scale_for_both_axes(unit: float) -> None:
    """A point with equal numbers lies on the line from corner to corner, and all lie within the frame."""
    points = [(0.0, 5.0 * unit), (5.0 * unit, 0.0), (2.5 * unit, 2.5 * unit), (1 * unit, -unit)]
    svg = chart.Curves([chart.Curve("", points, style="dots")], "true", "predicted", square=True).svg("numbers")
    _, _, wide, high = map(float, re.findall(r'viewBox="([^"]+)"', svg)[0].split())
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert len(dots) == 4 and wide == chart.WIDTH
    assert all(20 < x < wide and 0 < y < high for x, y in dots)
    (x1, y1), (x2, y2), (x3, y3), _ = dots
    assert x2 - x1 == pytest.approx(y2 - y1, abs=0.2)  # as far to the right as down
    assert (x3, y3) == pytest.approx(((x1 + x2) / 2, (y1 + y2) / 2), abs=0.2)


def test_every_plot_is_as_wide_as_the_others() -> None:
    points = [(10.0, 0.5), (20.0, 0.8)]
    names = ["one run", "another run with a longer name", "a third", "a fourth"]
    series = [chart.Curve(name, points, 1 + number, style="marks") for number, name in enumerate(names)]
    drawn: list[chart.Plot] = [
        chart.Curves(series, "steps", "accuracy"),
        chart.Dots([(name, 50.0, 40.0, 60.0, "50.0 %") for name in names], "x", 0),
        chart.Matrix([[7] * 8] * 8, ["money-fx"] * 8, "Predicted", "True"),
    ]
    for plot in drawn:
        assert float(re.findall(r'viewBox="0 0 ([\d.]+)', plot.svg("d"))[0]) <= chart.WIDTH


def test_series_differ_by_more_than_colour() -> None:
    points = [(10.0, 0.5), (20.0, 0.8)]
    marks = [chart.Curves([chart.Curve("a", points, n, style="marks")], "x", "y").svg("d") for n in (1, 2, 3)]
    shapes = [re.findall(r'<(\w+) class="mark', svg)[0] for svg in marks]
    assert len(set(shapes)) == 3


def test_curves_draw_every_marked_point_and_one_ring() -> None:
    points = [(10.0, 0.5), (20.0, 0.8), (30.0, 0.7)]
    svg = chart.Curves([chart.Curve("a", points, style="marks", ring=20.0)], "steps", "accuracy").svg("d")
    places = re.findall(r'<circle class="mark c1" cx="([\d.]+)" cy="([\d.]+)"', svg)[1:]  # the first is the legend's
    assert len(places) == 3
    assert float(places[0][1]) > float(places[2][1]) > float(places[1][1]), "higher values stand higher"
    assert re.findall(r'<circle class="ring c1" cx="([\d.]+)"', svg) == [places[1][0]]
